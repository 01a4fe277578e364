//! A device of a host, as described by its kind of device.

use crate::DeviceSpec;

/// A device of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The device.
    pub device: DeviceSpec,
    /// Name for users.
    pub description: String,
    /// True if streams can play to the device.
    pub playback: bool,
    /// True if streams can capture from the device.
    pub capture: bool,
}
