//! Requests to STS and its responses, as HTTP carries them.

pub(crate) mod authorization;
pub(crate) mod request;
pub(crate) mod response;
