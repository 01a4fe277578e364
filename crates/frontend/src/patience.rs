//! Limit on useless messages of a backend.
//!
//! A backend that wakes the frontend without end would keep it busy for ever, in a kernel with a real-time thread.
//! Useless messages are therefore counted, and the count is reset when the backend makes progress: with an answer to a
//! request, or with a position that moves. Nothing here knows the time, so an honest backend without progress for hours
//! (telling a position that stands still, while a stream runs dry) breaks nothing: such a message only stops being a
//! reason to wake.

use sndif::v2::EVENT_SLOTS;

/// Number of useless messages of one kind that are accepted in a row.
pub const USELESS_MAX: u32 = 16 * EVENT_SLOTS;

/// Count of useless events and wake-ups since the stream last moved.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Patience {
    /// Events that were not believed.
    disbelieved: u32,
    /// Events that were believed and told nothing new.
    still: u32,
    /// Wake-ups that brought nothing.
    wakeups: u32,
}

impl Patience {
    pub(crate) const fn new() -> Self {
        Self { disbelieved: 0, still: 0, wakeups: 0 }
    }

    /// Resets the counts: the backend made progress.
    pub(crate) fn progress(&mut self) {
        *self = Self::new();
    }

    /// Counts a position that stands still. Returns true if that is still a reason to wake.
    pub(crate) fn stands_still(&mut self) -> bool {
        self.still = self.still.saturating_add(1);
        self.wakeups = 0;
        self.still <= USELESS_MAX
    }

    /// Counts an event that was not believed. Returns true if that was one too many.
    pub(crate) fn disbelief(&mut self) -> bool {
        self.disbelieved = self.disbelieved.saturating_add(1);
        // The wake-up that brought it is counted with it.
        self.wakeups = self.wakeups.saturating_sub(1);
        self.disbelieved > USELESS_MAX
    }

    /// Counts a wake-up, whose result is seen later. Returns true if too many were for nothing before.
    pub(crate) fn woken(&mut self) -> bool {
        let too_many = self.wakeups > USELESS_MAX;
        self.wakeups = self.wakeups.saturating_add(1);
        too_many
    }
}
