//! Little-endian fields of fixed-size packets.
//!
//! Offsets are const parameters, so that one outside the packet fails to compile instead of failing
//! to run.

/// Octets of a packet of protocol v2.
pub(crate) const PACKET_BYTES: usize = 64;

/// A packet of protocol v2 being taken apart or put together.
pub(crate) type Packet = [u8; PACKET_BYTES];

/// A packet of any size.
pub(crate) trait Octets {
    /// The `N` octets at `AT`.
    fn take<const AT: usize, const N: usize>(&self) -> [u8; N];

    /// Replaces the `N` octets at `AT`.
    fn set<const AT: usize, const N: usize>(&mut self, octets: [u8; N]);
}

impl<const SIZE: usize> Octets for [u8; SIZE] {
    fn take<const AT: usize, const N: usize>(&self) -> [u8; N] {
        const { assert!(AT + N <= SIZE) };
        self.split_at_checked(AT).and_then(|(_, tail)| tail.first_chunk::<N>()).copied().unwrap_or([0; N])
    }

    fn set<const AT: usize, const N: usize>(&mut self, octets: [u8; N]) {
        const { assert!(AT + N <= SIZE) };
        if let Some((_, tail)) = self.split_at_mut_checked(AT)
            && let Some(field) = tail.first_chunk_mut::<N>()
        {
            *field = octets;
        }
    }
}

pub(crate) fn u8_at<const AT: usize>(packet: &impl Octets) -> u8 {
    let [octet] = packet.take::<AT, 1>();
    octet
}

pub(crate) fn u16_at<const AT: usize>(packet: &impl Octets) -> u16 {
    u16::from_le_bytes(packet.take::<AT, 2>())
}

pub(crate) fn u32_at<const AT: usize>(packet: &impl Octets) -> u32 {
    u32::from_le_bytes(packet.take::<AT, 4>())
}

pub(crate) fn u64_at<const AT: usize>(packet: &impl Octets) -> u64 {
    u64::from_le_bytes(packet.take::<AT, 8>())
}

pub(crate) fn put<const AT: usize, const N: usize>(packet: &mut impl Octets, octets: [u8; N]) {
    packet.set::<AT, N>(octets);
}
