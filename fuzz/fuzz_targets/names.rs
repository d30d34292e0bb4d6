//! Answers of name servers, and the files by which names are resolved.
//!
//! The first section is `/etc/resolv.conf`, the second `/etc/hosts`, the third a name; the rest is a message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ram_sidecar::http::names::configuration::Configuration;
use ram_sidecar::http::names::hosts;
use ram_sidecar::http::names::message::{Answer, Kind, Question};
use ram_sidecar_fuzz::sections;

fuzz_target!(|data: &[u8]| {
    let parts = sections(data);
    let text =
        |index: usize| String::from_utf8_lossy(parts.get(index).copied().unwrap_or_default());
    let (file, listed, name) = (text(0), text(1), text(2));
    let name = name.trim_end_matches('\n');

    let configuration = Configuration::parse(&file, "node.example");
    assert!((1..=3).contains(&configuration.servers.len()));
    assert!((1..=5).contains(&configuration.attempts));
    let candidates = configuration.candidates(name);
    assert!((1..=configuration.search.len() + 1).contains(&candidates.len()));
    hosts::addresses(listed.as_bytes(), name).expect("memory can be read");

    let message = parts.get(3).copied().unwrap_or_default();
    for kind in [Kind::A, Kind::Aaaa] {
        // The message as it is, and as the answer to the question.
        let Some(question) = Question::new(name, kind) else {
            return;
        };
        question.answer(u16::from_be_bytes([b'i', b'd']), message);
        let query = question.query(7);
        assert_eq!(question.answer(7, &query), None);
        let (head, body) = message.split_at(message.len().min(8));
        let mut answer = query.clone();
        answer[2] |= 0x80;
        for (at, byte) in head.iter().enumerate() {
            answer[3 + at] = if (4..6).contains(&(3 + at)) {
                query[3 + at]
            } else {
                *byte
            };
        }
        answer.extend_from_slice(body);
        if let Some(Answer::Addresses(found)) = question.answer(7, &answer) {
            assert!(found.iter().all(|ip| ip.is_ipv4() == (kind == Kind::A)));
            // Each address has sixteen bytes with its record, or more.
            assert!(found.len() * 15 <= body.len());
        }
    }
});
