//! Bounds and priority of the process that serves a guest.

use serde::Deserialize;

use crate::value;

/// Bounds and priority of the process that serves a guest; they take effect when the process is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Worker {
    /// Memory in bytes, without what is shared with guests and sound servers.
    #[serde(deserialize_with = "value::memory_bytes")]
    pub memory_bytes_max: Option<u64>,
    /// Files, sockets and event channels that are open.
    #[serde(deserialize_with = "value::descriptors")]
    pub descriptors_max: Option<u64>,
    /// Threads, if the worker has a control group.
    #[serde(deserialize_with = "value::threads")]
    pub threads_max: Option<u64>,
    /// Processor time in percent of one processor, if the worker has a control group.
    #[serde(deserialize_with = "value::processor_percent")]
    pub processor_percent_max: Option<u64>,
    /// Nice value of the worker.
    #[serde(deserialize_with = "value::nice")]
    pub nice: Option<i32>,
    /// Priority of the worker among real-time processes (SCHED_RR); `None` for an ordinary process.
    #[serde(deserialize_with = "value::realtime_priority")]
    pub realtime_priority: Option<u8>,
}

impl Worker {
    /// The configured bound, or the default.
    #[must_use]
    pub fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max.unwrap_or(1 << 30)
    }

    /// The configured bound, or the default.
    #[must_use]
    pub fn threads_max(&self) -> u64 {
        self.threads_max.unwrap_or(1024)
    }

    /// The configured bound, or the default.
    #[must_use]
    pub fn processor_percent_max(&self) -> u64 {
        self.processor_percent_max.unwrap_or(100)
    }

    /// The configured nice value, or the default.
    #[must_use]
    pub fn nice(&self) -> i32 {
        self.nice.unwrap_or(-11)
    }

    /// The configured bound, or the default.
    #[must_use]
    pub fn descriptors_max(&self) -> u64 {
        self.descriptors_max.unwrap_or(4096)
    }
}
