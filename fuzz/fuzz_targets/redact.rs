//! What keeps secrets out of texts. The first section is a text from outside, the second a secret that it may repeat.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ram_sidecar::failure::redact;
use ram_sidecar_fuzz::{check_line, sections};

fuzz_target!(|data: &[u8]| {
    let sections = sections(data);
    let text = String::from_utf8_lossy(sections[0]);
    let secret = sections
        .get(1)
        .and_then(|secret| std::str::from_utf8(secret).ok());
    // Keys and tokens are made of these; a space in it would be none that HTTP can carry.
    let is_token = |secret: &&str| {
        secret.len() >= 8
            && secret
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+/=_-.".contains(&b))
    };
    let secrets: Vec<&str> = secret.into_iter().filter(is_token).collect();
    let shown = redact(&text, &secrets);
    assert!(shown.chars().count() <= 1000);
    check_line(&shown, &secrets);
});
