//! Limits that a card of version 0 gives applications: the models of the 2015 driver, and the text of its proc file.
//!
//! The protocol cannot ask a backend for its limits, so the guest has to know them. Numbers are ALSA's: bit *n* of
//! `formats` is format *n*, `rates` are `SNDRV_PCM_RATE_*`.

use core::fmt;

use sndif::text::{Hex, Say, Sink, display, say};
use sndif::v0::{RING_SLOTS, TRANSFER_BYTES_MAX};
use sndif::{Format, FormatSet};

/// A limit; its name is that of the proc file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of `struct snd_pcm_hardware`")]
pub enum Field {
    Formats,
    Rates,
    RateMin,
    RateMax,
    ChannelsMin,
    ChannelsMax,
    BufferBytesMax,
    PeriodBytesMin,
    PeriodBytesMax,
    PeriodsMin,
    PeriodsMax,
}

const FIELDS: usize = 11;

/// Name, smallest and largest value of each field, in the order of the proc file.
const TABLE: [(Field, &str, u64, u64); FIELDS] = [
    (Field::Formats, "formats", 1, FormatSet::ALL.bits()),
    (Field::Rates, "rates", 1, RATES_KNOWN),
    (Field::RateMin, "rate_min", 1, 768_000),
    (Field::RateMax, "rate_max", 1, 768_000),
    (Field::ChannelsMin, "channels_min", 1, 255),
    (Field::ChannelsMax, "channels_max", 1, 255),
    (Field::BufferBytesMax, "buffer_bytes_max", 64, BUFFER_BYTES_MAX),
    (Field::PeriodBytesMin, "period_bytes_min", 1, TRANSFER_BYTES_MAX as u64),
    (Field::PeriodBytesMax, "period_bytes_max", 1, TRANSFER_BYTES_MAX as u64),
    (Field::PeriodsMin, "periods_min", 1, 1024),
    (Field::PeriodsMax, "periods_max", 1, 1024),
];

/// Bytes in flight when WRITEs fill the ring.
const BUFFER_BYTES_MAX: u64 = RING_SLOTS as u64 * TRANSFER_BYTES_MAX as u64;

/// Rates by their bit.
const RATES: [u32; 13] =
    [5512, 8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000, 176_400, 192_000];
/// `SNDRV_PCM_RATE_CONTINUOUS`: any rate between the smallest and the largest.
const RATE_CONTINUOUS: u64 = 1 << 30;
/// `SNDRV_PCM_RATE_KNOT`: rates that have no bit.
const RATE_KNOT: u64 = 1 << 31;
const RATES_KNOWN: u64 = RATE_CONTINUOUS | RATE_KNOT | 0x1fff;

/// Limits of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardware([u64; FIELDS]);

/// Reason why a text sets no limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLimit {
    /// No limit has this name, or there is no number behind it, in the line counted from 1.
    Line(usize),
    /// A limit is outside of the range that the protocol and ALSA can carry.
    OutOfRange(Field),
    /// A smallest value is above the largest.
    Empty(Field),
}

impl Field {
    /// Returns the name in the proc file.
    #[must_use]
    pub fn name(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }
}

impl Say for BadLimit {
    fn say(&self, out: &mut dyn Sink) {
        match self {
            Self::Line(line) => say(out, &[&"line ", line, &" is not the name of a limit and a number"]),
            Self::OutOfRange(field) => {
                let (least, most) = TABLE.iter().find(|row| row.0 == *field).map_or((0, 0), |row| (row.2, row.3));
                match field {
                    Field::Formats | Field::Rates => {
                        say(out, &[&field.name(), &" has no bit, or one beyond ", &Hex(most)]);
                    }
                    _ => say(out, &[&field.name(), &" is not between ", &least, &" and ", &most]),
                }
            }
            Self::Empty(field) => say(out, &[&field.name(), &" is above the largest value"]),
        }
    }
}

impl fmt::Display for BadLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for BadLimit {}

impl Hardware {
    /// The one model that the driver of 2015 has: `ac97`.
    pub const AC97: Self = Self([0x6, 0xfe, 8000, 48_000, 1, 2, 65_536, 64, 4096, 1, 1024]);

    /// Returns the model with this name; no name is the first model. `None` if there is no such model.
    #[must_use]
    pub fn of_model(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("" | "ac97") => Some(Self::AC97),
            Some(_) => None,
        }
    }

    /// Returns a limit.
    #[must_use]
    pub fn get(&self, field: Field) -> u64 {
        let at = TABLE.iter().position(|row| row.0 == field);
        at.and_then(|at| self.0.get(at)).copied().unwrap_or(0)
    }

    /// Returns the sample formats.
    #[must_use]
    pub fn formats(&self) -> FormatSet {
        FormatSet::from_bits(self.get(Field::Formats))
    }

    /// Sets limits from lines of a name and a number (decimal, or hexadecimal after `0x`), as the proc file shows them:
    /// text behind the number is ignored. All lines are set, or none.
    ///
    /// # Errors
    /// [`BadLimit`].
    pub fn set(&mut self, text: &str) -> Result<(), BadLimit> {
        let mut changed = *self;
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split_ascii_whitespace();
            let Some(name) = words.next() else { continue };
            let bad = BadLimit::Line(index.saturating_add(1));
            let value = words.next().and_then(number).ok_or(bad)?;
            let at = TABLE.iter().position(|row| row.1 == name).ok_or(bad)?;
            if let Some(place) = changed.0.get_mut(at) {
                *place = value;
            }
        }
        changed.check()?;
        *self = changed;
        Ok(())
    }

    fn check(&self) -> Result<(), BadLimit> {
        for ((field, _, least, most), &value) in TABLE.iter().zip(&self.0) {
            let mask = matches!(field, Field::Formats | Field::Rates);
            if !(*least..=*most).contains(&value) || mask && value & !most != 0 {
                return Err(BadLimit::OutOfRange(*field));
            }
        }
        for (min, max) in [
            (Field::RateMin, Field::RateMax),
            (Field::ChannelsMin, Field::ChannelsMax),
            (Field::PeriodBytesMin, Field::PeriodBytesMax),
            (Field::PeriodBytesMax, Field::BufferBytesMax),
            (Field::PeriodsMin, Field::PeriodsMax),
        ] {
            if self.get(min) > self.get(max) {
                return Err(BadLimit::Empty(min));
            }
        }
        Ok(())
    }
}

/// Parses a number of C, except octal ones.
fn number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x").or(word.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

/// The text of the proc file.
impl Say for Hardware {
    fn say(&self, out: &mut dyn Sink) {
        for ((field, name, ..), value) in TABLE.iter().zip(&self.0) {
            match field {
                Field::Formats => {
                    say(out, &[name, &" ", &Hex(*value)]);
                    for format in Format::all().filter(|&format| self.formats().contains(format)) {
                        out.text(" ");
                        upper_case(format.name(), out);
                    }
                }
                Field::Rates => {
                    say(out, &[name, &" ", &Hex(*value)]);
                    for (bit, word) in [(RATE_CONTINUOUS, " continuous"), (RATE_KNOT, " knot")] {
                        out.text(if value & bit == 0 { "" } else { word });
                    }
                    for (_, rate) in RATES.iter().enumerate().filter(|(bit, _)| (value >> bit) & 1 == 1) {
                        say(out, &[&" ", rate]);
                    }
                }
                _ => say(out, &[name, &" ", value]),
            }
            out.text("\n");
        }
    }
}

/// Writes the name of a format in C's upper case.
fn upper_case(name: &str, out: &mut dyn Sink) {
    let mut letters = [0; 32];
    for (letter, place) in name.bytes().zip(&mut letters) {
        *place = letter.to_ascii_uppercase();
    }
    out.text(letters.get(..name.len()).and_then(|letters| core::str::from_utf8(letters).ok()).unwrap_or(""));
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn the_proc_file_is_that_of_the_driver() {
        let text = Hardware::AC97.to_string();
        let lines: std::vec::Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), FIELDS);
        assert_eq!(lines[0], "formats 0x6 U8 S16_LE");
        assert_eq!(lines[1], "rates 0xfe 8000 11025 16000 22050 32000 44100 48000");
        assert_eq!(lines[2], "rate_min 8000");
        assert_eq!(lines[6], "buffer_bytes_max 65536");
        let mut copy = Hardware::AC97;
        copy.set(&text).unwrap();
        assert_eq!(copy, Hardware::AC97, "what is shown can be written back");
    }

    #[test]
    fn limits_are_set_all_or_none_and_only_to_what_makes_sense() {
        let mut hardware = Hardware::AC97;
        hardware.set("rates 0x40000080\nrate_max 96000\n\nrate_min 48000\nformats 1030 whatever\n").unwrap();
        assert_eq!((hardware.get(Field::RateMin), hardware.get(Field::RateMax)), (48_000, 96_000));
        assert!(hardware.formats().contains(Format::S32Le));
        assert!(hardware.to_string().contains("rates 0x40000080 continuous 48000\n"));
        let before = hardware;
        for (text, error, words) in [
            ("rate_max 44100", BadLimit::Empty(Field::RateMin), "rate_min is above the largest value"),
            ("channels_max 1\nrate_maxx 7", BadLimit::Line(2), "line 2 is not the name of a limit and a number"),
            ("channels_max two", BadLimit::Line(1), "line 1"),
            ("channels_max -1", BadLimit::Line(1), "line 1"),
            ("channels_max", BadLimit::Line(1), "line 1"),
            ("channels_max 256", BadLimit::OutOfRange(Field::ChannelsMax), "channels_max is not between 1 and 255"),
            ("period_bytes_max 40961", BadLimit::OutOfRange(Field::PeriodBytesMax), "between 1 and 40960"),
            ("buffer_bytes_max 100", BadLimit::Empty(Field::PeriodBytesMax), "period_bytes_max is above"),
            ("formats 0", BadLimit::OutOfRange(Field::Formats), "formats has no bit"),
            ("formats 0x2000000", BadLimit::OutOfRange(Field::Formats), "beyond 0x1ffffff"),
            ("rates 0x2000", BadLimit::OutOfRange(Field::Rates), "rates has no bit, or one beyond"),
            ("periods_min 18446744073709551616", BadLimit::Line(1), "line 1"),
        ] {
            assert_eq!(hardware.set(text), Err(error), "{text}");
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(hardware, before);
        }
    }

    #[test]
    fn a_model_is_known_by_its_name() {
        assert_eq!(Hardware::of_model(None), Some(Hardware::AC97));
        assert_eq!(Hardware::of_model(Some("ac97")), Some(Hardware::AC97));
        assert_eq!(Hardware::of_model(Some("sb16")), None);
    }
}
