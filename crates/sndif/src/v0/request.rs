//! Requests of a frontend to a stream (`struct sndif_request`).

use core::fmt;

use super::{Level, PACKET_BYTES, PAGES_MAX, Stereo, TRANSFER_BYTES_MAX};
use crate::bytes::{put, u8_at, u32_at, u64_at};
use crate::{Format, GrantRef, pages_for};

/// Operation codes, `SNDIF_OP_*` and `SNDIF_*_VOLUME`.
#[expect(missing_docs, reason = "the constants are the driver's own names")]
pub mod opcode {
    pub const OPEN: u8 = 0;
    pub const CLOSE: u8 = 1;
    pub const READ: u8 = 2;
    pub const WRITE: u8 = 3;
    pub const SET_VOLUME: u8 = 4;
    pub const GET_VOLUME: u8 = 5;
}

/// Parameters with which a stream is opened (`struct snd_params`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenParams {
    /// Sample format.
    pub format: Format,
    /// Samples per frame.
    pub channels: u8,
    /// Frames per second.
    pub rate_hz: u32,
}

/// Frames in granted pages: they begin at the start of the first page and go on from page to page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    length: u32,
    refs: [GrantRef; PAGES_MAX],
}

impl Transfer {
    /// Makes a transfer of `length` bytes in the pages `refs`; `None` if they do not fit, or are more than a request
    /// can carry.
    #[must_use]
    pub fn new(length: u32, refs: &[GrantRef]) -> Option<Self> {
        let needed = refs.get(..pages_for(length))?;
        let mut all = [GrantRef(0); PAGES_MAX];
        all.get_mut(..needed.len())?.copy_from_slice(needed);
        Some(Self { length, refs: all })
    }

    /// Returns the bytes to be moved, at most [`TRANSFER_BYTES_MAX`].
    #[must_use]
    pub const fn length(&self) -> u32 {
        self.length
    }

    /// Returns the pages that contain the bytes. The 2015 driver names ten pages in each request; pages beyond the
    /// length are ignored.
    #[must_use]
    pub fn refs(&self) -> &[GrantRef] {
        self.refs.get(..pages_for(self.length)).unwrap_or(&self.refs)
    }
}

/// An operation with its operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opens the stream.
    Open(OpenParams),
    /// Closes the stream.
    Close,
    /// Asks for captured frames.
    Read(Transfer),
    /// Brings frames to play.
    Write(Transfer),
    /// Sets the volume.
    SetVolume(Stereo),
    /// Asks for the volume.
    GetVolume,
}

impl Operation {
    /// Returns the code on the wire.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        match self {
            Self::Open(_) => opcode::OPEN,
            Self::Close => opcode::CLOSE,
            Self::Read(_) => opcode::READ,
            Self::Write(_) => opcode::WRITE,
            Self::SetVolume(_) => opcode::SET_VOLUME,
            Self::GetVolume => opcode::GET_VOLUME,
        }
    }
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Echoed in the response; the 2015 driver puts the stream's number there.
    pub id: u64,
    /// The operation.
    pub operation: Operation,
}

/// A request that cannot be understood, with all data for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Id of the request.
    pub id: u64,
    /// Operation code of the request, known or not.
    pub opcode: u8,
    /// Reason for the log.
    pub reason: &'static str,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request with operation {}: {}", self.opcode, self.reason)
    }
}

impl core::error::Error for Rejected {}

impl Request {
    /// Parses a packet that was copied out of the ring.
    ///
    /// # Errors
    /// [`Rejected`] for an unknown operation or format, more than 255 channels, and more bytes than ten pages hold.
    pub fn parse(packet: &[u8; PACKET_BYTES]) -> Result<Self, Rejected> {
        let opcode = u8_at::<0>(packet);
        let id = u64_at::<8>(packet);
        let rejected = |reason| Rejected { id, opcode, reason };
        let operation = match opcode {
            opcode::OPEN => {
                let format = u8::try_from(u32_at::<16>(packet)).ok().and_then(|code| Format::from_code(code).ok());
                let channels = u8::try_from(u32_at::<20>(packet));
                Operation::Open(OpenParams {
                    format: format.ok_or(rejected("unknown sample format"))?,
                    channels: channels.map_err(|_| rejected("more than 255 channels"))?,
                    rate_hz: u32_at::<24>(packet),
                })
            }
            opcode::CLOSE => Operation::Close,
            opcode::READ => Operation::Read(transfer(packet).ok_or(rejected("longer than ten pages"))?),
            opcode::WRITE => Operation::Write(transfer(packet).ok_or(rejected("longer than ten pages"))?),
            opcode::SET_VOLUME => Operation::SetVolume(Stereo {
                left: Level::from_wire(u32_at::<28>(packet)),
                right: Level::from_wire(u32_at::<32>(packet)),
            }),
            opcode::GET_VOLUME => Operation::GetVolume,
            _ => return Err(rejected("unknown operation")),
        };
        Ok(Self { id, operation })
    }

    /// Makes the packet for the ring; fields that the operation does not use are zero.
    #[must_use]
    pub fn emit(&self) -> [u8; PACKET_BYTES] {
        let mut packet = [0; PACKET_BYTES];
        put::<0, 1>(&mut packet, [self.operation.opcode()]);
        put::<8, 8>(&mut packet, self.id.to_le_bytes());
        match &self.operation {
            Operation::Open(open) => {
                put::<16, 4>(&mut packet, u32::from(open.format.code()).to_le_bytes());
                put::<20, 4>(&mut packet, u32::from(open.channels).to_le_bytes());
                put::<24, 4>(&mut packet, open.rate_hz.to_le_bytes());
            }
            Operation::Close | Operation::GetVolume => {}
            Operation::Read(transfer) | Operation::Write(transfer) => {
                put::<28, 4>(&mut packet, transfer.length.to_le_bytes());
                put_refs(&mut packet, &transfer.refs);
            }
            Operation::SetVolume(volume) => {
                put::<28, 4>(&mut packet, volume.left.to_wire().to_le_bytes());
                put::<32, 4>(&mut packet, volume.right.to_wire().to_le_bytes());
            }
        }
        packet
    }
}

/// Offset of the grant references.
const REFS: usize = 36;

fn transfer(packet: &[u8; PACKET_BYTES]) -> Option<Transfer> {
    let length = u32_at::<28>(packet);
    if length > TRANSFER_BYTES_MAX {
        return None;
    }
    let mut refs = [GrantRef(0); PAGES_MAX];
    let bytes = packet.split_at_checked(REFS).map_or(&[][..], |(_, refs)| refs);
    for (reference, bytes) in refs.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *reference = GrantRef(u32::from_le_bytes(*bytes));
    }
    Some(Transfer { length, refs })
}

fn put_refs(packet: &mut [u8; PACKET_BYTES], refs: &[GrantRef; PAGES_MAX]) {
    if let Some((_, bytes)) = packet.split_at_mut_checked(REFS) {
        for (bytes, reference) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(refs) {
            *bytes = reference.0.to_le_bytes();
        }
    }
}
