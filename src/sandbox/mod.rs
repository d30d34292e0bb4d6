//! An embedded STS for demonstrations and tests: it imitates STS 2015-04-01 on loopback.
//!
//! # What it checks
//!
//! It checks what the documentation of STS describes: signatures (RPC `SignatureVersion` 1.0 and V3 `ACS3-HMAC-SHA256`), timestamps,
//! nonces, security tokens, OIDC tokens, trust policies and the bounds of every parameter. It responds with the
//! documented codes. It has not been compared with STS itself: comments mark guesses at what STS does not document.
//!
//! It shares no code with the client that it checks. Its verification of signatures is written from the specification,
//! so that an error of the daemon's signer cannot go unnoticed.
//!
//! # What it does not check
//!
//! It speaks HTTP without TLS, always responds in JSON, regardless of `Format`, and does not implement
//! `AssumeRoleWithSAML`. Of a role's permissions it knows only `sts:AssumeRole`. Session policies are evaluated except
//! for their conditions.
//!
//! Nothing that it issues is valid anywhere else; the credentials and the log say so.
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
mod oidc;
mod options;
mod policy;
mod random;
mod server;
#[cfg(test)]
mod tests;

pub use self::account::ledger::Issued;
pub use self::account::manage::AccessKey;
pub use self::auth::verify_signature;
pub use self::faults::fault::{Fault, Times};
pub use self::faults::plan::{FAULTS, Plan};
pub use self::http::response::ApiError;
pub use self::oidc::check_key_set;
pub use self::oidc::token::TokenDefect;
pub use self::options::{ACCOUNT_ID, Options, role_arn};
pub use self::policy::trust::InvalidPolicy;
pub(crate) use self::server::control::LIVE;
pub use self::server::record::RecordedRequest;

use self::faults::Faults;
use self::oidc::token::{Signer, TokenClaims};
use self::random::Random;
use self::server::State;
use self::server::record::Record;

/// A running sandbox; dropping it stops the server and closes its connections.
pub struct Sandbox {
    address: SocketAddr,
    role_arn: String,
    signer: Signer,
    state: Arc<State>,
    server: JoinHandle<()>,
}

impl Sandbox {
    /// Binds a loopback address and serves on the current tokio runtime. Refuses an address that other machines can reach.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn start(options: Options) -> io::Result<Self> {
        if !options.listen.ip().is_loopback() {
            let reason = "other machines can reach it, and the sandbox is for this machine only";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let random = Random::seeded().map_err(io::Error::other)?;
        let clock = options.clock.clone();
        let signer = Signer::generate().map_err(io::Error::other)?;
        let account = options.account(&random, &signer)?;
        let role_arn = account.role_arn(options::ROLE_NAME);
        let state = Arc::new(State {
            clock,
            random,
            account: Mutex::new(account),
            faults: Faults::new(options.faults),
            record: Record::default(),
        });
        let server = tokio::spawn(server::serve(listener, Arc::clone(&state)).in_current_span());
        let faults_at = format!("http://{address}{}", server::control::PATH);
        info!(%address, role_arn, faults_at, "Sandbox STS listens; its credentials are not valid anywhere else");
        Ok(Self {
            address,
            role_arn,
            signer,
            state,
            server,
        })
    }

    /// Returns the URL of the server, such as `http://127.0.0.1:7005`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the clock of the sandbox, which can be shifted to simulate a skew.
    pub fn clock(&self) -> &Clock {
        &self.state.clock
    }
}

/// OIDC.
impl Sandbox {
    /// Returns the ARN of the OIDC provider.
    pub fn oidc_provider_arn(&self) -> String {
        self.state.account().provider.arn.clone()
    }

    /// Returns the public key that verifies the tokens of this sandbox: a JSON Web Key Set, as an issuer publishes it.
    pub fn oidc_keys(&self) -> String {
        self.signer.key_set()
    }

    /// Issues a token of the OIDC provider, as Kubernetes would for a service account.
    ///
    /// It is signed with ES256. The sandbox refuses the token if [`Options::oidc_keys`] configures another key set.
    pub fn oidc_token(&self, subject: &str, audience: &str, lifetime: Duration) -> String {
        self.sign_token(None, subject, audience, lifetime)
    }

    /// Issues a token whose only fault is its defect.
    pub fn invalid_oidc_token(
        &self,
        defect: TokenDefect,
        subject: &str,
        audience: &str,
        lifetime: Duration,
    ) -> String {
        self.sign_token(Some(defect), subject, audience, lifetime)
    }

    fn sign_token(
        &self,
        defect: Option<TokenDefect>,
        subject: &str,
        audience: &str,
        lifetime: Duration,
    ) -> String {
        let claims = TokenClaims {
            issuer: &self.state.account().provider.issuer.clone(),
            subject,
            audience,
            lifetime,
        };
        let now = self.state.clock.now().wall;
        claims.sign(&self.signer, defect, now, &self.state.random)
    }
}

/// Issued credentials, requests and faults.
impl Sandbox {
    /// Returns credentials that were issued, until about an hour after their expiry.
    ///
    /// Stub services use it to find out who signed a request; they must check the expiry themselves.
    pub fn issued(&self, access_key_id: &str) -> Option<Issued> {
        self.state.account().ledger.find(access_key_id).cloned()
    }

    /// Returns the latest requests, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.record.latest()
    }

    /// Returns the number of requests so far.
    pub fn request_count(&self) -> u64 {
        *self.state.record.count().borrow()
    }

    /// Waits until at least `count` requests have arrived since the start. Cancel safe.
    pub async fn wait_for_requests(&self, count: u64) {
        let mut arrived = self.state.record.count();
        // The sender lives as long as `self`.
        let _ = arrived.wait_for(|arrived| *arrived >= count).await;
    }

    /// Adds a fault, which applies after the faults that were injected earlier.
    pub fn inject(&self, fault: Fault, times: Times) {
        self.state.faults.inject(fault, times);
    }

    /// Replaces all faults by those of a plan, which then apply to hanging requests too.
    pub fn set_faults(&self, plan: Plan) {
        self.state.faults.replace(plan);
    }

    /// Removes all faults, so that hanging requests get a response.
    pub fn clear_faults(&self) {
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
