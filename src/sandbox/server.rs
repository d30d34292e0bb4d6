//! The HTTP side: reads requests, and answers them.
//!
//! Dropping the future of [`serve`] drops every connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{Request, Response};
use tokio::net::TcpListener;
use tracing::debug;

use crate::clock::Clock;
use crate::sandbox::actions::{ACTIONS, Scene, perform};
use crate::sandbox::answer::{Answer, Refusal};
use crate::sandbox::fault::Fault;
use crate::sandbox::faults::Faults;
use crate::sandbox::random::Random;
use crate::sandbox::record::{Record, Seen};
use crate::sandbox::request::{self, Call};
use crate::sandbox::world::World;

/// What the server and its owner share.
pub(super) struct State {
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) world: Mutex<World>,
    pub(super) faults: Faults,
    pub(super) record: Record,
}

impl State {
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
    crate::serve::run(listener, router, CONNECTIONS, std::future::pending()).await;
}

async fn respond(state: &State, request: Request<Body>) -> Response<Body> {
    let request_id = state.random.uuid();
    let host = request::host(request.headers());
    let call = request::read(request).await;

    let met = state.faults.next();
    let seen = see(
        state,
        &request_id,
        call.as_ref().ok(),
        met.as_ref().map(|(fault, _)| fault),
    );
    state.record.arrived(seen.clone());

    let fault = match met {
        Some((Fault::Hang, mut healed)) => {
            // The sender lives in the state that is borrowed here.
            let _ = healed.changed().await;
            None
        }
        Some((fault, _)) => Some(fault),
        None => None,
    };
    let answer = decide(state, call, fault.as_ref(), &request_id, &host);

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
    answer.response(&request_id, state.clock.now().wall)
}

fn decide(
    state: &State,
    call: Result<Call, Refusal>,
    fault: Option<&Fault>,
    request_id: &str,
    host: &str,
) -> Answer {
    if let Some(answer) = fault.and_then(|fault| fault.instead(request_id, host)) {
        return answer;
    }
    let lifetime = fault.and_then(Fault::lifetime);
    let scene = Scene {
        now: state.clock.now().wall,
        random: &state.random,
        lifetime,
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

fn see(state: &State, request_id: &str, call: Option<&Call>, fault: Option<&Fault>) -> Seen {
    let param = |name| call.and_then(|call| call.params.get(name));
    // What stands where an AccessKeyId belongs may be anything; only what looks like one is repeated.
    let is_id = |id: &&str| {
        id.len() <= 40
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    };
    Seen {
        arrived_at: state.clock.now().wall,
        action: param("Action").and_then(|sent| ACTIONS.into_iter().find(|known| *known == sent)),
        access_key_id: param("AccessKeyId").filter(is_id).map(str::to_owned),
        status: None,
        code: None,
        fault: fault.map(Fault::name),
        request_id: request_id.to_owned(),
    }
}

/// A test's worth; the rest waits in the backlog.
const CONNECTIONS: usize = 256;
