//! Test doubles around the real daemon: a whole emulated machine, the frontend that every Linux guest
//! has, and one that breaks every rule.
//!
//! * [`World`] is an emulated Xen with a daemon in a thread, cards attached as `xl` attaches them, and
//!   files that the daemon plays into.
//! * [`linux`] behaves as mainline's `snd_xen_front` and the ALSA core around it do, mistakes included.
//! * [`other`] behaves as the one other backend in the field.
//! * [`hostile`] writes whatever it is told into ring, event page, directory and store.
//! * [`v0`] has a guest of 2015, with that driver's habits.
//! * [`Bystander`] is another guest, who must not notice any of it; [`Punctual`] is one that measures how late it is served.
//!
//! Everything waits with a bound ([`eventually`]); what is not there in time is a failed test, not a hanging one.

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
