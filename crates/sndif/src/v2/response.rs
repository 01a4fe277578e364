//! Responses: what the backend answers.

use super::{HwParams, PACKET_BYTES, opcode};
use crate::bytes::{Packet, put, u8_at, u16_at, u32_at};
use crate::{BadResponse, Errno};

/// A response (`struct xensnd_resp`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// The id of the request.
    pub id: u16,
    /// The operation code of the request, even an unknown one.
    pub opcode: u8,
    /// Outcome of the request.
    pub result: Result<(), Errno>,
    /// The narrowed space; only a successful HW_PARAM_QUERY carries one.
    pub params: Option<HwParams>,
}

impl Response {
    /// Understands a packet that was copied out of the ring.
    ///
    /// # Errors
    /// [`BadResponse`] for an undefined operation.
    pub fn parse(packet: &[u8; PACKET_BYTES]) -> Result<Self, BadResponse> {
        let code = u8_at::<2>(packet);
        if code > opcode::READ_AHEAD {
            return Err(BadResponse { opcode: code });
        }
        let result = Errno::from_status(u32_at::<4>(packet).cast_signed()).map_or(Ok(()), Err);
        let params = (code == opcode::HW_PARAM_QUERY && result.is_ok()).then(|| HwParams::parse(packet));
        Ok(Self { id: u16_at::<0>(packet), opcode: code, result, params })
    }

    /// The packet for the ring, built from 64 zero bytes (XSA-216).
    #[must_use]
    pub fn emit(&self) -> [u8; PACKET_BYTES] {
        let mut packet: Packet = [0; PACKET_BYTES];
        put::<0, 2>(&mut packet, self.id.to_le_bytes());
        put::<2, 1>(&mut packet, [self.opcode]);
        put::<4, 4>(&mut packet, self.result.map_or_else(Errno::status, |()| 0).to_le_bytes());
        if let Some(params) = &self.params {
            params.emit(&mut packet);
        }
        packet
    }
}
