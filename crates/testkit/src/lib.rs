//! Test doubles around the real daemon: a whole emulated machine, the frontend that every Linux guest
//! has, and a frontend that breaks every rule.
//!
//! * [`World`] is an emulated Xen with a daemon in a thread, cards attached in the manner of `xl`, and
//!   files that the daemon plays into.
//! * [`linux`] models mainline's `snd_xen_front` and the ALSA core around it, mistakes included.
//! * [`other`] models the one other backend in the field.
//! * [`hostile`] writes any given bytes into ring, event page, directory and store.
//! * [`v0`] has a guest with the driver of 2015 and its habits.
//! * [`Bystander`] is a second guest that must not be disturbed; [`Punctual`] is one that measures how late it is
//!   served.
//!
//! Every wait has a bound ([`eventually`]), so that a missing event fails a test instead of blocking it.

#![forbid(unsafe_code)]

mod bystander;
mod census;
pub mod hostile;
pub mod linux;
pub mod other;
mod punctual;
pub mod signal;
mod stalls;
pub mod v0;
mod wait;
mod world;

pub use bystander::Bystander;
pub use census::{Census, file_descriptors, mappings};
pub use punctual::{Punctual, Punctuality};
pub use wait::{PATIENCE, eventually, wait_for};
pub use world::{DUPLEX, Guest, PLAYBACK, Threads, World};
