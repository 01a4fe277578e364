//! One device: its ring, and the requests in flight.
//!
//! The driver submits operations, [publishes](Stream::publish) them, and notifies the backend if that call says so.
//! When it is woken, it takes the [completions](Stream::next_completion), which come in the order of the requests.

use sndif::SharedMemory;
use sndif::v0::{FrontRing, Operation, RING_SLOTS, Request, Response, Stereo};

use crate::patience::Patience;
use crate::{SubmitError, Violation};

const PLACES: usize = RING_SLOTS as usize;

/// A request that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The request.
    pub operation: Operation,
    /// The value given at submission, for instance a time.
    pub tag: u64,
    /// True if the request succeeded; the protocol gives no reasons for failures.
    pub success: bool,
    /// The volume; only a successful GET_VOLUME brings one.
    pub volume: Option<Stereo>,
}

/// Counts since the stream was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Requests submitted.
    pub requests: u64,
    /// Responses taken.
    pub responses: u64,
    /// Responses that carried an error.
    pub errors: u64,
    /// Bytes whose READ or WRITE succeeded.
    pub moved_bytes: u64,
}

/// One device of protocol version 0.
#[derive(Debug)]
pub struct Stream<M> {
    ring: FrontRing<M>,
    id: u64,
    /// Requests in flight from `first` on, in the order of the ring.
    flight: [Option<(Operation, u64)>; PLACES],
    first: usize,
    /// Place of the next request.
    next: usize,
    open: bool,
    transfers: u32,
    violation: Option<Violation>,
    counters: Counters,
    patience: Patience,
}

impl<M: SharedMemory> Stream<M> {
    /// Makes a stream on a zeroed page that is not granted yet. `id` is the value of the backend's `stream_id`.
    pub fn new(ring_page: M, id: u32) -> Self {
        Self {
            ring: FrontRing::new(ring_page),
            id: id.into(),
            flight: [None; PLACES],
            first: 0,
            next: 0,
            open: false,
            transfers: 0,
            violation: None,
            counters: Counters::default(),
            patience: Patience::new(),
        }
    }

    /// Returns true if OPEN succeeded, and no CLOSE came since.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// Returns the number of requests without an answer.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.ring.in_flight()
    }

    /// Returns the number of READs and WRITEs without an answer.
    #[must_use]
    pub const fn transfers_in_flight(&self) -> u32 {
        self.transfers
    }

    /// Returns the counts so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns the backend's violation of the protocol, if there is one.
    #[must_use]
    pub const fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Puts a request into the ring; `tag` comes back with its completion.
    ///
    /// # Errors
    /// [`SubmitError::Full`], [`SubmitError::Broken`]; [`SubmitError::NotOpen`] for READ and WRITE,
    /// [`SubmitError::AlreadyOpen`].
    pub fn submit(&mut self, operation: Operation, tag: u64) -> Result<(), SubmitError> {
        if let Some(violation) = self.violation {
            return Err(SubmitError::Broken(violation));
        }
        match operation {
            Operation::Open(_) if self.open => return Err(SubmitError::AlreadyOpen),
            Operation::Read(_) | Operation::Write(_) if !self.open => return Err(SubmitError::NotOpen),
            _ => {}
        }
        let packet = Request { id: self.id, operation }.emit();
        self.ring.put(&packet).map_err(|_| SubmitError::Full)?;
        if let Some(place) = self.flight.get_mut(self.next) {
            *place = Some((operation, tag));
        }
        self.next = following(self.next);
        self.transfers = self.transfers.saturating_add(is_transfer(&operation).into());
        self.counters.requests = self.counters.requests.saturating_add(1);
        Ok(())
    }

    /// Shows the submitted requests to the backend; returns true if it has to be notified.
    #[must_use = "the backend sleeps until it is notified"]
    pub fn publish(&mut self) -> bool {
        self.ring.publish()
    }

    /// Asks for a notification once `answers` more have come; returns true if one is there already.
    #[must_use = "an answer that came before raises no notification"]
    pub fn arm(&mut self, answers: u32) -> bool {
        self.ring.arm(answers)
    }

    /// Takes the next answer.
    ///
    /// # Errors
    /// [`Violation`], for good: an impossible index, or an answer to another request than the oldest.
    pub fn next_completion(&mut self) -> Result<Option<Completion>, Violation> {
        if let Some(violation) = self.violation {
            return Err(violation);
        }
        let slot = match self.ring.take() {
            Ok(Some(slot)) => slot,
            Ok(None) => return Ok(None),
            Err(violation) => return Err(self.broken(Violation::Ring(violation))),
        };
        let response = match Response::parse(&slot) {
            Ok(response) => response,
            Err(bad) => return Err(self.broken(Violation::BadOperation(bad.opcode))),
        };
        let Some((operation, tag)) = self.flight.get_mut(self.first).and_then(Option::take) else {
            // The ring gives no more answers than requests were published.
            return Err(self.broken(Violation::OutOfOrder { asked: None, answered: response.opcode }));
        };
        self.first = following(self.first);
        self.patience.progress();
        let asked = operation.opcode();
        if response.opcode != asked || response.id != self.id {
            return Err(self.broken(Violation::OutOfOrder { asked: Some(asked), answered: response.opcode }));
        }
        self.transfers = self.transfers.saturating_sub(is_transfer(&operation).into());
        self.counters.responses = self.counters.responses.saturating_add(1);
        self.counters.errors = self.counters.errors.saturating_add(u64::from(!response.success));
        if response.success {
            match operation {
                Operation::Open(_) => self.open = true,
                Operation::Read(transfer) | Operation::Write(transfer) => {
                    self.counters.moved_bytes = self.counters.moved_bytes.saturating_add(u64::from(transfer.length()));
                }
                _ => {}
            }
        }
        // A backend gets no more frames, whatever it answers to CLOSE.
        self.open &= operation != Operation::Close;
        Ok(Some(Completion { operation, tag, success: response.success, volume: response.volume }))
    }

    /// Notes a notification of the backend. The driver calls this function before it takes completions, which show if
    /// there was a reason.
    ///
    /// # Errors
    /// [`Violation::EmptyWakeups`] after too many notifications in a row without a reason; the violation that broke the
    /// stream before.
    pub fn woken(&mut self) -> Result<(), Violation> {
        match self.violation {
            Some(violation) => Err(violation),
            None if self.patience.woken() => Err(self.broken(Violation::EmptyWakeups)),
            None => Ok(()),
        }
    }

    fn broken(&mut self, violation: Violation) -> Violation {
        self.violation = Some(violation);
        violation
    }
}

fn is_transfer(operation: &Operation) -> bool {
    matches!(operation, Operation::Read(_) | Operation::Write(_))
}

fn following(place: usize) -> usize {
    place.wrapping_add(1) % PLACES
}

#[cfg(test)]
mod tests {
    use sndif::test_utils::Pages;
    use sndif::v0::{BackRing, OpenParams, Transfer};
    use sndif::{Format, GrantRef};

    use super::*;
    use crate::USELESS_MAX;

    const OPEN: Operation = Operation::Open(OpenParams { format: Format::S16Le, channels: 2, rate_hz: 48_000 });

    fn write(length: u32) -> Operation {
        Operation::Write(Transfer::new(length, &[GrantRef(9)]).unwrap())
    }

    struct Pair {
        front: Stream<Pages>,
        back: BackRing<Pages>,
    }

    fn pair() -> Pair {
        let page = Pages::new(1);
        Pair { front: Stream::new(page.clone(), 7), back: BackRing::new(page) }
    }

    impl Pair {
        fn answer(&mut self, change: impl FnOnce(&mut Response)) {
            let _ = self.front.publish();
            let request = Request::parse(&self.back.take().unwrap().unwrap()).unwrap();
            assert_eq!(request.id, 7);
            let mut response =
                Response { id: request.id, opcode: request.operation.opcode(), success: true, volume: None };
            change(&mut response);
            assert!(self.back.respond(&response.emit()));
            let _ = self.back.publish();
        }

        fn open(&mut self) {
            self.front.submit(OPEN, 0).unwrap();
            self.answer(|_| {});
            assert!(self.front.next_completion().unwrap().unwrap().success);
        }
    }

    #[test]
    fn answers_complete_requests_in_their_order() {
        let mut pair = pair();
        assert_eq!(pair.front.submit(write(8), 0), Err(SubmitError::NotOpen));
        pair.open();
        assert_eq!(pair.front.submit(OPEN, 0), Err(SubmitError::AlreadyOpen));
        for tag in 0..40 {
            pair.front.submit(write(8), tag).unwrap();
            pair.front.submit(Operation::GetVolume, tag).unwrap();
            assert_eq!(pair.front.transfers_in_flight(), 1);
            pair.answer(|_| {});
            pair.answer(|response| response.volume = Some(Stereo::FULL));
            let first = pair.front.next_completion().unwrap().unwrap();
            assert_eq!((first.operation, first.tag), (write(8), tag));
            assert_eq!(pair.front.next_completion().unwrap().unwrap().volume, Some(Stereo::FULL));
        }
        assert_eq!(pair.front.counters().moved_bytes, 320);
        pair.front.submit(Operation::Close, 0).unwrap();
        pair.answer(|response| response.success = false);
        pair.front.next_completion().unwrap();
        assert!(!pair.front.is_open());
    }

    #[test]
    fn ring_overflow_a_v0_response_index_past_the_requests_is_latched() {
        let page = Pages::new(1);
        let mut front = Stream::new(page.clone(), 7);
        front.submit(OPEN, 0).unwrap();
        let _ = front.publish();
        page.store_release(8, 2);
        let violation = front.next_completion().unwrap_err();
        assert!(matches!(violation, Violation::Ring(_)));
        page.store_release(8, 1);
        assert_eq!(front.next_completion(), Err(violation));
        assert_eq!(front.submit(Operation::Close, 0), Err(SubmitError::Broken(violation)));
    }

    #[test]
    fn cve_2026_72380_an_answer_to_something_else_breaks_the_stream_for_good() {
        for change in [
            (|response: &mut Response| response.opcode = 1) as fn(&mut Response),
            |response| response.id = 8,
            |response| response.opcode = 200,
        ] {
            let mut pair = pair();
            pair.open();
            pair.front.submit(write(8), 0).unwrap();
            pair.answer(change);
            let violation = pair.front.next_completion().unwrap_err();
            assert_eq!(pair.front.next_completion(), Err(violation));
            assert_eq!(pair.front.submit(write(8), 0), Err(SubmitError::Broken(violation)));
        }
    }

    #[test]
    fn a_full_ring_takes_no_more() {
        let mut pair = pair();
        pair.open();
        for _ in 0..RING_SLOTS {
            pair.front.submit(write(8), 0).unwrap();
        }
        assert_eq!(pair.front.submit(write(8), 0), Err(SubmitError::Full));
        assert_eq!(pair.front.transfers_in_flight(), RING_SLOTS);
    }

    #[test]
    fn xsa_331_332_391_notifications_for_nothing_break_the_stream_unless_an_answer_comes() {
        let mut pair = pair();
        assert_eq!((0..USELESS_MAX).try_for_each(|_| pair.front.woken()), Ok(()));
        pair.open();
        assert_eq!((0..=USELESS_MAX).try_for_each(|_| pair.front.woken()), Ok(()));
        assert_eq!(pair.front.woken(), Err(Violation::EmptyWakeups));
        assert_eq!(pair.front.next_completion(), Err(Violation::EmptyWakeups));
    }
}
