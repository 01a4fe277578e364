//! Test sound whose parts can be distinguished, and its comparison.

/// Noise that depends on `seed` alone. No byte is zero, so that silence is
/// never taken for sound.
#[must_use]
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..bytes)
        .map(|_| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8 | 1
        })
        .collect()
}

/// Description of the first difference between two sequences of bytes, for the message of a failed test.
#[must_use]
pub fn difference(got: &[u8], wanted: &[u8]) -> Option<String> {
    if got == wanted {
        return None;
    }
    let at = got.iter().zip(wanted).position(|(got, wanted)| got != wanted).unwrap_or(got.len().min(wanted.len()));
    let around = |bytes: &[u8]| bytes.get(at..(at + 8).min(bytes.len())).map(<[u8]>::to_vec);
    let elsewhere = wanted
        .get(at..(at + 16).min(wanted.len()))
        .filter(|piece| piece.len() == 16)
        .and_then(|piece| got.windows(16).position(|window| window == piece));
    Some(format!(
        "{} bytes instead of {}; from {at} on {:?} instead of {:?}; what belongs there stands at {elsewhere:?}",
        got.len(),
        wanted.len(),
        around(got),
        around(wanted),
    ))
}

/// Fails if two sequences of bytes differ.
///
/// # Panics
/// If they differ.
pub fn assert_same(got: &[u8], wanted: &[u8]) {
    if let Some(difference) = difference(got, wanted) {
        panic!("{difference}");
    }
}
