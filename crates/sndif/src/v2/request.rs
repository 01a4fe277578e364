//! Requests: what a frontend asks of a stream.

use core::fmt;

use super::{HwParams, PACKET_BYTES};
use crate::bytes::{Packet, put, u8_at, u16_at, u32_at, u64_at};
use crate::{Errno, Format, GrantRef};

/// Operation codes, `XENSND_OP_*`; `READ_AHEAD` is an extension of this project.
#[expect(missing_docs, reason = "the constants are the header's own names")]
pub mod opcode {
    pub const OPEN: u8 = 0;
    pub const CLOSE: u8 = 1;
    pub const READ: u8 = 2;
    pub const WRITE: u8 = 3;
    pub const SET_VOLUME: u8 = 4;
    pub const GET_VOLUME: u8 = 5;
    pub const MUTE: u8 = 6;
    pub const UNMUTE: u8 = 7;
    pub const TRIGGER: u8 = 8;
    pub const HW_PARAM_QUERY: u8 = 9;
    pub const READ_AHEAD: u8 = 10;
}

/// A range of the stream's shared buffer, in bytes. Not checked against any buffer yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub offset: u32,
    /// Number of bytes.
    pub length: u32,
}

/// Parameters of OPEN (`struct xensnd_open_req`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenParams {
    /// Frames per second.
    pub rate_hz: u32,
    /// Sample format.
    pub format: Format,
    /// Samples per frame.
    pub channels: u8,
    /// Size of the shared buffer in bytes; not necessarily whole pages or whole periods.
    pub buffer_bytes: u32,
    /// First page of the page directory.
    pub directory: GrantRef,
    /// Bytes between two position events; 0 = no events.
    pub period_bytes: u32,
}

/// Change of the running state (`XENSND_OP_TRIGGER_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Trigger {
    /// Play or capture from now on.
    Start = 0,
    /// Hold; the buffer stays as it is.
    Pause = 1,
    /// End of this run.
    Stop = 2,
    /// Go on after a pause.
    Resume = 3,
}

/// An operation with its operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opens the stream.
    Open(OpenParams),
    /// Closes it.
    Close,
    /// Asks for captured bytes to be put into the buffer.
    Read(Span),
    /// Says that bytes in the buffer are to be played.
    Write(Span),
    /// Sets the volume: one i32 per channel in the buffer, 0.001 dB.
    SetVolume(Span),
    /// Asks for the volume, the same way.
    GetVolume(Span),
    /// Mutes the channels whose flag in the buffer is not zero.
    Mute(Span),
    /// Unmutes them.
    Unmute(Span),
    /// Starts, stops, pauses, resumes.
    Trigger(Trigger),
    /// Asks what is possible within these limits.
    QueryHwParams(HwParams),
    /// Asks for bytes to be put into the buffer once they are captured.
    ReadAhead {
        /// Place in the buffer that they are put into.
        span: Span,
        /// Position at the end of them, as events tell it.
        until_bytes: u64,
    },
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The frontend's own number, echoed in the response.
    pub id: u16,
    /// The operation that is asked for.
    pub operation: Operation,
}

/// A request that cannot be understood, with all that is needed to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Id of the request.
    pub id: u16,
    /// Operation code of the request, known or not.
    pub opcode: u8,
    /// Error to answer.
    pub errno: Errno,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {} with operation {} is not valid ({})", self.id, self.opcode, self.errno)
    }
}

impl core::error::Error for Rejected {}

impl Operation {
    /// The code on the wire.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        match self {
            Self::Open(_) => opcode::OPEN,
            Self::Close => opcode::CLOSE,
            Self::Read(_) => opcode::READ,
            Self::Write(_) => opcode::WRITE,
            Self::SetVolume(_) => opcode::SET_VOLUME,
            Self::GetVolume(_) => opcode::GET_VOLUME,
            Self::Mute(_) => opcode::MUTE,
            Self::Unmute(_) => opcode::UNMUTE,
            Self::Trigger(_) => opcode::TRIGGER,
            Self::QueryHwParams(_) => opcode::HW_PARAM_QUERY,
            Self::ReadAhead { .. } => opcode::READ_AHEAD,
        }
    }
}

impl Request {
    /// Understands a packet that was copied out of the ring.
    ///
    /// # Errors
    /// [`Rejected`] for an unknown operation (`EOPNOTSUPP`), format or trigger type (`EINVAL`).
    pub fn parse(packet: &[u8; PACKET_BYTES]) -> Result<Self, Rejected> {
        let id = u16_at::<0>(packet);
        let opcode = u8_at::<2>(packet);
        let rejected = |errno| Rejected { id, opcode, errno };
        let span = || Span { offset: u32_at::<8>(packet), length: u32_at::<12>(packet) };
        let operation = match opcode {
            opcode::OPEN => Operation::Open(OpenParams {
                rate_hz: u32_at::<8>(packet),
                format: Format::from_code(u8_at::<12>(packet)).map_err(|_| rejected(Errno::EINVAL))?,
                channels: u8_at::<13>(packet),
                buffer_bytes: u32_at::<16>(packet),
                directory: GrantRef(u32_at::<20>(packet)),
                period_bytes: u32_at::<24>(packet),
            }),
            opcode::CLOSE => Operation::Close,
            opcode::READ => Operation::Read(span()),
            opcode::WRITE => Operation::Write(span()),
            opcode::SET_VOLUME => Operation::SetVolume(span()),
            opcode::GET_VOLUME => Operation::GetVolume(span()),
            opcode::MUTE => Operation::Mute(span()),
            opcode::UNMUTE => Operation::Unmute(span()),
            opcode::TRIGGER => Operation::Trigger(match u8_at::<8>(packet) {
                0 => Trigger::Start,
                1 => Trigger::Pause,
                2 => Trigger::Stop,
                3 => Trigger::Resume,
                _ => return Err(rejected(Errno::EINVAL)),
            }),
            opcode::HW_PARAM_QUERY => Operation::QueryHwParams(HwParams::parse(packet)),
            opcode::READ_AHEAD => Operation::ReadAhead { span: span(), until_bytes: u64_at::<16>(packet) },
            _ => return Err(rejected(Errno::EOPNOTSUPP)),
        };
        Ok(Self { id, operation })
    }

    /// The packet for the ring; reserved bytes are zero.
    #[must_use]
    pub fn emit(&self) -> [u8; PACKET_BYTES] {
        let mut packet: Packet = [0; PACKET_BYTES];
        put::<0, 2>(&mut packet, self.id.to_le_bytes());
        put::<2, 1>(&mut packet, [self.operation.opcode()]);
        match &self.operation {
            Operation::Open(open) => {
                put::<8, 4>(&mut packet, open.rate_hz.to_le_bytes());
                put::<12, 1>(&mut packet, [open.format.code()]);
                put::<13, 1>(&mut packet, [open.channels]);
                put::<16, 4>(&mut packet, open.buffer_bytes.to_le_bytes());
                put::<20, 4>(&mut packet, open.directory.0.to_le_bytes());
                put::<24, 4>(&mut packet, open.period_bytes.to_le_bytes());
            }
            Operation::Close => {}
            Operation::Read(span)
            | Operation::Write(span)
            | Operation::SetVolume(span)
            | Operation::GetVolume(span)
            | Operation::Mute(span)
            | Operation::Unmute(span) => {
                put::<8, 4>(&mut packet, span.offset.to_le_bytes());
                put::<12, 4>(&mut packet, span.length.to_le_bytes());
            }
            Operation::Trigger(trigger) => put::<8, 1>(&mut packet, [*trigger as u8]),
            Operation::QueryHwParams(params) => params.emit(&mut packet),
            Operation::ReadAhead { span, until_bytes } => {
                put::<8, 4>(&mut packet, span.offset.to_le_bytes());
                put::<12, 4>(&mut packet, span.length.to_le_bytes());
                put::<16, 8>(&mut packet, until_bytes.to_le_bytes());
            }
        }
        packet
    }
}
