//! The host's side driven from outside, by guests that keep the rules and by guests that do not. Time is
//! a number; nothing here waits.

mod ahead;
mod capture;
mod guest;
mod handshake;
mod host;
mod hostile;
mod memory;
mod negotiate;
mod playback;
mod v0;
mod wakeups;
