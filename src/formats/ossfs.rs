//! A directory with one file for each value, under the names of the container storage interface driver of Alibaba Cloud.
//!
//! `JindoSDK` reads it as `secrets:///DIRECTORY/`. ossfs 1.91.10 refuses a directory as its `passwd_file`.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use crate::credentials::{Credentials, timestamp};

/// Renders the files of the directory, by name. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> impl Iterator<Item = (&'static str, Bytes)> {
    let wiped = |text: &str| Bytes::from_owner(Zeroizing::new(text.as_bytes().to_vec()));
    let [id, secret, token] = super::parts(credentials).map(wiped);
    let end = timestamp(credentials.expires_at).into();
    NAMES.into_iter().zip([id, secret, token, end])
}

/// Reads the file [`EXPIRATION`].
pub fn expiration(file: &[u8]) -> Option<DateTime<Utc>> {
    super::time(std::str::from_utf8(file).ok()?)
}

/// The names of all files.
pub const NAMES: [&str; 4] = [
    "AccessKeyId",
    "AccessKeySecret",
    "SecurityToken",
    EXPIRATION,
];

/// The file with the expiration of the credentials.
pub const EXPIRATION: &str = "Expiration";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::store::tests::credentials;

    #[test]
    fn each_value_is_a_file_and_so_is_the_expiration() {
        let credentials = credentials("x");
        let files: Vec<(&str, Bytes)> = render(&credentials).collect();
        let texts: Vec<_> = files
            .iter()
            .map(|(name, file)| (*name, &file[..]))
            .collect();
        assert_eq!(
            texts,
            [
                ("AccessKeyId", &b"STS.x"[..]),
                ("AccessKeySecret", b"secret-of-x"),
                ("SecurityToken", b"token-of-x"),
                (EXPIRATION, b"2024-05-21T11:39:29Z"),
            ]
        );
        assert_eq!(expiration(&files[3].1), Some(credentials.expires_at));
        assert_eq!(expiration(b"soon"), None);
        assert_eq!(expiration(b"\xff"), None);
    }
}
