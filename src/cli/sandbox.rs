//! `sandbox`: the embedded STS alone, for tests of other programs.

pub(super) mod flags;

use secrecy::ExposeSecret as _;

use crate::daemon::Error;
use crate::sandbox::{Options, Sandbox};
use crate::system::signal::{Request, Signals};

use super::announce;

/// Serves until a signal.
pub async fn run(options: Options) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(|source| Error::System {
        what: "listen to signals",
        source,
    })?;
    let address = options.listen;
    let sandbox = Sandbox::start(options)
        .await
        .map_err(|source| Error::Bind {
            address,
            setting: "--listen",
            source,
        })?;
    announce(&environment(&sandbox));
    // There is nothing to renew.
    while signals.next().await == Request::Renew {}
    Ok(())
}

/// Returns the variables that lead a client here. Their values need no quotes in a shell.
fn environment(sandbox: &Sandbox) -> String {
    let key = sandbox.access_key();
    format!(
        "ALIBABA_CLOUD_STS_ENDPOINT={}\n\
         ALIBABA_CLOUD_ROLE_ARN={}\n\
         ALIBABA_CLOUD_ACCESS_KEY_ID={}\n\
         ALIBABA_CLOUD_ACCESS_KEY_SECRET={}\n",
        sandbox.endpoint(),
        sandbox.role_arn(),
        key.id,
        key.secret.expose_secret(),
    )
}
