//! Fuzz targets for all code that reads untrusted data, as functions of any bytes.
//!
//! A target's body panics when a promise of the code does not hold. The same bodies run in three ways: bounded, with
//! pseudo-random bytes and damaged seeds, in the tests of this package; without bound, by the program `vsnd-fuzz`,
//! which continues where it stopped (both on stable Rust, without tools); and under libFuzzer from the package in
//! `libfuzzer/`.
//!
//! The corpus in `corpus/` is written by [`seeds`], and a test compares both, so that the corpus stays up to date.

#![forbid(unsafe_code)]

mod input;
pub mod noise;
mod packets;
mod page;
mod programs;
pub mod runs;
pub mod seeds;
mod store;
mod streams;
mod text;
mod v0;
mod wav;

pub use packets::packets;
pub use programs::{OPERATION_BYTES, backend_program, frontend_program};
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
    /// The target's function.
    pub body: fn(&[u8]),
    /// Number of inputs of a bounded run: about a second without optimisation.
    pub bounded_runs: u32,
    /// Bytes of an operation, for programs; 1 for other inputs.
    pub step: usize,
}

const fn target(name: &'static str, body: fn(&[u8]), bounded_runs: u32) -> Target {
    Target { name, body, bounded_runs, step: 1 }
}

/// All targets.
pub const TARGETS: [Target; 15] = [
    Target { name: "backend_program", body: backend_program, bounded_runs: 8000, step: OPERATION_BYTES },
    Target { name: "frontend_program", body: frontend_program, bounded_runs: 8000, step: OPERATION_BYTES },
    target("packets", packets, 20_000),
    target("backend_stream", backend_stream, 4000),
    target("frontend_stream", frontend_stream, 4000),
    target("v0_packets", v0_packets, 20_000),
    target("v0_backend_stream", v0_backend_stream, 4000),
    target("v0_frontend_stream", v0_frontend_stream, 4000),
    target("store_messages", store_messages, 20_000),
    target("store_nodes", store_nodes, 20_000),
    target("store_server", store_server, 2000),
    target("store_client", store_client, 1000),
    target("config", config, 4000),
    target("xl_cfg", xl_cfg, 10_000),
    target("wav", wav, 4000),
];
