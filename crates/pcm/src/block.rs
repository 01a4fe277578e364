//! Conversion of blocks of samples between any format and numbers.
//!
//! The format is matched once per block, and each format has its own loop without branches, which the compiler
//! vectorizes.

use crate::{Linear, g711};
use sndif::Format;

/// Samples of a block, which conversions keep on the stack.
pub(crate) const SAMPLES: usize = 64;

/// Full scale of a left-justified integer sample, 2³¹.
const FULL_SCALE: f32 = 2_147_483_648.0;

/// 1.5 × 2²³: a number of less than 23 bits that is added to it is rounded to an integer in the sum's low bits.
const ROUND_F32: f32 = 12_582_912.0;
/// Rounding constant for `f64` and integers of 32 bits, 1.5 × 2⁵².
const ROUND_F64: f64 = 6_755_399_441_055_744.0;

/// Calls a function with a format's layout as constants: bytes, bits, signed, big-endian. A format without a layout
/// evaluates `$other`.
macro_rules! with_layout {
    ($format:expr, $function:ident($($argument:expr),*), $other:expr) => {
        match $format {
            Format::S8 => $function::<1, 8, true, false>($($argument),*),
            Format::U8 => $function::<1, 8, false, false>($($argument),*),
            Format::S16Le => $function::<2, 16, true, false>($($argument),*),
            Format::S16Be => $function::<2, 16, true, true>($($argument),*),
            Format::U16Le => $function::<2, 16, false, false>($($argument),*),
            Format::U16Be => $function::<2, 16, false, true>($($argument),*),
            Format::S24Le => $function::<4, 24, true, false>($($argument),*),
            Format::S24Be => $function::<4, 24, true, true>($($argument),*),
            Format::U24Le => $function::<4, 24, false, false>($($argument),*),
            Format::U24Be => $function::<4, 24, false, true>($($argument),*),
            Format::S32Le => $function::<4, 32, true, false>($($argument),*),
            Format::S32Be => $function::<4, 32, true, true>($($argument),*),
            Format::U32Le => $function::<4, 32, false, false>($($argument),*),
            Format::U32Be => $function::<4, 32, false, true>($($argument),*),
            _ => $other,
        }
    };
}

/// Decodes samples that are no floats, left-justified; ends where either slice does.
pub(crate) fn decode_i32(format: Format, bytes: &[u8], out: &mut [i32]) {
    match format {
        Format::MuLaw => each(bytes, out, |[byte]| g711::mu_law_decode(byte) << 16),
        Format::ALaw => each(bytes, out, |[byte]| g711::a_law_decode(byte) << 16),
        _ => with_layout!(format, integers(bytes, out), out.fill(0)),
    }
}

fn integers<const BYTES: usize, const BITS: u32, const SIGNED: bool, const BIG: bool>(bytes: &[u8], out: &mut [i32]) {
    each::<BYTES, i32>(bytes, out, Linear::decode_as::<BYTES, BITS, SIGNED, BIG>);
}

/// Writes left-justified samples; bits that do not fit are cut off.
pub(crate) fn encode_i32(format: Format, samples: &[i32], bytes: &mut [u8]) {
    match format {
        Format::MuLaw => put(samples, bytes, |sample| [g711::mu_law_encode(sample >> 16)]),
        Format::ALaw => put(samples, bytes, |sample| [g711::a_law_encode(sample >> 16)]),
        _ => with_layout!(format, put_integers(samples, bytes), {}),
    }
}

fn put_integers<const BYTES: usize, const BITS: u32, const SIGNED: bool, const BIG: bool>(
    samples: &[i32],
    bytes: &mut [u8],
) {
    put::<BYTES, i32>(samples, bytes, Linear::encode_as::<BYTES, BITS, SIGNED, BIG>);
}

/// Decodes samples, full scale −1 to 1; a value that is not finite becomes 0. Integers of 32 bits and `f64` are
/// rounded.
pub(crate) fn decode_f32(format: Format, bytes: &[u8], out: &mut [f32]) {
    match format {
        Format::F32Le => each(bytes, out, |sample| finite_f32(f32::from_le_bytes(sample))),
        Format::F32Be => each(bytes, out, |sample| finite_f32(f32::from_be_bytes(sample))),
        Format::F64Le => each(bytes, out, |sample| finite_f32(f64::from_le_bytes(sample) as f32)),
        Format::F64Be => each(bytes, out, |sample| finite_f32(f64::from_be_bytes(sample) as f32)),
        Format::MuLaw => each(bytes, out, |[byte]| g711::mu_law_decode(byte) as f32 / 32_768.0),
        Format::ALaw => each(bytes, out, |[byte]| g711::a_law_decode(byte) as f32 / 32_768.0),
        _ => with_layout!(format, fractions(bytes, out), out.fill(0.0)),
    }
}

fn fractions<const BYTES: usize, const BITS: u32, const SIGNED: bool, const BIG: bool>(bytes: &[u8], out: &mut [f32]) {
    each::<BYTES, f32>(bytes, out, |sample| {
        // Division by a power of two is exact.
        Linear::decode_as::<BYTES, BITS, SIGNED, BIG>(sample) as f32 * (1.0 / FULL_SCALE)
    });
}

/// Decodes samples exactly, full scale −1 to 1; a value that is not finite becomes 0.
pub(crate) fn decode_f64(format: Format, bytes: &[u8], out: &mut [f64]) {
    match format {
        Format::F32Le => each(bytes, out, |sample| finite_f32(f32::from_le_bytes(sample)).into()),
        Format::F32Be => each(bytes, out, |sample| finite_f32(f32::from_be_bytes(sample)).into()),
        Format::F64Le => each(bytes, out, |sample| finite_f64(f64::from_le_bytes(sample))),
        Format::F64Be => each(bytes, out, |sample| finite_f64(f64::from_be_bytes(sample))),
        _ => {
            let mut integers = [0; SAMPLES];
            let integers = &mut integers[..out.len().min(SAMPLES)];
            decode_i32(format, bytes, integers);
            for (sample, out) in integers.iter().zip(out) {
                *out = f64::from(*sample) * (1.0 / f64::from(FULL_SCALE));
            }
        }
    }
}

/// Writes samples as a format of at most 16 significant bits, rounded to the nearest value and saturated, or as `f32`.
pub(crate) fn encode_f32(format: Format, samples: &[f32], bytes: &mut [u8]) {
    match format {
        Format::F32Le => put(samples, bytes, f32::to_le_bytes),
        Format::F32Be => put(samples, bytes, f32::to_be_bytes),
        _ => {
            let bits = crate::significant_bits(format).unwrap_or(16).min(16);
            let (scale, unit) = ((1_u32 << (bits - 1)) as f32, 32 - bits);
            let mut integers = [0; SAMPLES];
            for (out, &sample) in integers.iter_mut().zip(samples) {
                let sum = within_f32(sample * scale, -scale, scale - 1.0) + ROUND_F32;
                *out = (sum.to_bits().wrapping_sub(ROUND_F32.to_bits())).cast_signed() << unit;
            }
            encode_i32(format, &integers[..samples.len().min(SAMPLES)], bytes);
        }
    }
}

/// Writes samples as any format, rounded to the nearest value and saturated.
pub(crate) fn encode_f64(format: Format, samples: &[f64], bytes: &mut [u8]) {
    match format {
        Format::F32Le => put(samples, bytes, |sample| (sample as f32).to_le_bytes()),
        Format::F32Be => put(samples, bytes, |sample| (sample as f32).to_be_bytes()),
        Format::F64Le => put(samples, bytes, f64::to_le_bytes),
        Format::F64Be => put(samples, bytes, f64::to_be_bytes),
        _ => {
            let bits = crate::significant_bits(format).unwrap_or(32).min(32);
            let (scale, unit) = (f64::from(1_u32 << (bits - 1)), 32 - bits);
            let mut integers = [0; SAMPLES];
            for (out, &sample) in integers.iter_mut().zip(samples) {
                *out = nearest(sample * scale, scale) << unit;
            }
            encode_i32(format, &integers[..samples.len().min(SAMPLES)], bytes);
        }
    }
}

/// The integer nearest to `value`, ties to even, from −`scale` to `scale` − 1. `scale` is at most 2³¹.
#[inline(always)]
pub(crate) fn nearest(value: f64, scale: f64) -> i32 {
    (within_f64(value, -scale, scale - 1.0) + ROUND_F64).to_bits() as u32 as i32
}

/// Decodes every whole sample of `bytes`.
#[inline(always)]
fn each<const BYTES: usize, N>(bytes: &[u8], out: &mut [N], decode: impl Fn([u8; BYTES]) -> N) {
    for (sample, out) in bytes.as_chunks::<BYTES>().0.iter().zip(out) {
        *out = decode(*sample);
    }
}

#[inline(always)]
fn put<const BYTES: usize, N: Copy>(samples: &[N], bytes: &mut [u8], encode: impl Fn(N) -> [u8; BYTES]) {
    for (bytes, sample) in bytes.as_chunks_mut::<BYTES>().0.iter_mut().zip(samples) {
        *bytes = encode(*sample);
    }
}

// Comparisons instead of `clamp` and `is_finite`: each is one vector instruction.

#[inline(always)]
fn within_f32(value: f32, least: f32, most: f32) -> f32 {
    let value = if value > least { value } else { least };
    if value < most { value } else { most }
}

#[inline(always)]
fn within_f64(value: f64, least: f64, most: f64) -> f64 {
    let value = if value > least { value } else { least };
    if value < most { value } else { most }
}

#[inline(always)]
fn finite_f32(value: f32) -> f32 {
    if value.abs() < f32::INFINITY { value } else { 0.0 }
}

#[inline(always)]
fn finite_f64(value: f64) -> f64 {
    if value.abs() < f64::INFINITY { value } else { 0.0 }
}
