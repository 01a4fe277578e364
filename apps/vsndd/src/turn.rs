//! Turn of the control thread at one stream.

use sndif::RingViolation;
use xen::Xen;

use crate::journal::Journal;
use crate::poller::Poller;

/// Requests handled in one turn before other streams get theirs (XSA-332), and bytes that are moved or mapped for them.
pub(crate) const REQUEST_BUDGET: u32 = 64;
const BYTE_BUDGET: u64 = 1 << 18;

/// Resources lent by the control thread to a stream for its turn.
pub(crate) struct Turn<'a> {
    pub(crate) now_ns: u64,
    pub(crate) xen: &'a Xen,
    pub(crate) poller: &'a Poller,
    /// Token under which the host device's descriptor reports.
    pub(crate) device_token: u64,
    pub(crate) journal: &'a mut Journal,
    /// Bytes that requests have cost so far.
    pub(crate) spent_bytes: u64,
    /// Buffer for samples that are scaled in software.
    pub(crate) scratch: &'a mut Vec<u8>,
}

impl Turn<'_> {
    /// Returns true if requests have cost so much that other streams are to have their turn.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent_bytes >= BYTE_BUDGET
    }
}

/// Work that is left after a turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing until the next event or `Stream::next_wake_ns`.
    Idle,
    /// Requests are waiting still.
    More,
    /// The guest broke the protocol; its device has to be closed.
    Broken(RingViolation),
}
