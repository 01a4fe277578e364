// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! What a version 0 stream may be opened with. The backend does not tell: it is what the driver of 2015 offered, its model
//! of the parameter `model`, and what root has written to `/proc/asound/cardN/virtualcard_pcm`.

use core::fmt;

use sndif::FormatSet;
use sndif::v2::{HwParams, Interval};

use crate::space::{RATE_CONTINUOUS, frame_formats};
use crate::{Space, Text};

/// `SNDRV_PCM_RATE_KNOT`: rates that no bit stands for.
const RATE_KNOT: u32 = 1 << 31;

/// The rates of ALSA's bits, in their order.
const RATES: [u32; 13] =
    [5512, 8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000, 176_400, 192_000];

const RATES_MAX: u32 = (1 << RATES.len()) - 1;

/// `SNDRV_PCM_RATE_8000_48000`.
const RATES_8000_48000: u32 = 0xfe;

/// U8 and S16_LE.
const FORMATS: u64 = 0b110;

/// A buffer's octets at most: it is the kernel's memory.
const BUFFER_BYTES_MOST: u64 = 1 << 20;

/// The fields in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
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

/// A field with its name and the values that it may have.
const FIELDS: [(Field, &str, u64, u64); COUNT] = [
    (Field::Formats, "formats", 1, u64::MAX),
    (Field::Rates, "rates", 1, u32::MAX as u64),
    (Field::RateMin, "rate_min", 1, 768_000),
    (Field::RateMax, "rate_max", 1, 768_000),
    (Field::ChannelsMin, "channels_min", 1, 255),
    (Field::ChannelsMax, "channels_max", 1, 255),
    (Field::BufferBytesMax, "buffer_bytes_max", 64, BUFFER_BYTES_MOST),
    (Field::PeriodBytesMin, "period_bytes_min", 1, BUFFER_BYTES_MOST),
    (Field::PeriodBytesMax, "period_bytes_max", 1, BUFFER_BYTES_MOST),
    (Field::PeriodsMin, "periods_min", 1, BUFFER_BYTES_MOST),
    (Field::PeriodsMax, "periods_max", 1, BUFFER_BYTES_MOST),
];

const COUNT: usize = 11;

/// Pairs of which the first may not be above the second.
const ORDERED: [(Field, Field); 6] = [
    (Field::RateMin, Field::RateMax),
    (Field::ChannelsMin, Field::ChannelsMax),
    (Field::PeriodBytesMin, Field::PeriodBytesMax),
    (Field::PeriodBytesMin, Field::BufferBytesMax),
    (Field::PeriodsMin, Field::PeriodsMax),
    (Field::PeriodsMin, Field::BufferBytesMax),
];

/// What a stream may be opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardware([u64; COUNT]);

/// A line that makes no sense.
#[derive(Debug, Clone, Copy)]
pub struct BadField {
    /// What the line names.
    pub name: Text,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for BadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        f.write_str(": ")?;
        f.write_str(self.reason)
    }
}

impl Hardware {
    /// What the driver of 2015 offered without its model.
    pub const DEFAULT: Self =
        Self([FORMATS, (RATES_8000_48000 | RATE_CONTINUOUS) as u64, 5500, 48_000, 1, 2, 65_536, 64, 4096, 1, 1024]);

    /// The hardware of a model: `ac97`, which has the usual rates from 8 to 48 kHz alone, or the default, without a name.
    #[must_use]
    pub fn of_model(name: &[u8]) -> Option<Self> {
        match name {
            b"" => Some(Self::DEFAULT),
            b"ac97" => {
                let mut hardware = Self::DEFAULT;
                hardware.set(Field::Rates, RATES_8000_48000.into());
                hardware.set(Field::RateMin, 8000);
                Some(hardware)
            }
            _ => None,
        }
    }

    fn get(&self, field: Field) -> u64 {
        self.0.get(field as usize).copied().unwrap_or(0)
    }

    fn set(&mut self, field: Field, value: u64) {
        if let Some(place) = self.0.get_mut(field as usize) {
            *place = value;
        }
    }

    fn word(&self, field: Field) -> u32 {
        u32::try_from(self.get(field)).unwrap_or(u32::MAX)
    }

    fn interval(&self, min: Field, max: Field) -> Interval {
        Interval::new(self.word(min), self.word(max))
    }

    /// As ALSA is told of it.
    #[must_use]
    pub fn space(&self) -> Space {
        Space {
            params: HwParams {
                formats: FormatSet::from_bits(self.get(Field::Formats)),
                rates_hz: self.interval(Field::RateMin, Field::RateMax),
                channels: self.interval(Field::ChannelsMin, Field::ChannelsMax),
                ..HwParams::ANY
            },
            rates: self.word(Field::Rates),
            buffer_bytes_max: self.word(Field::BufferBytesMax),
            period_bytes: self.interval(Field::PeriodBytesMin, Field::PeriodBytesMax),
            periods: self.interval(Field::PeriodsMin, Field::PeriodsMax),
            pauses: false,
            runs_ahead: true,
        }
    }

    /// Writes a line for each field, with its name and value; those of formats and rates with what they mean.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn show(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        for (field, name, ..) in FIELDS {
            let value = self.get(field);
            match field {
                Field::Formats => {
                    write!(out, "{name} {value:#x}")?;
                    for format in FormatSet::from_bits(value).iter() {
                        out.write_char(' ')?;
                        format.name().chars().try_for_each(|letter| out.write_char(letter.to_ascii_uppercase()))?;
                    }
                }
                Field::Rates => {
                    write!(out, "{name} {value:#x}")?;
                    self.show_rates(out)?;
                }
                _ => write!(out, "{name} {value}")?,
            }
            out.write_char('\n')?;
        }
        Ok(())
    }

    fn show_rates(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let rates = self.word(Field::Rates);
        for (bit, name) in [(RATE_CONTINUOUS, " continuous"), (RATE_KNOT, " knot")] {
            if rates & bit != 0 {
                out.write_str(name)?;
            }
        }
        listed(rates).try_for_each(|rate| write!(out, " {rate}"))
    }

    /// The same with what `lines` set: a name and a number each, decimal, or hexadecimal or octal as in C. What follows
    /// the number is not looked at, so that what was read can be written back.
    ///
    /// # Errors
    /// [`BadField`] for the first line that makes no sense, or for what makes none together.
    // Not inlined: kernel stacks are small.
    #[inline(never)]
    pub fn with(&self, lines: &[u8]) -> Result<Self, BadField> {
        let mut hardware = *self;
        for line in lines.split(|&octet| octet == b'\n') {
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            if let Some(name) = words.next() {
                hardware.set_line(name, words.next()).map_err(|reason| BadField { name: Text::name(name), reason })?;
            }
        }
        hardware.check().map_err(|(field, reason)| BadField { name: Text::name(name_of(field).as_bytes()), reason })?;
        Ok(hardware)
    }

    fn set_line(&mut self, name: &[u8], value: Option<&[u8]>) -> Result<(), &'static str> {
        let known = FIELDS.iter().find(|(_, known, ..)| known.as_bytes() == name);
        let &(field, _, min, max) = known.ok_or("there is no such field")?;
        let value = value.ok_or("a value is missing")?;
        let value = number(value).ok_or("the value is no number, or too large a one")?;
        if value < min {
            return Err("the value is too small");
        }
        if value > max {
            return Err("the value is too large");
        }
        self.set(field, value);
        Ok(())
    }

    /// What no field can be judged by alone.
    fn check(&self) -> Result<(), (Field, &'static str)> {
        let formats = self.get(Field::Formats);
        if frame_formats(FormatSet::from_bits(formats)).bits() != formats {
            return Err((Field::Formats, "the protocol does not have all of these formats"));
        }
        let rates = self.word(Field::Rates);
        if rates & !(RATES_MAX | RATE_CONTINUOUS | RATE_KNOT) != 0 {
            return Err((Field::Rates, "there are bits that stand for no rate"));
        }
        for (min, max) in ORDERED {
            if self.get(min) > self.get(max) {
                return Err((min, "the smallest value is above the largest"));
            }
        }
        if self.get(Field::PeriodsMin).saturating_mul(self.get(Field::PeriodBytesMin)) > self.get(Field::BufferBytesMax)
        {
            return Err((Field::BufferBytesMax, "the smallest periods do not fit"));
        }
        let between = self.interval(Field::RateMin, Field::RateMax);
        if rates & (RATE_CONTINUOUS | RATE_KNOT) == 0 && !listed(rates).any(|rate| between.contains(rate)) {
            return Err((Field::Rates, "none of them lies between rate_min and rate_max"));
        }
        Ok(())
    }
}

/// The rates that bits stand for.
fn listed(rates: u32) -> impl Iterator<Item = u32> {
    (0_u32..).zip(RATES).filter(move |&(bit, _)| rates & 1_u32.wrapping_shl(bit) != 0).map(|(_, rate)| rate)
}

fn name_of(field: Field) -> &'static str {
    FIELDS.iter().find(|&&(one, ..)| one == field).map_or("", |(_, name, ..)| name)
}

/// A number as C writes it.
fn number(text: &[u8]) -> Option<u64> {
    let (digits, base) = match text {
        [b'0', b'x' | b'X', hex @ ..] => (hex, 16),
        [b'0', octal @ ..] if !octal.is_empty() => (octal, 8),
        decimal => (decimal, 10),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &digit| {
        number.checked_mul(base.into())?.checked_add(char::from(digit).to_digit(base)?.into())
    })
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn shown(hardware: &Hardware) -> String {
        let mut text = String::new();
        hardware.show(&mut text).unwrap();
        text
    }

    #[test]
    fn the_limits_are_shown_as_the_driver_of_2015_did() {
        let expected = "formats 0x6 U8 S16_LE\n\
            rates 0x400000fe continuous 8000 11025 16000 22050 32000 44100 48000\n\
            rate_min 5500\nrate_max 48000\nchannels_min 1\nchannels_max 2\nbuffer_bytes_max 65536\n\
            period_bytes_min 64\nperiod_bytes_max 4096\nperiods_min 1\nperiods_max 1024\n";
        assert_eq!(shown(&Hardware::DEFAULT), expected);
        assert_eq!(Hardware::DEFAULT.with(b"").unwrap(), Hardware::DEFAULT);
    }

    #[test]
    fn the_model_ac97_has_the_usual_rates_alone_and_others_do_not_exist() {
        let ac97 = Hardware::of_model(b"ac97").unwrap();
        assert!(shown(&ac97).contains("rates 0xfe 8000 11025 16000 22050 32000 44100 48000\nrate_min 8000\n"));
        assert_eq!(ac97.space().rates, 0xfe);
        assert_eq!(Hardware::of_model(b""), Some(Hardware::DEFAULT));
        assert_eq!(Hardware::of_model(b"ac98"), None);
    }

    #[test]
    fn what_is_written_is_set_and_what_was_read_can_be_written_back() {
        let set =
            Hardware::DEFAULT.with(b"formats 0x404\n rate_max  0137600 \r\nrates 64\nrate_min 44100\n\nchannels_max 8");
        let set = set.unwrap();
        let space = set.space();
        assert_eq!(space.params.formats.bits(), 0x404);
        assert_eq!((space.params.rates_hz, space.rates), (Interval::new(44_100, 0o137_600), 64));
        assert_eq!(space.params.channels, Interval::new(1, 8));
        assert_eq!(Hardware::DEFAULT.with(shown(&set).as_bytes()).unwrap(), set);
    }

    #[test]
    fn what_makes_no_sense_is_named_and_changes_nothing() {
        for (lines, name, reason) in [
            ("volume 1", "volume", "no such field"),
            ("rate_min", "rate_min", "missing"),
            ("rate_min fast", "rate_min", "no number"),
            ("rate_min 0x", "rate_min", "no number"),
            ("rate_min -1", "rate_min", "no number"),
            ("formats 99999999999999999999", "formats", "no number"),
            ("rate_min 0", "rate_min", "too small"),
            ("channels_max 256", "channels_max", "too large"),
            ("buffer_bytes_max 1048577", "buffer_bytes_max", "too large"),
            ("rate_min 48001", "rate_min", "above the largest"),
            ("channels_min 4", "channels_min", "above the largest"),
            ("period_bytes_min 8192", "period_bytes_min", "above the largest"),
            ("formats 0x80000006", "formats", "does not have"),
            ("formats 0x1000000", "formats", "does not have"),
            ("rates 0x2000", "rates", "no rate"),
            ("rates 0x800", "rates", "between"),
            ("periods_min 1024\nbuffer_bytes_max 65535", "buffer_bytes_max", "do not fit"),
            ("rate_min 8000\nrate_max 0", "rate_max", "too small"),
        ] {
            let bad = Hardware::DEFAULT.with(lines.as_bytes()).unwrap_err();
            assert_eq!(bad.name.as_str(), name, "{lines}");
            assert!(bad.reason.contains(reason), "{lines}: {}", bad.reason);
        }
    }
}
