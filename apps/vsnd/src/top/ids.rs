//! Identities of streams, under which what was measured of them is kept.

use ::control::{Card, Guest, Status, Stream};

/// Identity of a stream, as long as its domain lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct StreamId {
    domain: u16,
    card: u32,
    pcm: u8,
    stream: u8,
}

/// The streams of a status with their identities.
pub(super) fn stream_ids(status: &Status) -> impl Iterator<Item = (StreamId, &Stream)> {
    let cards = status.guests.iter().flat_map(|guest| guest.cards.iter().map(move |card| (guest, card)));
    cards.flat_map(|(guest, card)| card.streams.iter().map(move |stream| (id(guest, card, stream), stream)))
}

/// Identity of a stream.
pub(super) fn id(guest: &Guest, card: &Card, stream: &Stream) -> StreamId {
    StreamId { domain: guest.domain, card: card.card, pcm: stream.pcm, stream: stream.stream }
}
