//! A source of random numbers, seeded once by the operating system, so that nothing can fail afterwards.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};

use rsa::rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest as _, Sha256};

/// SHA-256 in counter mode over a seed.
pub(crate) struct Random {
    seed: [u8; 32],
    counter: AtomicU64,
}

impl Random {
    pub(crate) fn seeded() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self {
            seed,
            counter: AtomicU64::new(0),
        })
    }

    /// Returns an upper-case UUID (version 4), the form of a request id.
    pub(crate) fn uuid(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        let bits = u128::from_be_bytes(bytes) & !(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
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

    /// Returns a number from 0 to less than 1, evenly distributed.
    pub(crate) fn sample(&self) -> f64 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }

    fn fill(&self, destination: &mut [u8]) {
        for chunk in destination.chunks_mut(32) {
            for (byte, fresh) in chunk.iter_mut().zip(self.block()) {
                *byte = fresh;
            }
        }
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

impl TryRng for &Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Infallible> {
        self.fill(destination);
        Ok(())
    }
}

impl TryCryptoRng for &Random {}

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
