//! The HTTP side: reads requests, and answers them.
//!
//! Dropping the future of [`serve`] drops every connection.

pub(super) mod control;
pub(super) mod parameters;
pub(super) mod record;
pub(super) mod request;
pub(super) mod response;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{Request, Response};
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::debug;

use crate::sandbox::actions::{ACTIONS, Scene, perform};
use crate::sandbox::faults::fault::Fault;
use crate::sandbox::faults::{Faults, Met};
use crate::sandbox::http::record::{Record, Seen};
use crate::sandbox::http::request::Call;
use crate::sandbox::http::response::{Answer, Refusal};
use crate::sandbox::random::Random;
use crate::sandbox::world::World;
use crate::server::CloseWithoutResponse;
use crate::time::clock::Clock;

/// What the server and its owner share.
pub(super) struct State {
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) world: Mutex<World>,
    pub(super) faults: Faults,
    pub(super) record: Record,
}

impl State {
    /// Returns what time it is here.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now().wall + self.faults.skew()
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, state: Arc<State>) {
    let answer = |Shared(state): Shared<Arc<State>>, request: Request<Body>| async move {
        respond(&state, request).await
    };
    let router = Router::new().fallback(answer).with_state(state);
    crate::server::run(listener, router, CONNECTIONS, std::future::pending()).await;
}

async fn respond(state: &State, request: Request<Body>) -> Response<Body> {
    if control::is_meant(request.uri().path()) {
        return control::respond(state, request).await;
    }
    let request_id = state.random.uuid();
    let host = request::host(request.headers());
    let call = request::read(request).await;

    let mut met = state.faults.meet(&state.random);
    let seen = see(
        state,
        &request_id,
        call.as_ref().ok(),
        met.fault.as_ref().map(Fault::name),
    );
    state.record.arrived(seen.clone());
    while met.fault == Some(Fault::Hang) {
        // The sender lives in the state that is borrowed here.
        let _ = met.changed.changed().await;
        met = state.faults.meet(&state.random);
    }
    if met.fault == Some(Fault::Down) {
        debug!(request_id, "Sandbox STS closes a connection");
        let mut nothing = Response::new(Body::empty());
        nothing.extensions_mut().insert(CloseWithoutResponse);
        return nothing;
    }
    let answer = decide(state, call, &met, &request_id, &host);
    if !met.latency.is_zero() {
        tokio::select! {
            () = sleep(met.latency) => {}
            _ = met.changed.changed() => {}
        }
    }

    let (status, code) = (answer.status.as_u16(), answer.code.as_deref());
    state.record.answered(&request_id, status, code);
    debug!(
        action = seen.action.unwrap_or("unknown"),
        caller = seen.access_key_id.as_deref().unwrap_or("anonymous"),
        status,
        code = code.unwrap_or("Success"),
        fault = seen.fault.unwrap_or("none"),
        request_id,
        "Sandbox STS answered"
    );
    answer.response(&request_id, state.now())
}

fn decide(
    state: &State,
    call: Result<Call, Refusal>,
    met: &Met,
    request_id: &str,
    host: &str,
) -> Answer {
    let fault = met.fault.as_ref();
    if let Some(answer) = fault.and_then(|fault| fault.instead(request_id, host)) {
        return answer;
    }
    let scene = Scene {
        now: state.now(),
        random: &state.random,
        lifetime: met.lifetime,
        is_denied: fault == Some(&Fault::Denied),
    };
    let mut answer = match call.and_then(|call| perform(&mut state.world(), &call, &scene)) {
        Ok(fields) => Answer::success(fields, request_id),
        Err(refusal) => refusal.answer(request_id, host),
    };
    if fault == Some(&Fault::TruncatedJson) {
        answer.body.truncate(answer.body.len() / 2);
    }
    answer
}

fn see(state: &State, request_id: &str, call: Option<&Call>, fault: Option<&'static str>) -> Seen {
    let param = |name| call.and_then(|call| call.params.get(name));
    // What stands where an AccessKeyId belongs may be anything; only what looks like one is repeated.
    let is_id = |id: &&str| {
        id.len() <= 40
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    };
    Seen {
        arrived_at: state.now(),
        action: param("Action").and_then(|sent| ACTIONS.into_iter().find(|known| *known == sent)),
        access_key_id: param("AccessKeyId").filter(is_id).map(str::to_owned),
        status: None,
        code: None,
        fault,
        request_id: request_id.to_owned(),
    }
}

/// A test's worth; the rest waits in the backlog.
const CONNECTIONS: usize = 256;
