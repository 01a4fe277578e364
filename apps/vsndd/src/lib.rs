//! The host daemon of para-virtual sound for Xen: serves every guest that has a `vsnd` device.
//!
//! One control thread waits for the store, the guests' event channels, the host's sound devices, timers
//! and signals ([`Daemon::run`]). What it decides with is `backend`, what it plays to is `host_audio`,
//! and which guest may use what stands in the [`Config`].

#![forbid(unsafe_code)]

mod card;
mod config;
mod daemon;
mod decisions;
mod device;
mod endpoint;
mod fair;
mod figures;
mod flow;
mod gain;
mod host;
mod journal;
mod limiter;
mod policy;
mod poller;
mod quota;
mod refine;
pub mod sandbox;
mod served;
mod server;
pub mod service;
mod source;
mod transport;
mod turn;
mod turns;
mod unique_id;
mod v0;
mod v2;

pub use config::{Config, ConfigError, Control, DomainSelector, Instead, Limits, ListenAddress, Metrics, Rule};
pub use daemon::{Daemon, Ended, Error};
pub use server::{ListenError, Sockets};
pub use source::{ConfigSource, DEFAULT_CONFIG};
