//! Work on the samples of one period, in functions that valgrind can find: `inline(never)`, one for each [`Work`].

use pcm::{Converter, Fader, Gain, Meter};
use sndif::Format;

/// Work on 10 ms of 48 kHz stereo.
pub(crate) struct Work {
    /// Name for people.
    pub(crate) name: &'static str,
    /// Function whose instructions valgrind counts.
    pub(crate) function: &'static str,
    /// Maximum number of instructions per period.
    pub(crate) goal: f64,
}

/// All counted work. The goal of the first is given; those of the others are 9 % of the instructions of code without
/// vector instructions.
pub(crate) const WORK: [Work; 11] = [
    Work { name: "gain, s16", function: "samples_gain_s16", goal: 2_000.0 },
    Work { name: "gain, s32", function: "samples_gain_s32", goal: 15_300.0 },
    Work { name: "gain, f32", function: "samples_gain_f32", goal: 1_900.0 },
    Work { name: "change of gain, s16", function: "samples_fade_s16", goal: 24_500.0 },
    Work { name: "s16 to s32", function: "samples_s16_to_s32", goal: 9_200.0 },
    Work { name: "s32 to s16", function: "samples_s32_to_s16", goal: 10_300.0 },
    Work { name: "s16 to f32", function: "samples_s16_to_f32", goal: 8_500.0 },
    Work { name: "f32 to s16", function: "samples_f32_to_s16", goal: 15_800.0 },
    Work { name: "meter, s16", function: "samples_meter_s16", goal: 5_700.0 },
    Work { name: "meter, f32", function: "samples_meter_f32", goal: 3_700.0 },
    Work { name: "silence, u16", function: "samples_silence_u16", goal: 480.0 },
];

const CHANNELS: u8 = 2;

/// One period of sound, and the state of the work on it.
pub(crate) struct Samples {
    s16: Vec<u8>,
    s32: Vec<u8>,
    f32: Vec<u8>,
    scratch: Vec<u8>,
    quieter: Gain,
    silent: Gain,
    fader: Fader,
    meter: Meter,
    periods: u32,
}

impl Samples {
    pub(crate) fn new(rate_hz: u32) -> Self {
        let samples = rate_hz as usize / 100 * usize::from(CHANNELS);
        // Values over the whole range, so that nothing is silence.
        let values = || (0..samples).map(|at| ((at * 131) as u16).cast_signed());
        let mut quieter = Gain::new(CHANNELS);
        quieter.set_volume(0, -6000);
        quieter.set_volume(1, -3000);
        let mut silent = Gain::new(CHANNELS);
        silent.set_mute(0, true);
        silent.set_mute(1, true);
        let meter = Meter::new(CHANNELS);
        meter.watch(true);
        Self {
            s16: values().flat_map(i16::to_le_bytes).collect(),
            s32: values().flat_map(|value| (i32::from(value) << 16).to_le_bytes()).collect(),
            f32: values().flat_map(|value| (f32::from(value) / 32_768.0).to_le_bytes()).collect(),
            scratch: vec![0; samples * 4],
            quieter,
            silent,
            fader: Fader::new(CHANNELS, rate_hz),
            meter,
            periods: 0,
        }
    }

    /// Does all work once.
    pub(crate) fn turn(&mut self) {
        self.periods += 1;
        let Self { s16, s32, f32, scratch, quieter, silent, fader, meter, periods } = self;
        let (bytes_16, bytes_32) = (s16.len(), s32.len());
        scratch[..bytes_16].copy_from_slice(s16);
        samples_gain_s16(quieter, &mut scratch[..bytes_16]);
        scratch.copy_from_slice(s32);
        samples_gain_s32(quieter, scratch);
        scratch.copy_from_slice(f32);
        samples_gain_f32(quieter, scratch);
        // A change of gain takes 10 ms: one begins at each period and ends at the next.
        fader.set(if *periods % 2 == 0 { quieter.clone() } else { silent.clone() });
        scratch[..bytes_16].copy_from_slice(s16);
        samples_fade_s16(fader, &mut scratch[..bytes_16]);
        samples_s16_to_s32(s16, scratch);
        samples_s32_to_s16(s32, &mut scratch[..bytes_16]);
        samples_s16_to_f32(s16, scratch);
        samples_f32_to_s16(f32, &mut scratch[..bytes_16]);
        samples_meter_s16(meter, s16);
        samples_meter_f32(meter, f32);
        samples_silence_u16(&mut scratch[..bytes_16]);
        std::hint::black_box((&scratch[..bytes_32], meter.take().count()));
    }
}

#[inline(never)]
fn samples_gain_s16(gain: &Gain, frames: &mut [u8]) {
    gain.apply(Format::S16Le, CHANNELS, frames);
}

#[inline(never)]
fn samples_gain_s32(gain: &Gain, frames: &mut [u8]) {
    gain.apply(Format::S32Le, CHANNELS, frames);
}

#[inline(never)]
fn samples_gain_f32(gain: &Gain, frames: &mut [u8]) {
    gain.apply(Format::F32Le, CHANNELS, frames);
}

#[inline(never)]
fn samples_fade_s16(fader: &mut Fader, frames: &mut [u8]) {
    fader.apply(Format::S16Le, CHANNELS, frames);
    fader.advance(frames.len() / (2 * usize::from(CHANNELS)));
}

#[inline(never)]
fn samples_s16_to_s32(input: &[u8], out: &mut [u8]) {
    convert(Format::S16Le, Format::S32Le, input, out);
}

#[inline(never)]
fn samples_s32_to_s16(input: &[u8], out: &mut [u8]) {
    convert(Format::S32Le, Format::S16Le, input, out);
}

#[inline(never)]
fn samples_s16_to_f32(input: &[u8], out: &mut [u8]) {
    convert(Format::S16Le, Format::F32Le, input, out);
}

#[inline(never)]
fn samples_f32_to_s16(input: &[u8], out: &mut [u8]) {
    convert(Format::F32Le, Format::S16Le, input, out);
}

fn convert(from: Format, to: Format, input: &[u8], out: &mut [u8]) {
    // The formats are hidden from the compiler, since a device's formats are unknown to it, too.
    if let Some(converter) = Converter::new(std::hint::black_box(from), std::hint::black_box(to)) {
        converter.convert(input, out);
    }
}

#[inline(never)]
fn samples_meter_s16(meter: &Meter, frames: &[u8]) {
    meter.pass(Format::S16Le, frames);
}

#[inline(never)]
fn samples_meter_f32(meter: &Meter, frames: &[u8]) {
    meter.pass(Format::F32Le, frames);
}

#[inline(never)]
fn samples_silence_u16(frames: &mut [u8]) {
    pcm::fill_silence(std::hint::black_box(Format::U16Le), frames);
}
