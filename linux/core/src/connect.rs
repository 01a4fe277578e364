// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Gives all streams of a card a transport, and tells the backend of it.

use frontend::{CONTROL_BYTES, MixerFeatures, Stream};
use sndif::store::node;

use crate::platform::grant;
use crate::state::Transport;
use crate::{Boxed, Bus, ChannelKind, Error, Pages, PcmStream, Platform, Substream, Text, Writer, v0};

/// Features that the backend announces beyond playing and recording.
pub fn features<P: Platform>(bus: &impl Bus<P>) -> MixerFeatures {
    MixerFeatures { volume: announced(bus, node::FEATURE_VOLUME), mute: announced(bus, node::FEATURE_MUTE) }
}

fn announced<P: Platform>(bus: &impl Bus<P>, node: &str) -> bool {
    bus.read_backend(node, &mut [0; 4]) == Some(&b"1"[..])
}

/// Makes the transport of every stream and writes its nodes, all at once.
///
/// # Errors
/// [`Error::Kept`], those of memory, the hypervisor and the store; what was made by then is freed by [`Substream::detach`].
pub fn publish<P: Platform, B: Bus<P>>(
    bus: &B,
    streams: &[Substream<P>],
    features: MixerFeatures,
) -> Result<(), Error> {
    let control_bytes = if features.volume || features.mute { CONTROL_BYTES } else { 0 };
    let reads_ahead = announced(bus, node::FEATURE_READ_AHEAD);
    for stream in streams {
        match stream {
            Substream::V2(v2) => {
                let mut transport = transport(bus, stream, v2, control_bytes)?;
                transport.stream.set_reads_ahead(reads_ahead);
                v2.attach(transport, features);
            }
            Substream::V0(v0) => v0::attach(bus, v0, || bus.channel(stream, ChannelKind::Ring))?,
        }
    }
    bus.transaction(&mut |writer| {
        streams.iter().try_for_each(|stream| match stream {
            Substream::V2(v2) => write_nodes(writer, v2, control_bytes),
            Substream::V0(v0) => write_v0_nodes(writer, v0),
        })
    })
}

fn transport<P: Platform, B: Bus<P>>(
    bus: &B,
    stream: &Substream<P>,
    v2: &PcmStream<P>,
    control_bytes: u32,
) -> Result<Transport<P>, Error> {
    let backend = bus.backend_id();
    let (ring_page, event_page): (P::Pages, P::Pages) = (grant(backend, 1)?, grant(backend, 1)?);
    Ok(Transport {
        refs: [reference(&ring_page)?, reference(&event_page)?],
        stream: P::Boxed::new(|| Stream::new(v2.info().direction, ring_page, event_page, control_bytes))?,
        ring: bus.channel(stream, ChannelKind::Ring)?,
        events: bus.channel(stream, ChannelKind::Events)?,
        backend,
    })
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

/// A device is a stream: its nodes stand directly in its directory.
fn write_v0_nodes<P: Platform>(writer: &impl Writer, stream: &v0::PcmStream<P>) -> Result<(), Error> {
    let nodes = stream.transport_nodes().ok_or(Error::Lost)?;
    nodes.into_iter().try_for_each(|(node, value)| writer.number(&Text::EMPTY, node, value))
}
