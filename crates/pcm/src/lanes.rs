//! Gain for eight samples at a time, for every format.
//!
//! A [`Kernel`] scales eight samples with a factor each. [`scale`] repeats the factors of the channels along the
//! frames, and [`scale_each`] takes another factor for each sample. Channels with a factor of 1 keep their bytes,
//! whatever they are.

use crate::block::nearest;
use crate::fixed::{self, Factors, LANES, fixed};
use crate::{Linear, g711};

/// Most blocks of factors that are precomputed: for frames of up to eight channels, and multiples of two, four and
/// eight.
const BLOCKS_MAX: usize = 8;

/// Factors of samples, in the forms that kernels need.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Factor {
    pub(crate) linear: f64,
    fixed: i32,
}

impl Factor {
    pub(crate) const UNITY: Self = Self::new(1.0);

    pub(crate) const fn new(linear: f64) -> Self {
        Self { linear, fixed: fixed(linear) }
    }
}

/// Scales samples of a format.
pub(crate) trait Kernel<const BYTES: usize> {
    /// Eight factors in the form that suits the format.
    type Factors: Copy;

    /// Converts factors to that form.
    fn factors(factors: [Factor; LANES]) -> Self::Factors;

    /// The samples times their factors, rounded to the nearest value and saturated.
    fn scaled(samples: [[u8; BYTES]; LANES], factors: &Self::Factors) -> [[u8; BYTES]; LANES];
}

/// Scales whole samples; `factor` gives the factor of each channel.
#[inline(always)]
pub(crate) fn scale<const BYTES: usize, K: Kernel<BYTES>>(
    frames: &mut [u8],
    channels: usize,
    factor: impl Fn(usize) -> Factor,
) {
    let blocks = channels / gcd(channels, LANES);
    let mut next = 0;
    let mut lanes = || {
        let mut factors = [Factor::UNITY; LANES];
        for lane in &mut factors {
            *lane = factor(next);
            next = if next + 1 == channels { 0 } else { next + 1 };
        }
        K::factors(factors)
    };
    if blocks == 1 {
        let factors = lanes();
        each_by_four(frames, |samples| K::scaled(samples, &factors));
    } else if blocks <= BLOCKS_MAX {
        let first = lanes();
        let mut factors = [first; BLOCKS_MAX];
        factors[1..blocks].fill_with(&mut lanes);
        let mut cycle = factors[..blocks].iter().cycle();
        each(frames, |samples| cycle.next().map_or(samples, |factors| K::scaled(samples, factors)));
    } else {
        each(frames, |samples| K::scaled(samples, &lanes()));
    }
}

/// Scales whole samples, each with the next result of `factor`.
#[inline(always)]
pub(crate) fn scale_each<const BYTES: usize, K: Kernel<BYTES>>(frames: &mut [u8], mut factor: impl FnMut() -> Factor) {
    each(frames, |samples| K::scaled(samples, &K::factors(std::array::from_fn(|_| factor()))));
}

/// Replaces whole samples, eight at a time; zeros fill up the last eight.
#[inline(always)]
fn each<const BYTES: usize>(frames: &mut [u8], scaled: impl FnMut([[u8; BYTES]; LANES]) -> [[u8; BYTES]; LANES]) {
    blocks(frames.as_chunks_mut::<BYTES>().0, scaled);
}

/// Same as [`each`], with four blocks in one turn of the loop: fewer counts and jumps.
#[inline(always)]
fn each_by_four<const BYTES: usize>(frames: &mut [u8], scaled: impl Fn([[u8; BYTES]; LANES]) -> [[u8; BYTES]; LANES]) {
    let (fours, rest) = frames.as_chunks_mut::<BYTES>().0.as_chunks_mut::<{ 4 * LANES }>();
    for four in fours {
        for block in four.as_chunks_mut::<LANES>().0 {
            *block = scaled(*block);
        }
    }
    blocks(rest, scaled);
}

#[inline(always)]
fn blocks<const BYTES: usize>(
    samples: &mut [[u8; BYTES]],
    mut scaled: impl FnMut([[u8; BYTES]; LANES]) -> [[u8; BYTES]; LANES],
) {
    let (blocks, rest) = samples.as_chunks_mut::<LANES>();
    for block in blocks {
        *block = scaled(*block);
    }
    if !rest.is_empty() {
        let mut block = [[0; BYTES]; LANES];
        block[..rest.len()].copy_from_slice(rest);
        rest.copy_from_slice(&scaled(block)[..rest.len()]);
    }
}

const fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Integers of up to 16 bits.
pub(crate) struct Narrow<const BITS: u32, const SIGNED: bool, const BIG: bool>;

impl<const BYTES: usize, const BITS: u32, const SIGNED: bool, const BIG: bool> Kernel<BYTES>
    for Narrow<BITS, SIGNED, BIG>
{
    type Factors = Factors;

    #[inline(always)]
    fn factors(factors: [Factor; LANES]) -> Factors {
        Factors::new(factors.map(|factor| factor.fixed))
    }

    #[inline(always)]
    fn scaled(samples: [[u8; BYTES]; LANES], factors: &Factors) -> [[u8; BYTES]; LANES] {
        let unit = 32 - BITS;
        let numbers = samples.map(|sample| (Linear::decode_as::<BYTES, BITS, SIGNED, BIG>(sample) >> unit) as i16);
        let most = ((1_i32 << (BITS - 1)) - 1) as i16;
        fixed::scaled(numbers, factors).map(|number| {
            let number = number.min(most).max(-most - 1);
            Linear::encode_as::<BYTES, BITS, SIGNED, BIG>(i32::from(number) << unit)
        })
    }
}

/// Integers of 24 and 32 bits: only `f64` is exact enough for their last bits.
pub(crate) struct Wide<const BITS: u32, const SIGNED: bool, const BIG: bool>;

impl<const BYTES: usize, const BITS: u32, const SIGNED: bool, const BIG: bool> Kernel<BYTES>
    for Wide<BITS, SIGNED, BIG>
{
    type Factors = [f64; LANES];

    #[inline(always)]
    fn factors(factors: [Factor; LANES]) -> [f64; LANES] {
        factors.map(|factor| factor.linear)
    }

    #[inline(always)]
    fn scaled(samples: [[u8; BYTES]; LANES], factors: &[f64; LANES]) -> [[u8; BYTES]; LANES] {
        let unit = 32 - BITS;
        zip(samples, factors, |sample, factor| {
            let number = Linear::decode_as::<BYTES, BITS, SIGNED, BIG>(sample) >> unit;
            let scaled = nearest(f64::from(number) * factor, f64::from(1_u32 << (BITS - 1)));
            Linear::encode_as::<BYTES, BITS, SIGNED, BIG>(scaled << unit)
        })
    }
}

/// `f32`; may exceed full scale.
pub(crate) struct F32<const BIG: bool>;

impl<const BIG: bool> Kernel<4> for F32<BIG> {
    type Factors = [f64; LANES];

    #[inline(always)]
    fn factors(factors: [Factor; LANES]) -> [f64; LANES] {
        factors.map(|factor| factor.linear)
    }

    #[inline(always)]
    fn scaled(samples: [[u8; 4]; LANES], factors: &[f64; LANES]) -> [[u8; 4]; LANES] {
        zip(samples, factors, |sample, factor| {
            let number = if BIG { f32::from_be_bytes(sample) } else { f32::from_le_bytes(sample) };
            let scaled = (f64::from(number) * factor) as f32;
            if BIG { scaled.to_be_bytes() } else { scaled.to_le_bytes() }
        })
    }
}

/// `f64`; may exceed full scale.
pub(crate) struct F64<const BIG: bool>;

impl<const BIG: bool> Kernel<8> for F64<BIG> {
    type Factors = [f64; LANES];

    #[inline(always)]
    fn factors(factors: [Factor; LANES]) -> [f64; LANES] {
        factors.map(|factor| factor.linear)
    }

    #[inline(always)]
    fn scaled(samples: [[u8; 8]; LANES], factors: &[f64; LANES]) -> [[u8; 8]; LANES] {
        zip(samples, factors, |sample, factor| {
            let number = if BIG { f64::from_be_bytes(sample) } else { f64::from_le_bytes(sample) };
            let scaled = number * factor;
            if BIG { scaled.to_be_bytes() } else { scaled.to_le_bytes() }
        })
    }
}

/// G.711; `MU` for mu-law.
pub(crate) struct Companded<const MU: bool>;

impl<const MU: bool> Kernel<1> for Companded<MU> {
    type Factors = ([f64; LANES], Factors);

    #[inline(always)]
    fn factors(factors: [Factor; LANES]) -> Self::Factors {
        (factors.map(|factor| factor.linear), Factors::new(factors.map(|factor| factor.fixed)))
    }

    #[inline(always)]
    fn scaled(samples: [[u8; 1]; LANES], (factors, fixed): &Self::Factors) -> [[u8; 1]; LANES] {
        let decode = if MU { g711::mu_law_decode } else { g711::a_law_decode };
        let encode = if MU { g711::mu_law_encode } else { g711::a_law_encode };
        let scaled = fixed::scaled(samples.map(|[code]| decode(code) as i16), fixed);
        std::array::from_fn(|lane| if factors[lane] == 1.0 { samples[lane] } else { [encode(scaled[lane].into())] })
    }
}

/// Each sample scaled, except those with a factor of 1.
#[inline(always)]
fn zip<const BYTES: usize>(
    samples: [[u8; BYTES]; LANES],
    factors: &[f64; LANES],
    scaled: impl Fn([u8; BYTES], f64) -> [u8; BYTES],
) -> [[u8; BYTES]; LANES] {
    std::array::from_fn(|lane| {
        let (was, factor) = (samples[lane], factors[lane]);
        let is = scaled(was, factor);
        if factor == 1.0 { was } else { is }
    })
}

/// Calls `$function::<BYTES, kernel>` for the format; `$other` for one that cannot be scaled.
macro_rules! with_kernel {
    ($format:expr, $function:ident($($argument:expr),*), $other:expr) => {
        match $format {
            Format::S8 => $function::<1, Narrow<8, true, false>>($($argument),*),
            Format::U8 => $function::<1, Narrow<8, false, false>>($($argument),*),
            Format::S16Le => $function::<2, Narrow<16, true, false>>($($argument),*),
            Format::S16Be => $function::<2, Narrow<16, true, true>>($($argument),*),
            Format::U16Le => $function::<2, Narrow<16, false, false>>($($argument),*),
            Format::U16Be => $function::<2, Narrow<16, false, true>>($($argument),*),
            Format::S24Le => $function::<4, Wide<24, true, false>>($($argument),*),
            Format::S24Be => $function::<4, Wide<24, true, true>>($($argument),*),
            Format::U24Le => $function::<4, Wide<24, false, false>>($($argument),*),
            Format::U24Be => $function::<4, Wide<24, false, true>>($($argument),*),
            Format::S32Le => $function::<4, Wide<32, true, false>>($($argument),*),
            Format::S32Be => $function::<4, Wide<32, true, true>>($($argument),*),
            Format::U32Le => $function::<4, Wide<32, false, false>>($($argument),*),
            Format::U32Be => $function::<4, Wide<32, false, true>>($($argument),*),
            Format::F32Le => $function::<4, F32<false>>($($argument),*),
            Format::F32Be => $function::<4, F32<true>>($($argument),*),
            Format::F64Le => $function::<8, F64<false>>($($argument),*),
            Format::F64Be => $function::<8, F64<true>>($($argument),*),
            Format::MuLaw => $function::<1, Companded<true>>($($argument),*),
            Format::ALaw => $function::<1, Companded<false>>($($argument),*),
            Format::Iec958SubframeLe | Format::Iec958SubframeBe | Format::ImaAdpcm | Format::Mpeg | Format::Gsm => $other,
        }
    };
}
pub(crate) use with_kernel;
