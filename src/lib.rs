//! Serves temporary Alibaba Cloud RAM role credentials to the job beside it, where its tools already look.
pub mod clock;
pub mod credentials;
pub mod moment;
