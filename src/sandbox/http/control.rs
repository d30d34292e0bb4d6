//! The control path: tells which faults are in force, changes them and heals them while the sandbox runs.
//!
//! It is on the sandbox's own listener, so it is reachable from this machine only, and by no web page.

use std::net::Ipv4Addr;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use serde_json::json;
use tracing::info;

use crate::sandbox::faults::plan::Plan;
use crate::sandbox::http::State;
use crate::sandbox::http::request;
use crate::server::caller::Addresses;
use crate::server::request_check::{self, Rules};
use crate::server::response;

/// Whether a request is none of an STS.
pub(in crate::sandbox) fn is_meant(path: &str) -> bool {
    path.strip_prefix("/_sandbox")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Does what is asked, and tells what is in force then.
pub(in crate::sandbox) async fn respond(state: &State, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let addresses = head.extensions.get::<Addresses>();
    let rules = Rules {
        bound: addresses.map_or_else(
            || Ipv4Addr::LOCALHOST.into(),
            |addresses| addresses.local.ip(),
        ),
        methods: METHODS,
    };
    // Loopback addresses may be routed here.
    let is_local = addresses.is_some_and(Addresses::is_local);
    let judged = request_check::admit(is_local, None, false, None).and_then(|()| {
        request_check::check(&head.method, &head.uri, head.version, &head.headers, rules)
    });
    if let Err(refusal) = judged {
        let (code, message) = (refusal.code, refusal.message);
        return if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
            response::method_not_allowed("GET, HEAD, PUT, DELETE", code, message)
        } else {
            response::error(refusal.status, code, message)
        };
    }
    if head.uri.path() != PATH {
        let message = "the faults of the sandbox are at /_sandbox/faults";
        return response::error(StatusCode::NOT_FOUND, "NotFound", message);
    }
    match head.method {
        Method::PUT => {
            let text = match request::receive(body).await {
                Ok(text) => text,
                Err(refusal) => {
                    return response::error(refusal.status, &refusal.code, &refusal.message);
                }
            };
            match Plan::parse(&String::from_utf8_lossy(&text)) {
                Ok(plan) => replace(state, plan),
                Err(mistakes) => {
                    let message = mistakes.join("\n");
                    return response::error(StatusCode::BAD_REQUEST, "InvalidFaults", &message);
                }
            }
        }
        Method::DELETE => replace(state, Plan::default()),
        _ => {}
    }
    told(state)
}

fn replace(state: &State, plan: Plan) {
    let faults = plan.as_str();
    if faults.is_empty() {
        info!("The sandbox is healed");
    } else {
        info!(faults, "The sandbox has faults from now on");
    }
    state.faults.replace(plan);
}

fn told(state: &State) -> Response<Body> {
    let (faults, met) = state.faults.told();
    let told = json!({
        "Faults": faults,
        "Calls": *state.record.count().borrow(),
        "Answered": state.record.answers(),
        "Met": met,
    });
    response::json(StatusCode::OK, told.to_string().into())
}

/// Where the faults are.
pub(in crate::sandbox) const PATH: &str = "/_sandbox/faults";

const METHODS: &[Method] = &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE];
