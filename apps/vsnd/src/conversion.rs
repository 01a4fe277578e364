//! Conversion of frames to another shape: channels mixed, rate converted, samples rewritten; only what differs.

use audioadapter_buffers::direct::InterleavedSlice;
use host_audio::speakers;
use pcm::Converter;
use program::{ExitStatus, Failure};
use rubato::{Fft, FixedSync, Resampler};
use sndif::Format;

use crate::shape::Shape;

/// Minimum number of frames in one step of a rate conversion.
const CHUNK_FRAMES: usize = 1024;

/// Converts a stream of frames.
pub(crate) struct Conversion {
    from: Shape,
    to: Shape,
    way: Way,
}

enum Way {
    /// Nothing differs.
    Same,
    /// Only the samples differ.
    Samples(Converter),
    /// Samples become `f64` in between.
    Numbers(Box<Numbers>),
}

struct Numbers {
    read: Converter,
    write: Converter,
    /// Share of each channel before in each channel after.
    mix: Vec<Vec<f64>>,
    rate: Option<Rate>,
}

impl Conversion {
    /// A conversion from frames of one shape to frames of another.
    ///
    /// # Errors
    /// The samples of one shape are no numbers, or a rate cannot be converted.
    pub(crate) fn new(from: Shape, to: Shape) -> Result<Self, Failure> {
        let refused = || Failure::new(ExitStatus::Unsupported, format!("cannot convert {from} to {to}"));
        let converter = |from, to| Converter::new(from, to).ok_or_else(refused);
        let same_numbers = (from.rate_hz, from.channels) == (to.rate_hz, to.channels);
        let way = if from == to {
            Way::Same
        } else if same_numbers {
            Way::Samples(converter(from.format, to.format)?)
        } else {
            let rate = match from.rate_hz == to.rate_hz {
                true => None,
                false => Some(Rate::new(from.rate_hz, to.rate_hz, to.channels).ok_or_else(refused)?),
            };
            Way::Numbers(Box::new(Numbers {
                read: converter(from.format, Format::F64Le)?,
                write: converter(Format::F64Le, to.format)?,
                mix: speakers::mix(from.channels, to.channels),
                rate,
            }))
        };
        Ok(Self { from, to, way })
    }
}

impl Conversion {
    /// Appends `frames` in their new shape to `out`. Some come later, if the rate is converted.
    pub(crate) fn convert(&mut self, frames: &[u8], out: &mut Vec<u8>) {
        match &mut self.way {
            Way::Same => out.extend_from_slice(frames),
            Way::Samples(converter) => rewrite(*converter, frames, out),
            Way::Numbers(numbers) => numbers.convert(frames, self.from, out),
        }
    }

    /// Appends the frames that are still to come.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if let Way::Numbers(numbers) = &mut self.way
            && let Some(rate) = &mut numbers.rate
        {
            let rest = rate.finish();
            numbers.write(&rest, out);
        }
    }

    /// Number of frames that `before` frames become.
    pub(crate) fn frames(&self, before: u64) -> u64 {
        (u128::from(before) * u128::from(self.to.rate_hz)).div_ceil(u128::from(self.from.rate_hz)) as u64
    }
}

fn rewrite(converter: Converter, samples: &[u8], out: &mut Vec<u8>) {
    let first = out.len();
    out.resize(first + samples.len() / converter.from_bytes() * converter.to_bytes(), 0);
    converter.convert(samples, &mut out[first..]);
}

impl Numbers {
    fn convert(&mut self, frames: &[u8], from: Shape, out: &mut Vec<u8>) {
        let mut samples = Vec::new();
        rewrite(self.read, frames, &mut samples);
        let numbers: Vec<f64> = samples.as_chunks().0.iter().map(|sample| f64::from_le_bytes(*sample)).collect();
        let mut mixed = Vec::with_capacity(numbers.len() * self.mix.len());
        for frame in numbers.chunks_exact(usize::from(from.channels)) {
            let share_of =
                |shares: &Vec<f64>| shares.iter().zip(frame).map(|(share, sample)| share * sample).sum::<f64>();
            mixed.extend(self.mix.iter().map(share_of));
        }
        let mixed = match &mut self.rate {
            Some(rate) => rate.convert(&mixed),
            None => mixed,
        };
        self.write(&mixed, out);
    }

    fn write(&self, samples: &[f64], out: &mut Vec<u8>) {
        let samples: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        rewrite(self.write, &samples, out);
    }
}

/// Interleaved samples at another rate: as many as there should be, none early or late.
struct Rate {
    resampler: Fft<f64>,
    channels: usize,
    ratio: (u32, u32),
    /// Samples that do not fill a chunk yet.
    waiting: Vec<f64>,
    /// Frames before and after, so far; frames that the resampler gives before the first that counts.
    taken: u64,
    given: u64,
    early: usize,
}

impl Rate {
    fn new(from_hz: u32, to_hz: u32, channels: u8) -> Option<Self> {
        let channels = usize::from(channels);
        let (from, to) = (from_hz as usize, to_hz as usize);
        // The resampler's delay is half of a block: with a block of this size, a whole number of frames.
        let least = (1..=from).find(|frames| frames * to % from == 0)? * 2;
        let block = CHUNK_FRAMES.next_multiple_of(least);
        let resampler = Fft::new(from, to, block, channels, FixedSync::Both).ok()?;
        let early = resampler.output_delay();
        Some(Self { resampler, channels, ratio: (from_hz, to_hz), waiting: Vec::new(), taken: 0, given: 0, early })
    }

    fn convert(&mut self, samples: &[f64]) -> Vec<f64> {
        self.taken += (samples.len() / self.channels) as u64;
        self.waiting.extend_from_slice(samples);
        self.chunks()
    }

    fn finish(&mut self) -> Vec<f64> {
        let (from_hz, to_hz) = self.ratio;
        let due = (u128::from(self.taken) * u128::from(to_hz)).div_ceil(u128::from(from_hz)) as u64;
        let mut rest = Vec::new();
        while self.given < due {
            let chunk = self.resampler.input_frames_next() * self.channels;
            self.waiting.resize(chunk, 0.0);
            let (before, left) = (self.given, due - self.given);
            let mut samples = self.chunks();
            samples.truncate(left as usize * self.channels);
            self.given = before + (samples.len() / self.channels) as u64;
            rest.extend(samples);
        }
        rest
    }

    /// Converts the whole chunks that are waiting.
    fn chunks(&mut self) -> Vec<f64> {
        let mut done = Vec::new();
        loop {
            let frames = self.resampler.input_frames_next();
            if self.waiting.len() < frames * self.channels {
                return done;
            }
            let input = InterleavedSlice::new(&self.waiting, self.channels, frames);
            // Cannot fail: the chunk is whole.
            let Some(output) = input.ok().and_then(|input| self.resampler.process(&input, None).ok()) else {
                return done;
            };
            let mut samples = output.take_data();
            let early = self.early.min(samples.len() / self.channels);
            samples.drain(..early * self.channels);
            self.early -= early;
            self.given += (samples.len() / self.channels) as u64;
            done.extend(samples);
            self.waiting.drain(..frames * self.channels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn shape(format: Format, rate_hz: u32, channels: u8) -> Shape {
        Shape { format, rate_hz, channels }
    }

    fn sine(rate_hz: u32, frames: u32) -> Vec<u8> {
        (0..frames)
            .flat_map(|at| (0.5 * (TAU * 440.0 * f64::from(at) / f64::from(rate_hz)).sin()).to_le_bytes())
            .collect()
    }

    /// All frames, converted in pieces of an odd size.
    fn converted(from: Shape, to: Shape, frames: &[u8]) -> Vec<u8> {
        let mut conversion = Conversion::new(from, to).unwrap();
        let mut out = Vec::new();
        for piece in frames.chunks(from.frame_bytes() * 777) {
            conversion.convert(piece, &mut out);
        }
        conversion.finish(&mut out);
        let frames = conversion.frames((frames.len() / from.frame_bytes()) as u64);
        assert_eq!(out.len() as u64, frames * to.frame_bytes() as u64);
        out
    }

    #[test]
    fn a_tone_at_another_rate_is_the_same_tone_from_its_first_frame_to_its_last() {
        for (from_hz, to_hz) in [(44_100, 48_000), (96_000, 48_000), (8_000, 44_100), (192_000, 44_100)] {
            let frames = from_hz / 2;
            let from = shape(Format::F64Le, from_hz, 1);
            let out = converted(from, Shape { rate_hz: to_hz, ..from }, &sine(from_hz, frames));
            let right = sine(to_hz, (out.len() / 8) as u32);
            let difference = out
                .as_chunks()
                .0
                .iter()
                .zip(right.as_chunks().0)
                .map(|(&out, &right)| (f64::from_le_bytes(out) - f64::from_le_bytes(right)).abs());
            // The first and last few frames are softer: nothing is on their other side.
            let edge = to_hz as usize / 50;
            let worst = difference.skip(edge).take(out.len() / 8 - 2 * edge).fold(0.0, f64::max);
            assert!(worst < 1e-3, "{from_hz} to {to_hz} Hz: {worst}");
        }
    }

    #[test]
    fn samples_that_fit_lose_nothing_and_channels_keep_theirs() {
        let data: Vec<u8> = (0..=255).collect();
        let narrow = shape(Format::S16Le, 48_000, 2);
        let wide = shape(Format::S32Le, 48_000, 2);
        assert_eq!(converted(narrow, narrow, &data), data);
        assert_eq!(converted(wide, narrow, &converted(narrow, wide, &data)), data);
        let mono = shape(Format::S16Le, 48_000, 1);
        let twice: Vec<u8> = data.chunks(2).flat_map(|sample| [sample, sample].concat()).collect();
        assert_eq!(converted(mono, narrow, &data), twice);
        assert_eq!(converted(narrow, mono, &twice), data);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let from = shape(Format::S16Le, 48_000, 2);
        assert!(Conversion::new(from, Shape { format: Format::Mpeg, ..from }).is_err());
        assert!(Conversion::new(Shape { format: Format::Iec958SubframeLe, ..from }, from).is_err());
    }
}
