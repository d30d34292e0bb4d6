//! What surrounds a client: its variables and files, and what is known of servers.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

use super::Home;
use super::address::{Address, URI};

/// The surroundings of a client.
pub struct Surroundings<'a> {
    /// Looks up a variable.
    pub variable: &'a dyn Fn(&str) -> Option<Value>,
    /// Reads a file.
    pub file: &'a dyn Fn(&str) -> FileState,
    /// The home directory of the user's account.
    pub account_home: Option<String>,
    /// The ECS metadata service.
    pub metadata: Metadata,
    /// What the credentials URI has answered; `None` if it was not asked.
    pub served: Option<Served>,
    /// Why the credential service of a container accepts no connection, if it was tried.
    pub container_failure: Option<String>,
}

/// The value of a variable.
#[derive(Clone, Debug)]
pub enum Value {
    /// The value, which may be a secret.
    Known(SecretString),
    /// It is set, but cannot be seen from here.
    Unseen,
}

impl Value {
    /// Makes a known value.
    pub fn known(text: impl Into<String>) -> Self {
        Self::Known(text.into().into())
    }

    /// Returns the value, if it is known.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Known(text) => Some(text.expose_secret()),
            Self::Unseen => None,
        }
    }
}

/// What is known of a file.
#[derive(Debug)]
pub enum FileState {
    /// Its text, which may contain secrets.
    Text(SecretString),
    /// It is not UTF-8: its text with marks in the place of what is not.
    Garbled(SecretString),
    /// There is none.
    Missing,
    /// It cannot be read: why.
    Unreadable(String),
    /// It cannot be seen from here.
    Unseen,
}

/// What is known of the ECS metadata service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// Its address is this machine: it is ours.
    Ours,
    /// It has credentials, which are not ours.
    Others {
        /// Their AccessKey ID.
        access_key_id: String,
    },
    /// It accepts connections.
    Reachable,
    /// It does not.
    Unreachable,
    /// Nobody has tried.
    Unknown,
}

/// What the credentials URI has answered.
#[derive(Clone, Debug)]
pub enum Served {
    /// Credentials.
    Credentials {
        /// Their AccessKey ID.
        access_key_id: String,
        /// When they expire.
        expires_at: String,
    },
    /// Credentials that are not there yet.
    Later {
        /// What variables have in the place of their AccessKey ID.
        access_key_id: String,
    },
    /// Nothing that can be used.
    Nothing {
        /// Why.
        reason: String,
        /// What to do.
        remedy: String,
    },
}

impl Surroundings<'_> {
    /// Returns a variable that is set and not empty.
    pub(super) fn set(&self, name: &str) -> Option<Value> {
        (self.variable)(name).filter(|value| value.text() != Some(""))
    }

    /// Returns the text of a variable, if it is set, not empty and known.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.set(name)?.text().map(str::to_owned)
    }

    /// Whether a variable is `true`, in any case.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// Returns the address of the credentials URI.
    pub(super) fn uri(&self) -> Option<Address> {
        Address::parse(&self.text(URI)?).ok()
    }

    /// Returns the home directory.
    pub(super) fn home(&self, home: Home) -> String {
        let variable = || self.text("HOME");
        let found = match home {
            Home::Variable => variable().or_else(|| self.account_home.clone()),
            Home::Account => self.account_home.clone().or_else(variable),
            Home::Java => self
                .property("user.home")
                .or_else(|| self.account_home.clone())
                .or_else(variable),
        };
        found.unwrap_or_else(|| "~".to_owned())
    }

    /// Returns a property that variables give to every Java virtual machine.
    pub(super) fn property(&self, name: &str) -> Option<String> {
        let options = ["JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS"];
        let found = options.into_iter().find_map(|variable| {
            let text = self.text(variable)?;
            let mut words = text.split_whitespace();
            words.find_map(|word| {
                let (key, value) = word.strip_prefix("-D")?.split_once('=')?;
                (key == name).then(|| value.to_owned())
            })
        });
        found.filter(|value| !value.is_empty())
    }

    /// Returns the variable whose proxy takes a request to `host`, which may be on this machine.
    pub(super) fn proxy(
        &self,
        proxy: super::Proxy,
        host: &str,
        is_local: bool,
    ) -> Option<&'static str> {
        let variable = ["HTTP_PROXY", "http_proxy"]
            .into_iter()
            .find(|name| self.set(name).is_some())?;
        let is_excluded = || {
            let list = ["NO_PROXY", "no_proxy"]
                .into_iter()
                .find_map(|name| self.text(name));
            let list = list.unwrap_or_default();
            let mut hosts = list.split([',', ' ']);
            hosts.any(|entry| {
                entry == "*" || entry == host || entry.strip_suffix(":80") == Some(host)
            })
        };
        let is_used = match proxy {
            super::Proxy::Never => false,
            super::Proxy::Always => true,
            super::Proxy::Excluding => !is_local && !is_excluded(),
        };
        is_used.then_some(variable)
    }
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}
