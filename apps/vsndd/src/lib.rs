//! The host daemon of para-virtual sound for Xen: serves every guest that has a `vsnd` device.
//!
//! A broker ([`Daemon`]) sees which guests have a card, and starts a worker ([`work`]) for each: a process that maps
//! its guest's pages, waits for its event channels and the host's sound devices, and reaches nothing else of Xen. A
//! worker makes its decisions with `backend` and plays to `host_audio`; the [`config`] says which guest may use what.

#![forbid(unsafe_code)]

mod broker;
mod buffer;
mod card;
mod connection;
mod device;
mod endpoint;
mod error;
mod exposition;
mod flow;
mod gain;
mod groups;
mod host;
mod journal;
mod kept;
mod limiter;
mod link;
mod overrides;
mod policy;
mod poller;
mod quota;
mod refine;
pub mod sandbox;
mod server;
pub mod service;
pub mod state;
mod stream;
mod totals;
mod transport;
mod turn;
mod turns;
mod unique_id;
mod worker;

pub use broker::{Daemon, Launch, Processes, Running};
pub use error::{Ended, Error};
pub use groups::{Group, Groups};
pub use server::{ListenError, Sockets};
pub use worker::work;
