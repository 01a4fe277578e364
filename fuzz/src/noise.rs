//! Reproducible pseudo-random inputs: noise, and damaged seeds.

/// A pseudo-random generator: xorshift64*.
#[derive(Debug, Clone)]
pub struct Noise(u64);

impl Noise {
    /// A generator seeded by a name and a number.
    #[must_use]
    pub fn named(name: &str, number: u64) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for byte in name.bytes().chain(number.to_le_bytes().into_iter().filter(|_| number > 0)) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(state | 1)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next_u64() >> 16) as usize % bound.max(1)
    }

    /// The next `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next_u64().to_be_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// Bytes that are likely to break parsers.
const AWKWARD: [u8; 10] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'\'', b'"', b'[', b'\n'];

/// One of `seeds`, damaged in up to six places. Moved, added and dropped parts are multiples of `step` bytes.
#[must_use]
pub fn damaged(noise: &mut Noise, seeds: &[Vec<u8>], step: usize) -> Vec<u8> {
    let mut bytes = seeds[noise.below(seeds.len())].clone();
    for _ in 0..=noise.below(6) {
        let any = noise.below(bytes.len() + 1);
        let at = any / step * step;
        match noise.below(7) {
            0 if any < bytes.len() => bytes[any] ^= 1 << noise.below(8),
            1 if any < bytes.len() => bytes[any] = AWKWARD[noise.below(AWKWARD.len())],
            2 => bytes.truncate(at),
            3 => {
                let length = noise.below(9) * step;
                let more = noise.bytes(length);
                bytes.splice(at..at, more);
            }
            4 => {
                let other = &seeds[noise.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend(&other[noise.below(other.len() / step + 1) * step..]);
            }
            5 => {
                let end = (at + noise.below(40) * step).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let end = (at + noise.below(9) * step).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
    bytes
}
