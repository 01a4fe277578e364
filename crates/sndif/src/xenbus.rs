//! XenBus states (`xen/io/xenbus.h`), which each half shows to the other.

use core::fmt;

/// Value of the `state` node of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum XenbusState {
    /// No meaningful state: the node is missing or invalid.
    Unknown = 0,
    /// Nothing negotiated yet.
    Initialising = 1,
    /// The backend waits for the frontend's transport parameters.
    InitWait = 2,
    /// The frontend has published its transport parameters.
    Initialised = 3,
    /// The device is in use.
    Connected = 4,
    /// The device is about to close.
    Closing = 5,
    /// The device is closed.
    Closed = 6,
    /// The frontend is rid of a failed backend, but applications still hold the device.
    Reconfiguring = 7,
    /// The device exists again after reconfiguration.
    Reconfigured = 8,
}

impl XenbusState {
    /// Returns the state with this number; `Unknown` for any other.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Initialising,
            2 => Self::InitWait,
            3 => Self::Initialised,
            4 => Self::Connected,
            5 => Self::Closing,
            6 => Self::Closed,
            7 => Self::Reconfiguring,
            8 => Self::Reconfigured,
            _ => Self::Unknown,
        }
    }

    /// Returns the state in a node's value (one decimal digit); `Unknown` for anything else.
    #[must_use]
    pub const fn from_node(value: &[u8]) -> Self {
        match value {
            [digit @ b'0'..=b'9'] => Self::from_number(digit.wrapping_sub(b'0')),
            _ => Self::Unknown,
        }
    }

    /// Returns the value to write to the node.
    #[must_use]
    pub const fn node(self) -> &'static str {
        match self {
            Self::Unknown => "0",
            Self::Initialising => "1",
            Self::InitWait => "2",
            Self::Initialised => "3",
            Self::Connected => "4",
            Self::Closing => "5",
            Self::Closed => "6",
            Self::Reconfiguring => "7",
            Self::Reconfigured => "8",
        }
    }
}

impl fmt::Display for XenbusState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::XenbusState;

    #[test]
    fn node_values_lead_back_and_everything_else_is_unknown() {
        for number in 0..=8 {
            let state = XenbusState::from_number(number);
            assert_eq!(XenbusState::from_node(state.node().as_bytes()), state);
        }
        for value in [&b""[..], b"9", b"44", b"-1", b" 4", b"\xff"] {
            assert_eq!(XenbusState::from_node(value), XenbusState::Unknown);
        }
    }
}
