//! Little-endian fields of fixed-size packets.
//!
//! Offsets are const parameters, so that an offset outside the packet fails to compile instead of failing to run.

/// Bytes of a packet of protocol v2.
pub(crate) const PACKET_BYTES: usize = 64;

/// A packet of protocol v2 while it is parsed or built.
pub(crate) type Packet = [u8; PACKET_BYTES];

/// A packet of any size.
pub(crate) trait Bytes {
    /// Returns the `N` bytes at `AT`.
    fn take<const AT: usize, const N: usize>(&self) -> [u8; N];

    /// Replaces the `N` bytes at `AT`.
    fn set<const AT: usize, const N: usize>(&mut self, bytes: [u8; N]);
}

impl<const SIZE: usize> Bytes for [u8; SIZE] {
    fn take<const AT: usize, const N: usize>(&self) -> [u8; N] {
        const { assert!(AT + N <= SIZE) };
        self.split_at_checked(AT).and_then(|(_, tail)| tail.first_chunk::<N>()).copied().unwrap_or([0; N])
    }

    fn set<const AT: usize, const N: usize>(&mut self, bytes: [u8; N]) {
        const { assert!(AT + N <= SIZE) };
        if let Some((_, tail)) = self.split_at_mut_checked(AT)
            && let Some(field) = tail.first_chunk_mut::<N>()
        {
            *field = bytes;
        }
    }
}

pub(crate) fn u8_at<const AT: usize>(packet: &impl Bytes) -> u8 {
    let [byte] = packet.take::<AT, 1>();
    byte
}

pub(crate) fn u16_at<const AT: usize>(packet: &impl Bytes) -> u16 {
    u16::from_le_bytes(packet.take::<AT, 2>())
}

pub(crate) fn u32_at<const AT: usize>(packet: &impl Bytes) -> u32 {
    u32::from_le_bytes(packet.take::<AT, 4>())
}

pub(crate) fn u64_at<const AT: usize>(packet: &impl Bytes) -> u64 {
    u64::from_le_bytes(packet.take::<AT, 8>())
}

pub(crate) fn put<const AT: usize, const N: usize>(packet: &mut impl Bytes, bytes: [u8; N]) {
    packet.set::<AT, N>(bytes);
}
