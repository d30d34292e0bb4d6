//! `serve`: the daemon.

mod systemd;

use secrecy::ExposeSecret as _;

use crate::config::Config;
use crate::daemon::{App, Error, Handle};
use crate::system::process;
use crate::system::signal::{Request, Signals};

use super::announce;

/// Serves until a signal, or until a program of the pod asks for the stop; tells systemd how things are if it `is_service`.
pub async fn run(config: Config, is_service: bool) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(|source| Error::System {
        what: "listen to signals",
        source,
    })?;
    let App { handle, mut engine } = App::start(config, process::raise_open_files()).await?;
    let first = async {
        handle.credentials().await;
        announce(&format!(
            "ALIBABA_CLOUD_CREDENTIALS_URI={}\n",
            handle.uri.expose_secret()
        ));
        std::future::pending::<()>().await;
    };
    let told = async {
        if is_service {
            handle.follow(systemd::tell).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stopped(&mut signals, &handle) => {}
        () = handle.stop_asked() => {}
        ended = engine.ended() => return Err(ended),
        () = first => {}
        () = told => {}
    }
    if is_service {
        systemd::stopping().await;
    }
    // Whoever asks for the stop has done its work: the drain is for those who are told to stop as well.
    let impatient = stopped(&mut signals, &handle);
    engine.leave(handle.stop_asked(), impatient).await
}

/// Waits for a request to stop, and passes on those to renew.
async fn stopped(signals: &mut Signals, handle: &Handle) {
    while signals.next().await == Request::Renew {
        handle.renew();
    }
}
