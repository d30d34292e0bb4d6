//! Addresses, keys, users and values of the metadata dialect.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::credentials::is_made_of;
use crate::server::token_file::TokenFile;
use crate::server::{self, metadata};

use super::{accept, list, one_of};

/// Reads an IP address and a port. `localhost` is this machine's loopback, without a look-up.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let address = match text.strip_prefix("localhost:").map(str::parse) {
        Some(Ok(port)) => Some(SocketAddr::new(server::loopback(), port)),
        _ => text.parse().ok(),
    };
    address.ok_or_else(|| format!("`{text}` {}", why_no_address(text)))
}

/// Says why a text is not an address, and how to write it.
fn why_no_address(text: &str) -> String {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let is_ipv6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    let is_host =
        |text: &str| text == "localhost" || format!("{text}:0").parse::<SocketAddr>().is_ok();
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    if host.is_empty() && is_port(port) {
        format!(
            "has no IP address; write 127.0.0.1:{port} for this machine, or 0.0.0.0:{port} for all of its addresses"
        )
    } else if is_host(text) {
        format!("has no port; write it like {text}:7002")
    } else if is_ipv6(host) && is_port(port) {
        format!("has no brackets around its IPv6 address; write [{host}]:{port}")
    } else if is_ipv6(text) {
        format!("has no port; write it like [{text}]:7002")
    } else if is_host(host) {
        format!("has no port from 0 to 65535; write it like {host}:7002")
    } else {
        "is not an address; write an IP address and a port, like 127.0.0.1:7002 or [::1]:7002"
            .to_owned()
    }
}

/// Reads an address; `None` for `off`.
pub(crate) fn address_or_off(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    let address = address(text).map_err(|reason| format!("{reason}, or off"))?;
    Ok(Some(address))
}

/// Reads an address that other machines cannot reach: the metadata dialect does not support a secret.
pub(crate) fn metadata_address(text: &str) -> Result<SocketAddr, String> {
    let address = address(text)?;
    if address.ip().is_loopback() || address.ip() == IpAddr::from(metadata::ADDRESS) {
        return Ok(address);
    }
    Err(format!(
        "{} can be reached from other machines, and the metadata dialect does not support a secret; listen on 100.100.100.200:80, or on loopback",
        address.ip()
    ))
}

/// Reads the path of a file with a token, which must exist.
pub(crate) fn token_file(text: &str) -> Result<TokenFile, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(
            "it is not an absolute path; write the path of a file with the token, from the root"
                .into(),
        );
    }
    TokenFile::new(path)
        .map_err(|reason| format!("{reason}; set the path of a file that contains the token"))
}

/// Reads who may stop the daemon: whether anyone may, or only its owner.
pub(crate) fn may_anyone_stop(text: &str) -> Result<bool, String> {
    one_of(
        text,
        "who may stop it",
        &[("owner", false), ("anyone", true)],
    )
}

/// Reads host names, without ports.
pub(crate) fn host_names(text: &str) -> Result<Vec<String>, String> {
    let names = list(text)?;
    match names.iter().find(|name| !is_made_of(name, 1..=253, "-._")) {
        None => Ok(names),
        Some(name) => Err(format!(
            "`{name}` is not a host name; write names without a port, like probe.example.com"
        )),
    }
}

pub(crate) fn uids(text: &str) -> Result<Vec<u32>, String> {
    let uid = |text: &String| {
        text.parse()
            .map_err(|_| format!("`{text}` is not a user id; write numbers, like 0,1000"))
    };
    list(text)?.iter().map(uid).collect()
}

/// Reads a value that the metadata dialect returns unchanged.
pub(crate) fn metadata_value(text: &str) -> Result<String, String> {
    accept(text, is_made_of(text, 1..=64, "-._"), || {
        "it is not an id; use 1 to 64 letters, digits or `-`, `.`, `_`".to_owned()
    })
}

/// Estimates the bits of a random key by its length, and by the smallest usual alphabet that contains it.
pub(crate) fn key_bits(key: &str) -> u32 {
    let of = |fits: fn(&u8) -> bool| key.bytes().all(|b| fits(&b) || b"-._~".contains(&b));
    // Thousandths of a bit: the binary logarithms of 10, 16, 36 and 62.
    let per_character = if of(u8::is_ascii_digit) {
        3322
    } else if of(u8::is_ascii_hexdigit) {
        4000
    } else if of(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        || of(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
    {
        5170
    } else {
        5954
    };
    // Long sequences such as `aaaa…` and `abcd…` are not secrets.
    let kinds: BTreeSet<u8> = key.bytes().collect();
    let pairs = key.bytes().zip(key.bytes().skip(1));
    let steps: BTreeSet<u8> = pairs.map(|(one, next)| next.wrapping_sub(one)).collect();
    if kinds.len() < 8 || steps.len() < 8 {
        return 0;
    }
    let counted = key.bytes().filter(u8::is_ascii_alphanumeric).count();
    u32::try_from(counted)
        .unwrap_or(u32::MAX)
        .saturating_mul(per_character)
        / 1000
}

/// Reads a key, of characters that clients do not percent-encode.
pub(crate) fn key(text: &str) -> Result<String, String> {
    let is_key = is_made_of(text, 1..=128, "-._~") && text != "." && text != "..";
    accept(text, is_key, || {
        "it is not a key; use 1 to 128 letters, digits or `-`, `.`, `_`, `~`".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_read_is_shown_as_it_is_to_be_written() {
        for (text, reason) in [
            (":7002", "has no IP address; write 127.0.0.1:7002 for"),
            ("7002", "has no IP address; write 127.0.0.1:7002 for"),
            ("localhost", "has no port; write it like localhost:7002"),
            ("10.0.0.1", "has no port; write it like 10.0.0.1:7002"),
            ("[::1]", "has no port; write it like [::1]:7002"),
            ("::1", "has no port; write it like [::1]:7002"),
            ("fe80::a:b", "has no port; write it like [fe80::a:b]:7002"),
            (
                "::1:7002",
                "has no brackets around its IPv6 address; write [::1]:7002",
            ),
            (
                "1:2:3:4:5:6:7:8:80",
                "has no brackets around its IPv6 address; write [1:2:3:4:5:6:7:8]:80",
            ),
            (
                "localhost:99999",
                "has no port from 0 to 65535; write it like localhost:7002",
            ),
            (
                "[::1]:x",
                "has no port from 0 to 65535; write it like [::1]:7002",
            ),
            ("127.0.0.1: 7002", "has no port from 0 to 65535"),
            ("127.0.0.1:", "has no port from 0 to 65535"),
            ("myhost:7002", "is not an address; write an IP address"),
            ("http://127.0.0.1:7002", "is not an address"),
            ("", "is not an address"),
        ] {
            let error = address(text).unwrap_err();
            assert!(error.starts_with(&format!("`{text}` {reason}")), "{error}");
        }
        for text in ["localhost:0", "127.0.0.1:7002", "[::1]:7002"] {
            assert!(address(text).is_ok_and(|address| address.ip().is_loopback()));
        }
    }

    #[test]
    fn key_strength_depends_on_its_alphabet() {
        for (key, is_secret) in [
            ("0", false),
            ("9d464f0d525a17d6b379b2c1660ebe17", true),
            ("9d464f0d525a17d6b379b2c1660ebe1", false),
            ("7d444840-9dc0-11d1-b245-5ffdce74fad2", true),
            ("k3v9q0z7m1x8c2w6t5r4pu", false),
            ("k3v9q0z7m1x8c2w6t5r4puyjd", true),
            ("k3V9q0Z7m1X8c2W6t5R4pu", true),
            ("k3V9q0Z7m1X8c2W6t5R4p", false),
            ("317029458860213947582013648957203148602", true),
            ("31702945886021394758201364895720314860", false),
            ("0123456789abcdef0123456789abcdef", false),
            ("abcdefghijklmnopqrstuvwxyz", false),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(key_bits(key) >= 128, is_secret, "{key}: {}", key_bits(key));
        }
    }
}
