//! Product of eight 16-bit samples and their factors, in fixed point.

/// Samples that are scaled together.
pub(crate) const LANES: usize = 8;

/// Fraction bits of a factor; 10, the greatest factor, still fits.
const FRACTION: u32 = 27;

/// A factor in fixed point. No factor is negative, and `round()` is avoided because it is a call into the system's
/// library.
pub(crate) const fn fixed(factor: f64) -> i32 {
    (factor * (1_u32 << FRACTION) as f64 + 0.5) as i32
}

/// The factors of eight samples. Each is `high` × 2¹⁶ + `low`, both signed: the processor multiplies 16 bits at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Factors {
    high: [i16; LANES],
    low: [i16; LANES],
}

impl Factors {
    /// Splits factors that are [`fixed`].
    #[inline(always)]
    pub(crate) fn new(factors: [i32; LANES]) -> Self {
        Self { high: factors.map(|fixed| ((fixed + 0x8000) >> 16) as i16), low: factors.map(|fixed| fixed as i16) }
    }
}

/// Half of the unit of the last shift, for rounding.
const HALF: i16 = 1 << (FRACTION - 16 - 1);

/// The samples times their factors, rounded to the nearest value and saturated.
///
/// The product's lowest 16 bits are cut off before it is rounded, which never changes the result.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn scaled(samples: [i16; LANES], factors: &Factors) -> [i16; LANES] {
    use safe_arch::{
        add_i16_m128i, m128i, mul_i16_horizontal_add_m128i, mul_i16_keep_high_m128i, pack_i32_to_i16_m128i,
        set_splat_i16_m128i, shr_imm_i32_m128i, unpack_high_i16_m128i, unpack_low_i16_m128i,
    };
    const SHIFT: i32 = FRACTION as i32 - 16;
    let (samples, high, low) = (m128i::from(samples), m128i::from(factors.high), m128i::from(factors.low));
    let one = set_splat_i16_m128i(1);
    let rest = add_i16_m128i(mul_i16_keep_high_m128i(samples, low), set_splat_i16_m128i(HALF));
    // sample × high + rest × 1
    let sums = |pairs, factors| shr_imm_i32_m128i::<SHIFT>(mul_i16_horizontal_add_m128i(pairs, factors));
    let left = sums(unpack_low_i16_m128i(samples, rest), unpack_low_i16_m128i(high, one));
    let right = sums(unpack_high_i16_m128i(samples, rest), unpack_high_i16_m128i(high, one));
    pack_i32_to_i16_m128i(left, right).into()
}

/// The samples times their factors, rounded to the nearest value and saturated.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn scaled(samples: [i16; LANES], factors: &Factors) -> [i16; LANES] {
    portable(samples, factors)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn portable(samples: [i16; LANES], factors: &Factors) -> [i16; LANES] {
    std::array::from_fn(|lane| {
        let [sample, high, low] = [samples[lane], factors.high[lane], factors.low[lane]].map(i32::from);
        let sum = sample * high + ((sample * low) >> 16) + i32::from(HALF);
        (sum >> (FRACTION - 16)).clamp(i16::MIN.into(), i16::MAX.into()) as i16
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_rounded_to_the_nearest_value_at_every_kind_of_factor() {
        for factor in [0.0, 1e-5, 0.1, 0.25, 0.5, 0.501_187, 0.999_884_9, 1.0, 1.000_115, 3.3, 8.0, 9.999, 10.0] {
            let factors = Factors::new([fixed(factor); LANES]);
            for first in (i16::MIN..=i16::MAX).step_by(LANES) {
                let samples: [i16; LANES] = std::array::from_fn(|lane| first + lane as i16);
                let result = scaled(samples, &factors);
                assert_eq!(result, portable(samples, &factors), "{factor}");
                for (sample, result) in samples.into_iter().zip(result) {
                    let exact = (f64::from(sample) * factor).clamp(-32_768.0, 32_767.0);
                    assert!((exact - f64::from(result)).abs() < 0.5002, "{sample} × {factor} is {result}");
                }
            }
        }
    }

    #[test]
    fn a_factor_of_one_changes_nothing_and_each_sample_has_its_own() {
        let samples = [i16::MIN, -1, 0, 1, 2, 777, 32_766, i16::MAX];
        assert_eq!(scaled(samples, &Factors::new([fixed(1.0); LANES])), samples);
        let own = Factors::new([0.0, 1.0, 2.0, 3.0, 0.5, 1.0, 0.25, 10.0].map(fixed));
        assert_eq!(scaled(samples, &own), [0, -1, 0, 3, 1, 777, 8_192, i16::MAX]);
    }
}
