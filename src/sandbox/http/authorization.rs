//! The `Authorization` header of a V3 request, which names the key and the signed headers.
//!
//! Clients choose which headers they sign; `Host` and every `x-acs-` header must be among them.

use std::collections::BTreeSet;

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, HeaderName};

use crate::sandbox::http::response::{ApiError, refuse};

/// The content of the header, not yet verified.
pub(crate) struct Authorization {
    pub(crate) access_key_id: String,
    /// Sorted lower-case names, separated by semicolons.
    pub(crate) signed_headers: String,
    /// Lower-case hexadecimal digits.
    pub(crate) signature: String,
}

impl Authorization {
    /// Parses the header if it is of V3; `None` if the request has no such header.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let authorization = header_value(headers, AUTHORIZATION.as_str());
        let Some(authorization) = authorization.filter(|text| text.starts_with(FAMILY)) else {
            return Ok(None);
        };
        let authorization = Self::parse(&authorization)?;
        authorization.check_signed_headers(headers)?;
        Ok(Some(authorization))
    }

    fn parse(text: &str) -> Result<Self, ApiError> {
        let (algorithm, fields) = text.split_once(' ').ok_or_else(incomplete)?;
        if algorithm != ALGORITHM {
            let message = "Specified signature method is not valid.";
            return refuse("InvalidSignatureMethod", message);
        }
        let fields: Vec<_> = fields
            .split(',')
            .filter_map(|field| field.trim().split_once('='))
            .collect();
        let field = |key| {
            let mut values = fields.iter().filter(|(name, _)| *name == key);
            match (values.next(), values.next()) {
                (Some((_, value)), None) if !value.is_empty() => Ok((*value).to_owned()),
                _ => Err(incomplete()),
            }
        };
        Ok(Self {
            access_key_id: field("Credential")?,
            signed_headers: field("SignedHeaders")?,
            signature: field("Signature")?,
        })
    }

    /// Refuses a list that is not in its canonical form, names a header that was not sent, or omits one that must be
    /// signed.
    fn check_signed_headers(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let listed: Vec<_> = self.signed_headers.split(';').collect();
        let is_sorted = listed.iter().is_sorted_by(|one, next| one < next);
        let is_lower_case = |name: &str| !name.bytes().any(|byte| byte.is_ascii_uppercase());
        let is_sent = |name: &&str| is_lower_case(name) && headers.contains_key(*name);

        let sent = headers.keys().map(HeaderName::as_str);
        let mut required: BTreeSet<&str> = sent.filter(|name| name.starts_with("x-acs-")).collect();
        required.extend([HOST.as_str(), CONTENT_DIGEST]);
        if is_sorted
            && listed.iter().all(is_sent)
            && required.iter().all(|name| listed.contains(name))
        {
            Ok(())
        } else {
            Err(incomplete())
        }
    }
}

pub(crate) fn incomplete() -> ApiError {
    let message = "The request signature does not conform to Aliyun standards.";
    ApiError::bad_request("IncompleteSignature", message)
}

/// Returns a header's value without the spaces around it; the values of a header sent twice are sorted and joined.
pub(crate) fn header_value(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes().trim_ascii()))
        .collect();
    values.sort();
    (!values.is_empty()).then(|| values.join(","))
}

pub(crate) const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// The header with the digest of the body.
pub(crate) const CONTENT_DIGEST: &str = "x-acs-content-sha256";

/// The prefix of all V3 algorithms. STS documents only [`ALGORITHM`]; the others are refused.
const FAMILY: &str = "ACS3-";

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn values_of_one_header_are_sorted_and_joined() {
        let mut headers = HeaderMap::new();
        headers.append("a", HeaderValue::from_static(" z "));
        headers.append("a", HeaderValue::from_static("b c"));
        assert_eq!(header_value(&headers, "a").as_deref(), Some("b c,z"));
        assert_eq!(header_value(&headers, "b"), None);
    }
}
