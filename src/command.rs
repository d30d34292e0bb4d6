//! The commands, one file each.

mod admin;
pub mod check;
pub mod exec;
pub mod get;
pub mod health;
pub mod serve;
pub mod stop;
pub mod wait;

pub use self::admin::Admin;
