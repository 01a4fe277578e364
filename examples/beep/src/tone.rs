//! The tone that beep plays, of integers alone. The lab's `vsnd-lab` has this file, too, to know what has to be heard.

/// Frames per second.
pub const RATE_HZ: u32 = 48_000;

/// Left and right: a fifth, so that one is not taken for the other.
const PITCHES_HZ: [u32; 2] = [440, 660];

/// A frame of the tone, two samples of 16 bits.
pub fn frame(number: u32) -> [i16; 2] {
    PITCHES_HZ.map(|pitch_hz| sample(number, pitch_hz))
}

/// A sample of one pitch: two parabolas in place of a sine, which they resemble enough to be pleasant. A quarter of the full scale.
fn sample(number: u32, pitch_hz: u32) -> i16 {
    // A turn is 2^32; seen as a signed number it lies between minus and plus a half.
    let step = (u64::from(pitch_hz) << 32) / u64::from(RATE_HZ);
    let turn = number.wrapping_mul(step as u32).cast_signed();
    // From here on a half is 2^16, and the product at most 2^30.
    let half = turn >> 15;
    let height = half * ((1 << 16) - half.abs());
    (height >> 17) as i16
}
