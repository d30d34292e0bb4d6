//! Where and how credentials are served.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::server::data::{AllowedCallers, Container};
use crate::server::metadata;
use crate::server::metadata::listing::StaticValues;
use crate::server::token_file::TokenFile;

use super::checker::Checker;
use super::{Metadata, Serve, parse};

impl Checker {
    pub(super) fn serve(&mut self) -> Option<Serve> {
        let listen = self.value("serve.listen", parse::address);
        let key = self.value("serve.key", parse::key);
        let allow_remote = self.value("serve.allow_remote", parse::boolean);
        // What is wrong with it is a mistake, and then there is no configuration.
        let allow_uids = self.value("serve.allow_uids", parse::uids);
        if let (Some(listen), Some(key), Some(allowed)) = (&listen, &key, allow_remote)
            && !listen.ip().is_loopback()
        {
            let (origin, ip) = (self.origin("serve.listen"), listen.ip());
            if !allowed {
                self.problems.push(format!(
                    "{origin}: {ip} can be reached from other machines; listen on 127.0.0.1, or set serve.allow_remote (RAM_SIDECAR_ALLOW_REMOTE)"
                ));
            }
            if parse::key_bits(key) < SECRET {
                let origin = self.origin("serve.key");
                self.problems.push(format!(
                    "{origin}: other machines can reach {ip}, so serve.key must be a random secret of at least {SECRET} bits: 32 hexadecimal digits, or 22 letters and digits of both cases"
                ));
            }
        }
        let container = self.container();
        Some(Serve {
            listen: listen?,
            key: key?.into(),
            admission: AllowedCallers {
                allow_remote: allow_remote?,
                allow_uids,
            },
            container,
        })
    }

    /// Reads the dialect of AWS SDKs; nothing if it is not spoken, or wrongly.
    fn container(&mut self) -> Option<Container> {
        let enabled = self.value("container.enabled", parse::boolean);
        let file = self.given("container.token_file").is_some();
        let token_file = self.value("container.token_file", token_file);
        if file && enabled == Some(false) {
            let origin = self.origin("container.token_file");
            self.problems.push(format!("{origin}: it guards the dialect of AWS SDKs, which is not spoken; set container.enabled (RAM_SIDECAR_CONTAINER) too"));
        }
        (enabled == Some(true)).then_some(Container { token_file })
    }

    /// Reads how the ECS metadata dialect is spoken; nothing if it is not, or wrongly.
    pub(super) fn metadata_dialect(&mut self) -> Option<Metadata> {
        let v2_only = self.value("metadata.v2_only", parse::boolean);
        let role = self.value("metadata.role_name", parse::ecs_role_name);
        let mut text = |key| self.value(key, parse::metadata_value);
        let plain = StaticValues {
            region: text("metadata.region_id"),
            zone: text("metadata.zone_id"),
            instance: text("metadata.instance_id"),
            owner: text("metadata.owner_account_id"),
        };
        self.given("metadata.listen")?;
        let listen = self.value("metadata.listen", metadata_address)?;
        self.not_where_the_identity_asks(listen);
        Some(Metadata {
            listen,
            v2_only: v2_only?,
            role,
            plain,
        })
    }

    /// An identity that asks the metadata service would ask this very process.
    fn not_where_the_identity_asks(&mut self, listen: SocketAddr) {
        let asks = ["ecs_ram_role", "profile"];
        let chosen = self.candidates().into_iter().find(|kind| kind.is_taken);
        let given = self.given("identity.type").map(|given| given.value.clone());
        let kind = given.or_else(|| chosen.map(|chosen| chosen.kind.to_owned()));
        let default = super::settings::find("identity.metadata_url").and_then(|s| s.default);
        let url = self.given("identity.metadata_url");
        let url = url.map_or_else(|| default.unwrap_or_default(), |given| &given.value);
        let host = url::Url::parse(url).ok();
        let address = host.as_ref().and_then(|url| {
            let ip: IpAddr = url.host_str()?.trim_matches(['[', ']']).parse().ok()?;
            Some(SocketAddr::new(ip, url.port_or_known_default()?))
        });
        if address == Some(listen) && kind.is_some_and(|kind| asks.contains(&kind.as_str())) {
            let origin = self.origin("metadata.listen");
            self.problems.push(format!("{origin}: {listen} is where the identity asks the metadata service of the instance, and would then ask this process; choose another identity, or point identity.metadata_url (ALIBABA_CLOUD_IMDS_ENDPOINT) elsewhere"));
        }
    }
}

/// Only addresses that stay on this machine: the dialect has no place for a secret.
fn metadata_address(text: &str) -> Result<SocketAddr, String> {
    let address = parse::address(text)?;
    if address.ip().is_loopback() || address.ip() == IpAddr::from(metadata::ADDRESS) {
        return Ok(address);
    }
    Err(format!(
        "{} can be reached from other machines, and the metadata dialect has no secret; listen on 100.100.100.200:80, or on loopback",
        address.ip()
    ))
}

fn token_file(text: &str) -> Result<TokenFile, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(
            "it is not an absolute path; write the path of a file with the token, from the root"
                .into(),
        );
    }
    TokenFile::new(path).map_err(|reason| format!("{reason}; give a file that holds the token"))
}

/// As much as nobody guesses.
const SECRET: u32 = 128;
