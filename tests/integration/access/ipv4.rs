//! A machine without IPv6.

use super::network::{Pair, curl};
use crate::serving::LISTEN;

#[test]
fn machine_without_ipv6_is_served_over_ipv4() {
    let Some(pair) = Pair::new() else { return };
    pair.set("net.ipv6.conf.all.disable_ipv6=1");
    pair.set("net.ipv6.conf.lo.disable_ipv6=1");
    let daemon = pair.daemon(&LISTEN[..2], &[]);
    let local = |words: &[&str]| pair.local(words);
    let (status, body) = curl(local, &[&daemon.uri()]);
    assert_eq!(status, "200", "{body}");
    let ipv6 = format!("http://[::1]:{}/", daemon.data().port());
    assert_eq!(curl(local, &[&ipv6]).0, "000", "[::1] is unavailable");
}
