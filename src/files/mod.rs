//! Files that hold credentials.

mod atomic;
mod credentials_file;
mod ownership;
pub mod state;
pub mod writer;
