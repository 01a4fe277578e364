//! Bounds of the process that serves a guest.

use serde::Deserialize;

use super::value;

/// Bounds of the process that serves a guest; what holds when it is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Worker {
    /// Memory of its own in bytes, what it shares with guests and sound servers aside.
    #[serde(deserialize_with = "value::memory_bytes")]
    pub memory_bytes_max: Option<u64>,
    /// Files, sockets and event channels that it has open.
    #[serde(deserialize_with = "value::descriptors")]
    pub descriptors_max: Option<u64>,
}

impl Worker {
    /// The configured bound, or the default.
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max.unwrap_or(1 << 30)
    }

    /// The configured bound, or the default.
    pub(crate) fn descriptors_max(&self) -> u64 {
        self.descriptors_max.unwrap_or(4096)
    }
}
