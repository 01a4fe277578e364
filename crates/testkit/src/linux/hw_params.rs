//! The search of an application and the core for a configuration: rules that query the backend many times.

use super::channel::op;
use super::config::Hardware;
use super::driver::DriverStream;
use super::errno::Errno;

/// Configuration that an application requests.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Code of the format; ALSA's and the protocol's are the same.
    pub format: u8,
    /// Frames per second.
    pub rate_hz: u32,
    /// Samples per frame.
    pub channels: u8,
    /// Approximate number of frames per period.
    pub period_frames: u32,
    /// Approximate number of frames in the buffer.
    pub buffer_frames: u32,
}

impl Wish {
    /// 16-bit stereo at 48 kHz.
    #[must_use]
    pub const fn stereo(period_frames: u32, buffer_frames: u32) -> Self {
        Self { format: 2, rate_hz: 48_000, channels: 2, period_frames, buffer_frames }
    }

    /// 16-bit stereo at 48 kHz in five periods of 40 ms, enough for the pauses of a busy machine.
    pub const COMFORTABLE: Self = Self::stereo(1920, 9600);

    /// 16-bit stereo at 8 kHz in periods of 100 ms and the largest buffer of the stock driver, two seconds, so that
    /// captured frames are not lost during a stall of the machine.
    pub const UNHURRIED: Self = Self { rate_hz: 8_000, ..Self::stereo(800, 16_384) };
}

/// Configuration that an application got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Size of a frame in bytes.
    pub frame_bytes: usize,
    /// Number of frames per period.
    pub period_frames: u64,
    /// Number of frames in the buffer.
    pub buffer_frames: u64,
}

type Range = (u32, u32);

/// The remaining configuration space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Space {
    formats: u64,
    rates: Range,
    channels: Range,
    period: Range,
    buffer: Range,
}

const RULES: usize = 5;

fn meet(range: &mut Range, with: Range) -> Result<bool, Errno> {
    let before = *range;
    *range = (before.0.max(with.0), before.1.min(with.1));
    if range.0 > range.1 { Err(Errno::EINVAL) } else { Ok(*range != before) }
}

fn sample_bytes(format: u8) -> u32 {
    sndif::Format::from_code(format).ok().and_then(|format| format.frame_bytes(2)).map_or(1, |two| two.div_ceil(2))
}

impl Space {
    fn of(hardware: &Hardware) -> Self {
        Self {
            formats: hardware.formats,
            rates: hardware.rate,
            channels: hardware.channels,
            period: (1, u32::MAX),
            buffer: (1, u32::MAX),
        }
    }

    fn frame_bytes(&self) -> Range {
        let samples = || (0..25).filter(|code| self.formats & 1 << code != 0).map(sample_bytes);
        let (least, most) = (samples().min().unwrap_or(1), samples().max().unwrap_or(1));
        (least * self.channels.0, most * self.channels.1)
    }

    /// Applies the core's own rules between sizes.
    fn sizes(&mut self, hardware: &Hardware) -> Result<(), Errno> {
        let (least, most) = self.frame_bytes();
        let all = hardware.buffer_bytes_max / least;
        meet(&mut self.period, ((hardware.period_bytes_min / most).max(1), all))?;
        meet(&mut self.buffer, (1, all))?;
        // At least two periods.
        meet(&mut self.buffer, (self.period.0.saturating_mul(2), u32::MAX))?;
        meet(&mut self.period, (1, self.buffer.1 / 2))?;
        Ok(())
    }
}

/// The search for a configuration.
pub(super) struct Search<'a> {
    stream: &'a DriverStream,
    hardware: &'a Hardware,
    space: Space,
}

impl<'a> Search<'a> {
    pub fn new(stream: &'a DriverStream, hardware: &'a Hardware) -> Result<Self, Errno> {
        let mut search = Self { stream, hardware, space: Space::of(hardware) };
        search.refine([true; RULES])?;
        Ok(search)
    }

    /// Sets the parameters of `wish` one after the other, like `aplay`.
    pub fn choose(mut self, wish: &Wish) -> Result<Agreed, Errno> {
        if self.space.formats & 1 << wish.format == 0 {
            return Err(Errno::EINVAL);
        }
        self.space.formats = 1 << wish.format;
        self.refine([true, false, false, false, false])?;
        meet(&mut self.space.channels, (wish.channels.into(), wish.channels.into()))?;
        self.refine([false, false, true, false, false])?;
        if !self.hardware.rates.is_empty() && !self.hardware.rates.contains(&wish.rate_hz) {
            return Err(Errno::EINVAL);
        }
        meet(&mut self.space.rates, (wish.rate_hz, wish.rate_hz))?;
        self.refine([false, true, false, false, false])?;
        let period = wish.period_frames.clamp(self.space.period.0, self.space.period.1);
        meet(&mut self.space.period, (period, period))?;
        self.refine([false, false, false, true, false])?;
        let buffer = wish.buffer_frames.clamp(self.space.buffer.0, self.space.buffer.1);
        meet(&mut self.space.buffer, (buffer, buffer))?;
        self.refine([false, false, false, false, true])?;
        // The call that sets the parameters refines once more.
        self.refine([true; RULES])?;
        Ok(Agreed {
            frame_bytes: (sample_bytes(wish.format) * u32::from(wish.channels)) as usize,
            period_frames: period.into(),
            buffer_frames: buffer.into(),
        })
    }

    /// Applies the rules of the parameters that changed until nothing changes.
    fn refine(&mut self, mut dirty: [bool; RULES]) -> Result<(), Errno> {
        self.space.sizes(self.hardware)?;
        while let Some(rule) = dirty.iter().position(|&dirty| dirty) {
            dirty[rule] = false;
            let before = self.space;
            self.query()?;
            self.space.sizes(self.hardware)?;
            let after = self.space;
            dirty[0] |= before.formats != after.formats;
            dirty[1] |= before.rates != after.rates;
            dirty[2] |= before.channels != after.channels;
            dirty[3] |= before.period != after.period;
            dirty[4] |= before.buffer != after.buffer;
        }
        Ok(())
    }

    fn query(&mut self) -> Result<(), Errno> {
        let asked = self.space;
        let ranges = [asked.rates, asked.channels, asked.buffer, asked.period];
        let answer = self.stream.request(op::HW_PARAM_QUERY, |slot| {
            slot.put(8, &asked.formats.to_le_bytes());
            for (range, at) in ranges.into_iter().zip((16..).step_by(8)) {
                slot.put_u32(at, range.0);
                slot.put_u32(at + 4, range.1);
            }
        })?;
        let got: Vec<Range> = (16..48).step_by(8).map(|at| (answer.u32_at(at), answer.u32_at(at + 4))).collect();
        let wider = answer.u64_at(8) & !asked.formats != 0
            || ranges.into_iter().zip(&got).any(|(asked, got)| got.0 < asked.0 || got.1 > asked.1);
        self.stream.with_pair(|pair| pair.observed.wider_answers += usize::from(wider));
        self.space.formats &= answer.u64_at(8);
        if self.space.formats == 0 {
            return Err(Errno::EINVAL);
        }
        meet(&mut self.space.rates, got[0])?;
        meet(&mut self.space.channels, got[1])?;
        meet(&mut self.space.buffer, got[2])?;
        meet(&mut self.space.period, got[3])?;
        Ok(())
    }
}
