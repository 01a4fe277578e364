// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Reads a card from the store: sndif.h, "PCM settings", inherited card → PCM device → stream.

use sndif::store::{BadNode, Direction, LONG_NAME_MAX_LEN, LimitNodes, Limits, SHORT_NAME_MAX_LEN, node, number};

use crate::{Bus, Platform, Text};

/// Longest list of rates or formats that is read: all formats by their longest names take 300 bytes.
const LIST_MAX_LEN: usize = 384;

/// Names of the card.
#[derive(Debug, Clone, Copy)]
pub struct CardNames {
    /// Up to 32 bytes; may be empty.
    pub short: Text,
    /// Up to 80 bytes; may be empty.
    pub long: Text,
}

/// One stream of a card.
#[derive(Debug, Clone, Copy)]
pub struct StreamInfo {
    /// Directory of the PCM device, and ALSA's number of it.
    pub pcm: u8,
    /// Directory of the stream within it.
    pub node: u8,
    /// Playback or capture.
    pub direction: Direction,
    /// ALSA's number of the substream: counted within its PCM device and direction.
    pub substream: u8,
    /// Limits of the stream, as far as the store tells.
    pub limits: Limits,
}

impl StreamInfo {
    /// Returns the stream's directory below the card's.
    #[must_use]
    pub fn path(&self) -> Text {
        Text::of(&[&self.pcm, &"/", &self.node])
    }
}

/// A node with an invalid value, and the directory that contains it.
#[derive(Debug, Clone, Copy)]
pub struct BadLayout {
    /// The directory below the card's.
    pub path: Text,
    /// The node.
    pub node: BadNode,
}

/// Reads the card's names.
pub fn names<P: Platform>(bus: &impl Bus<P>) -> CardNames {
    CardNames {
        short: name(bus, "", node::SHORT_NAME, SHORT_NAME_MAX_LEN),
        long: name(bus, "", node::LONG_NAME, LONG_NAME_MAX_LEN),
    }
}

/// Reads the name of a PCM device.
pub fn pcm_name<P: Platform>(bus: &impl Bus<P>, pcm: u8) -> Text {
    name(bus, Text::of(&[&pcm]).as_str(), node::NAME, LONG_NAME_MAX_LEN)
}

/// Calls `each` for every stream of the card, in ascending order of PCM device and stream. Other directories are
/// skipped.
///
/// # Errors
/// [`BadLayout`] for the first invalid limit.
pub fn streams<P: Platform>(bus: &impl Bus<P>, each: &mut dyn FnMut(&StreamInfo)) -> Result<(), BadLayout> {
    let mut limits = Limits::DEFAULT;
    narrow(bus, &Text::EMPTY, &mut limits)?;
    children(bus, &Text::EMPTY).iter().try_for_each(|pcm| pcm_streams(bus, pcm, &limits, each))
}

// Not inlined, like the functions below: a function for each level keeps the stack small.
#[inline(never)]
fn pcm_streams<P: Platform>(
    bus: &impl Bus<P>,
    pcm: u8,
    limits: &Limits,
    each: &mut dyn FnMut(&StreamInfo),
) -> Result<(), BadLayout> {
    let path = Text::of(&[&pcm]);
    let mut limits = *limits;
    narrow(bus, &path, &mut limits)?;
    let mut counts = [0; 2];
    children(bus, &path).iter().try_for_each(|node| stream(bus, (pcm, node), &limits, &mut counts, each))
}

#[inline(never)]
fn stream<P: Platform>(
    bus: &impl Bus<P>,
    (pcm, node): (u8, u8),
    limits: &Limits,
    [playback, capture]: &mut [u8; 2],
    each: &mut dyn FnMut(&StreamInfo),
) -> Result<(), BadLayout> {
    let path = Text::of(&[&pcm, &"/", &node]);
    let mut kind = [0; 2];
    let kind = bus.read(path.as_str(), node::TYPE, &mut kind);
    let Some(direction) = kind.and_then(Direction::from_node) else { return Ok(()) };
    let count = match direction {
        Direction::Playback => playback,
        Direction::Capture => capture,
    };
    let substream = core::mem::replace(count, count.saturating_add(1));
    let mut info = StreamInfo { pcm, node, direction, substream, limits: *limits };
    narrow(bus, &path, &mut info.limits)?;
    each(&info);
    Ok(())
}

/// Returns the maximum number of the card's streams.
pub fn streams_max<P: Platform>(bus: &impl Bus<P>) -> usize {
    let pcms = children(bus, &Text::EMPTY);
    pcms.iter().map(|pcm| children(bus, &Text::of(&[&pcm])).iter().count()).sum()
}

/// Set of numbers from 0 to 255 (`pcm-dev-idx` and `stream-idx` are `uint8_t`).
struct Indices([u64; 4]);

impl Indices {
    fn insert(&mut self, index: u8) {
        if let Some(word) = self.0.get_mut(usize::from(index >> 6)) {
            *word |= 1_u64.wrapping_shl(u32::from(index & 63));
        }
    }

    fn contains(&self, index: u8) -> bool {
        self.0.get(usize::from(index >> 6)).is_some_and(|word| word & 1_u64.wrapping_shl(u32::from(index & 63)) != 0)
    }

    /// Iterates in ascending order.
    fn iter(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(|&index| self.contains(index))
    }
}

fn children<P: Platform>(bus: &impl Bus<P>, path: &Text) -> Indices {
    let mut indices = Indices([0; 4]);
    bus.list(path.as_str(), &mut |name| {
        if let Some(index) = number(name).and_then(|index| u8::try_from(index).ok()) {
            indices.insert(index);
        }
    });
    indices
}

#[inline(never)]
fn narrow<P: Platform>(bus: &impl Bus<P>, path: &Text, limits: &mut Limits) -> Result<(), BadLayout> {
    narrow_by_each(bus, path.as_str(), limits).map_err(|node| BadLayout { path: *path, node })
}

/// Narrows by one node after the other, so that one value at a time is on the stack; only the two of the channels are
/// judged together.
#[inline(never)]
fn narrow_by_each<P: Platform>(bus: &impl Bus<P>, path: &str, limits: &mut Limits) -> Result<(), BadNode> {
    let none = LimitNodes::default();
    let (mut min, mut max) = ([0; 4], [0; 4]);
    narrow_by(
        limits,
        &LimitNodes {
            channels_min: bus.read(path, node::CHANNELS_MIN, &mut min),
            channels_max: bus.read(path, node::CHANNELS_MAX, &mut max),
            ..none
        },
    )?;
    let list = &mut [0; LIST_MAX_LEN];
    narrow_by(limits, &LimitNodes { sample_rates: bus.read(path, node::SAMPLE_RATES, list), ..none })?;
    narrow_by(limits, &LimitNodes { sample_formats: bus.read(path, node::SAMPLE_FORMATS, list), ..none })?;
    narrow_by(limits, &LimitNodes { buffer_size: bus.read(path, node::BUFFER_SIZE, list), ..none })
}

#[inline(never)]
fn narrow_by(limits: &mut Limits, nodes: &LimitNodes<'_>) -> Result<(), BadNode> {
    *limits = limits.narrowed_by(nodes)?;
    Ok(())
}

fn name<P: Platform>(bus: &impl Bus<P>, path: &str, node: &str, max_len: usize) -> Text {
    let mut value = [0; 128];
    let value = bus.read(path, node, &mut value).unwrap_or(&[]);
    Text::name(value.get(..max_len).unwrap_or(value))
}
