//! Streams of protocol version 0, for backends that speak nothing newer.
//!
//! * [`Stream`] is the ring of a device, which is one stream: requests in flight, and the pages of their frames.
//! * [`Transfers`] cuts a geometry into READs and WRITEs.
//! * [`Mixer`] is the mixer of the 2015 driver, [`Hardware`] its card models and the limits in its proc file.
//!
//! There are no position events: an answered WRITE counts as played, an answered READ as captured. Several may be in
//! flight, so that the backend finds the next one immediately; it answers them in their order.

mod hardware;
mod mixer;
mod stream;
mod transfers;

pub use hardware::{BadLimit, Field, Hardware};
pub use mixer::Mixer;
pub use stream::{Completion, Counters, Stream};
pub use transfers::Transfers;
