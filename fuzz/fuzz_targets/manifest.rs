//! Manifests: YAML or JSON, and what is added to the pods in them.
//!
//! The first section is the manifest, the second lines of `flag=value`; without it a role and an OIDC provider are given.

#![no_main]

#[path = "../../src/inject/tests/holds.rs"]
mod holds;

use libfuzzer_sys::fuzz_target;
use ram_sidecar::inject::workload::{Told, inject_into};
use ram_sidecar::inject::yaml::{self, LARGEST};
use ram_sidecar::inject::{PLACES, Wanted, Word};
use ram_sidecar_fuzz::{check_line, sections};
use serde_json::Value;

use self::holds::holds;

fuzz_target!(|data: &[u8]| {
    let sections = sections(data);
    let manifest = sections.first().copied().unwrap_or_default();
    let wanted = wanted(sections.get(1).copied());
    for mistake in wanted.mistakes() {
        check_line(&mistake, &[]);
    }
    let documents = match yaml::read(manifest) {
        Ok(documents) => documents,
        Err(mistake) => {
            assert!(mistake.line > 0 && mistake.column > 0, "{mistake}");
            check_line(&mistake.to_string(), &[]);
            return;
        }
    };
    for document in documents {
        // Aliases make much of little.
        let Some(text) = written(&document.value) else {
            continue;
        };
        assert_eq!(read(&text), document.value, "{text}");
        let mut once = document.value.clone();
        let told = injected(&mut once, &wanted);
        assert!(holds(&once, &document.value), "{text}");
        if !told.mistakes.is_empty() {
            continue;
        }
        let mut twice = once.clone();
        let again = injected(&mut twice, &wanted);
        assert_eq!(twice, once);
        assert_eq!((again.pods, again.mistakes), (told.pods, Vec::new()));
        if let Some(text) = written(&once) {
            assert_eq!(read(&text), once, "{text}");
        }
    }
});

fn wanted(flags: Option<&[u8]>) -> Wanted {
    let mut wanted = Wanted::default();
    let Some(flags) = flags else {
        wanted.say(Word::Role, "acs:ram::1:role/job", "--role");
        let provider = "acs:ram::1:oidc-provider/cluster";
        wanted.say(Word::OidcProviderArn, provider, "--oidc-provider-arn");
        return wanted;
    };
    for line in String::from_utf8_lossy(flags).lines() {
        let Some((flag, value)) = line.split_once('=') else {
            continue;
        };
        if flag == "env" {
            wanted.add_env(value);
        }
        let place = PLACES.iter().find(|place| place.flag == Some(flag));
        if let Some(place) = place {
            wanted.say(place.word, value, format!("--{flag}"));
        }
    }
    wanted
}

fn injected(document: &mut Value, wanted: &Wanted) -> Told {
    let mut told = Told::default();
    if document.is_object() {
        inject_into(document, wanted, &mut told);
    }
    for line in told.notes.iter().chain(&told.mistakes) {
        check_line(line, &[]);
    }
    told
}

fn written(value: &Value) -> Option<String> {
    let text = yaml::write(value);
    (text.len() <= LARGEST).then_some(text)
}

fn read(text: &str) -> Value {
    let mut documents = yaml::read(text.as_bytes()).unwrap_or_else(|told| panic!("{told}\n{text}"));
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).value
}
