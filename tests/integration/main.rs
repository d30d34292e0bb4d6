//! Tests of the real binary, its real clients among them.

#[cfg(feature = "sandbox")]
#[cfg(test)]
mod clients;
#[cfg(feature = "sandbox")]
#[cfg(test)]
mod signing;
#[cfg(feature = "sandbox")]
#[cfg(test)]
mod stub_odps;
#[cfg(feature = "sandbox")]
#[cfg(test)]
mod stub_oss;
#[cfg(feature = "sandbox")]
#[cfg(test)]
#[cfg(feature = "sandbox")]
#[cfg(test)]
mod stubs;
#[cfg(feature = "sandbox")]
#[cfg(test)]
mod support;
#[cfg(feature = "sandbox")]
#[cfg(test)]
mod toolchains;
