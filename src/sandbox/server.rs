//! The HTTP server of the sandbox.
//!
//! Dropping the future of [`serve`] drops every connection.

pub(crate) mod control;
pub(crate) mod record;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract;
use axum::http::{Request, Response};
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::debug;

use crate::sandbox::account::Account;
use crate::sandbox::actions::{ACTIONS, CallContext, perform};
use crate::sandbox::faults::fault::Fault;
use crate::sandbox::faults::{Effects, Faults};
use crate::sandbox::http::request::{self, Call};
use crate::sandbox::http::response::{ApiError, ApiResponse};
use crate::sandbox::random::Random;
use crate::sandbox::server::record::{Record, RecordedRequest};
use crate::server::CloseWithoutResponse;
use crate::time::clock::Clock;

/// State shared by the server and [`Sandbox`](crate::sandbox::Sandbox).
pub(crate) struct State {
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) account: Mutex<Account>,
    pub(crate) faults: Faults,
    pub(crate) record: Record,
}

impl State {
    /// Returns the time, shifted by the skew of the faults.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now().wall + self.faults.skew()
    }

    pub(crate) fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, state: Arc<State>) {
    let respond = |extract::State(state): extract::State<Arc<State>>, request| async move {
        respond(&state, request).await
    };
    let router = Router::new().fallback(respond).with_state(state);
    crate::server::run(listener, router, CONNECTIONS, std::future::pending()).await;
}

async fn respond(state: &State, request: Request<Body>) -> Response<Body> {
    if control::is_control_path(request.uri().path()) {
        return control::respond(state, request).await;
    }
    let request_id = state.random.uuid();
    let host = request::host(request.headers());
    let call = request::read(request).await;

    let mut effects = state.faults.next(&state.random);
    let fault = effects.fault.as_ref().map(Fault::name);
    let recorded = describe(state, &request_id, call.as_ref().ok(), fault);
    state.record.add(recorded.clone());
    while effects.fault == Some(Fault::Hang) {
        // The sender lives in the state that is borrowed here.
        let _ = effects.changed.changed().await;
        effects = state.faults.next(&state.random);
    }
    if effects.fault == Some(Fault::Down) {
        debug!(request_id, "Sandbox STS closes a connection");
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(CloseWithoutResponse);
        return response;
    }
    let response = decide(state, call, &effects, &request_id, &host);
    if !effects.latency.is_zero() {
        tokio::select! {
            () = sleep(effects.latency) => {}
            _ = effects.changed.changed() => {}
        }
    }

    let (status, code) = (response.status.as_u16(), response.code.as_deref());
    state.record.complete(&request_id, status, code);
    debug!(
        action = recorded.action.unwrap_or("unknown"),
        caller = recorded.access_key_id.as_deref().unwrap_or("anonymous"),
        status,
        code = code.unwrap_or("Success"),
        fault = recorded.fault.unwrap_or("none"),
        request_id,
        "Sandbox STS responded"
    );
    response.into_http(&request_id, state.now())
}

fn decide(
    state: &State,
    call: Result<Call, ApiError>,
    effects: &Effects,
    request_id: &str,
    host: &str,
) -> ApiResponse {
    let fault = effects.fault.as_ref();
    if let Some(response) = fault.and_then(|fault| fault.response(request_id, host)) {
        return response;
    }
    let context = CallContext {
        now: state.now(),
        random: &state.random,
        lifetime: effects.lifetime,
        is_denied: fault == Some(&Fault::Denied),
    };
    let result = call.and_then(|call| perform(&mut state.account(), &call, &context));
    let mut response = match result {
        Ok(fields) => ApiResponse::success(fields, request_id),
        Err(error) => error.into_response(request_id, host),
    };
    if fault == Some(&Fault::TruncatedJson) {
        response.body.truncate(response.body.len() / 2);
    }
    response
}

fn describe(
    state: &State,
    request_id: &str,
    call: Option<&Call>,
    fault: Option<&'static str>,
) -> RecordedRequest {
    let param = |name| call.and_then(|call| call.params.get(name));
    // A client may send anything as its AccessKeyId, even a secret; only a text in the form of an id is recorded.
    let is_id = |id: &&str| {
        let mut bytes = id.bytes();
        id.len() <= 40 && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    };
    RecordedRequest {
        arrived_at: state.now(),
        action: param("Action").and_then(|sent| ACTIONS.into_iter().find(|known| *known == sent)),
        access_key_id: param("AccessKeyId").filter(is_id).map(str::to_owned),
        status: None,
        code: None,
        fault,
        request_id: request_id.to_owned(),
    }
}

/// Enough for tests; further connections wait in the backlog.
const CONNECTIONS: usize = 256;
