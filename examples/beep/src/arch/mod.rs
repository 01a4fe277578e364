//! The processor's architecture: all that differs between the machines on which beep runs.
//!
//! Each architecture has these, and in `boot.rs` the way from Xen to [`main`](crate::main):
//!
//! | | |
//! |---|---|
//! | `prepare` | finds Xen; to be called before the others |
//! | `call` | makes a hypercall |
//! | `reach` | has the page tables contain a page that is no part of our image |
//! | `grant_table` | the page where the grant table goes |
//! | `now_ns` | the time |
//! | `PENDING` | offset of the bits of pending channels in Xen's page |
//!
//! Memory has the same addresses for the processor as for Xen on both.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::{PENDING, call, grant_table, now_ns, prepare, reach};
#[cfg(target_arch = "x86_64")]
pub use x86_64::{PENDING, call, grant_table, now_ns, prepare, reach};
