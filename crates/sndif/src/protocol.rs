//! Generations of the protocol, and types that all of them share.

use core::fmt;
use core::str::FromStr;

/// A generation of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// The protocol of the 2015 driver: [`v0`](crate::v0).
    V0,
    /// The protocol of Xen's header: [`v2`](crate::v2).
    #[default]
    V2,
}

/// A text that names no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownProtocol;

impl fmt::Display for UnknownProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a version of the protocol: `v0` or `v2`")
    }
}

impl core::error::Error for UnknownProtocol {}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        match text {
            "v0" => Ok(Self::V0),
            "v2" => Ok(Self::V2),
            _ => Err(UnknownProtocol),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V0 => "v0",
            Self::V2 => "v2",
        })
    }
}

/// A response with an operation code that the protocol does not define.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadResponse {
    /// The code.
    pub opcode: u8,
}

impl fmt::Display for BadResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "response to operation {}, which does not exist", self.opcode)
    }
}

impl core::error::Error for BadResponse {}
