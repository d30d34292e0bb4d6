//! A stub of the ECS instance metadata service, written from its documentation: tokens of the hardened mode, requests
//! without one, the statuses, and the small pages that errors come with.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};

use crate::stubs::{Reply, Request, Stub, now};

/// The running stub.
pub(crate) struct Metadata {
    stub: Stub,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    scene: Mutex<Scene>,
    healed: Condvar,
}

/// What the service knows and how it behaves.
#[derive(Default)]
pub(crate) struct Scene {
    /// The role of the instance, and the fields of its credentials.
    pub(crate) role: Option<(String, Credentials)>,
    /// Whether requests without a token are refused.
    pub(crate) is_hardened: bool,
    /// Whether tokens are given at all.
    pub(crate) has_no_tokens: bool,
    /// What goes wrong with every request.
    pub(crate) fault: Option<Fault>,
    tokens: HashMap<String, DateTime<Utc>>,
    tokens_made: u32,
    asked: Vec<String>,
}

/// The credentials of a role.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) access_key_secret: String,
    pub(crate) security_token: String,
    pub(crate) expiration: String,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// No answer for longer than anyone waits.
    Hang,
    /// A status with the service's page.
    Status(u16),
    /// Something that is not the document.
    Garbage,
    /// Half the document.
    Torn,
}

impl Metadata {
    /// Starts on a free port of the loopback address.
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    /// Starts at an address that is free.
    pub(crate) fn start_at(address: &str) -> Self {
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let stub = Stub::start_at(address, move |request| shared.answer(request));
        Self { stub, state }
    }

    /// Returns the address without a path.
    pub(crate) fn url(&self) -> String {
        self.stub.endpoint()
    }

    /// Changes what the service knows or how it behaves.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Scene)) {
        change(&mut self.state.scene.lock().unwrap());
        self.state.healed.notify_all();
    }

    /// Voids every token.
    pub(crate) fn revoke_tokens(&self) {
        self.change(|scene| scene.tokens.clear());
    }

    /// Returns how many tokens were given.
    pub(crate) fn tokens_made(&self) -> u32 {
        self.state.scene.lock().unwrap().tokens_made
    }

    /// Returns what was asked: method, path, and `+` behind those with a token.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.scene.lock().unwrap().asked.clone()
    }
}

impl State {
    fn answer(&self, request: &Request) -> Reply {
        let mut scene = self.scene.lock().unwrap();
        let token = request.header(TOKEN).to_owned();
        let mark = if token.is_empty() { "" } else { " +" };
        scene
            .asked
            .push(format!("{} {}{mark}", request.method, request.path));
        if scene.fault == Some(Fault::Hang) {
            let hangs = |scene: &mut Scene| scene.fault == Some(Fault::Hang);
            // The client has given up by then.
            let waited = tokio::task::block_in_place(|| {
                self.healed
                    .wait_timeout_while(scene, Duration::from_secs(5), hangs)
            });
            scene = waited.unwrap().0;
        }
        if let Some(Fault::Status(status)) = scene.fault {
            return page(status);
        }
        if request.method == "PUT" {
            return scene.token(request);
        }
        let ends_at = scene.tokens.get(&token).copied();
        match (token.is_empty(), ends_at) {
            (true, _) if scene.is_hardened => return page(403),
            (false, None) => return page(401),
            (false, Some(ends_at)) if ends_at <= now() => return page(401),
            _ => {}
        }
        scene.get(&request.path)
    }
}

impl Scene {
    fn token(&mut self, request: &Request) -> Reply {
        if self.has_no_tokens || request.path != "/latest/api/token" {
            return page(404);
        }
        if !request.header("x-forwarded-for").is_empty() {
            return page(403);
        }
        let ttl: Option<i64> = request.header(TOKEN_TTL).parse().ok();
        let Some(ttl @ 1..=21_600) = ttl else {
            return page(400);
        };
        self.tokens_made += 1;
        let token = format!("planted-metadata-token-{}", self.tokens_made);
        self.tokens
            .insert(token.clone(), now() + TimeDelta::seconds(ttl));
        Reply::accepted("text/plain", token)
    }

    fn get(&self, path: &str) -> Reply {
        let Some((role, credentials)) = &self.role else {
            return page(404);
        };
        match path.strip_prefix("/latest/meta-data/ram/security-credentials/") {
            Some("") => Reply::accepted("text/plain", role.clone()),
            Some(asked) if asked == role => {
                let mut document = credentials.document();
                match self.fault {
                    Some(Fault::Garbage) => document = "no document".to_owned(),
                    Some(Fault::Torn) => document.truncate(document.len() / 2),
                    _ => {}
                }
                Reply::accepted("text/plain", document)
            }
            _ => page(404),
        }
    }
}

impl Credentials {
    /// As it was captured: spaces before the colons, and an empty line at the beginning.
    fn document(&self) -> String {
        let Self {
            access_key_id,
            access_key_secret,
            security_token,
            expiration,
        } = self;
        format!(
            "\n{{\n  \"AccessKeyId\" : \"{access_key_id}\",\n  \"AccessKeySecret\" : \"{access_key_secret}\",\n  \
             \"Expiration\" : \"{expiration}\",\n  \"SecurityToken\" : \"{security_token}\",\n  \
             \"LastUpdated\" : \"2024-11-08T03:44:50Z\",\n  \"Code\" : \"Success\"\n}}"
        )
    }
}

fn page(status: u16) -> Reply {
    let text = match status {
        400 => "400 - Missing or Invalid Parameters",
        401 => "401 - Unauthorized",
        403 => "403 - Forbidden",
        404 => "404 - Not Found",
        _ => "The service is not available",
    };
    Reply {
        status: StatusCode::from_u16(status).expect("a status"),
        content_type: "text/html",
        body: format!(
            "<html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>"
        ),
        rejection: Some(text.to_owned()),
    }
}

const TOKEN: &str = "x-aliyun-ecs-metadata-token";
const TOKEN_TTL: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
