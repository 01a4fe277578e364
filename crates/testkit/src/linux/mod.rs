//! A model of the frontend that every Linux guest has: mainline's `snd_xen_front` with the ALSA core
//! around it, as a backend sees them, **mistakes included**.
//!
//! * [`LinuxFrontend`] is the driver bound to one card: XenBus states, rings, the card's life.
//! * [`Pcm`] is an open substream: the driver's stream and the core's pointers, states and thresholds.
//! * [`Pcm::aplay`] and [`Pcm::arecord`] model the programs of these names.
//!
//! An interrupt handler runs where the application waits, not in a thread of its own: every resulting order
//! of handler and application is possible in Linux, and tests are easy to follow.
//! [`Pcm::sleep`] is an application that does nothing while interrupts are handled.
//!
//! In one point the model is more tolerant than Linux: a wake-up may take [`Timings::wake_up`], while Linux
//! gives up after about a buffer's length, so that a busy machine does not fail a test.

mod apps;
mod bus;
mod channel;
mod config;
mod core;
mod driver;
mod errno;
mod hw_params;

pub use apps::Played;
pub use bus::{LinuxFrontend, Timings};
pub use channel::{Observed, Release, Sent};
pub use core::{Pcm, State};
pub use errno::Errno;
pub use hw_params::{Agreed, Wish};
