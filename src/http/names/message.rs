//! The messages of DNS (RFC 1035): a query for the addresses of a name, and its answer.
//!
//! An answer may come from anybody. It is read without recursion, and no name in it is followed forwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of address that a query asks for, by its number in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// IPv4.
    A = 1,
    /// IPv6.
    Aaaa = 28,
}

/// The question of a query, as it is sent and repeated in the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    bytes: Vec<u8>,
    kind: Kind,
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The addresses of the name; none if it has none of this kind.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// The answer is too long for a datagram.
    Truncated,
    /// The server cannot or will not answer, with the number of the reason.
    Refused(u8),
    /// The answer breaks the protocol.
    Malformed,
}

impl Question {
    /// Asks for the addresses of a name. Returns `None` if it is not a host name.
    pub fn new(name: &str, kind: Kind) -> Option<Self> {
        let mut bytes = Vec::with_capacity(name.len() + 6);
        for label in name.split('.') {
            let length = u8::try_from(label.len()).ok()?;
            if !(1..=MAX_LABEL).contains(&length) || !label.bytes().all(is_host_byte) {
                return None;
            }
            bytes.push(length);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        if bytes.len() > MAX_NAME {
            return None;
        }
        bytes.extend_from_slice(&[0, kind as u8]);
        bytes.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
        Some(Self { bytes, kind })
    }

    /// Returns the query with an id.
    pub fn query(&self, id: u16) -> Vec<u8> {
        let mut message = id.to_be_bytes().to_vec();
        message.extend_from_slice(&RECURSION_DESIRED.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        message.extend_from_slice(&self.bytes);
        message
    }

    /// Reads a message. Returns `None` if it is not the answer to the query with this id.
    pub fn answer(&self, id: u16, message: &[u8]) -> Option<Answer> {
        let flags = number(message, 2)?;
        let is_answer = flags & (IS_ANSWER | OPERATION) == IS_ANSWER;
        if number(message, 0)? != id || !is_answer {
            return None;
        }
        // Some servers that refuse do not repeat the question.
        let code = flags & CODE;
        if code != 0 && number(message, 4)? == 0 && message.len() == HEADER {
            return Some(refusal(code));
        }
        if number(message, 4)? != 1 {
            return None;
        }
        let start = HEADER + self.bytes.len();
        // No byte but those of letters has two cases: a length is at most 63.
        if !message
            .get(HEADER..start)?
            .eq_ignore_ascii_case(&self.bytes)
        {
            return None;
        }
        Some(match (flags & TRUNCATED != 0, flags & CODE) {
            (true, _) => Answer::Truncated,
            (_, 0) => {
                let addresses = self.addresses(message, start);
                addresses.map_or(Answer::Malformed, Answer::Addresses)
            }
            (_, code) => refusal(code),
        })
    }

    /// Collects the addresses of the name, or of that for which it is an alias.
    fn addresses(&self, message: &[u8], start: usize) -> Option<Vec<IpAddr>> {
        let records = records(message, start)?;
        let mut name = name_at(message, HEADER)?;
        for _ in 0..MAX_ALIASES {
            let mut alias = None;
            let mut found = Vec::new();
            for record in &records {
                if name_at(message, record.owner)? != name {
                    continue;
                }
                if record.kind == KIND_ALIAS {
                    alias = Some(record.data);
                } else if record.kind == u16::from(self.kind as u8) {
                    found.push(record.address(message, self.kind)?);
                }
            }
            match alias {
                Some(target) if found.is_empty() => name = name_at(message, target)?,
                _ => return Some(found),
            }
        }
        None
    }
}

/// Returns what an answer with an error code says.
fn refusal(code: u16) -> Answer {
    match code {
        NO_SUCH_NAME => Answer::NoSuchName,
        code => Answer::Refused(code.to_be_bytes()[1]),
    }
}

/// A record of class IN in an answer.
struct Record {
    /// Where the name stands to which it belongs.
    owner: usize,
    kind: u16,
    /// Where its data stands.
    data: usize,
    length: usize,
}

impl Record {
    fn address(&self, message: &[u8], kind: Kind) -> Option<IpAddr> {
        let bytes = message.get(self.data..self.data + self.length)?;
        match kind {
            Kind::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
            Kind::Aaaa => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        }
    }
}

/// Reads the first records of the answer section, which begins at `start`.
fn records(message: &[u8], start: usize) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    let mut owner = start;
    for _ in 0..number(message, 6)?.min(MAX_RECORDS) {
        let fixed = end_of_name(message, owner)?;
        let (kind, class) = (number(message, fixed)?, number(message, fixed + 2)?);
        let (data, length) = (fixed + 10, usize::from(number(message, fixed + 8)?));
        message.get(data..data + length)?;
        if class == CLASS_INTERNET {
            records.push(Record {
                owner,
                kind,
                data,
                length,
            });
        }
        owner = data + length;
    }
    Some(records)
}

/// Returns where the name at `at` ends in the message.
fn end_of_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=MAX_LABEL => at += 1 + usize::from(length),
            POINTER.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Returns the name at `at`, in small letters, with the length before each label.
fn name_at(message: &[u8], mut at: usize) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    // A pointer leads to an earlier place than the last one did, so that there is an end.
    let mut limit = at;
    loop {
        match *message.get(at)? {
            0 => return Some(name),
            length @ 1..=MAX_LABEL => {
                let end = at + 1 + usize::from(length);
                name.extend(message.get(at..end)?.iter().map(u8::to_ascii_lowercase));
                if name.len() >= MAX_NAME {
                    return None;
                }
                at = end;
            }
            POINTER.. => {
                at = usize::from(number(message, at)? & !(u16::from(POINTER) << 8));
                if at >= limit {
                    return None;
                }
                limit = at;
            }
            _ => return None,
        }
    }
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// Underscores occur in names of services.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The length of the header of a message.
const HEADER: usize = 12;

const IS_ANSWER: u16 = 0x8000;
const OPERATION: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const CODE: u16 = 0x000F;

const NO_SUCH_NAME: u16 = 3;

const CLASS_INTERNET: u16 = 1;

/// The type CNAME.
const KIND_ALIAS: u16 = 5;

const MAX_LABEL: u8 = 63;

/// With the length before each label, and the empty label at its end.
const MAX_NAME: usize = 255;

/// The first byte of a pointer to an earlier name.
const POINTER: u8 = 0xC0;

/// More are a loop, or an attack.
const MAX_ALIASES: usize = 16;

/// Far more than a service has addresses and aliases.
const MAX_RECORDS: u16 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: u16 = 0x1234;

    fn question(kind: Kind) -> Question {
        Question::new("sts.example", kind).unwrap()
    }

    /// Its owner, type and data.
    type Given<'a> = (&'a [u8], u16, &'a [u8]);

    fn answer(kind: Kind, flags: u16, records: &[Given<'_>]) -> Vec<u8> {
        let mut message = question(kind).query(ID);
        message[2..4].copy_from_slice(&(IS_ANSWER | flags).to_be_bytes());
        message[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        for (owner, kind, data) in records {
            message.extend_from_slice(owner);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            message.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend_from_slice(data);
        }
        message
    }

    const NAME: &[u8] = &[0xC0, 12];
    const OTHER: &[u8] = b"\x05other\x07EXAMPLE\0";
    /// `example`, in the question.
    const THIRD: &[u8] = &[0xC0, 16];

    #[test]
    fn a_refusal_need_not_repeat_the_question() {
        let question = question(Kind::A);
        let head = |id: u16, code: u16| {
            let words = [id, IS_ANSWER | code, 0, 0, 0, 0];
            words
                .iter()
                .flat_map(|word| word.to_be_bytes())
                .collect::<Vec<_>>()
        };
        assert_eq!(question.answer(ID, &head(ID, 5)), Some(Answer::Refused(5)));
        assert_eq!(question.answer(ID, &head(ID + 1, 5)), None);
        assert_eq!(question.answer(ID, &head(ID, 0)), None);
    }

    #[test]
    fn query_has_the_bytes_of_the_standard() {
        let expected = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03sts\x07example\0\0\x1c\0\x01";
        assert_eq!(question(Kind::Aaaa).query(ID), expected);
    }

    #[test]
    fn what_is_not_a_host_name_is_not_asked_for() {
        let long = "a".repeat(64);
        let whole = ["a".repeat(63).as_str(); 4].join(".");
        for name in ["", ".", "a..b", "a.", "a b", "ä", "a\0", &long, &whole] {
            assert_eq!(Question::new(name, Kind::A), None, "{name}");
        }
        for name in ["a", "_x.a-b.c", &whole[..253], &long[..63]] {
            assert!(Question::new(name, Kind::A).is_some(), "{name}");
        }
    }

    #[test]
    fn answers_are_read() {
        use Answer::{Addresses, Malformed, NoSuchName, Refused, Truncated};
        let one = || Addresses(vec![[10, 0, 0, 1].into()]);
        let ipv6 = [0xFD; 16];
        let (a, six, alias) = (1, 28, KIND_ALIAS);
        let (ip, to_other) = (&[10, 0, 0, 1][..], (NAME, alias, OTHER));
        let chain = [to_other, (OTHER, alias, THIRD), (THIRD, a, ip)];
        let backwards = [(OTHER, a, ip), to_other];
        let cases: &[(Kind, u16, &[Given<'_>], Answer)] = &[
            (Kind::A, 0, &[], Addresses(vec![])),
            (Kind::A, 0, &[(NAME, a, ip)], one()),
            (Kind::A, 0, &[(b"\x03StS\x07examplE\0", a, ip)], one()),
            (
                Kind::Aaaa,
                0,
                &[(NAME, six, &ipv6)],
                Addresses(vec![ipv6.into()]),
            ),
            (
                Kind::A,
                0,
                &[(NAME, six, &ipv6), (NAME, 99, b"x")],
                Addresses(vec![]),
            ),
            (Kind::A, 0, &chain, one()),
            (Kind::A, 0, &backwards, one()),
            // Addresses of others are not believed.
            (Kind::A, 0, &[(OTHER, a, ip)], Addresses(vec![])),
            (Kind::A, 0, &[to_other, (THIRD, a, ip)], Addresses(vec![])),
            (Kind::A, 3, &[], NoSuchName),
            (Kind::A, 2, &[], Refused(2)),
            (Kind::A, TRUNCATED, &[(NAME, a, ip)], Truncated),
            // Lies.
            (Kind::A, 0, &[(NAME, alias, NAME)], Malformed),
            (Kind::A, 0, &[to_other, (OTHER, alias, NAME)], Malformed),
            (Kind::A, 0, &[(NAME, a, b"abc")], Malformed),
            (Kind::A, 0, &[(&[0xC0, 33], a, ip)], Malformed),
            (Kind::A, 0, &[(&[0x40], a, ip)], Malformed),
            (Kind::A, 0, &[(&[63], a, ip)], Malformed),
        ];
        for (kind, flags, records, expected) in cases {
            let message = answer(*kind, *flags, records);
            let read = question(*kind).answer(ID, &message);
            assert_eq!(read.as_ref(), Some(expected), "{message:x?}");
        }
    }

    #[test]
    fn what_answers_another_query_is_no_answer() {
        let ip: &[u8] = &[10, 0, 0, 1];
        let good = answer(Kind::A, 0, &[(NAME, 1, ip)]);
        assert!(question(Kind::A).answer(ID, &good).is_some());
        let change = |at: usize, value: u8| {
            let mut message = good.clone();
            message[at] = value;
            message
        };
        let wrong = [
            change(0, 0x13),     // id
            change(2, 0x00),     // a query
            change(2, 0x88),     // another operation
            change(5, 2),        // two questions
            change(13, b'x'),    // another name
            change(26, 28),      // another type
            change(28, 3),       // another class
            good[..20].to_vec(), // its beginning
            Vec::new(),
        ];
        for message in wrong {
            assert_eq!(question(Kind::A).answer(ID, &message), None, "{message:x?}");
        }
    }

    #[test]
    fn no_message_is_read_past_its_end_or_without_end() {
        let ip: &[u8] = &[10, 0, 0, 1];
        let whole = answer(
            Kind::A,
            0,
            &[
                (NAME, KIND_ALIAS, OTHER),
                (OTHER, KIND_ALIAS, THIRD),
                (THIRD, 1, ip),
            ],
        );
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % below
        };
        for _ in 0..200_000 {
            let mut message = whole.clone();
            for _ in 0..=random(4) {
                let at = random(message.len());
                message[at] =
                    [0, 1, 12, 63, 0xC0, 0xFF, u8::try_from(random(256)).unwrap()][random(7)];
            }
            message.truncate(whole.len() - random(2) * random(whole.len()));
            question(Kind::A).answer(ID, &message);
        }
    }

    #[test]
    fn longest_hostile_answer_takes_little_time() {
        // Each of its names is as long as can be, and differs from the one in question only at its end.
        let long: Vec<u8> = [b"\x01a".repeat(126), vec![0]].concat();
        let pointer: &[u8] = &[0xC0, 41];
        let mut records: Vec<Given<'_>> = vec![(&long, 1, &[0; 4])];
        records.resize(5000, (pointer, 1, &[0; 4]));
        let message = answer(Kind::A, 0, &records);
        let read = question(Kind::A).answer(ID, &message);
        assert_eq!(read, Some(Answer::Addresses(Vec::new())));
    }
}
