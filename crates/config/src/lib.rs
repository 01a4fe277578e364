//! The daemon's configuration: a file that `docs/vsndd.toml` shows and explains, and options of the command line.
//!
//! The keys at the file's top hold for every stream, unless a [`Rule`] says otherwise. Rules are applied from top to
//! bottom: a key of a matching rule replaces the earlier value, a key that the rule leaves out keeps it.

#![forbid(unsafe_code)]

mod asker;
mod diagnosis;
mod error;
mod file;
mod limits;
mod reading;
mod rule;
mod source;
mod usable;
mod value;
mod words;
mod worker;

pub use asker::Asker;
pub use diagnosis::Problem;
pub use error::ConfigError;
pub use file::{Config, Control, Metrics};
pub use limits::Limits;
pub use rule::{DomainSelector, Rule};
pub use source::{ConfigSource, DEFAULT_CONFIG, Settings};
pub use value::ListenAddress;
pub use worker::Worker;

/// A file with all keys, each with a comment; also the text of the manual page vsndd.toml(5).
pub const EXAMPLE: &str = include_str!("../../../docs/vsndd.toml");
