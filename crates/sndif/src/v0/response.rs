//! Responses of a backend (`struct sndif_response`).

use super::{Level, PACKET_BYTES, Stereo, opcode};
use crate::BadResponse;
use crate::bytes::{put, u8_at, u16_at, u32_at, u64_at};

/// Status of a request that failed (`SNDIF_RSP_ERROR`); success is 0.
const ERROR: i16 = -1;

/// A response.
///
/// A response takes the first 16 bytes of its slot. The driver defines GET_VOLUME but no place for its answer: this
/// project puts it behind the response, at the place of SET_VOLUME's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// The request's id.
    pub id: u64,
    /// The request's operation code.
    pub opcode: u8,
    /// True if the request succeeded; the protocol knows one error.
    pub success: bool,
    /// The volume; only a successful GET_VOLUME carries one.
    pub volume: Option<Stereo>,
}

impl Response {
    /// Parses a slot that was copied out of the ring.
    ///
    /// # Errors
    /// [`BadResponse`] for an undefined operation.
    pub fn parse(slot: &[u8; PACKET_BYTES]) -> Result<Self, BadResponse> {
        let code = u8_at::<8>(slot);
        if code > opcode::GET_VOLUME {
            return Err(BadResponse { opcode: code });
        }
        let success = u16_at::<10>(slot) == 0;
        let volume = (code == opcode::GET_VOLUME && success).then(|| Stereo {
            left: Level::from_wire(u32_at::<28>(slot)),
            right: Level::from_wire(u32_at::<32>(slot)),
        });
        Ok(Self { id: u64_at::<0>(slot), opcode: code, success, volume })
    }

    /// Makes the slot for the ring, built from zero bytes (XSA-216).
    #[must_use]
    pub fn emit(&self) -> [u8; PACKET_BYTES] {
        let mut slot = [0; PACKET_BYTES];
        put::<0, 8>(&mut slot, self.id.to_le_bytes());
        put::<8, 1>(&mut slot, [self.opcode]);
        put::<10, 2>(&mut slot, if self.success { 0 } else { ERROR }.to_le_bytes());
        if let Some(volume) = self.volume {
            put::<28, 4>(&mut slot, volume.left.to_wire().to_le_bytes());
            put::<32, 4>(&mut slot, volume.right.to_wire().to_le_bytes());
        }
        slot
    }
}
