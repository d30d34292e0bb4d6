//! A source of random numbers, which the operating system seeds once so that later calls cannot fail.

use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use crate::system::random;

/// SHA-256 in counter mode over a seed.
pub(crate) struct Random {
    seed: [u8; 32],
    counter: AtomicU64,
}

impl Random {
    pub(crate) fn seeded() -> Result<Self, random::Error> {
        Ok(Self {
            seed: random::bytes()?,
            counter: AtomicU64::new(0),
        })
    }

    /// Returns an upper-case UUID (version 4), the form of a request id.
    pub(crate) fn uuid(&self) -> String {
        let bits =
            u128::from_be_bytes(self.bytes()) & !(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        format!(
            "{:08X}-{:04X}-{:04X}-{:04X}-{:012X}",
            bits >> 96,
            bits >> 80 & 0xFFFF,
            bits >> 64 & 0xFFFF,
            bits >> 48 & 0xFFFF,
            bits & 0xFFFF_FFFF_FFFF
        )
    }

    /// Returns `length` letters and digits.
    pub(crate) fn alphanumeric(&self, length: usize) -> String {
        let mut text = String::with_capacity(length);
        while text.len() < length {
            // Other bytes are dropped, so that all letters and digits are equally likely.
            let usable = self.block().map(|byte| char::from(byte & 0x7F));
            let rest = length - text.len();
            text.extend(
                usable
                    .iter()
                    .filter(|c| c.is_ascii_alphanumeric())
                    .take(rest),
            );
        }
        text
    }

    /// Returns an evenly distributed number in the range 0..1.
    pub(crate) fn sample(&self) -> f64 {
        f64::from(u32::from_be_bytes(self.bytes())) / (f64::from(u32::MAX) + 1.0)
    }

    /// Returns the first bytes of a block.
    fn bytes<const N: usize>(&self) -> [u8; N] {
        let block = self.block();
        std::array::from_fn(|at| block.get(at).copied().unwrap_or_default())
    }

    fn block(&self) -> [u8; 32] {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        Sha256::new()
            .chain_update(self.seed)
            .chain_update(count.to_be_bytes())
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_upper_case_uuids_and_unique() {
        let random = Random::seeded().unwrap();
        let (one, other) = (random.uuid(), random.uuid());
        assert_ne!(one, other);
        let lengths: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{one}");
        assert_eq!(one.chars().nth(14), Some('4'), "{one}");
        assert!(
            one.chars()
                .all(|c| c == '-' || c.is_ascii_digit() || c.is_ascii_uppercase())
        );
    }

    #[test]
    fn alphanumeric_text_has_the_requested_length() {
        let name = Random::seeded().unwrap().alphanumeric(77);
        assert_eq!(name.len(), 77);
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
    }
}
