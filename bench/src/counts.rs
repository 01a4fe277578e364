//! Counters of the guest, which it reports to the measuring process.

use serde::{Deserialize, Serialize};

/// Counters of all streams together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) streams: u64,
    /// Frames that the host has played or captured.
    pub(crate) frames: u64,
    pub(crate) requests: u64,
    pub(crate) events: u64,
    pub(crate) xruns: u64,
    pub(crate) notifications_to_back: u64,
    /// Notifications for responses.
    pub(crate) ring_notifications_to_front: u64,
    /// Notifications for events.
    pub(crate) event_notifications_to_front: u64,
}

impl Counts {
    /// Counts since `earlier`; the number of streams stays.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            streams: self.streams,
            frames: self.frames - earlier.frames,
            requests: self.requests - earlier.requests,
            events: self.events - earlier.events,
            xruns: self.xruns - earlier.xruns,
            notifications_to_back: self.notifications_to_back - earlier.notifications_to_back,
            ring_notifications_to_front: self.ring_notifications_to_front - earlier.ring_notifications_to_front,
            event_notifications_to_front: self.event_notifications_to_front - earlier.event_notifications_to_front,
        }
    }

    /// Notifications from the host to the guest.
    pub(crate) fn notifications_to_front(&self) -> u64 {
        self.ring_notifications_to_front + self.event_notifications_to_front
    }
}
