//! Everything that reads what somebody else wrote, as functions of any octets.
//!
//! A body panics when something it promises does not hold. The same bodies run twice: bounded, with
//! pseudo-random octets and damaged seeds, in the tests of this package (stable Rust, no tools); and
//! without bound under libFuzzer from the package in `libfuzzer/`.
//!
//! The corpus in `corpus/` is written by [`seeds`] and compared with it by a test, so that it cannot rot.

#![forbid(unsafe_code)]

mod input;
mod packets;
mod page;
pub mod seeds;
mod store;
mod streams;
mod text;
mod v0;
mod wav;

pub use packets::packets;
pub use store::{store_client, store_messages, store_nodes, store_server};
pub use streams::{backend_stream, frontend_stream};
pub use text::{config, xl_cfg};
pub use v0::{v0_backend_stream, v0_frontend_stream, v0_packets};
pub use wav::wav;

/// A fuzz target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name of the function, of the corpus' directory and of the libFuzzer binary.
    pub name: &'static str,
    /// The function.
    pub body: fn(&[u8]),
    /// Inputs of a bounded run: as many as take about a second without optimisation.
    pub bounded_runs: u32,
}

/// Every target.
pub const TARGETS: [Target; 13] = [
    Target { name: "packets", body: packets, bounded_runs: 20_000 },
    Target { name: "backend_stream", body: backend_stream, bounded_runs: 4000 },
    Target { name: "frontend_stream", body: frontend_stream, bounded_runs: 4000 },
    Target { name: "v0_packets", body: v0_packets, bounded_runs: 20_000 },
    Target { name: "v0_backend_stream", body: v0_backend_stream, bounded_runs: 4000 },
    Target { name: "v0_frontend_stream", body: v0_frontend_stream, bounded_runs: 4000 },
    Target { name: "store_messages", body: store_messages, bounded_runs: 20_000 },
    Target { name: "store_nodes", body: store_nodes, bounded_runs: 20_000 },
    Target { name: "store_server", body: store_server, bounded_runs: 2000 },
    Target { name: "store_client", body: store_client, bounded_runs: 1000 },
    Target { name: "config", body: config, bounded_runs: 4000 },
    Target { name: "xl_cfg", body: xl_cfg, bounded_runs: 10_000 },
    Target { name: "wav", body: wav, bounded_runs: 4000 },
];
