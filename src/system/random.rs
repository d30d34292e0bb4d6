//! Random numbers from the system call `getrandom`, which needs no file below `/dev`.

use std::fs::File;
use std::io;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// The kernel provides no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system call getrandom, which provides random numbers, fails: {0}")]
pub struct Error(io::Error);

/// Returns random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fails where there is no randomness at all: Rust's standard library would panic, which asks both the system call and the file.
pub fn require() -> Result<(), Error> {
    bytes::<1>()
        .map(drop)
        .or_else(|error| File::open("/dev/urandom").map(drop).map_err(|_| error))
}

/// Fills a buffer with random bytes.
pub fn fill(mut rest: &mut [u8]) -> Result<(), Error> {
    while !rest.is_empty() {
        match getrandom(&mut *rest, GetRandomFlags::empty()) {
            Ok(filled) => rest = rest.get_mut(filled..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Error(error.into())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_draws_are_equal() {
        assert_ne!(super::bytes::<16>().unwrap(), super::bytes::<16>().unwrap());
    }
}
