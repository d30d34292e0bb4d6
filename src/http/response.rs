//! An HTTP response as a value, so that code that reads one needs no network.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap};
use zeroize::Zeroizing;

/// The response of a service.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The `Date` header.
    pub date: Option<DateTime<Utc>>,
    /// The longer of `Retry-After` and `x-acs-retry-after`.
    pub retry_after: Option<Duration>,
    /// The `x-acs-request-id` header, for responses whose body has no request id.
    pub request_id: Option<String>,
    /// The body, which may contain secrets.
    pub body: Zeroizing<Vec<u8>>,
}

impl Response {
    /// Parses the headers; the body is stored unread.
    pub fn new(status: u16, headers: &HeaderMap, body: Zeroizing<Vec<u8>>) -> Self {
        let request_id = headers.get("x-acs-request-id");
        Self {
            status,
            date: date(headers),
            retry_after: retry_after(headers),
            request_id: request_id.and_then(|id| Some(id.to_str().ok()?.to_owned())),
            body,
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some(date.to_utc())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name| text(name).and_then(|text| text.parse().ok());
    // Retry-After is a number of seconds or a date, which is compared with the Date header of the same clock.
    let until = text("retry-after").and_then(|text| DateTime::parse_from_rfc2822(text).ok());
    let by_date = until.and_then(|until| (until.to_utc() - date(headers)?).to_std().ok());
    let seconds = number("retry-after").map(Duration::from_secs);
    let millis = number("x-acs-retry-after").map(Duration::from_millis);
    seconds.or(by_date).max(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn longer_retry_header_wins_and_malformed_ones_are_ignored() {
        for (pairs, expected) in [
            (vec![], None),
            (vec![("retry-after", "7")], Some(Duration::from_secs(7))),
            (
                vec![("x-acs-retry-after", "2500")],
                Some(Duration::from_millis(2500)),
            ),
            (
                vec![("retry-after", "1"), ("x-acs-retry-after", "2500")],
                Some(Duration::from_millis(2500)),
            ),
            (vec![("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], None),
            (
                vec![
                    ("date", "Wed, 21 Oct 2015 07:27:00 GMT"),
                    ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"),
                ],
                Some(Duration::from_secs(60)),
            ),
            (vec![("retry-after", "-1")], None),
        ] {
            assert_eq!(retry_after(&headers(&pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_date_header_is_read() {
        let read = date(&headers(&[("date", "Tue, 21 May 2024 10:39:29 GMT")])).unwrap();
        assert_eq!(read.timestamp(), 1_716_287_969);
        assert_eq!(date(&headers(&[("date", "yesterday")])), None);
    }
}
