//! The file `/etc/hosts`.

use std::io::{self, BufRead, Read as _};
use std::net::IpAddr;

/// Returns the addresses that the file has for a name. Reads it line by line: lists that block advertisements are large.
pub fn addresses(mut file: impl BufRead, name: &str) -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    let mut line = Vec::new();
    let mut begins = true;
    while found.len() < MAX_FOUND {
        line.clear();
        if file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        // The rest of a longer line is skipped.
        let is_rest = !std::mem::replace(&mut begins, line.ends_with(b"\n"));
        let text = String::from_utf8_lossy(&line);
        let mut words = text
            .split('#')
            .next()
            .unwrap_or_default()
            .split_ascii_whitespace();
        let ip = words.next().and_then(|word| word.parse().ok());
        if let Some(ip) = ip
            && !is_rest
            && words.any(|word| word.eq_ignore_ascii_case(name))
            && !found.contains(&ip)
        {
            found.push(ip);
        }
    }
    Ok(found)
}

/// In bytes.
const MAX_LINE: u64 = 64 << 10;

/// More are not tried.
const MAX_FOUND: usize = 64;

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
            let found = addresses(file.as_bytes(), name).unwrap();
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, *expected, "{name}");
        }
    }

    #[test]
    fn the_rest_of_an_endless_line_is_no_line() {
        let long = "x".repeat(usize::try_from(MAX_LINE).unwrap());
        let file = format!("#{long}\n10.0.0.1 a\n#{}10.0.0.2 a\n10.0.0.3 a", &long[1..]);
        let found = addresses(file.as_bytes(), "a").unwrap();
        assert_eq!(
            found,
            ["10.0.0.1", "10.0.0.3"].map(|ip| ip.parse::<IpAddr>().unwrap())
        );
    }
}
