use super::*;
use crate::credentials::{RoleArn, RoleRequest};
use crate::refresh::store::tests::noon;

const HOUR: Duration = Duration::from_secs(3600);

const BOOT: &str = "3c9f0a51-6d2a-4be0-8d0c-0d8f0f5a1b11";

pub(in crate::files::state) fn binding(role: &str, session: &str) -> Binding {
    let role = RoleRequest {
        arn: RoleArn::parse(&format!("acs:ram::1:role/{role}")).unwrap(),
        session_name: session.into(),
        duration: HOUR,
        policy: None,
        external_id: None,
        source_identity: None,
    };
    Binding::new(&["oidc".into()], &[], &[role])
}

/// Returns a record that was requested at noon for an hour, and written ten seconds later.
fn record() -> Record {
    Record {
        binding: binding("job", "pod-0"),
        credentials: crate::refresh::store::tests::credentials("x"),
        served_by: "sts.aliyuncs.com".into(),
        skew: TimeDelta::zero(),
        boot_id: Some(BOOT.into()),
        written_at: after(10),
        deadline: after(3599),
        renew_at: after(1500),
    }
}

fn after(seconds: u64) -> Moment {
    noon().after(Duration::from_secs(seconds))
}

/// Returns a moment, given the seconds since noon by the wall clock and by the boot clock.
fn at(wall: i64, boot: i64) -> Moment {
    let boot = TimeDelta::from_std(noon().boot).unwrap() + TimeDelta::seconds(boot);
    Moment {
        wall: noon().wall + TimeDelta::seconds(wall),
        boot: boot.to_std().unwrap(),
    }
}

fn restored(record: Record, now: Moment, boot_id: Option<&str>) -> Result<Restored, Refusal> {
    record.restore(&binding("job", "pod-0"), now, boot_id)
}

#[test]
fn a_document_is_read_back_as_it_was_written() {
    let record = record();
    let read = parse(&record.render()).unwrap();
    assert_eq!(read.binding, record.binding);
    assert_eq!(read.boot_id, record.boot_id);
    assert_eq!(
        (read.written_at, read.deadline, read.renew_at),
        (record.written_at, record.deadline, record.renew_at)
    );
    let served = |record: &Record| crate::formats::json::render(&record.credentials);
    assert_eq!(served(&read), served(&record));
    let restored = restored(read, after(60), Some(BOOT)).unwrap();
    assert_eq!(restored.lease.deadline, record.deadline);
    assert_eq!(restored.lease.served_by, "sts.aliyuncs.com");
    assert_eq!(restored.renew_at, record.renew_at);
}

#[test]
fn a_moment_is_rounded_down_to_the_millisecond() {
    let exact = Moment {
        wall: noon().wall + TimeDelta::nanoseconds(1_999_999),
        boot: noon().boot + Duration::from_nanos(1_999_999),
    };
    let saved = Timestamp::of(exact).moment().unwrap();
    assert_eq!(saved.wall, noon().wall + TimeDelta::milliseconds(1));
    assert_eq!(saved.boot, noon().boot + Duration::from_millis(1));
}

#[test]
fn truncated_and_changed_documents_are_refused() {
    let mut record = record();
    // Characters that JSON escapes are allowed in keys.
    record.credentials.security_token = r#"to\ken"of/x"#.into();
    let whole = record.render();
    parse(&whole).unwrap();
    for length in 0..whole.len() {
        assert!(parse(&whole[..length]).is_err(), "cut off at {length}");
    }
    for index in 0..whole.len() {
        for flip in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff] {
            let mut changed = whole.to_vec();
            changed[index] ^= flip;
            assert!(parse(&changed).is_err(), "{flip:#x} at {index}");
        }
    }
    for more in [&b"\n"[..], b" ", b"\0", b"{}", &whole] {
        assert!(parse(&[&whole[..], more].concat()).is_err());
        assert!(parse(&[more, &whole[..]].concat()).is_err());
    }
}

/// Returns a changed document with a valid digest.
fn sealed(change: fn(&mut serde_json::Value)) -> Vec<u8> {
    let text = record().render();
    let mut document: serde_json::Value = serde_json::from_slice(&text).unwrap();
    change(&mut document["state"]);
    let state = document["state"].to_string();
    match serde_json::from_str::<State<Text<'_>>>(&state) {
        Ok(state) => rendered(&state).to_vec(),
        Err(_) => document.to_string().into_bytes(),
    }
}

#[test]
fn each_kind_of_invalid_document_has_its_own_error() {
    let sentence = |text: &[u8]| parse(text).unwrap_err().to_string();
    let damaged = "it is damaged: it was cut off, or changed after it was written";
    let foreign = "it does not contain a state of ram-sidecar";
    for (text, expected) in [
        (&b""[..], damaged),
        (b"{", damaged),
        (b"{\"ram-sidecar-state\":", damaged),
        (b"{\"ram-sidecar-state\":1}", damaged),
        (b"{\"ram-sidecar-state\":\"1\"}", damaged),
        (b"{}", foreign),
        (b"\0\0\0\0", foreign),
        (b"AccessKeyId=x", foreign),
        (b"\xff", foreign),
        (
            b"{\"ram-sidecar-state\":2,\"more\":true}",
            "it is of format version 2, which this version of ram-sidecar does not know",
        ),
    ] {
        assert_eq!(sentence(text), expected, "{}", text.escape_ascii());
    }
    assert!(parse(&sealed(|_| ())).is_ok());
    let changes: [fn(&mut serde_json::Value); 13] = [
        |state| state["access_key_id"] = "".into(),
        |state| state["access_key_secret"] = "".into(),
        |state| state["security_token"] = "".into(),
        |state| state["access_key_secret"] = "a b".into(),
        |state| state["security_token"] = "é".into(),
        |state| state["expires_at"] = "soon".into(),
        |state| state["issued_at"] = "2024-05-21T11:39:29.000Z".into(),
        |state| state["skew_ms"] = i64::MIN.into(),
        |state| state["skew_ms"] = 1.5.into(),
        |state| state["more"] = true.into(),
        |state| state["boot_id"] = 7.into(),
        // Later than the expiration of the credentials.
        |state| state["deadline"]["wall"] = "2024-05-21T11:40:29.000Z".into(),
        |state| state["written_at"]["boot_ms"] = (-1).into(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert_eq!(sentence(&sealed(change)), damaged, "change {index}");
    }
}

#[test]
fn a_state_is_restored_only_with_the_settings_it_was_written_with() {
    let refusal = |role, session| {
        let refusal = record()
            .restore(&binding(role, session), after(60), Some(BOOT))
            .unwrap_err();
        assert!(refusal.is_expected());
        refusal.to_string()
    };
    assert_eq!(
        refusal("other", "pod-0"),
        "it holds credentials of acs:ram::1:role/job, but the settings now require credentials of acs:ram::1:role/other"
    );
    assert_eq!(
        refusal("job", "pod-1"),
        "it holds credentials of acs:ram::1:role/job, obtained with another identity, session name, duration, session policy or STS endpoint than the settings now require"
    );
}

/// The expected outcome is the remaining lifetime and the time until the renewal in seconds, or the refusal.
#[test]
fn lifetime_is_limited_by_both_clocks_within_a_boot_and_by_the_wall_clock_afterwards() {
    let same = Some(BOOT);
    let other = Some("another");
    for (case, now, boot_id, expected) in [
        ("at once", at(10, 10), same, Ok((3589, 1490))),
        ("later", at(1000, 1000), same, Ok((2599, 500))),
        ("past its renewal", at(2000, 2000), same, Ok((1599, 0))),
        (
            "a second before the expiry",
            at(3598, 3598),
            same,
            Ok((1, 0)),
        ),
        ("at the expiry", at(3599, 3599), same, Err("expired at")),
        // A wall clock that was set back does not prolong the lifetime.
        (
            "set back by a day",
            at(-86_400, 1000),
            same,
            Ok((2599, 500)),
        ),
        (
            "set back, at the expiry",
            at(-86_400, 3599),
            same,
            Err("expired at"),
        ),
        ("set forward", at(3000, 1000), same, Ok((599, 0))),
        (
            "set beyond the expiry",
            at(3700, 1000),
            same,
            Err("expired at"),
        ),
        (
            "a time namespace",
            at(1000, 9),
            same,
            Err("time since boot"),
        ),
        (
            "a time namespace ahead",
            at(20, 3700),
            same,
            Err("expired at"),
        ),
        ("restarted", at(1000, -4000), other, Ok((2599, 0))),
        ("restarted long ago", at(1000, 90_000), other, Ok((2599, 0))),
        ("restarted, at once", at(10, -4000), other, Ok((3589, 0))),
        (
            "restarted, set back",
            at(9, -4000),
            other,
            Err("wall clock shows"),
        ),
        (
            "restarted, past the expiry",
            at(3599, -4000),
            other,
            Err("expired at"),
        ),
        ("no boot id now", at(1000, -4000), None, Ok((2599, 0))),
    ] {
        let outcome = restored(record(), now, boot_id);
        match (outcome, expected) {
            (Ok(restored), Ok((valid_for, renewal))) => {
                let seconds = |until| now.until(until).as_secs();
                let found = (seconds(restored.lease.deadline), seconds(restored.renew_at));
                assert_eq!(found, (valid_for, renewal), "{case}");
                assert_eq!(restored.lease.lifetime.as_secs(), valid_for, "{case}");
            }
            (Err(refusal), Err(part)) => {
                assert!(refusal.to_string().contains(part), "{case}: {refusal}");
            }
            (outcome, _) => panic!("{case}: {outcome:?}"),
        }
    }
    let mut unknown = record();
    unknown.boot_id = None;
    let judged = restored(unknown, at(9, 60), None).unwrap_err();
    assert!(
        matches!(judged, Refusal::WallClock),
        "two unknown boots do not count as the same"
    );
}

#[test]
fn clock_skew_before_a_reboot_does_not_prolong_the_lifetime() {
    // It was ten minutes ahead of STS or behind, and may have been corrected since.
    for (skew, now, valid_for) in [
        (600, at(1000, -4000), 2000),
        (600, at(10, -4000), 2990),
        (-600, at(1000, -4000), 1999),
    ] {
        let mut record = record();
        record.skew = TimeDelta::seconds(skew);
        // The expiration by the clock of STS: an hour after noon by the clock of this machine.
        record.credentials.expires_at -= record.skew;
        record.credentials.issued_at -= record.skew;
        let known = record.clone();
        let judged = restored(record, now, Some("another")).unwrap();
        let if_corrected = (known.credentials.expires_at - now.wall).num_seconds();
        let found = now.until(judged.lease.deadline).as_secs();
        assert!(i64::try_from(found).unwrap() <= if_corrected);
        assert_eq!(found, if skew > 0 { valid_for } else { 2599 }, "{skew}");
        // Within one boot, the clocks of this machine are compared with themselves only.
        let same = restored(known, at(1000, 1000), Some(BOOT)).unwrap();
        assert_eq!(at(1000, 1000).until(same.lease.deadline).as_secs(), 2599);
    }
}

#[test]
fn wall_clock_that_stood_still_restores_at_most_the_lifetime_remaining_at_the_write() {
    let mut record = record();
    // Written late: the lifetime remaining then is the limit.
    record.written_at = Moment {
        wall: noon().wall,
        boot: after(3000).boot,
    };
    let now = at(0, -4000);
    let judged = restored(record, now, Some("another")).unwrap();
    assert_eq!(now.until(judged.lease.deadline).as_secs(), 599);
}

#[test]
fn renewal_scheduled_after_the_expiry_is_due_at_once() {
    let mut record = record();
    record.renew_at = after(4000);
    let now = after(60);
    let judged = restored(record, now, Some(BOOT)).unwrap();
    assert!(now.is_past(judged.renew_at));
}
