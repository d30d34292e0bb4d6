//! The header signatures of OSS, V1 and V4, as its documentation gives them.

use sha2::{Digest, Sha256};

use crate::signing::{hex, hmac_sha1_base64, hmac_sha256, v4_key};
use crate::stubs::{Request, encoded};

/// Collects what a V1 signature covers.
pub(super) fn v1_string_to_sign(request: &Request, resource: &str) -> String {
    let date = match request.header("x-oss-date") {
        "" => request.header("date"),
        date => date,
    };
    let mut signed: Vec<String> = request
        .parameters()
        .into_iter()
        .filter(|(key, _)| V1_SUBRESOURCES.contains(&key.as_str()))
        .map(|(key, value)| joined(&key, &value))
        .collect();
    signed.sort();
    let query = if signed.is_empty() {
        String::new()
    } else {
        format!("?{}", signed.join("&"))
    };
    format!(
        "{}\n{}\n{}\n{date}\n{}{resource}{query}",
        request.method,
        request.header("content-md5"),
        request.header("content-type"),
        header_lines(request, |name| name.starts_with("x-oss-")),
    )
}

/// Signs with V1.
pub(super) fn v1(secret: &str, string_to_sign: &str) -> String {
    hmac_sha1_base64(secret.as_bytes(), string_to_sign)
}

/// Collects what a V4 signature covers.
pub(super) fn v4_string_to_sign(
    request: &Request,
    resource: &str,
    scope: &str,
    additional: &[&str],
) -> String {
    let mut parameters: Vec<(String, String)> = request
        .parameters()
        .iter()
        .map(|(key, value)| (encoded(key, ""), encoded(value, "")))
        .collect();
    parameters.sort();
    let parameters: Vec<String> = parameters
        .iter()
        .map(|(key, value)| joined(key, value))
        .collect();
    let canonical_request = format!(
        "{}\n{}\n{}\n{}\n{}\n{}",
        request.method,
        encoded(resource, "/"),
        parameters.join("&"),
        header_lines(request, |name| {
            name.starts_with("x-oss-")
                || ["content-type", "content-md5"].contains(&name)
                || additional.contains(&name)
        }),
        additional.join(";"),
        request.header("x-oss-content-sha256"),
    );
    let digest = hex(&Sha256::digest(canonical_request));
    format!(
        "OSS4-HMAC-SHA256\n{}\n{scope}\n{digest}",
        request.header("x-oss-date")
    )
}

/// Signs with V4.
pub(super) fn v4(secret: &str, scope: &str, string_to_sign: &str) -> String {
    hex(&hmac_sha256(&v4_key(secret, scope), string_to_sign))
}

fn header_lines(request: &Request, is_signed: impl Fn(&str) -> bool) -> String {
    let mut lines: Vec<String> = request
        .headers
        .keys()
        .filter(|name| is_signed(name.as_str()))
        .map(|name| format!("{name}:{}\n", request.header(name.as_str()).trim()))
        .collect();
    lines.sort();
    lines.concat()
}

fn joined(key: &str, value: &str) -> String {
    if value.is_empty() {
        key.to_owned()
    } else {
        format!("{key}={value}")
    }
}

/// The parameters that take part in a V1 signature, as far as the stub and the official vectors go.
const V1_SUBRESOURCES: [&str; 5] = [
    "acl",
    "continuation-token",
    "location",
    "resourceGroup",
    "security-token",
];

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;

    fn request(method: &str, query: &str, headers: &[(&'static str, &'static str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| {
            (
                name.parse().expect("a header name"),
                value.parse().expect("a header value"),
            )
        });
        Request {
            method: method.to_owned(),
            path: String::new(),
            query: query.to_owned(),
            headers: headers.collect::<HeaderMap>(),
            ..Request::default()
        }
    }

    // Source: the tests of alibabacloud-oss-go-sdk-v2 1.5.1, whose AccessKey is `ak` and `sk`.
    #[test]
    fn official_v1_signatures_are_reproduced() {
        let date = ("x-oss-date", "Wed, 28 Dec 2022 10:27:41 GMT");
        let put = [
            ("content-md5", "eB5eJF1ptWaXm4bijSPyxw=="),
            ("content-type", "text/html"),
            ("x-oss-meta-author", "alice"),
            ("x-oss-meta-magic", "abracadabra"),
            date,
        ];
        for (method, query, headers, resource, signature) in [
            (
                "PUT",
                "",
                &put[..],
                "/examplebucket/nelson",
                "kSHKmLxlyEAKtZPkJhG9bZb5k7M=",
            ),
            (
                "PUT",
                "acl",
                &put[..],
                "/examplebucket/nelson",
                "/afkugFbmWDQ967j1vr6zygBLQk=",
            ),
            (
                "GET",
                "resourceGroup&non-resousce=null",
                &[date][..],
                "/examplebucket/",
                "vkQmfuUDyi1uDi3bKt67oemssIs=",
            ),
            (
                "GET",
                "resourceGroup&acl",
                &[date][..],
                "/examplebucket/",
                "x3E5TgOvl/i7PN618s5mEvpJDYk=",
            ),
        ] {
            let text = v1_string_to_sign(&request(method, query, headers), resource);
            assert_eq!(v1("sk", &text), signature, "{text}");
        }
    }

    #[test]
    fn official_v4_signatures_are_reproduced() {
        let plain = "20231216/cn-hangzhou/oss/aliyun_v4_request";
        let cloud_box = "20231216/cb-123/oss-cloudbox/aliyun_v4_request";
        let next_day = "20231217/cn-hangzhou/oss/aliyun_v4_request";
        let token = ("x-oss-security-token", "token");
        let nothing = ("xyz", "value");
        for (at, more, scope, additional, signature) in [
            (
                "20231216T162057Z",
                nothing,
                plain,
                &[][..],
                "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe",
            ),
            (
                "20231216T162057Z",
                nothing,
                cloud_box,
                &[],
                "94ce1f12c17d148ea681030275a94449d3357f5b5b21133996eec80af3e08a43",
            ),
            (
                "20231217T034736Z",
                token,
                next_day,
                &[],
                "b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea",
            ),
            (
                "20231216T172512Z",
                nothing,
                plain,
                &["abc", "zabc"],
                "4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f",
            ),
        ] {
            let query =
                "%2Bparam1=value3&%2Bparam2=&%7Cparam1=value4&%7Cparam2=&param1=value1&param2=";
            let headers = [
                ("x-oss-head1", "value"),
                ("abc", "value"),
                ("zabc", "value"),
                ("content-type", "text/plain"),
                ("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
                ("x-oss-date", at),
                more,
            ];
            let request = request("PUT", query, &headers);
            let text = v4_string_to_sign(&request, "/bucket/1234+-/123/1.txt", scope, additional);
            assert_eq!(v4("sk", scope, &text), signature, "{text}");
        }
    }
}
