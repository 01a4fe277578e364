//! Numbers from any bytes; after the last byte all numbers are 0.

/// The remaining bytes.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl Input<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            if let Some((&first, rest)) = self.0.split_first() {
                (*byte, self.0) = (first, rest);
            }
        }
        bytes
    }

    pub(crate) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    /// Takes a byte; returns true if it is even.
    pub(crate) fn flag(&mut self) -> bool {
        self.u8().is_multiple_of(2)
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn packet(&mut self) -> [u8; 64] {
        self.array()
    }
}
