//! Control of the daemon by the host's administrator: messages over a local socket.
//!
//! One JSON object a line. A client sends a [`Request`] and reads a [`Reply`], as often as wanted; after
//! [`Request::Events`] with `follow` every further line is an [`Event`]. [`Client`] does that for a program that may
//! wait; the daemon has its own end. The permissions of the socket's file decide who may connect (`docs/control.md`).

#![forbid(unsafe_code)]

mod client;
mod event;
mod message;
mod part;
mod socket;
mod status;
mod target;

pub use client::{Client, ClientError};
pub use event::{Event, EventKind};
pub use message::{FOR_SECONDS_MAX, LINE_BYTES_MAX, Reply, Request, Setting};
pub use part::Part;
pub use socket::{DEFAULT_SOCKET, socket_of};
pub use status::{Card, Direction, Guest, Run, Status, Stream, Worker};
pub use target::{ParseTargetError, Target};
