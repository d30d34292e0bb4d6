//! The settings that credentials depend on: all that determine whose they are and what they permit.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::credentials::{RoleRequest, hex};

/// A description of whose credentials they are, and a digest of all the settings that they were obtained with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub(super) holder: String,
    pub(super) digest: String,
}

impl Binding {
    /// Binds to an identity, the STS endpoints, and the roles that are assumed one after the other.
    ///
    /// The identity is given by its kind and by what distinguishes it from others of that kind. Without roles its own
    /// credentials are passed through. All endpoints of Alibaba Cloud count as one: they issue the same credentials, and
    /// during an outage people change to the endpoint of another region.
    pub fn new(identity: &[String], endpoints: &[String], roles: &[RoleRequest]) -> Self {
        let mut services: Vec<&str> = endpoints.iter().map(|url| service(url)).collect();
        services.sort_unstable();
        services.dedup();
        let holder = match (roles.last(), identity.first()) {
            (Some(role), _) => format!("credentials of {}", role.arn),
            (None, kind) => {
                let kind = kind.map(String::as_str).unwrap_or_default();
                format!("the {kind} identity's own credentials")
            }
        };
        let roles = roles.iter().map(|role| {
            json!([
                role.arn.as_str(),
                role.session_name,
                role.duration.as_secs(),
                role.policy,
                role.external_id,
                role.source_identity,
            ])
        });
        let roles: Vec<_> = roles.collect();
        // JSON marks where each text ends, so that no two settings look alike.
        let text = json!([identity, services, roles]).to_string();
        Self {
            holder,
            digest: hex(&Sha256::digest(text)),
        }
    }
}

/// Returns the name of an endpoint in the digest: the same one for all endpoints of Alibaba Cloud.
fn service(url: &str) -> &str {
    let is_regional = url.starts_with("https://sts.") || url.starts_with("https://sts-vpc.");
    if is_regional && url.ends_with(".aliyuncs.com") {
        "aliyuncs.com"
    } else {
        url
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::credentials::RoleArn;

    fn role(name: &str) -> RoleRequest {
        RoleRequest {
            arn: RoleArn::parse(&format!("acs:ram::1:role/{name}")).unwrap(),
            session_name: "pod-0".into(),
            duration: Duration::from_secs(3600),
            policy: None,
            external_id: None,
            source_identity: None,
        }
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn each_setting_that_credentials_depend_on_changes_the_digest() {
        let identity = texts(&["access_key", "LTAI"]);
        let sts = texts(&["https://sts.aliyuncs.com"]);
        let with = |change: fn(&mut RoleRequest)| {
            let mut role = role("job");
            change(&mut role);
            Binding::new(&identity, &sts, &[role])
        };
        let one = [role("job")];
        let mut bindings = vec![
            with(|_| ()),
            with(|role| role.arn = RoleArn::parse("acs:ram::2:role/job").unwrap()),
            with(|role| role.session_name = "pod-1".into()),
            with(|role| role.duration = Duration::from_secs(7200)),
            with(|role| role.policy = Some("x".into())),
            with(|role| role.external_id = Some("x".into())),
            with(|role| role.source_identity = Some("x".into())),
            Binding::new(&identity, &sts, &[]),
            Binding::new(&identity, &sts, &[role("via"), role("job")]),
            Binding::new(&texts(&["access_key", "LTAI2"]), &sts, &one),
            Binding::new(&texts(&["access_keyLTAI"]), &sts, &one),
            Binding::new(&texts(&["oidc", "LTAI"]), &sts, &one),
            Binding::new(&identity, &texts(&["https://sts.example.com"]), &one),
            Binding::new(
                &identity,
                &texts(&["https://sts.aliyuncs.com", "http://127.0.0.1:1"]),
                &one,
            ),
        ];
        let all = bindings.len();
        bindings.sort_by(|one, other| one.digest.cmp(&other.digest));
        bindings.dedup_by(|one, other| one.digest == other.digest);
        assert_eq!(bindings.len(), all);
    }

    #[test]
    fn endpoints_of_alibaba_cloud_count_as_one_in_any_order() {
        let digest = |endpoints: &[&str]| {
            Binding::new(&texts(&["oidc"]), &texts(endpoints), &[role("job")]).digest
        };
        let central = digest(&["https://sts.aliyuncs.com"]);
        assert_eq!(
            central,
            digest(&[
                "https://sts-vpc.cn-hangzhou.aliyuncs.com",
                "https://sts.cn-beijing.aliyuncs.com",
            ])
        );
        for other in [
            "https://sts.aliyuncs.com.example.com",
            "https://bucket.oss-cn-hangzhou.aliyuncs.com",
            "https://sts.aliyuncs.com:8443",
            "http://127.0.0.1:1",
        ] {
            assert_ne!(central, digest(&[other]), "{other}");
        }
        let (a, b) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        assert_eq!(digest(&[a, b]), digest(&[b, a]));
    }

    #[test]
    fn the_holder_is_described_in_words() {
        let of = |roles: &[RoleRequest]| Binding::new(&texts(&["profile"]), &[], roles).holder;
        assert_eq!(of(&[]), "the profile identity's own credentials");
        assert_eq!(
            of(&[role("via"), role("job")]),
            "credentials of acs:ram::1:role/job"
        );
    }
}
