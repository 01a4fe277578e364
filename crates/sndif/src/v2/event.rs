//! Events, which the backend sends without a request.

use core::fmt;

use super::PACKET_BYTES;
use crate::bytes::{Packet, put, u8_at, u16_at, u64_at};

/// Type code of the only event, `XENSND_EVT_CUR_POS`.
pub(crate) const CUR_POS: u8 = 0;

/// The stream's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Counts up by one per event over the whole connection; Linux ignores everything after a gap.
    pub id: u16,
    /// Bytes played or captured since OPEN.
    pub position_bytes: u64,
}

/// An event of a type that the protocol does not define.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadEvent {
    /// The type code.
    pub kind: u8,
}

impl fmt::Display for BadEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event of type {}, which does not exist", self.kind)
    }
}

impl core::error::Error for BadEvent {}

impl Event {
    /// Parses a packet that was copied out of the event page.
    ///
    /// # Errors
    /// [`BadEvent`] for an undefined type.
    pub fn parse(packet: &[u8; PACKET_BYTES]) -> Result<Self, BadEvent> {
        match u8_at::<2>(packet) {
            CUR_POS => Ok(Self { id: u16_at::<0>(packet), position_bytes: u64_at::<8>(packet) }),
            kind => Err(BadEvent { kind }),
        }
    }

    /// Makes the packet for the event page, built from 64 zero bytes (XSA-216).
    #[must_use]
    pub fn emit(&self) -> [u8; PACKET_BYTES] {
        let mut packet: Packet = [0; PACKET_BYTES];
        put::<0, 2>(&mut packet, self.id.to_le_bytes());
        put::<2, 1>(&mut packet, [CUR_POS]);
        put::<8, 8>(&mut packet, self.position_bytes.to_le_bytes());
        packet
    }
}
