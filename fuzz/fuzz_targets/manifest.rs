//! Manifests in YAML or JSON, and the injection into their pods.
//!
//! The first section is the manifest; the second has lines of `flag=value`, by default a role and an OIDC provider.

#![no_main]

#[path = "../../src/inject/tests/preserved.rs"]
mod preserved;

use libfuzzer_sys::fuzz_target;
use ram_sidecar::inject::workload::{Report, inject_into};
use ram_sidecar::inject::yaml::{self, MAX_FILE_SIZE};
use ram_sidecar::inject::{FIELDS, Field, Request};
use ram_sidecar_fuzz::{check_line, sections};
use serde_json::Value;

use self::preserved::is_preserved;

fuzz_target!(|data: &[u8]| {
    let sections = sections(data);
    let manifest = sections.first().copied().unwrap_or_default();
    let request = request(sections.get(1).copied());
    for error in request.errors() {
        check_line(&error, &[]);
    }
    let documents = match yaml::read(manifest) {
        Ok(documents) => documents,
        Err(error) => {
            assert!(error.line > 0 && error.column > 0, "{error}");
            check_line(&error.to_string(), &[]);
            return;
        }
    };
    for document in documents {
        // Aliases may expand a small document beyond the limit.
        let Some(text) = written(&document.value) else {
            continue;
        };
        assert_eq!(read(&text), document.value, "{text}");
        let mut once = document.value.clone();
        let report = injected(&mut once, &request);
        assert!(is_preserved(&document.value, &once), "{text}");
        if !report.errors.is_empty() {
            continue;
        }
        let mut twice = once.clone();
        let again = injected(&mut twice, &request);
        assert_eq!(twice, once);
        assert_eq!((again.pods, again.errors), (report.pods, Vec::new()));
        if let Some(text) = written(&once) {
            assert_eq!(read(&text), once, "{text}");
        }
    }
});

fn request(flags: Option<&[u8]>) -> Request {
    let mut request = Request::default();
    let Some(flags) = flags else {
        request.set(Field::Role, "acs:ram::1:role/job", "--role");
        let provider = "acs:ram::1:oidc-provider/cluster";
        request.set(Field::OidcProviderArn, provider, "--oidc-provider-arn");
        return request;
    };
    for line in String::from_utf8_lossy(flags).lines() {
        let Some((flag, value)) = line.split_once('=') else {
            continue;
        };
        if flag == "env" {
            request.add_setting(value);
        }
        let names = FIELDS.iter().find(|names| names.flag == Some(flag));
        if let Some(names) = names {
            request.set(names.field, value, format!("--{flag}"));
        }
    }
    request
}

fn injected(document: &mut Value, request: &Request) -> Report {
    let mut report = Report::default();
    if document.is_object() {
        inject_into(document, request, &mut report);
    }
    for line in report.messages.iter().chain(&report.errors) {
        check_line(line, &[]);
    }
    report
}

fn written(value: &Value) -> Option<String> {
    let text = yaml::write(value);
    (text.len() <= MAX_FILE_SIZE).then_some(text)
}

fn read(text: &str) -> Value {
    let mut documents =
        yaml::read(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).value
}
