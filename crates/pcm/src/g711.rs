//! mu-law and A-law (ITU-T G.711) to and from 16-bit linear samples.
//!
//! Both codes have a sign bit, a 3-bit segment and a 4-bit step within it; mu-law stores all bits
//! inverted, A-law every second one.

const MU_BIAS: i32 = 0x84;
const MU_CLIP: i32 = 32_635;
const A_TOGGLE: u8 = 0x55;

/// Segment (position of the top bit, counted from `base`) of a magnitude.
fn segment(magnitude: i32, base: u32) -> u32 {
    (31 - magnitude.leading_zeros().min(31)).saturating_sub(base)
}

/// 16-bit sample of a mu-law byte, −32124 to 32124.
pub(crate) fn mu_law_decode(byte: u8) -> i32 {
    let code = !byte;
    let step = i32::from(code & 0x0f) << 3;
    let magnitude = ((step + MU_BIAS) << ((code & 0x70) >> 4)) - MU_BIAS;
    if code & 0x80 != 0 { -magnitude } else { magnitude }
}

/// mu-law byte nearest below `sample` (16 bit) in magnitude.
pub(crate) fn mu_law_encode(sample: i32) -> u8 {
    let magnitude = sample.abs().min(MU_CLIP) + MU_BIAS;
    let segment = segment(magnitude, 7);
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) as u8 | ((magnitude >> (segment + 3)) & 0x0f) as u8)
}

/// 16-bit sample of an A-law byte, −32256 to 32256.
pub(crate) fn a_law_decode(byte: u8) -> i32 {
    let code = byte ^ A_TOGGLE;
    let step = i32::from(code & 0x0f) << 4;
    let magnitude = match (code & 0x70) >> 4 {
        0 => step + 8,
        segment => (step + 0x108) << (segment - 1),
    };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

/// A-law byte of the step that holds `sample` (16 bit).
pub(crate) fn a_law_encode(sample: i32) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let magnitude = (if sample < 0 { !sample } else { sample }).min(0x7fff);
    let segment = segment(magnitude, 7);
    let step = magnitude >> if segment == 0 { 4 } else { segment + 3 };
    (sign | (segment << 4) as u8 | (step & 0x0f) as u8) ^ A_TOGGLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_the_recommendation() {
        for (byte, sample) in [(0x00, -32124), (0x80, 32124), (0xff, 0), (0x7f, 0), (0xfe, 8)] {
            assert_eq!(mu_law_decode(byte), sample);
        }
        for (byte, sample) in [(0xd5, 8), (0x55, -8), (0xaa, 32256), (0x2a, -32256)] {
            assert_eq!(a_law_decode(byte), sample);
        }
    }

    #[test]
    fn every_byte_comes_back() {
        for byte in 0..=255 {
            // 0x7f is a second code for 0, and comes back as the first one.
            let expected = if byte == 0x7f { 0xff } else { byte };
            assert_eq!(mu_law_encode(mu_law_decode(byte)), expected);
            assert_eq!(a_law_encode(a_law_decode(byte)), byte);
        }
    }

    #[test]
    fn encoding_is_off_by_at_most_a_step_and_never_changes_the_order() {
        let mut last = (i32::MIN, i32::MIN);
        for sample in -32768..=32767 {
            let mu = mu_law_decode(mu_law_encode(sample));
            let a = a_law_decode(a_law_encode(sample));
            assert!((mu - sample).abs() <= (sample.abs() >> 4).max(16) + 644, "{sample}: {mu}");
            assert!((a - sample).abs() <= (sample.abs() >> 5).max(16), "{sample}: {a}");
            assert!(mu >= last.0 && a >= last.1, "{sample}");
            last = (mu, a);
        }
    }
}
