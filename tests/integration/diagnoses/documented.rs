//! Refusals that the sandbox does not produce itself, with the documented status and message.

use ram_sidecar::sandbox::{Fault, Times};

use super::oidc::{self, AUDIENCE};
use super::{Case, Diagnosis, case};
use crate::upstream::{beside, sts};

pub(super) fn cases() -> Vec<Case> {
    let signed = SIGNED.iter().map(|&(status, code, message)| {
        case(format!("STS answers {status} {code}"), async move {
            let sts = sts().await;
            sts.inject(refusal(status, code, message), Times::UntilCleared);
            Diagnosis::of(beside(&sts, &[], &[]))
        })
    });
    let of_tokens = OF_TOKENS.iter().map(|&(code, message)| {
        case(format!("STS answers 401 {code} to a token"), async move {
            let sts = sts().await;
            sts.inject(refusal(401, code, message), Times::UntilCleared);
            let token = oidc::good(&sts, AUDIENCE);
            let (daemon, _scratch) = oidc::holding(&sts, &[], &sts.oidc_provider_arn(), &token);
            Diagnosis::of(daemon)
        })
    });
    signed.chain(of_tokens).collect()
}

fn refusal(status: u16, code: &str, message: &str) -> Fault {
    Fault::Refusal {
        status,
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

/// Where no message is documented, there is none.
#[rustfmt::skip]
const SIGNED: &[(u16, &str, &str)] = &[
    (400, "InvalidParameter.RoleArn", "The parameter RoleArn is wrongly formed."),
    (400, "InvalidParameter.RoleSessionName", "The parameter RoleSessionName is wrongly formed."),
    (400, "InvalidParameter.ExternalId", "The parameter ExternalId is wrongly formed."),
    (400, "InvalidParameter.SerialNumber", "The parameter SerialNumber is wrongly formed."),
    (400, "InvalidParameter.TokenCode", "The parameter TokenCode is wrongly formed."),
    (400, "InvalidParameter.PolicySize", "The size of Policy must be smaller than 2048 bytes."),
    (400, "InvalidParameter.ContentType", "The ContentType request header must be either \"application/json\" or \"application/x-www-form-urlencoded\"."),
    (400, "InvalidParameter", "The specified parameter \"Action or Version\" is not valid."),
    (403, "AuthenticationFail.ApiUsername", ""),
    (403, "AuthenticationFail.ApiPassword", ""),
    (404, "EntityNotExist.RoleArn", "The specified Role does not exists."),
    (404, "EntityNotExist.SAMLProvider", "Can not find SAML provider."),
    (401, "AuthenticationFail.SAMLAssertion.Expired", "The SAML Assertion is expired."),
    (401, "AuthenticationFail.SAMLAssertion.Invalid", "The SAML Assertion is invalid."),
    (401, "AuthenticationFail.IDPMetadata.Invalid", ""),
    (400, "MissingParameter.SAMLAssertion", "Parameter SAMLAssertion is required."),
    (400, "MissingRoleArn", "RoleArn is mandatory for this action."),
    (400, "MissingTimestamp", "Timestamp is mandatory for this action."),
    (400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted."),
    (400, "SignatureNonceUsed", "Specified signature nonce was used already."),
    (400, "IncompleteSignature", "The request signature does not conform to Aliyun standards. server string to sign is:POST&%2F&AccessKeyId%3Dx"),
    (400, "InvalidSignatureMethod", "Specified signature method is not valid."),
    (400, "Throttling", "Request was denied due to flow control."),
    (400, "Throttling.Api", "Request was denied due to api flow control."),
    (404, "InvalidApi.NotFound", "Specified api is not found,please check your url and method."),
    (404, "InvalidProtocol.NeedSsl", "Your request is denied as lack of ssl protect."),
    (400, "InvalidVersion", ""),
    (400, "UnsupportedHTTPMethod", ""),
    (404, "InvalidProduct.NotFound", ""),
    (403, "NoPermission", "No permission perform sts:AssumeRole on this Role. Maybe you are not authorized to perform sts:AssumeRole or the specified role does not trust you"),
    (500, "InternalError", "STS Server Internal Error happened, please send the RequestId to us."),
    (503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."),
    (400, "Strange.New", "Something nobody has documented."),
    (500, "Strange.New", "Something nobody has documented."),
];

#[rustfmt::skip]
const OF_TOKENS: &[(&str, &str)] = &[
    ("AuthenticationFail.OIDCToken.HttpsUrlInvalid", "The root ca certificate is not in ca whitelist of this url: https://oidc.sandbox.invalid"),
    ("AuthenticationFail.OIDCToken.IssuerConfigurationBroken", "Get public keys from OIDC Provider failed, the issuer is https://kubernetes.default.svc."),
    ("AuthenticationFail.OIDCToken.PublicKeyFingerprintMismatch", ""),
];
