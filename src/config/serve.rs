//! Where and how credentials are served.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::files::credentials_file::CredentialsFile;
use crate::server::admin::StopCallers;
use crate::server::data::{AllowedCallers, Container};
use crate::server::metadata::listing::Key;

use super::checker::{Checker, Reported};
use super::parse::Kind;
use super::{Admin, Metadata, Serve, identity, parse, settings};

pub(super) fn read(checker: &mut Checker) -> Result<Serve, Reported> {
    let listen = checker.value(&settings::SERVE_LISTEN);
    let key = checker.value(&settings::SERVE_KEY);
    let allow_remote = checker.value(&settings::SERVE_ALLOW_REMOTE);
    let allow_uids = checker.optional(&settings::SERVE_ALLOW_UIDS);
    let print_uri = checker.value(&settings::SERVE_PRINT_URI);
    if let (Ok(listen), Ok(key), Ok(allowed)) = (&listen, &key, &allow_remote)
        && !listen.ip().is_loopback()
    {
        let ip = listen.ip();
        if !allowed {
            let reason = format!(
                "{ip} can be reached from other machines; listen on 127.0.0.1, or set serve.allow_remote (RAM_SIDECAR_ALLOW_REMOTE)"
            );
            checker.reject(&settings::SERVE_LISTEN, &reason);
        }
        if parse::key_bits(key) < MIN_KEY_BITS {
            let reason = format!(
                "other machines can reach {ip}, so serve.key must be a random secret of at least {MIN_KEY_BITS} bits: 32 hexadecimal digits, or 22 letters and digits of both cases"
            );
            checker.reject(&settings::SERVE_KEY, &reason);
        }
    }
    let container = container(checker);
    Ok(Serve {
        listen: listen?,
        key: key?.into(),
        admission: AllowedCallers {
            allow_remote: allow_remote?,
            allow_uids: allow_uids?,
        },
        print_uri: print_uri?,
        container: container?,
    })
}

/// Reads how AWS SDKs are served; `None` if the dialect is disabled.
pub(super) fn container(checker: &mut Checker) -> Result<Option<Container>, Reported> {
    let enabled = checker.value(&settings::CONTAINER_ENABLED);
    let token_file = checker.optional(&settings::CONTAINER_TOKEN_FILE);
    let enabled = enabled?;
    if checker.given(&settings::CONTAINER_TOKEN_FILE).is_some() && !enabled {
        checker.reject(&settings::CONTAINER_TOKEN_FILE, "it protects the dialect of AWS SDKs, which is disabled; set container.enabled (RAM_SIDECAR_CONTAINER) too");
    }
    let token_file = token_file?;
    Ok(enabled.then_some(Container { token_file }))
}

/// Reads how the ECS metadata dialect is served; `None` if it is disabled.
pub(super) fn metadata(checker: &mut Checker) -> Result<Option<Metadata>, Reported> {
    let v2_only = checker.value(&settings::METADATA_V2_ONLY);
    let role = checker.optional(&settings::METADATA_ROLE_NAME);
    let region = checker.optional(&settings::METADATA_REGION_ID);
    let zone = checker.optional(&settings::METADATA_ZONE_ID);
    let instance = checker.optional(&settings::METADATA_INSTANCE_ID);
    let owner = checker.optional(&settings::METADATA_OWNER_ACCOUNT_ID);
    let allow_uids = checker.optional(&settings::SERVE_ALLOW_UIDS);
    let Some(listen) = checker.optional(&settings::METADATA_LISTEN)? else {
        return Ok(None);
    };
    reject_own_metadata(checker, listen)?;
    let values = [
        region?.map(|value| (Key::Region, value)),
        zone?.map(|value| (Key::Zone, value)),
        instance?.map(|value| (Key::Instance, value)),
        owner?.map(|value| (Key::Owner, value)),
    ];
    Ok(Some(Metadata {
        listen,
        v2_only: v2_only?,
        role: role?,
        static_values: values.into_iter().flatten().collect(),
        allow_uids: allow_uids?,
    }))
}

/// Reads what the admin listener serves, and to whom.
pub(super) fn admin(checker: &mut Checker, host_name: &str) -> Result<Admin, Reported> {
    let listen = checker.value(&settings::ADMIN_LISTEN);
    let may_anyone_stop = checker.value(&settings::ADMIN_STOP);
    let allow_uids = checker.optional(&settings::SERVE_ALLOW_UIDS);
    let mut hosts = checker
        .optional(&settings::ADMIN_HOSTS)?
        .unwrap_or_default();
    hosts.push(host_name.to_owned());
    let stop_callers = match (may_anyone_stop?, allow_uids?) {
        (true, allow_uids) => StopCallers::Anyone(allow_uids),
        (false, _) => StopCallers::Owner,
    };
    Ok(Admin {
        listen: listen?,
        stop_callers,
        hosts,
    })
}

/// Rejects listeners that would hold the same address. Each is named by its setting.
pub(super) fn distinct(checker: &mut Checker, listeners: &[(&str, Option<SocketAddr>)]) {
    let given = listeners
        .iter()
        .filter_map(|(name, address)| Some((*name, (*address)?)));
    let given: Vec<(&str, SocketAddr)> = given.collect();
    for (index, (name, address)) in given.iter().enumerate() {
        for (other, other_address) in given.iter().skip(index + 1) {
            if overlap(*address, *other_address) {
                checker.report(format!(
                    "{name} and {other} are the same address, {other_address}; give one of them another port"
                ));
            }
        }
    }
}

/// Whether two listeners cannot both have their addresses: the data listener takes the port of both 127.0.0.1 and `::1`.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let takes =
        |one: IpAddr, other: IpAddr| one.is_unspecified() && (one.is_ipv6() || other.is_ipv4());
    let (port, one, other) = ((one.port(), other.port()), one.ip(), other.ip());
    let is_loopback = one == Ipv4Addr::LOCALHOST && other == Ipv6Addr::LOCALHOST;
    port.0 == port.1
        && port.0 != 0
        && (one == other || is_loopback || takes(one, other) || takes(other, one))
}

/// Rejects the address of the metadata service that the identity uses: the identity would call this process.
fn reject_own_metadata(checker: &mut Checker, listen: SocketAddr) -> Result<(), Reported> {
    if !matches!(
        identity::selected_kind(checker),
        Ok(Kind::EcsRamRole | Kind::Profile)
    ) {
        return Ok(());
    }
    let url = url::Url::parse(&checker.value(&settings::METADATA_URL)?).ok();
    let address = url.as_ref().and_then(|url| {
        let ip: IpAddr = url.host_str()?.trim_matches(['[', ']']).parse().ok()?;
        Some(SocketAddr::new(ip, url.port_or_known_default()?))
    });
    if address == Some(listen) {
        let reason = format!(
            "{listen} is the address of the metadata service that the identity uses, which would then be this process; choose another identity, or point identity.metadata_url (ALIBABA_CLOUD_IMDS_ENDPOINT) elsewhere"
        );
        return Err(checker.reject(&settings::METADATA_LISTEN, &reason));
    }
    Ok(())
}

/// Reads the credentials files, and reports the errors of each.
pub(super) fn files(checker: &mut Checker) -> Vec<CredentialsFile> {
    let mut files: Vec<CredentialsFile> = Vec::new();
    for (origin, fields) in std::mem::take(&mut checker.layers.files) {
        match parse::file(&fields) {
            Ok(file) if files.iter().any(|other| other.path == file.path) => {
                let path = file.path.display();
                checker.report(format!("{origin}: {path} is configured twice; keep one"));
            }
            Ok(file) => files.push(file),
            Err(reasons) => {
                checker.report_all(&origin.to_string(), &reasons);
            }
        }
    }
    files
}

/// Reads the path of the state file, which must not be that of a credentials file.
pub(super) fn state(
    checker: &mut Checker,
    files: &[CredentialsFile],
) -> Result<Option<PathBuf>, Reported> {
    let path = checker.optional(&settings::STATE_FILE)?;
    if let Some(path) = &path
        && files.iter().any(|file| file.path == *path)
    {
        let path = path.display();
        let reason = format!("{path} is also a credentials file (--file); set another path");
        return Err(checker.reject(&settings::STATE_FILE, &reason));
    }
    Ok(path)
}

/// The strength of a key that cannot be guessed.
const MIN_KEY_BITS: u32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_if_one_listener_would_take_that_of_the_other() {
        for (one, other, expected) in [
            ("127.0.0.1:7003", "127.0.0.1:7003", true),
            ("127.0.0.1:7003", "127.0.0.1:7002", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:7003", "[::1]:7003", true),
            ("127.0.0.1:7003", "127.0.0.2:7003", false),
            ("0.0.0.0:7003", "127.0.0.1:7003", true),
            ("127.0.0.1:7003", "0.0.0.0:7003", true),
            ("0.0.0.0:7003", "[::1]:7003", false),
            ("[::]:7003", "127.0.0.1:7003", true),
        ] {
            let overlap = overlap(one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(overlap, expected, "{one} {other}");
        }
    }
}
