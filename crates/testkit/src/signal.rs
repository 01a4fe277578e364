//! Sound whose every byte can be told from every other.

/// Bytes that look like noise and depend on `seed` alone. None of them is zero, so that silence is
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

/// Where two sequences of bytes differ first, said so that a failed test can be understood.
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

/// Fails when two sequences of bytes differ.
///
/// # Panics
/// When they do.
pub fn assert_same(got: &[u8], wanted: &[u8]) {
    if let Some(difference) = difference(got, wanted) {
        panic!("{difference}");
    }
}
