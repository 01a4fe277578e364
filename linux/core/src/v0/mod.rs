// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Cards of protocol version 0, which the driver of 2015 speaks: a device is one stream, and a card has one PCM device.
//!
//! A WRITE has no offset, and its frames begin with a page. So ALSA's ring is ordinary memory here: for each WRITE,
//! frames are copied into one of some granted areas, and for each READ out of one. An answered WRITE counts as played.

mod buffer;
mod show;
mod state;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use frontend::v0::Hardware;
use sndif::Protocol;
use sndif::store::{Direction, node as v2_node, number};
use sndif::v0::node;

use crate::{Bus, Error, Platform};

pub use stream::PcmStream;

/// Returns the protocol that the backend speaks, as far as its nodes tell: version 0 where it has a `stream_id` and no
/// `versions`.
pub fn recognise<P: Platform>(bus: &impl Bus<P>) -> Protocol {
    if stream_id(bus).is_some() && !has_versions(bus) { Protocol::V0 } else { Protocol::V2 }
}

/// Returns true if the backend says that it speaks something newer.
fn has_versions<P: Platform>(bus: &impl Bus<P>) -> bool {
    bus.read_backend(v2_node::VERSIONS, &mut [0; 64]).is_some()
}

fn stream_id<P: Platform>(bus: &impl Bus<P>) -> Option<u32> {
    bus.read_backend(node::STREAM_ID, &mut [0; 16]).and_then(number)
}

/// Makes the card's stream. If the backend does not name a direction, the stream has both, one at a time.
///
/// # Errors
/// [`Error::NoMemory`].
pub fn stream<P: Platform>(bus: &impl Bus<P>, hardware: Hardware) -> Result<PcmStream<P>, Error> {
    let only = bus.read_backend(node::TYPE, &mut [0; 2]).and_then(Direction::from_node);
    PcmStream::new(only, hardware)
}

/// Gives the stream the resources of a connection. The nodes have to be written after that.
///
/// # Errors
/// [`Error::OtherVersion`] where the backend speaks another version by now; errors of memory and the hypervisor.
pub(crate) fn attach<P: Platform, B: Bus<P>>(
    bus: &B,
    stream: &PcmStream<P>,
    channel: impl FnOnce() -> Result<P::Channel, Error>,
) -> Result<(), Error> {
    if has_versions(bus) {
        return Err(Error::OtherVersion);
    }
    stream.attach(bus.backend_id(), stream_id(bus), channel)
}
