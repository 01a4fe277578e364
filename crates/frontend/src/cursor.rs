//! Position of a stream: bytes that were written and played (or captured and read).
//!
//! The backend reports bytes since OPEN, which never rewind. A *run* lasts from OPEN or STOP to the next STOP; it starts
//! at offset 0 of the ring. So all arithmetic counts from the start of the run, and only [`Origin`] knows at which
//! reported position that was: at STOP a backend rounds its position up to a whole number of rings, and may or may not
//! tell; or it begins a new count.

use sndif::store::Direction;
use sndif::v2::{READ_AHEAD_BYTES_MAX, Span};

use crate::Geometry;

/// A tenth of a second is what a device may run past the end before anybody notices: 11 ms were seen of another backend.
const OVERSHOOTS_PER_SECOND: u64 = 10;

/// The reported position at which the present run started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Known(u64),
    /// STOP was answered, and the backend has not told its position since then. It is a multiple of the ring size from
    /// `first` to `last`; or just where it stopped, `reported`, if the backend does not round.
    Between {
        reported: u64,
        first: u64,
        last: u64,
    },
}

/// Reason for which a reported position was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disbelief {
    /// The position lies before the one reported last.
    Rewinds,
    /// The position lies behind all that was written.
    Beyond,
}

/// Changes that a believed position makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Moved {
    /// Bytes newly played or captured.
    pub bytes: u64,
    /// Captured bytes that were overwritten before anybody read them.
    pub lost_bytes: u64,
}

/// Counters of one opened stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    direction: Direction,
    ring: u32,
    frame: u32,
    period: u32,
    /// By how much a device may have run past the end of what was written when it is told of.
    overshoot: u64,
    origin: Origin,
    /// The last position that was believed, as reported.
    reported: u64,
    /// Bytes of this run that the device has played or captured.
    device: u64,
    /// Bytes of this run that we have written or read; the place of the next WRITE or READ.
    ours: u64,
    /// The furthest that `ours` has been: a position up to here may be true even after a rewind.
    high: u64,
    /// Up to where READs that were laid out have been answered: bytes of this run.
    answered: u64,
    /// Bytes played or captured in the runs before.
    earlier: u64,
    stopping: bool,
    /// Since STOP was sent, a position was reported that is a whole number of rings.
    rounded: bool,
    /// A position was reported in the present run.
    heard: bool,
    /// The present run starts where the count is known to be.
    origin_known: bool,
}

impl Cursor {
    pub(crate) fn new(direction: Direction, geometry: &Geometry) -> Self {
        Self {
            direction,
            ring: geometry.ring_bytes(),
            frame: geometry.frame_bytes(),
            period: geometry.period_bytes(),
            overshoot: overshoot(geometry),
            origin: Origin::Known(0),
            reported: 0,
            device: 0,
            ours: 0,
            high: 0,
            answered: 0,
            earlier: 0,
            stopping: false,
            rounded: false,
            heard: false,
            origin_known: true,
        }
    }

    /// Returns true if it is known where the run starts: from OPEN on, and after a STOP at which the backend told it.
    /// Without that, the next position may count on, or from 0, or from anything.
    pub(crate) fn is_origin_known(&self) -> bool {
        self.origin_known
    }

    /// Bytes played or captured since OPEN, without the roundings at STOP.
    pub(crate) fn total(&self) -> u64 {
        self.earlier.saturating_add(self.device)
    }

    /// Bytes played or captured since the start of this run.
    pub(crate) fn device(&self) -> u64 {
        self.device
    }

    /// Bytes written or read since the start of this run.
    pub(crate) fn ours(&self) -> u64 {
        self.ours
    }

    /// Bytes written and not yet played, or captured and not yet read; at most a ring.
    pub(crate) fn filled(&self) -> u32 {
        let filled = match self.direction {
            Direction::Playback => self.ours.saturating_sub(self.device),
            Direction::Capture => self.device.saturating_sub(self.ours),
        };
        u32::try_from(filled).unwrap_or(u32::MAX).min(self.ring)
    }

    /// Bytes that a WRITE may carry, or a READ ask for.
    pub(crate) fn available(&self) -> u32 {
        match self.direction {
            Direction::Playback => self.ring.saturating_sub(self.filled()),
            Direction::Capture => self.filled(),
        }
    }

    /// The next WRITE or READ of at most `max_bytes`: whole frames that lie in one piece; `None` if there are none.
    pub(crate) fn next_span(&self, max_bytes: u32) -> Option<Span> {
        let offset = self.offset(self.ours);
        let room = max_bytes.min(self.available()).min(self.ring.saturating_sub(offset));
        let length = room.saturating_sub(room.checked_rem(self.frame)?);
        (length > 0).then_some(Span { offset, length })
    }

    /// The position at which the run started, once that is settled.
    fn start(&self) -> Option<u64> {
        match self.origin {
            Origin::Known(origin) => Some(origin),
            Origin::Between { first, last, .. } => (first == last && self.origin_known).then_some(first),
        }
    }

    /// Up to where the device is known to have come with a whole period: an event told of it. Bytes of this run.
    fn told_periods(&self, start: u64) -> u64 {
        let position = start.saturating_add(self.device);
        let into_period = position.checked_rem(self.period.into()).unwrap_or(0);
        position.saturating_sub(into_period).saturating_sub(start)
    }

    /// Returns true if [`next_ahead`](Self::next_ahead) is to be used: READs may be laid out before the bytes are
    /// captured.
    pub(crate) fn may_lay_out(&self) -> bool {
        self.direction == Direction::Capture && !self.stopping && self.start().is_some()
    }

    /// The next READ to be laid out, at most `max_bytes`, and the position at its end: up to the end of a period, of which an event
    /// tells; `None` when a ring's worth is laid out.
    pub(crate) fn next_ahead(&self, max_bytes: u32) -> Option<(Span, u64)> {
        let start = self.start().filter(|_| self.may_lay_out())?;
        let told = self.told_periods(start);
        let here = start.saturating_add(self.ours);
        let into_period = here.checked_rem(self.period.into())?;
        let period_end = here.saturating_sub(into_period).saturating_add(self.period.into()).saturating_sub(start);
        let end = if told > self.ours { told } else { period_end };
        let offset = self.offset(self.ours);
        let wanted = u32::try_from(end.saturating_sub(self.ours)).unwrap_or(u32::MAX);
        let wanted = wanted.min(self.ring.saturating_sub(offset)).min(READ_AHEAD_BYTES_MAX);
        // A part only of what is there already: the next period is asked for at once.
        let room = wanted.min(max_bytes);
        let length = room.saturating_sub(room.checked_rem(self.frame)?);
        let whole = told > self.ours || room == wanted;
        let until = self.ours.saturating_add(length.into());
        let in_ring = until <= self.device.saturating_add(self.ring.into());
        (length > 0 && whole && in_ring).then_some((Span { offset, length }, start.saturating_add(until)))
    }

    /// Notes a READ that was laid out.
    pub(crate) fn laid_out(&mut self, span: Span) {
        let until = self.ours.saturating_add(span.length.into());
        if span.offset == self.offset(self.ours) && until <= self.device.saturating_add(self.ring.into()) {
            self.ours = until;
        }
    }

    /// Notes that such a READ was answered.
    pub(crate) fn laid_out_answered(&mut self, span: Span) {
        self.answered = self.answered.saturating_add(span.length.into()).min(self.ours);
    }

    /// Bytes of them that are not answered though they could be.
    pub(crate) fn overdue(&self) -> u32 {
        let due = self.start().map_or(0, |start| self.ours.min(self.told_periods(start)));
        u32::try_from(due.saturating_sub(self.answered)).unwrap_or(u32::MAX)
    }

    /// Bytes that were asked for before they were captured.
    pub(crate) fn ahead(&self) -> u32 {
        u32::try_from(self.ours.saturating_sub(self.device)).unwrap_or(u32::MAX)
    }

    /// Returns true if the bytes that end at the reported position `until` are captured.
    pub(crate) fn is_captured(&self, until: u64) -> bool {
        self.start().is_some_and(|start| until <= start.saturating_add(self.device))
    }

    /// Notes a WRITE or READ of `span`. At the frontier it appends; a WRITE elsewhere moves the frontier to its end, as it
    /// does in the backend.
    pub(crate) fn submitted(&mut self, span: Span) {
        let length = u64::from(span.length);
        if span.offset == self.offset(self.ours) && span.length <= self.available() {
            self.ours = self.ours.saturating_add(length);
        } else if self.direction == Direction::Playback {
            let here = self.offset(self.device);
            let ahead = if span.offset >= here {
                span.offset.saturating_sub(here)
            } else {
                span.offset.saturating_add(self.ring).saturating_sub(here)
            };
            self.ours = self.device.saturating_add(u64::from(ahead)).saturating_add(length);
        }
        if self.direction == Direction::Capture {
            // A READ that waits for nothing: nobody lays out before it.
            self.answered = self.ours;
        }
        self.high = self.high.max(self.ours);
    }

    /// STOP was sent: the run takes no more data, and the position may be rounded up.
    pub(crate) fn stop(&mut self) {
        (self.stopping, self.rounded) = (true, false);
    }

    /// STOP was answered: the next run begins, at offset 0.
    pub(crate) fn stopped(&mut self) {
        self.origin_known = self.rounded || self.origin_known && !self.heard;
        self.heard = false;
        let first = self.round_up(self.reported).unwrap_or(u64::MAX);
        let last = match self.direction {
            Direction::Playback => self.stop_limit(),
            Direction::Capture => u64::MAX,
        };
        // The last report may have been one frame ahead if the data ended with the ring.
        let reported = self.reported.saturating_sub(self.frame.into());
        let reported = if self.offset(reported) == 0 { reported } else { self.reported };
        let last = if self.rounded { first } else { last.max(first) };
        self.origin = Origin::Between { reported, first, last };
        self.earlier = self.total();
        (self.device, self.ours, self.high, self.answered) = (0, 0, 0, 0);
        self.stopping = false;
    }

    /// Judges a reported position and moves there if it can be true.
    pub(crate) fn report(&mut self, position: u64) -> Result<Moved, Disbelief> {
        let judged = self.judge(position);
        if judged.is_ok() {
            self.heard = true;
            self.rounded = self.stopping && self.offset(position) == 0;
        }
        judged
    }

    fn judge(&mut self, position: u64) -> Result<Moved, Disbelief> {
        if position < self.reported && !self.may_start_again() {
            return Err(Disbelief::Rewinds);
        }
        if self.stopping && self.direction == Direction::Capture {
            self.reported = position;
            return Ok(Moved::default());
        }
        let Some(origin) = self.origin_for(position) else {
            if let Some(origin) = self.origin_if_past_end(position) {
                let moved = self.move_to(self.high);
                (self.origin, self.reported) = (Origin::Known(origin), position);
                return Ok(moved);
            }
            if self.stopping && position <= self.stop_limit() {
                let moved = self.move_to(self.high);
                self.reported = position;
                return Ok(moved);
            }
            return Err(Disbelief::Beyond);
        };
        self.origin = Origin::Known(origin);
        self.reported = position;
        let device = position.saturating_sub(origin);
        Ok(match self.direction {
            Direction::Playback => self.move_to(device.min(self.high)),
            Direction::Capture => self.move_to(device),
        })
    }

    /// `position` tells, for the first time or once more, that all that was written is played: a backend goes past the end of the
    /// period where the end itself would not wake the Linux frontend, and another one's device runs on until it notices.
    /// Returns where the run started then, if that is known.
    fn origin_if_past_end(&self, position: u64) -> Option<u64> {
        let (origin, end) = match self.origin {
            Origin::Known(origin) => (origin, origin),
            Origin::Between { first, last, .. } => {
                (Some(first).filter(|first| *first == last)?, first.saturating_add(self.high))
            }
        };
        let most = origin.saturating_add(self.reach()).saturating_add(self.overshoot);
        (self.direction == Direction::Playback && end <= position && position <= most).then_some(origin)
    }

    /// Nothing was reported since STOP was answered: the next position may be the first of a new count.
    fn may_start_again(&self) -> bool {
        matches!(self.origin, Origin::Between { .. }) && !self.stopping
    }

    fn move_to(&mut self, device: u64) -> Moved {
        let bytes = device.saturating_sub(self.device);
        self.device = self.device.max(device);
        let lost_bytes = match self.direction {
            Direction::Playback => 0,
            Direction::Capture => self.device.saturating_sub(self.ours).saturating_sub(u64::from(self.ring)),
        };
        self.ours = self.ours.saturating_add(lost_bytes);
        self.answered = self.answered.saturating_add(lost_bytes);
        Moved { bytes, lost_bytes }
    }

    /// Distance by which a position may lie behind the start of the run: the bytes written, and the one frame by which
    /// a backend reports the end of the data (the Linux frontend needs it to wake up).
    fn reach(&self) -> u64 {
        match self.direction {
            Direction::Playback => self.high.saturating_add(u64::from(self.frame)),
            Direction::Capture => u64::MAX,
        }
    }

    /// Returns the position at which the run started if `position` is true; `None` if it cannot be true.
    fn origin_for(&self, position: u64) -> Option<u64> {
        let fits = |origin: &u64| *origin <= position && position.saturating_sub(*origin) <= self.reach();
        match self.origin {
            Origin::Known(origin) => Some(origin).filter(fits),
            // A new count, of which no more is known than that it began at or behind 0.
            Origin::Between { .. } if position < self.reported => Some(0).filter(fits),
            Origin::Between { reported, first, .. } if position < first => Some(reported).filter(fits),
            Origin::Between { first, last, .. } => {
                let earliest = match self.direction {
                    Direction::Playback => self.round_up(position.saturating_sub(self.reach()))?,
                    Direction::Capture => {
                        position.saturating_sub(position.checked_rem(u64::from(self.ring))?).min(last)
                    }
                };
                Some(earliest.max(first)).filter(|origin| *origin <= last).filter(fits)
            }
        }
    }

    /// The furthest position that may be reported while STOP is in flight.
    fn stop_limit(&self) -> u64 {
        let origin = match self.origin {
            Origin::Known(origin) => origin,
            Origin::Between { last, .. } => last,
        };
        self.round_up(origin.saturating_add(self.reach())).unwrap_or(u64::MAX)
    }

    fn round_up(&self, position: u64) -> Option<u64> {
        position.checked_next_multiple_of(u64::from(self.ring))
    }

    fn offset(&self, bytes: u64) -> u32 {
        bytes.checked_rem(u64::from(self.ring)).and_then(|offset| u32::try_from(offset).ok()).unwrap_or(0)
    }
}

/// A period, since a backend may look once in that time, or as long as a host may be kept from looking.
fn overshoot(geometry: &Geometry) -> u64 {
    let kept_from = geometry.bytes_per_second().checked_div(OVERSHOOTS_PER_SECOND).unwrap_or(0);
    kept_from.max(geometry.period_bytes().into())
}

#[cfg(test)]
mod tests;
