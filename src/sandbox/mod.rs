//! An embedded STS, for demonstrations and tests: a faithful imitation of STS 2015-04-01 on loopback.
//!
//! It checks what STS is documented to check (signatures, nonces, timestamps, tokens, trust policies, the bounds of
//! every parameter) and answers with the documented codes; it has not been compared with STS itself. Nothing that it
//! issues is valid anywhere else, and everything says so. Its signature check is its own, written from the
//! specification: it shares no code with the daemon's signer.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use ram_sidecar::sandbox::{Fault, Options, Sandbox, Times};
//!
//! let sandbox = Sandbox::start(Options::default()).await?;
//! // Point a client at `sandbox.endpoint()`, with `sandbox.access_key_id()` and its secret, and then:
//! sandbox.inject(Fault::InternalError, Times::Next(2));
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//!
//! It speaks HTTP without TLS, answers in JSON whatever `Format` asks for, and does not know `AssumeRoleWithSAML`. Of
//! signatures it knows those of RPC (`SignatureVersion` 1.0) and of V3 (`ACS3-HMAC-SHA256`). Of what a role may do it
//! knows `sts:AssumeRole` only; session policies are evaluated, but for their conditions. Where STS documents nothing,
//! the place in the code says so.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{Instrument as _, info};

use crate::time::clock::Clock;

mod account;
mod actions;
mod auth;
mod faults;
mod http;
mod issue;
mod options;
mod policy;
mod random;
#[cfg(test)]
mod tests;
mod world;

pub use self::account::AccessKey;
pub use self::auth::oidc_token::Flaw;
pub use self::auth::verify::verified;
pub use self::faults::fault::{Fault, Times};
pub use self::faults::plan::{FAULTS, Plan};
pub use self::http::record::Seen;
pub use self::issue::Issued;
pub use self::options::Options;
pub use self::policy::trust::InvalidPolicy;

use self::faults::Faults;
use self::http::State;
use self::http::record::Record;
use self::random::Random;

/// A running sandbox; dropping it stops the server and its connections.
pub struct Sandbox {
    address: SocketAddr,
    role_arn: String,
    state: Arc<State>,
    server: JoinHandle<()>,
}

impl Sandbox {
    /// Binds loopback and serves on the current tokio runtime. Refuses an address that other machines reach.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn start(options: Options) -> io::Result<Self> {
        if !options.listen.ip().is_loopback() {
            let reason = "other machines can reach it, and nothing here is for them";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let random = Random::seeded().map_err(io::Error::other)?;
        let clock = options.clock.clone();
        let world = options.world(&random)?;
        let role_arn = world.role_arn(&options.role_name);
        let state = Arc::new(State {
            clock,
            random,
            world: Mutex::new(world),
            faults: Faults::planned(options.faults),
            record: Record::empty(),
        });
        let server = tokio::spawn(http::serve(listener, Arc::clone(&state)).in_current_span());
        let faults_at = format!("http://{address}{}", http::control::PATH);
        info!(%address, role_arn, faults_at, "Sandbox STS listens; nothing it issues is valid anywhere else");
        Ok(Self {
            address,
            role_arn,
            state,
            server,
        })
    }

    /// Returns the URL of the server, such as `http://127.0.0.1:7005`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the clock that the sandbox goes by: shifting it makes a skew.
    pub fn clock(&self) -> &Clock {
        &self.state.clock
    }
}

/// OIDC.
impl Sandbox {
    /// Returns the ARN of the OIDC provider.
    pub fn oidc_provider_arn(&self) -> String {
        self.state.world().provider.arn.clone()
    }

    /// Mints a token of the OIDC provider, as Kubernetes would for a service account.
    ///
    /// Is refused if [`Options::oidc_keys`] gave the provider another key set. Blocks for as long as it takes to make
    /// an RSA key, the first time in a process.
    pub fn oidc_token(&self, subject: &str, audience: &str, lifetime: Duration) -> String {
        self.mint(subject, audience, lifetime, None)
    }

    /// Mints a token that differs from a good one by its flaw.
    pub fn flawed_oidc_token(
        &self,
        flaw: Flaw,
        subject: &str,
        audience: &str,
        lifetime: Duration,
    ) -> String {
        self.mint(subject, audience, lifetime, Some(flaw))
    }

    fn mint(
        &self,
        subject: &str,
        audience: &str,
        lifetime: Duration,
        flaw: Option<Flaw>,
    ) -> String {
        let issuer = self.state.world().provider.issuer.clone();
        let audiences = &[audience];
        auth::oidc_token::Order {
            issuer: &issuer,
            subject,
            audiences,
            lifetime,
            flaw,
        }
        .mint(self.state.clock.now().wall, &self.state.random)
    }
}

/// What was issued, what arrived, what goes wrong.
impl Sandbox {
    /// Returns credentials that were issued, also for about an hour after they have expired.
    ///
    /// Stub services look up here who signed a request; they must compare the expiry themselves.
    pub fn issued(&self, access_key_id: &str) -> Option<Issued> {
        self.state.world().ledger.find(access_key_id).cloned()
    }

    /// Returns the latest requests, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.state.record.latest()
    }

    /// Returns how many requests have arrived so far.
    pub fn request_count(&self) -> u64 {
        *self.state.record.count().borrow()
    }

    /// Waits until so many requests have arrived since the start. Cancel safe.
    pub async fn wait_for_requests(&self, count: u64) {
        // The sender lives as long as `self`.
        let _ = self
            .state
            .record
            .count()
            .wait_for(|arrived| *arrived >= count)
            .await;
    }

    /// Lets something go wrong, after what was injected before has run its course.
    pub fn inject(&self, fault: Fault, times: Times) {
        self.state.faults.inject(fault, times);
    }

    /// Lets things go wrong by a plan, in place of all faults before it. What hangs meets the new ones.
    pub fn set_faults(&self, plan: Plan) {
        self.state.faults.replace(plan);
    }

    /// Takes all faults back, and answers what hangs.
    pub fn heal(&self) {
        self.state.faults.replace(Plan::default());
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, role_arn) = (&self.address, &self.role_arn);
        f.debug_struct("Sandbox")
            .field("address", address)
            .field("role_arn", role_arn)
            .finish_non_exhaustive()
    }
}
