//! Reads a card from the store: sndif.h, "PCM settings", inherited card → PCM device → stream.

use sndif::store::{Direction, LONG_NAME_MAX_LEN, LimitNodes, Limits, SHORT_NAME_MAX_LEN, node, number};
use xenstore::Client;

use crate::{Error, Result};

/// One stream of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// PCM device, counted from 0.
    pub pcm: u8,
    /// Stream of the PCM device, counted from 0.
    pub stream: u8,
    /// Playback or capture.
    pub direction: Direction,
    /// Name of the PCM device; may be empty.
    pub name: String,
    /// Label of the stream; may be empty, and need not be unique.
    pub unique_id: String,
    /// Limits of the stream, as far as the store tells.
    pub limits: Limits,
}

/// A card's nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    pub(crate) short_name: String,
    pub(crate) long_name: String,
    pub(crate) streams: Vec<StreamInfo>,
}

impl Layout {
    /// Returns the layout of a protocol version 0 device: one stream, or one for each direction where `back`, the
    /// backend's directory, names none. Only the answer to OPEN tells the device's limits; these are the limits of the
    /// driver of 2015.
    pub(crate) fn read_v0(store: &mut Client, back: &str) -> Result<Self> {
        let kind = store.read_opt(&format!("{back}/{}", sndif::v0::node::TYPE))?;
        let only = kind.as_deref().and_then(Direction::from_node);
        let directions = [Direction::Playback, Direction::Capture];
        let used = directions.into_iter().filter(|&direction| only.is_none_or(|only| only == direction));
        let streams = used.zip(0..).map(|(direction, stream)| StreamInfo {
            pcm: 0,
            stream,
            direction,
            name: String::new(),
            unique_id: String::new(),
            limits: Limits::DEFAULT,
        });
        Ok(Self { streams: streams.collect(), ..Self::default() })
    }

    /// Reads the card below `card`. Directories that are no PCM device or stream are skipped.
    pub(crate) fn read(store: &mut Client, card: &str) -> Result<Self> {
        let limits = narrow(store, card, &Limits::DEFAULT)?;
        let mut layout = Self {
            short_name: name(store, card, node::SHORT_NAME, SHORT_NAME_MAX_LEN)?,
            long_name: name(store, card, node::LONG_NAME, LONG_NAME_MAX_LEN)?,
            streams: Vec::new(),
        };
        for pcm in indices(store, card)? {
            let pcm_path = format!("{card}/{pcm}");
            let limits = narrow(store, &pcm_path, &limits)?;
            let pcm_name = name(store, &pcm_path, node::NAME, LONG_NAME_MAX_LEN)?;
            for stream in indices(store, &pcm_path)? {
                let path = format!("{pcm_path}/{stream}");
                let kind = store.read_opt(&format!("{path}/{}", node::TYPE))?;
                let Some(direction) = kind.as_deref().and_then(Direction::from_node) else { continue };
                layout.streams.push(StreamInfo {
                    pcm,
                    stream,
                    direction,
                    name: pcm_name.clone(),
                    unique_id: name(store, &path, node::UNIQUE_ID, LONG_NAME_MAX_LEN)?,
                    limits: narrow(store, &path, &limits)?,
                });
            }
        }
        Ok(layout)
    }
}

/// Lists numbered children in ascending order; `pcm-dev-idx` and `stream-idx` are `uint8_t`.
fn indices(store: &mut Client, path: &str) -> Result<Vec<u8>> {
    let children = store.directory(path)?;
    let numbers = children.iter().filter_map(|name| number(name.as_bytes()));
    let mut indices: Vec<u8> = numbers.filter_map(|index| index.try_into().ok()).collect();
    indices.sort_unstable();
    indices.dedup();
    Ok(indices)
}

fn narrow(store: &mut Client, path: &str, limits: &Limits) -> Result<Limits> {
    let paths = LimitNodes::NAMES.map(|name| format!("{path}/{name}"));
    let values = store.read_many(&paths.each_ref().map(String::as_str));
    let values = values.into_iter().collect::<xenstore::Result<Vec<_>>>()?;
    let value = |wanted| {
        let index = LimitNodes::NAMES.iter().position(|&name| name == wanted)?;
        values.get(index)?.as_deref()
    };
    let nodes = LimitNodes {
        channels_min: value(node::CHANNELS_MIN),
        channels_max: value(node::CHANNELS_MAX),
        sample_rates: value(node::SAMPLE_RATES),
        sample_formats: value(node::SAMPLE_FORMATS),
        buffer_size: value(node::BUFFER_SIZE),
    };
    limits.narrowed_by(&nodes).map_err(|cause| Error::BadNode { path: path.into(), cause })
}

/// Reads a name for people, cut to its maximum length, with nothing in it that would move a terminal's cursor.
fn name(store: &mut Client, path: &str, node: &str, max_len: usize) -> Result<String> {
    let value = store.read_opt(&format!("{path}/{node}"))?.unwrap_or_default();
    let value = value.get(..max_len).unwrap_or(&value);
    Ok(String::from_utf8_lossy(value).chars().map(|c| if c.is_control() { '?' } else { c }).collect())
}
