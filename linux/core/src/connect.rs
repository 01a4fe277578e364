// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Gives all streams of a card a transport, and tells the backend of it.

use frontend::{CONTROL_BYTES, MixerFeatures, Stream};
use sndif::store::node;

use crate::state::Transport;
use crate::{Boxed, Bus, Error, Pages, PcmStream, Platform, Source, Writer};

/// What the backend announces beyond playing and recording.
pub fn features<P: Platform>(bus: &impl Bus<P>) -> MixerFeatures {
    let announced = |node| bus.read_backend(node, &mut [0; 4]) == Some(&b"1"[..]);
    MixerFeatures { volume: announced(node::FEATURE_VOLUME), mute: announced(node::FEATURE_MUTE) }
}

/// Makes the transport of every stream and writes its nodes, all at once.
///
/// # Errors
/// Those of memory, the hypervisor and the store; what was made by then is freed by [`PcmStream::detach`].
pub fn publish<P: Platform, B: Bus<P>>(
    bus: &B,
    streams: &[PcmStream<P>],
    features: MixerFeatures,
) -> Result<(), Error> {
    let control_bytes = if features.volume || features.mute { CONTROL_BYTES } else { 0 };
    let backend = bus.backend_id();
    for stream in streams {
        let (ring_page, event_page) = (P::Pages::new(backend, 1)?, P::Pages::new(backend, 1)?);
        let transport = Transport {
            refs: [reference(&ring_page)?, reference(&event_page)?],
            stream: P::Boxed::new(|| Stream::new(stream.info().direction, ring_page, event_page, control_bytes))?,
            ring: bus.channel(stream, Source::Ring)?,
            events: bus.channel(stream, Source::Events)?,
            backend,
        };
        stream.attach(transport, features);
    }
    bus.transaction(&mut |writer| streams.iter().try_for_each(|stream| write_nodes(writer, stream, control_bytes)))
}

fn reference(page: &impl Pages) -> Result<u32, Error> {
    page.refs().first().map(|reference| reference.0).ok_or(Error::NoMemory)
}

fn write_nodes<P: Platform>(writer: &impl Writer, stream: &PcmStream<P>, control_bytes: u32) -> Result<(), Error> {
    let path = stream.info().path();
    let nodes = stream.transport_nodes().ok_or(Error::Lost)?;
    for (node, value) in nodes {
        writer.number(&path, node, value)?;
    }
    if control_bytes > 0 {
        writer.number(&path, node::CONTROL_SIZE, control_bytes)
    } else {
        writer.remove(&path, node::CONTROL_SIZE)
    }
}
