//! The RPC V1 signature: HMAC-SHA1 over the sorted, percent-encoded parameters.
//!
//! Source: "Signature mechanism" of the RPC-style APIs. Query and form parameters are signed alike; all parameters
//! are in the form here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::credentials::Keys;

use super::{Parameters, Stamp, add_stamp, encoded, percent_encoded};

/// Adds the parameters that identify the caller, and the signature of all parameters.
pub(super) fn sign(method: &str, parameters: &mut Parameters, keys: &Keys, stamp: &Stamp) {
    add_stamp(parameters, stamp);
    let mut add = |name, value: &str| parameters.insert(name, Zeroizing::new(value.to_owned()));
    add("AccessKeyId", &keys.access_key_id);
    add("SignatureMethod", "HMAC-SHA1");
    add("SignatureVersion", "1.0");
    if let Some(token) = &keys.security_token {
        add("SecurityToken", token.expose_secret());
    }
    let text = string_to_sign(method, parameters);
    let signature = signature(keys.access_key_secret.expose_secret(), &text);
    parameters.insert("Signature", Zeroizing::new(signature));
}

fn string_to_sign(method: &str, parameters: &Parameters) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "{method}&%2F&{}",
        percent_encoded(&encoded(parameters))
    ))
}

fn signature(secret: &str, text: &str) -> String {
    let key = Zeroizing::new(format!("{secret}&"));
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("a key of any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn signature_matches_every_rpc_v1_vector() {
        let vectors: Vec<Value> =
            serde_json::from_str(include_str!("../../../tests/data/signature-vectors.json"))
                .unwrap();
        let mut checked = 0;
        for vector in vectors.iter().filter(|vector| vector["kind"] == "rpc-v1") {
            let mut parameters = Parameters::new();
            let given = vector["params"].as_object().unwrap();
            for (name, value) in given {
                let name = Box::leak(name.clone().into_boxed_str());
                parameters.insert(name, Zeroizing::new(value.as_str().unwrap().to_owned()));
            }
            let text = string_to_sign(vector["method"].as_str().unwrap(), &parameters);
            assert_eq!(
                *text,
                vector["string_to_sign"].as_str().unwrap(),
                "{}",
                vector["name"]
            );
            let made = signature(vector["secret"].as_str().unwrap(), &text);
            assert_eq!(
                made,
                vector["signature"].as_str().unwrap(),
                "{}",
                vector["name"]
            );
            checked += 1;
        }
        assert_eq!(checked, 6);
    }

    #[test]
    fn signature_matches_the_documented_example() {
        let mut parameters = Parameters::from([
            ("Action", Zeroizing::new("AssumeRole".to_owned())),
            ("Format", Zeroizing::new("JSON".to_owned())),
            (
                "RoleArn",
                Zeroizing::new("acs:ram::1234567890123:role/firstrole".to_owned()),
            ),
            ("RoleSessionName", Zeroizing::new("client".to_owned())),
            ("Version", Zeroizing::new("2015-04-01".to_owned())),
        ]);
        let keys = Keys {
            access_key_id: "testid".into(),
            access_key_secret: "testsecret".into(),
            security_token: None,
        };
        let stamp = Stamp {
            timestamp: "2015-09-01T05:57:34Z".into(),
            nonce: "571f8fb8-506e-11e5-8e12-b8e8563dc8d2".into(),
        };
        sign("GET", &mut parameters, &keys, &stamp);
        assert_eq!(*parameters["Signature"], "gNI7b0AyKZHxDgjBGPDgJ1Ce3L4=");
    }
}
