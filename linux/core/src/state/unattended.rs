// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Streams whose application sleeps by a clock of its own and wants no wake-ups: `SNDRV_PCM_INFO_NO_PERIOD_WAKEUP`.
//!
//! The backend writes each event, and notifies of few. The others are found when the application asks for the position.

use sndif::store::Direction;
use sndif::v2::EVENT_SLOTS;

use super::State;
use crate::guarded::{Requests, stop_after};
use crate::{Error, Platform, Signal};

/// Time between two notifications of a stream whose application wants no wake-ups: each corrects the estimate of the
/// position.
const UNATTENDED_NS: u64 = 300_000_000;

/// Events in the page at which such a stream is notified at the latest: the page does not become full.
const UNREAD_MAX: u32 = EVENT_SLOTS / 2;

impl<P: Platform> State<P> {
    /// Events after which a stream is notified whose application wants no wake-ups, and how long they take.
    fn unattended_events(&self) -> (u32, u64) {
        let Some(geometry) = self.buffer_geometry() else { return (0, 0) };
        let period_ns = u64::from(geometry.period_bytes()).saturating_mul(1_000_000_000);
        let period_ns = period_ns.checked_div(geometry.bytes_per_second()).unwrap_or(0).max(1);
        let events = UNATTENDED_NS.saturating_add(period_ns).saturating_sub(1).checked_div(period_ns).unwrap_or(0);
        // The rest of what was written is sent before more than three quarters of what the backend has are played.
        let filled = self.filled_periods();
        let most = if self.is_behind() { filled.saturating_sub(filled.div_ceil(4)) } else { UNREAD_MAX };
        let events = u32::try_from(events).unwrap_or(u32::MAX).min(UNREAD_MAX).min(most);
        (events, u64::from(events).saturating_mul(period_ns))
    }

    /// Returns true if the application has written more than the backend was told of: the ring was full, or what is
    /// free in the buffer was only estimated.
    fn is_behind(&self) -> bool {
        self.direction == Direction::Playback && self.handed_over() < self.run.accepted.bytes
    }

    /// Returns true if the device has played everything that it has.
    pub(super) fn has_run_dry(&self) -> bool {
        self.direction == Direction::Playback && self.device_position() >= self.handed_over()
    }

    /// Periods that the backend has and has not played.
    fn filled_periods(&self) -> u32 {
        let filled = self.transport.as_ref().map_or(0, |transport| transport.stream.filled_bytes());
        self.buffer_geometry().and_then(|geometry| filled.checked_div(geometry.period_bytes())).unwrap_or(0)
    }

    /// Returns true if the slots of events that are found are kept, so that the backend counts them as unread. Given
    /// back they put the next notification off, which with short periods would come too early.
    pub(super) fn keeps_slots(&self) -> bool {
        let passed_ns = P::Signal::now_ns().saturating_sub(self.notified_ns);
        passed_ns.saturating_add(self.unattended_events().1) >= UNATTENDED_NS
    }

    /// The application asks for the position: takes the answers that are there, and, for an application that wants no
    /// wake-ups, the events. Returns whether the run goes on: such an application may not hear otherwise of its end in
    /// time.
    pub(crate) fn look(&mut self) -> bool {
        let mut looked = self.collect_answers();
        if !self.unattended {
            // The next event reports a violation.
            return true;
        }
        if self.run.started {
            looked = looked.and_then(|_| self.look_at_events());
        }
        if let Some(stop) = stop_after(looked, &mut self.broken_told) {
            self.run.stop.get_or_insert(stop);
        }
        self.run.stop.take().is_none()
    }

    fn look_at_events(&mut self) -> Result<bool, Error> {
        self.looked |= self.take_events(false)?;
        match self.direction {
            Direction::Playback if self.is_behind() => self.push(true)?,
            Direction::Playback => {}
            Direction::Capture => self.pull()?,
        }
        self.publish();
        self.attend_events()?;
        Ok(self.looked)
    }

    /// Has the backend notify of each event, or of few where nobody waits for them.
    pub(super) fn attend_events(&mut self) -> Result<(), Error> {
        // The first event tells when the device began, or went on. A free run is handed over as events tell, and so are
        // READs that are not laid out.
        let steady = self.run.started && self.run.estimate.is_followed() && !self.run.draining && !self.run.free;
        let supplied = self.direction == Direction::Playback || self.stream()?.laid_out() > 0;
        let events = if self.unattended && steady && supplied { self.unattended_events().0 } else { 0 };
        if self.stream()?.hold_off_events(events) {
            // The backend may not notify of these.
            self.looked |= self.take_events(false)?;
        }
        Ok(())
    }
}
