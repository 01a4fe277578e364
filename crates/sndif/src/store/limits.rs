//! Limits of a stream, inherited card → PCM device → stream.

use core::fmt;

use super::{FORMAT_MAX_LEN, LIST_SEPARATOR, RATE_MAX_LEN, node, number};
use crate::text::{Say, Sink, display, say};
use crate::v2::Interval;
use crate::{Format, FormatSet};

/// Maximum number of rates in one list; the longest sensible list has 19.
pub const MAX_RATES: usize = 32;

/// The rates that a stream may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Rates in ascending order; the first `count` are set. With none set, every rate of the default interval is
    /// allowed.
    list: [u32; MAX_RATES],
    count: usize,
}

impl Rates {
    /// Every rate from 5512 to 48000 Hz, Linux's default when there is no list at any level.
    pub const DEFAULT: Self = Self { list: [0; MAX_RATES], count: 0 };
    const DEFAULT_INTERVAL: Interval = Interval::new(5512, 48_000);

    /// Returns the listed rates in ascending order; empty for the continuous default.
    #[must_use]
    pub fn list(&self) -> &[u32] {
        self.list.get(..self.count).unwrap_or(&[])
    }

    /// Returns true if a stream may have this rate.
    #[must_use]
    pub fn contains(&self, rate_hz: u32) -> bool {
        match self.list() {
            [] => Self::DEFAULT_INTERVAL.contains(rate_hz),
            list => list.contains(&rate_hz),
        }
    }

    /// Returns the smallest and largest rate within `bounds`; empty when there is none.
    #[must_use]
    pub fn within(&self, bounds: Interval) -> Interval {
        match self.list() {
            [] => Self::DEFAULT_INTERVAL.intersection(bounds),
            list => {
                let mut fitting = list.iter().copied().filter(|&rate| bounds.contains(rate));
                match (fitting.next(), fitting.next_back()) {
                    (Some(min), Some(max)) => Interval::new(min, max),
                    (Some(only), None) => Interval::exactly(only),
                    _ => Interval::new(1, 0),
                }
            }
        }
    }

    /// Returns the rates of `list` that are also in this set; `None` when there is none.
    #[must_use]
    pub fn among(&self, list: &[u32]) -> Option<Self> {
        let mut common = Self::DEFAULT;
        for &rate in list.iter().filter(|&&rate| self.contains(rate)) {
            common.insert(rate).ok()?;
        }
        (common.count > 0).then_some(common)
    }

    /// Makes the set of the rates of a list, in any order.
    ///
    /// # Errors
    /// A message when there is no rate, or more than [`MAX_RATES`].
    pub fn of(list: &[u32]) -> Result<Self, &'static str> {
        let mut rates = Self::DEFAULT;
        list.iter().try_for_each(|&rate| rates.insert(rate))?;
        if rates.count == 0 { Err("no rate at all") } else { Ok(rates) }
    }

    fn insert(&mut self, rate_hz: u32) -> Result<(), &'static str> {
        let at = match self.list().binary_search(&rate_hz) {
            Ok(_) => return Ok(()),
            Err(at) => at,
        };
        if self.count == MAX_RATES {
            return Err("more than 32 rates");
        }
        self.count = self.count.saturating_add(1);
        let mut moved = rate_hz;
        for place in self.list.iter_mut().take(self.count).skip(at) {
            core::mem::swap(place, &mut moved);
        }
        Ok(())
    }

    fn parse(value: &[u8]) -> Result<Self, &'static str> {
        let mut rates = Self::DEFAULT;
        for item in items(value, RATE_MAX_LEN)? {
            match number(item?.as_bytes()) {
                Some(rate) if (1..=1_536_000).contains(&rate) => rates.insert(rate)?,
                _ => return Err("a rate is a number of Hz from 1 to 1536000"),
            }
        }
        Ok(rates)
    }

    fn intersection(&self, other: &Self) -> Option<Self> {
        match (self.list(), other.list()) {
            (_, []) => Some(*self),
            // A list below the default replaces it: the default is nobody's choice.
            ([], _) => Some(*other),
            (_, list) => self.among(list),
        }
    }
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

/// Values of the nodes that may exist at any level; `None` where a node is missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct LimitNodes<'a> {
    /// `channels-min`
    pub channels_min: Option<&'a [u8]>,
    /// `channels-max`
    pub channels_max: Option<&'a [u8]>,
    /// `sample-rates`
    pub sample_rates: Option<&'a [u8]>,
    /// `sample-formats`
    pub sample_formats: Option<&'a [u8]>,
    /// `buffer-size`
    pub buffer_size: Option<&'a [u8]>,
}

impl LimitNodes<'_> {
    /// The nodes to read at each level.
    pub const NAMES: [&'static str; 5] =
        [node::CHANNELS_MIN, node::CHANNELS_MAX, node::SAMPLE_RATES, node::SAMPLE_FORMATS, node::BUFFER_SIZE];
}

/// A node whose value is invalid, or excludes everything that the level above allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadNode {
    /// Name of the node.
    pub node: &'static str,
    /// Fault of the value.
    pub reason: &'static str,
}

impl Say for BadNode {
    fn say(&self, out: &mut dyn Sink) {
        say(out, &[&"node `", &self.node, &"`: ", &self.reason]);
    }
}

impl fmt::Display for BadNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for BadNode {}

/// Limits of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Channel counts, at least 1, at most 255.
    pub channels: Interval,
    /// Rates.
    pub rates: Rates,
    /// Formats.
    pub formats: FormatSet,
    /// Largest buffer in bytes.
    pub buffer_bytes_max: u32,
    /// Limits that an upper level has set. A level's nodes replace a default, but only narrow a choice.
    chosen: Chosen,
}

/// Limits that an upper level has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Chosen {
    channels_max: bool,
    formats: bool,
    buffer: bool,
}

impl Limits {
    /// Limits without any node, the same as Linux assumes: 1–2 channels, 5512–48000 Hz, `u8` and `s16_le`, 64 KiB.
    pub const DEFAULT: Self = Self {
        channels: Interval::new(1, 2),
        rates: Rates::DEFAULT,
        formats: FormatSet::EMPTY.with(Format::U8).with(Format::S16Le),
        buffer_bytes_max: 64 * 1024,
        chosen: Chosen { channels_max: false, formats: false, buffer: false },
    };

    /// Returns these limits, narrowed by the nodes of the level below.
    ///
    /// sndif.h requires every level to be a subset of the one above; values beyond it are cut off.
    ///
    /// # Errors
    /// [`BadNode`] when a value cannot be read or no value is left.
    pub fn narrowed_by(&self, nodes: &LimitNodes<'_>) -> Result<Self, BadNode> {
        let mut limits = *self;
        if let Some(value) = nodes.channels_max {
            let max = channels(node::CHANNELS_MAX, value)?;
            limits.channels.max = if self.chosen.channels_max { max.min(self.channels.max) } else { max };
            limits.chosen.channels_max = true;
        }
        if let Some(value) = nodes.channels_min {
            limits.channels.min = channels(node::CHANNELS_MIN, value)?.max(self.channels.min);
        }
        if limits.channels.is_empty() {
            let node = if nodes.channels_min.is_some() { node::CHANNELS_MIN } else { node::CHANNELS_MAX };
            return Err(BadNode { node, reason: "no channel count is left" });
        }
        if let Some(value) = nodes.sample_rates {
            let bad = |reason| BadNode { node: node::SAMPLE_RATES, reason };
            let rates = Rates::parse(value).map_err(bad)?;
            limits.rates = self.rates.intersection(&rates).ok_or(bad("no rate of the level above is left"))?;
        }
        if let Some(value) = nodes.sample_formats {
            let bad = |reason| BadNode { node: node::SAMPLE_FORMATS, reason };
            let formats = formats(value).map_err(bad)?;
            limits.formats = if self.chosen.formats { self.formats.intersection(formats) } else { formats };
            limits.chosen.formats = true;
            if limits.formats.is_empty() {
                return Err(bad("no format of the level above is left"));
            }
        }
        if let Some(value) = nodes.buffer_size {
            let bad = BadNode { node: node::BUFFER_SIZE, reason: "not a number of bytes above 0" };
            let size = number(value).filter(|&size| size > 0).ok_or(bad)?;
            limits.buffer_bytes_max = if self.chosen.buffer { size.min(self.buffer_bytes_max) } else { size };
            limits.chosen.buffer = true;
        }
        Ok(limits)
    }
}

fn channels(name: &'static str, value: &[u8]) -> Result<u32, BadNode> {
    number(value)
        .filter(|count| (1..=255).contains(count))
        .ok_or(BadNode { node: name, reason: "not a number from 1 to 255" })
}

fn formats(value: &[u8]) -> Result<FormatSet, &'static str> {
    let mut set = FormatSet::EMPTY;
    for item in items(value, FORMAT_MAX_LEN)? {
        set = set.with(Format::from_name(item?).map_err(|_| "names a format that does not exist")?);
    }
    Ok(set)
}

/// Iterates over the items of a list, each at most `max_len` bytes after trimming.
fn items(value: &[u8], max_len: usize) -> Result<impl Iterator<Item = Result<&str, &'static str>>, &'static str> {
    core::str::from_utf8(value).map_err(|_| "not text")?;
    // The separator is ASCII, so the text between two separators is valid, too. The code splits bytes, because a search
    // in text would include a way to panic, which a kernel module must not have.
    Ok(value.split(|&byte| char::from(byte) == LIST_SEPARATOR).map(move |item| {
        let item = item.trim_ascii();
        if item.is_empty() || item.len() > max_len {
            return Err("an item is empty or too long");
        }
        core::str::from_utf8(item).map_err(|_| "not text")
    }))
}
