//! The formats in which credentials are written to a file or printed.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::credentials::Credentials;

use super::{aliyun_cli, aws, env, ini, json, json_camel, ossfs, process};

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The document of the URI and of PAI's file.
    Json,
    /// The file of pyodps.
    JsonCamel,
    /// Environment variables.
    Env,
    /// The output of a credential process.
    Process,
    /// A configuration file of aliyun-cli.
    AliyunCli,
    /// A configuration file of ossutil.
    Ini,
    /// A shared credentials file of AWS.
    Aws,
    /// The directory of ossfs.
    Ossfs,
}

impl Format {
    /// Returns the format of a name, out of a list of names.
    pub fn named(name: &str, names: &[(&str, Self)]) -> Option<Self> {
        let found = names.iter().find(|(known, _)| *known == name);
        found.map(|(_, format)| *format)
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        let mut all = FILES.iter().chain(&PRINTED);
        let found = all.find(|(_, format)| *format == self);
        found.map_or("", |(name, _)| name)
    }

    /// Renders the content of a file; empty for the directory of ossfs.
    pub fn file(self, credentials: &Credentials) -> Bytes {
        match self {
            Self::Json => json::render(credentials),
            Self::JsonCamel => json_camel::render(credentials),
            Self::Env => env::file(credentials),
            Self::Process => process::render(credentials),
            Self::AliyunCli => aliyun_cli::render(credentials),
            Self::Ini => ini::render(credentials),
            Self::Aws => aws::render(credentials),
            Self::Ossfs => Bytes::new(),
        }
    }

    /// Renders the output of `get`.
    pub fn printed(self, credentials: &Credentials) -> Bytes {
        match self {
            Self::Env => env::commands(credentials),
            other => other.file(credentials),
        }
    }

    /// Reads when the credentials in a file expire; nothing if it has another format. Of the directory of ossfs, this
    /// takes the file [`ossfs::EXPIRATION`].
    pub fn expiration(self, file: &[u8]) -> Option<DateTime<Utc>> {
        match self {
            Self::Json | Self::Process => json::expiration(file),
            Self::JsonCamel => json_camel::expiration(file),
            Self::Env => env::expiration(file),
            Self::AliyunCli => aliyun_cli::expiration(file),
            Self::Ini => ini::expiration(file),
            Self::Aws => aws::expiration(file),
            Self::Ossfs => ossfs::expiration(file),
        }
    }
}

/// The formats of files, by name.
pub const FILES: [(&str, Format); 7] = [
    ("json", Format::Json),
    ("json-camel", Format::JsonCamel),
    ("ossfs", Format::Ossfs),
    ("env", Format::Env),
    ("aliyun-cli", Format::AliyunCli),
    ("ini", Format::Ini),
    ("aws", Format::Aws),
];

/// The formats that can be printed, by name.
pub const PRINTED: [(&str, Format); 7] = [
    ("json", Format::Json),
    ("env", Format::Env),
    ("process", Format::Process),
    ("aliyun-cli", Format::AliyunCli),
    ("ini", Format::Ini),
    ("json-camel", Format::JsonCamel),
    ("aws", Format::Aws),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::store::tests::credentials;

    #[test]
    fn each_file_has_the_documented_content_and_expiration() {
        let header = "# Written by ram-sidecar; these credentials end at 2024-05-21T11:39:29Z\n";
        let keys = "accessKeyID=STS.x\naccessKeySecret=secret-of-x\nstsToken=token-of-x\n";
        for (name, expected) in [
            (
                "json",
                r#"{"Code":"Success","AccessKeyId":"STS.x","AccessKeySecret":"secret-of-x","SecurityToken":"token-of-x","Expiration":"2024-05-21T11:39:29Z","LastUpdated":"2024-05-21T10:39:29Z"}"#.to_owned(),
            ),
            (
                "json-camel",
                r#"{"accessKeyId":"STS.x","accessKeySecret":"secret-of-x","securityToken":"token-of-x","expiration":"2024-05-21T11:39:29Z"}"#.to_owned(),
            ),
            (
                "env",
                format!("{header}ALIBABA_CLOUD_ACCESS_KEY_ID=STS.x\nOSS_ACCESS_KEY_ID=STS.x\nALIBABA_CLOUD_ACCESS_KEY_SECRET=secret-of-x\nOSS_ACCESS_KEY_SECRET=secret-of-x\nALIBABA_CLOUD_SECURITY_TOKEN=token-of-x\nOSS_SESSION_TOKEN=token-of-x\n"),
            ),
            (
                "aliyun-cli",
                r#"{"current":"ram-sidecar","profiles":[{"name":"ram-sidecar","mode":"StsToken","access_key_id":"STS.x","access_key_secret":"secret-of-x","sts_token":"token-of-x","sts_expiration":1716291569,"output_format":"json","language":"en"}]}"#.to_owned(),
            ),
            (
                "ini",
                format!("{header}[Credentials]\nlanguage=EN\n{keys}[default]\n{keys}"),
            ),
            (
                "aws",
                format!("{header}[default]\naws_access_key_id=STS.x\naws_secret_access_key=secret-of-x\naws_session_token=token-of-x\n"),
            ),
        ] {
            let format = Format::named(name, &FILES).unwrap();
            let credentials = credentials("x");
            let file = format.file(&credentials);
            assert_eq!(file, expected, "{name}");
            assert_eq!(format.expiration(&file), Some(credentials.expires_at), "{name}");
            for other in [&b"{}"[..], b"", b"\xff", b"A=b\n", b"{\"profiles\":[]}"] {
                assert_eq!(format.expiration(other), None, "{name}");
            }
        }
    }

    #[test]
    fn process_output_has_every_spelling() {
        let printed = Format::Process.printed(&credentials("x"));
        assert_eq!(
            printed,
            r#"{"mode":"StsToken","access_key_id":"STS.x","access_key_secret":"secret-of-x","sts_token":"token-of-x","expiration":"2024-05-21T11:39:29Z","Version":1,"AccessKeyId":"STS.x","AccessKeySecret":"secret-of-x","SecurityToken":"token-of-x","SecretAccessKey":"secret-of-x","SessionToken":"token-of-x","Expiration":"2024-05-21T11:39:29Z"}"#
        );
        // No document exceeds its buffer: growing would leave copies that are not wiped.
        let capacity = super::super::buffer(&credentials("x")).capacity();
        assert!(
            PRINTED
                .iter()
                .all(|(_, format)| format.printed(&credentials("x")).len() <= capacity)
        );
    }

    #[test]
    fn a_file_with_foreign_lines_is_not_recognized() {
        for (name, more) in [
            ("env", "MY_OWN=x\n"),
            ("ini", "[Bucket-Endpoint]\n"),
            ("aws", "[mine]\n"),
        ] {
            let format = Format::named(name, &FILES).unwrap();
            let file = [&format.file(&credentials("x"))[..], more.as_bytes()].concat();
            assert_eq!(format.expiration(&file), None, "{name}");
        }
        let file = Format::AliyunCli.file(&credentials("x"));
        let file = String::from_utf8(file.to_vec()).unwrap();
        let file = file.replace("\"language\"", "\"region_id\":\"cn-hangzhou\",\"language\"");
        assert_eq!(Format::AliyunCli.expiration(file.as_bytes()), None);
    }

    #[test]
    fn files_with_quoted_keys_are_recognized() {
        let mut credentials = credentials("x");
        credentials.access_key_id.push_str("\"\\'$#");
        for (name, format) in FILES.iter().filter(|(_, format)| *format != Format::Ossfs) {
            let end = format.expiration(&format.file(&credentials));
            assert_eq!(end, Some(credentials.expires_at), "{name}");
        }
    }

    #[test]
    fn a_profile_of_another_name_is_not_recognized() {
        let file = Format::AliyunCli.file(&credentials("x"));
        let file = String::from_utf8(file.to_vec()).unwrap();
        for key in ["current", "name"] {
            let written = format!("\"{key}\":\"ram-sidecar\"");
            assert!(file.contains(&written), "{key}");
            let renamed = file.replace(&written, &format!("\"{key}\":\"mine\""));
            assert_eq!(Format::AliyunCli.expiration(renamed.as_bytes()), None);
        }
    }

    #[test]
    fn a_profile_among_others_is_not_recognized() {
        let file = r#"{"current":"a","profiles":[{"name":"a","mode":"AK"},{"name":"ram-sidecar","sts_expiration":1716291569}]}"#;
        assert_eq!(Format::AliyunCli.expiration(file.as_bytes()), None);
    }
}
