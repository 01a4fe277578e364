//! Little-endian fields of fixed-size packets.
//!
//! Offsets are const parameters, so that one outside the packet fails to compile instead of failing
//! to run.

/// Octets of a packet of protocol v2.
pub(crate) const PACKET_BYTES: usize = 64;

/// A packet being taken apart or put together.
pub(crate) type Packet = [u8; PACKET_BYTES];

pub(crate) fn u8_at<const AT: usize>(packet: &Packet) -> u8 {
    let [octet] = take::<AT, 1>(packet);
    octet
}

pub(crate) fn u16_at<const AT: usize>(packet: &Packet) -> u16 {
    u16::from_le_bytes(take::<AT, 2>(packet))
}

pub(crate) fn u32_at<const AT: usize>(packet: &Packet) -> u32 {
    u32::from_le_bytes(take::<AT, 4>(packet))
}

pub(crate) fn u64_at<const AT: usize>(packet: &Packet) -> u64 {
    u64::from_le_bytes(take::<AT, 8>(packet))
}

pub(crate) fn put<const AT: usize, const N: usize>(packet: &mut Packet, octets: [u8; N]) {
    const { assert!(AT + N <= PACKET_BYTES) };
    if let Some((_, tail)) = packet.split_at_mut_checked(AT)
        && let Some(field) = tail.first_chunk_mut::<N>()
    {
        *field = octets;
    }
}

fn take<const AT: usize, const N: usize>(packet: &Packet) -> [u8; N] {
    const { assert!(AT + N <= PACKET_BYTES) };
    packet.split_at_checked(AT).and_then(|(_, tail)| tail.first_chunk::<N>()).copied().unwrap_or([0; N])
}
