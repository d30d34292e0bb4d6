//! The identity of the caller, which a diagnosis fills into its advice. Nothing here is a secret.

use chrono::{DateTime, Utc};

/// The signer of a request, as GetCallerIdentity answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// `acs:ram::<account id>:user/<name>`, `…:assumed-role/<role>/<session>` or `…:root`.
    pub arn: String,
    /// The account.
    pub account: String,
}

impl Caller {
    /// Returns the principal that a trust policy names: the ARN of the caller or, for a session, of its role.
    pub fn principal(&self) -> String {
        match self.arn.split_once(":assumed-role/") {
            Some((account, rest)) => {
                let role = rest.rsplit_once('/').map_or(rest, |(role, _)| role);
                format!("{account}:role/{role}")
            }
            None => self.arn.clone(),
        }
    }

    /// Whether it is the account itself, which may not assume roles.
    pub fn is_root(&self) -> bool {
        self.arn.ends_with(":root")
    }
}

/// The claims of an OIDC token, unverified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`, one or many.
    pub audiences: Vec<String>,
    /// `exp`.
    pub expires_at: Option<DateTime<Utc>>,
}

/// The known facts about the identity that requests a role.
#[derive(Clone, Copy, Debug)]
pub enum CallerIdentity<'a> {
    /// Nothing.
    Unknown,
    /// The signer of the request.
    Signer(&'a Caller),
    /// The holder of a token.
    Token {
        /// `acs:ram::<account id>:oidc-provider/<name>`.
        provider_arn: &'a str,
        /// The token's claims; none if it cannot be parsed.
        claims: Option<&'a Claims>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_principal_of_a_session_is_its_role() {
        for (arn, principal) in [
            ("acs:ram::1:user/u", "acs:ram::1:user/u"),
            (
                "acs:ram::1:assumed-role/job/trainer-0",
                "acs:ram::1:role/job",
            ),
            ("acs:ram::1:assumed-role/a/b/session", "acs:ram::1:role/a/b"),
            ("acs:ram::1:root", "acs:ram::1:root"),
        ] {
            let caller = Caller {
                arn: arn.into(),
                account: "1".into(),
            };
            assert_eq!(caller.principal(), principal);
        }
    }
}
