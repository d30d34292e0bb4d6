//! The file `/etc/hosts`.

use std::net::IpAddr;

/// Returns the addresses that the file has for a name.
pub fn addresses(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let ip = words.next().and_then(|word| word.parse().ok());
        if let Some(ip) = ip
            && words.any(|word| word.eq_ignore_ascii_case(name))
            && !found.contains(&ip)
        {
            found.push(ip);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_with_the_name_counts() {
        let file = "\
# comment
127.0.0.1\tlocalhost
::1 localhost ip6-localhost # sts
10.0.0.1 STS.example sts
10.0.0.1 sts.example
10.0.0.2 other sts.example
10.0.0.256 sts.example
sts.example
#10.0.0.3 sts.example
";
        let cases: &[(&str, &[&str])] = &[
            ("localhost", &["127.0.0.1", "::1"]),
            ("sts.example", &["10.0.0.1", "10.0.0.2"]),
            ("Sts", &["10.0.0.1"]),
            ("example", &[]),
            ("10.0.0.1", &[]),
        ];
        for (name, expected) in cases {
            let found = addresses(file, name);
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, *expected, "{name}");
        }
    }
}
