//! Targets for XenStore: messages, the embedded server, the client, and the values of a card's nodes.

use sndif::XenbusState;
use sndif::store::{Direction, LimitNodes, Limits, number};
use sndif::v2::Interval;

/// Parses any bytes as a stream of messages.
pub fn store_messages(bytes: &[u8]) {
    xenstore::fuzzing::decoder(bytes);
}

/// Runs any requests of several connections to the embedded store.
pub fn store_server(bytes: &[u8]) {
    xenstore::fuzzing::server(bytes);
}

/// Gives a client any bytes as a store's answers.
pub fn store_client(bytes: &[u8]) {
    xenstore::fuzzing::client(bytes);
}

/// Parses any values of the nodes of a card, a PCM device and a stream. The byte before each value is the value's
/// length; 255 means that the node is missing.
pub fn store_nodes(bytes: &[u8]) {
    let mut rest = bytes;
    let mut limits = Limits::DEFAULT;
    for _ in 0..3 {
        let values: [Option<&[u8]>; 5] = std::array::from_fn(|_| value(&mut rest));
        for value in values.into_iter().flatten() {
            let _ = (number(value), XenbusState::from_node(value), Direction::from_node(value));
        }
        let [channels_min, channels_max, sample_rates, sample_formats, buffer_size] = values;
        let nodes = LimitNodes { channels_min, channels_max, sample_rates, sample_formats, buffer_size };
        match limits.narrowed_by(&nodes) {
            Ok(below) => limits = below,
            Err(bad) => assert!(LimitNodes::NAMES.contains(&bad.node)),
        }
        assert!(!limits.channels.is_empty() && limits.channels.min > 0 && limits.channels.max <= 255);
        assert!(!limits.formats.is_empty() && limits.buffer_bytes_max > 0);
        assert!(limits.rates.list().is_sorted() && !limits.rates.within(Interval::ANY).is_empty());
    }
}

fn value<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (&length, tail) = rest.split_first()?;
    *rest = tail;
    if length == u8::MAX {
        return None;
    }
    let (value, tail) = tail.split_at(usize::from(length).min(tail.len()));
    *rest = tail;
    Some(value)
}
