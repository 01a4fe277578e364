//! Pseudo-random inputs, the same every time: noise, and damaged seeds.

/// xorshift64*.
#[derive(Debug, Clone)]
pub struct Noise(u64);

impl Noise {
    /// Seeded by a name and a number.
    #[must_use]
    pub fn named(name: &str, number: u64) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for octet in name.bytes().chain(number.to_le_bytes().into_iter().filter(|_| number > 0)) {
            state = (state ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
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

    /// This many octets.
    pub fn octets(&mut self, length: usize) -> Vec<u8> {
        let mut octets = Vec::with_capacity(length + 8);
        while octets.len() < length {
            octets.extend_from_slice(&self.next_u64().to_be_bytes());
        }
        octets.truncate(length);
        octets
    }
}

/// Octets that parsers tend to trip over.
const AWKWARD: [u8; 10] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'\'', b'"', b'[', b'\n'];

/// One of `seeds`, damaged in up to six places. What is moved, added or dropped are multiples of `step` octets.
#[must_use]
pub fn damaged(noise: &mut Noise, seeds: &[Vec<u8>], step: usize) -> Vec<u8> {
    let mut octets = seeds[noise.below(seeds.len())].clone();
    for _ in 0..=noise.below(6) {
        let any = noise.below(octets.len() + 1);
        let at = any / step * step;
        match noise.below(7) {
            0 if any < octets.len() => octets[any] ^= 1 << noise.below(8),
            1 if any < octets.len() => octets[any] = AWKWARD[noise.below(AWKWARD.len())],
            2 => octets.truncate(at),
            3 => {
                let length = noise.below(9) * step;
                let more = noise.octets(length);
                octets.splice(at..at, more);
            }
            4 => {
                let other = &seeds[noise.below(seeds.len())];
                octets.truncate(at);
                octets.extend(&other[noise.below(other.len() / step + 1) * step..]);
            }
            5 => {
                let end = (at + noise.below(40) * step).min(octets.len());
                let part = octets[at..end].to_vec();
                octets.splice(at..at, part);
            }
            _ => {
                let end = (at + noise.below(9) * step).min(octets.len());
                octets.drain(at..end);
            }
        }
    }
    octets
}
