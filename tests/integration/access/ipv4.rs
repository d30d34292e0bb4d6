//! A machine without IPv6.

use super::network::{Pair, curl};
use crate::serving::LISTEN;

#[test]
fn a_machine_without_ipv6_is_served_by_ipv4() {
    let Some(pair) = Pair::new() else { return };
    pair.set("net.ipv6.conf.all.disable_ipv6=1");
    pair.set("net.ipv6.conf.lo.disable_ipv6=1");
    let daemon = pair.daemon(&LISTEN[..2], &[]);
    let here = |words: &[&str]| pair.here(words);
    let (status, body) = curl(here, &[&daemon.uri()]);
    assert_eq!(status, "200", "{body}");
    let twin = format!("http://[::1]:{}/", daemon.data().port());
    assert_eq!(curl(here, &[&twin]).0, "000", "there is no such address");
}
