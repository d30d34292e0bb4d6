//! The control endpoint: reports, replaces and clears the faults while the sandbox runs.
//!
//! It is served by the sandbox's own listener, which only this machine can reach, and refuses requests from web pages.

use std::net::Ipv4Addr;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use serde_json::json;
use tracing::info;

use crate::sandbox::faults::plan::Plan;
use crate::sandbox::http::request;
use crate::sandbox::server::State;
use crate::server::caller::Addresses;
use crate::server::request_check::{self, Head, Rules};
use crate::server::respond;

/// Whether a path belongs to the control endpoint, and not to STS.
pub(crate) fn is_control_path(path: &str) -> bool {
    path.strip_prefix("/_sandbox")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Handles a request to the control endpoint, and responds with the faults that are then in force.
pub(crate) async fn respond(state: &State, request: Request<Body>) -> Response<Body> {
    let addresses = request.extensions().get::<Addresses>();
    let rules = Rules {
        bound: addresses.map_or_else(
            || Ipv4Addr::LOCALHOST.into(),
            |addresses| addresses.local.ip(),
        ),
        methods: METHODS,
    };
    // Other machines may route packets to a loopback address of this one.
    let is_local = addresses.is_some_and(Addresses::is_local);
    let checked = request_check::admit(is_local, None, false, None)
        .and_then(|()| request_check::check(&Head::of(&request), rules));
    if let Err(refusal) = checked {
        let (code, message) = (refusal.code, refusal.message);
        return if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
            respond::method_not_allowed("GET, HEAD, PUT, DELETE", message)
        } else {
            respond::error(refusal.status, code, message)
        };
    }
    let (head, body) = request.into_parts();
    match head.uri.path() {
        PATH => {}
        LIVE => return respond::json(StatusCode::OK, r#"{"status":"live"}"#.into()),
        _ => {
            let message = "the control endpoint of the sandbox is /_sandbox/faults";
            return respond::not_found(message);
        }
    }
    match head.method {
        Method::PUT => {
            let text = match request::receive(body).await {
                Ok(text) => text,
                Err(error) => return respond::error(error.status, &error.code, &error.message),
            };
            match Plan::parse(&String::from_utf8_lossy(&text)) {
                Ok(plan) => replace(state, plan),
                Err(errors) => {
                    let message = errors.join("\n");
                    return respond::error(StatusCode::BAD_REQUEST, "InvalidFaults", &message);
                }
            }
        }
        Method::DELETE => replace(state, Plan::default()),
        _ => {}
    }
    report(state)
}

fn replace(state: &State, plan: Plan) {
    let faults = plan.as_str();
    if faults.is_empty() {
        info!("Faults of the sandbox cleared");
    } else {
        info!(faults, "Faults of the sandbox replaced");
    }
    state.faults.replace(plan);
}

fn report(state: &State) -> Response<Body> {
    let (faults, counts) = state.faults.report();
    let report = json!({
        "Faults": faults,
        "Calls": *state.record.count().borrow(),
        "Answered": state.record.responses(),
        "Met": counts,
    });
    respond::json(StatusCode::OK, report.to_string().into())
}

/// The path of the control endpoint.
pub(crate) const PATH: &str = "/_sandbox/faults";

/// The path of its probe, which answers as that of a daemon.
pub(crate) const LIVE: &str = "/_sandbox/live";

const METHODS: &[Method] = &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE];
