//! CRC-32 as `crc32`, `gzip` and PNG have it: a recording in eight digits, to be compared elsewhere.

/// A checksum of the bytes so far.
pub struct Crc32(u32);

impl Crc32 {
    /// Checksum of no bytes.
    pub const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Takes in more bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u32::from(*byte);
            for _ in 0..8 {
                self.0 = self.0 >> 1 ^ if self.0 & 1 == 1 { 0xedb8_8320 } else { 0 };
            }
        }
    }

    /// Value of the checksum.
    pub const fn value(&self) -> u32 {
        !self.0
    }
}
