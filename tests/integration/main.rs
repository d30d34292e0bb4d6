//! Tests of the real binary, its real clients among them.
#![cfg(feature = "sandbox")]

#[cfg(test)]
mod access;
#[cfg(test)]
mod check;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod confinement;
#[cfg(test)]
mod container;
#[cfg(test)]
mod costs;
#[cfg(test)]
mod diagnoses;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod endurance;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod files;
#[cfg(test)]
mod foreign_text;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod hardening;
#[cfg(test)]
mod help;
#[cfg(test)]
mod http;
#[cfg(test)]
mod identities;
#[cfg(feature = "inject")]
#[cfg(test)]
mod inject;
#[cfg(test)]
mod instance;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod load;
#[cfg(feature = "inject")]
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod names;
#[cfg(test)]
mod namespace;
#[cfg(test)]
mod progress;
#[cfg(test)]
mod randomness;
#[cfg(test)]
mod release;
#[cfg(feature = "inject")]
#[cfg(test)]
mod releases;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod signing;
#[cfg(test)]
mod state;
#[cfg(test)]
mod status;
#[cfg(test)]
mod sts_sdk;
#[cfg(test)]
mod stub_metadata;
#[cfg(test)]
mod stub_odps;
#[cfg(test)]
mod stub_oss;
#[cfg(test)]
mod stub_s3;
#[cfg(test)]
mod stubs;
#[cfg(test)]
mod support;
#[cfg(test)]
mod systemd;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod toolchains;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod upstream;
#[cfg(feature = "inject")]
#[cfg(test)]
mod webhook;
