//! The parts of a guest's card, read from its frontend directory.
//!
//! Everything there can be written by the guest: lengths, digits and ranges are checked, and text is
//! escaped before it reaches a log.

use sndif::store::{BadNode, Direction, LONG_NAME_MAX_LEN, LimitNodes, Limits, node, number};
use sndif::{GrantRef, v0};
use xen::Port;

use crate::transport::Transport;

/// Maximum number of PCM devices of a card that are read: as many as sndif.h's index counts.
const PCMS_MAX: u8 = u8::MAX;

/// One stream as its nodes describe it.
#[derive(Debug, Clone)]
pub(crate) struct StreamNodes {
    pub(crate) pcm: u8,
    pub(crate) stream: u8,
    /// The PCM device's name, escaped; empty in version 0.
    pub(crate) pcm_name: String,
    /// Directory of the stream's transport nodes.
    pub(crate) path: String,
    pub(crate) ring: Transport,
    pub(crate) kind: Kind,
}

/// A card as its nodes describe it.
#[derive(Debug, Default)]
pub(crate) struct CardNodes {
    /// Short name of the card, escaped.
    pub(crate) name: String,
    pub(crate) streams: Vec<StreamNodes>,
}

/// Nodes of a stream that depend on the protocol.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Version 0: the direction, if the toolstack names it.
    V0(Option<Direction>),
    /// Version 2.
    V2(Described),
}

/// A stream of version 2.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) direction: Direction,
    /// The guest's label, escaped.
    pub(crate) label: String,
    pub(crate) limits: Limits,
    pub(crate) control_bytes: u32,
    pub(crate) events: Transport,
    /// True if the guest lets WRITEs lie in the ring.
    pub(crate) write_hold_off: bool,
    /// The guest says from how many unread events on it is to be notified.
    pub(crate) event_hold_off: bool,
}

impl StreamNodes {
    /// Label of the stream in the guest's half of the device; empty in version 0.
    pub(crate) fn label(&self) -> &str {
        match &self.kind {
            Kind::V0(_) => "",
            Kind::V2(described) => &described.label,
        }
    }

    /// The direction, if it is known.
    pub(crate) fn direction(&self) -> Option<Direction> {
        match &self.kind {
            Kind::V0(direction) => *direction,
            Kind::V2(described) => Some(described.direction),
        }
    }

    /// The transport nodes with their values.
    pub(crate) fn transport(&self) -> impl Iterator<Item = (String, u32)> {
        let events = match &self.kind {
            Kind::V0(_) => None,
            Kind::V2(described) => Some(described.events),
        };
        let ring = [(node::RING_REF, self.ring.page.0), (node::EVENT_CHANNEL, self.ring.port.0)];
        let events =
            events.map(|events| [(node::EVT_RING_REF, events.page.0), (node::EVT_EVENT_CHANNEL, events.port.0)]);
        ring.into_iter()
            .chain(events.into_iter().flatten())
            .map(|(name, value)| (format!("{}/{name}", self.path), value))
    }
}

/// Reason why a frontend directory is not a card that can be connected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CardError {
    #[error(transparent)]
    Store(#[from] xenstore::Error),
    #[error("`{path}`: {bad}")]
    Node { path: String, bad: BadNode },
    #[error("`{path}`: {reason}")]
    Value { path: String, reason: &'static str },
    #[error("more than {0} PCM devices or streams")]
    TooManyStreams(usize),
    #[error("the frontend has published the transport of no stream")]
    NoTransport,
    #[error("no stream in the frontend's directory: not a card of this protocol, left alone")]
    NotOurs,
}

/// Nodes at one level that hold limits, and others.
struct Level {
    path: String,
    limits: [Option<Vec<u8>>; 5],
    others: Vec<Option<Vec<u8>>>,
}

impl Level {
    /// Reads the limit nodes and `others` of every directory in `paths`, all in flight together.
    fn read(store: &mut xenstore::Client, paths: Vec<String>, others: &[&str]) -> Result<Vec<Self>, xenstore::Error> {
        let names: Vec<&str> = LimitNodes::NAMES.into_iter().chain(others.iter().copied()).collect();
        let nodes: Vec<String> =
            paths.iter().flat_map(|path| names.iter().map(move |name| format!("{path}/{name}"))).collect();
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let mut values = store.read_many(&nodes).into_iter();
        paths
            .into_iter()
            .map(|path| {
                let mut next = || values.next().unwrap_or(Ok(None));
                let limits = [next()?, next()?, next()?, next()?, next()?];
                let others = others.iter().map(|_| next()).collect::<Result<_, _>>()?;
                Ok(Self { path, limits, others })
            })
            .collect()
    }

    fn narrow(&self, above: &Limits) -> Result<Limits, CardError> {
        let [channels_min, channels_max, sample_rates, sample_formats, buffer_size] =
            self.limits.each_ref().map(Option::as_deref);
        let nodes = LimitNodes { channels_min, channels_max, sample_rates, sample_formats, buffer_size };
        above.narrowed_by(&nodes).map_err(|bad| CardError::Node { path: self.path.clone(), bad })
    }

    fn other(&self, index: usize) -> Option<&[u8]> {
        self.others.get(index)?.as_deref()
    }

    /// A text written by the guest, escaped and cut to the longest length of a name.
    fn name(&self, index: usize) -> String {
        let text = self.other(index).unwrap_or_default();
        text.iter().take(LONG_NAME_MAX_LEN).flat_map(|&byte| byte.escape_ascii()).map(char::from).collect()
    }
}

/// Names of the numbered children `0`, `1`, … without a gap, at most `most`.
fn numbered(store: &mut xenstore::Client, path: &str, most: u8) -> Result<Vec<u8>, xenstore::Error> {
    let children = match store.directory(path) {
        Err(error) if error.is_not_found() => Vec::new(),
        children => children?,
    };
    Ok((0..most).take_while(|index| children.contains(&index.to_string())).collect())
}

/// Positions of the transport nodes among the other nodes of a stream.
const TRANSPORT: std::ops::Range<usize> = 3..7;

/// Reads those streams of the card at `frontend` whose transport the frontend has published.
pub(crate) fn read(store: &mut xenstore::Client, frontend: &str, streams_max: usize) -> Result<CardNodes, CardError> {
    const OTHERS: [&str; 9] = [
        node::TYPE,
        node::UNIQUE_ID,
        node::CONTROL_SIZE,
        node::RING_REF,
        node::EVENT_CHANNEL,
        node::EVT_RING_REF,
        node::EVT_EVENT_CHANNEL,
        node::WRITE_HOLD_OFF,
        node::EVENT_HOLD_OFF,
    ];
    let pcms = numbered(store, frontend, PCMS_MAX)?;
    // Each PCM device has a stream: a card with too many of them cannot be connected, and is not read.
    if pcms.len() > streams_max {
        return Err(CardError::TooManyStreams(streams_max));
    }
    let card = Level::read(store, vec![frontend.to_owned()], &[node::SHORT_NAME])?;
    let (card, name) = match card.first() {
        Some(level) => (level.narrow(&Limits::DEFAULT)?, level.name(0)),
        None => (Limits::DEFAULT, String::new()),
    };
    let pcm_paths = pcms.iter().map(|pcm| format!("{frontend}/{pcm}")).collect();
    let pcm_levels = Level::read(store, pcm_paths, &[node::NAME])?;
    let mut streams = Vec::new();
    let mut configured = 0;
    for (pcm, level) in pcms.into_iter().zip(pcm_levels) {
        let above = Above { limits: level.narrow(&card)?, pcm, pcm_name: level.name(0) };
        let indices = numbered(store, &level.path, u8::MAX)?;
        configured += indices.len();
        if configured > streams_max {
            return Err(CardError::TooManyStreams(streams_max));
        }
        let paths = indices.iter().map(|stream| format!("{}/{stream}", level.path)).collect();
        for (stream, level) in indices.into_iter().zip(Level::read(store, paths, &OTHERS)?) {
            // Linux uses eight streams of a PCM device and leaves the nodes of the others as they are.
            if TRANSPORT.into_iter().any(|index| level.other(index).is_some()) {
                streams.push(stream_nodes(stream, &level, &above)?);
            }
        }
    }
    match (configured, streams.is_empty()) {
        (0, _) => Err(CardError::NotOurs),
        (_, true) => Err(CardError::NoTransport),
        (_, false) => Ok(CardNodes { name, streams }),
    }
}

/// The PCM device that a stream belongs to.
struct Above {
    limits: Limits,
    pcm: u8,
    pcm_name: String,
}

fn stream_nodes(stream: u8, level: &Level, above: &Above) -> Result<StreamNodes, CardError> {
    let bad = |name: &str, reason| CardError::Value { path: format!("{}/{name}", level.path), reason };
    let direction = level.other(0).and_then(Direction::from_node).ok_or(bad(node::TYPE, "is neither `p` nor `c`"))?;
    let transport_number = |index: usize, name: &str| {
        level.other(index).and_then(number).filter(|&number| number > 0).ok_or(bad(name, "is not a number above 0"))
    };
    let control_bytes = match level.other(2) {
        None => 0,
        Some(value) => number(value)
            .filter(|&size| size <= 65_536)
            .ok_or(bad(node::CONTROL_SIZE, "is not a number of bytes up to 65536"))?,
    };
    Ok(StreamNodes {
        pcm: above.pcm,
        stream,
        pcm_name: above.pcm_name.clone(),
        path: level.path.clone(),
        ring: Transport {
            page: GrantRef(transport_number(3, node::RING_REF)?),
            port: Port(transport_number(4, node::EVENT_CHANNEL)?),
        },
        kind: Kind::V2(Described {
            direction,
            label: level.name(1),
            limits: level.narrow(&above.limits)?,
            control_bytes,
            events: Transport {
                page: GrantRef(transport_number(5, node::EVT_RING_REF)?),
                port: Port(transport_number(6, node::EVT_EVENT_CHANNEL)?),
            },
            write_hold_off: level.other(7) == Some(b"1"),
            event_hold_off: level.other(8) == Some(b"1"),
        }),
    })
}

/// Reads the one stream of a device of version 0: the guest's half is at `frontend`, ours at `backend`.
pub(crate) fn read_v0(store: &mut xenstore::Client, frontend: &str, backend: &str) -> Result<StreamNodes, CardError> {
    let paths = [
        format!("{frontend}/{}", v0::node::RING_REF),
        format!("{frontend}/{}", v0::node::EVENT_CHANNEL),
        format!("{backend}/{}", v0::node::TYPE),
    ];
    let [ring_ref, channel, direction] = &paths;
    let mut values = store.read_many(&paths.each_ref().map(String::as_str)).into_iter();
    let mut next = || values.next().unwrap_or(Ok(None));
    let mut transport_number = |path: &str| -> Result<u32, CardError> {
        let value = next()?.ok_or(CardError::NoTransport)?;
        let bad = CardError::Value { path: path.to_owned(), reason: "is not a number above 0" };
        number(&value).filter(|&number| number > 0).ok_or(bad)
    };
    let ring = Transport { page: GrantRef(transport_number(ring_ref)?), port: Port(transport_number(channel)?) };
    let direction = match next()? {
        None => None,
        Some(value) => Some(
            Direction::from_node(&value)
                .ok_or(CardError::Value { path: direction.clone(), reason: "is neither `p` nor `c`" })?,
        ),
    };
    let (pcm_name, path) = (String::new(), frontend.to_owned());
    Ok(StreamNodes { pcm: 0, stream: 0, pcm_name, path, ring, kind: Kind::V0(direction) })
}
