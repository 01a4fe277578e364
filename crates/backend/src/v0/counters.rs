//! Counts of a stream's activity.

/// Counts of a stream's activity since it was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests answered.
    pub requests: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Times that a playing stream ran dry and went on later, or captured frames were lost.
    pub xruns: u64,
    /// Frames played or captured.
    pub frames: u64,
}
