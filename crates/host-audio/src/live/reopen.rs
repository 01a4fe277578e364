//! Has a device opened by a thread of its own: opening may wait, and the guest's time must not.

use super::Opened;
use super::link::Link;
use crate::{Error, WhenAbsent};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The first pause between two attempts, and the longest: each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

type Outcome<D> = Result<Opened<D>, Error>;

struct Shared<D: ?Sized> {
    open: Box<dyn Fn() -> Outcome<D> + Send + Sync>,
    outcome: Mutex<Option<Outcome<D>>>,
    arrived: Condvar,
}

impl<D: ?Sized> Shared<D> {
    fn outcome(&self) -> MutexGuard<'_, Option<Outcome<D>>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a device as often as it takes.
pub(super) struct Opener<D: ?Sized> {
    shared: Arc<Shared<D>>,
    under_way: bool,
    pause: Duration,
    next: Option<Instant>,
}

impl<D: ?Sized + 'static> Opener<D>
where
    Opened<D>: Send,
{
    pub fn new(open: impl Fn() -> Outcome<D> + Send + Sync + 'static) -> Self {
        let shared = Shared { open: Box::new(open), outcome: Mutex::new(None), arrived: Condvar::new() };
        Self { shared: Arc::new(shared), under_way: false, pause: FIRST_PAUSE, next: None }
    }

    /// Opens the device for the first time, but does not wait for it longer than `patience`. Without it the stream goes on
    /// alone, or is refused.
    pub fn first(&mut self, link: &Arc<Link>, patience: Duration) -> Result<Outcome<D>, Error> {
        let outcome = self.attempt(link, patience);
        let outcome = outcome.unwrap_or_else(|| Err(Error::Slow { device: link.mode().name.clone() }));
        match outcome {
            Err(error) if link.mode().absent == WhenAbsent::Refuse => Err(error),
            outcome => Ok(outcome),
        }
    }

    /// Makes an attempt and waits for its outcome, but not longer than `patience`; `None` if it goes on.
    fn attempt(&mut self, link: &Arc<Link>, patience: Duration) -> Option<Outcome<D>> {
        if let Err(error) = self.begin(link) {
            return Some(Err(error));
        }
        let deadline = Instant::now() + patience;
        let mut outcome = self.shared.outcome();
        loop {
            if let Some(outcome) = outcome.take() {
                self.under_way = false;
                return Some(outcome);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            outcome = self.shared.arrived.wait_timeout(outcome, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The device is gone or was not there: try again after a pause, which grows until [`Self::rest`].
    pub fn again(&mut self, now: Instant) {
        self.next = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// The device has worked for a while.
    pub fn rest(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    /// How long until the next attempt, if one is to be made.
    pub fn due_in(&self, now: Instant) -> Option<Duration> {
        if self.under_way { None } else { Some(self.next?.saturating_duration_since(now)) }
    }

    /// Makes the attempt that is due, or gives the outcome of the one under way; wakes `link` when it is there.
    pub fn poll(&mut self, link: &Arc<Link>, now: Instant) -> Option<Outcome<D>> {
        if self.under_way {
            let outcome = self.shared.outcome().take();
            self.under_way = outcome.is_none();
            return outcome;
        }
        if self.next.is_some_and(|next| now >= next) {
            self.next = None;
            return self.begin(link).err().map(Err);
        }
        None
    }

    fn begin(&mut self, link: &Arc<Link>) -> Result<(), Error> {
        let (shared, link) = (Arc::clone(&self.shared), Arc::clone(link));
        let open = move || {
            link.wait_until_closed();
            let outcome = (shared.open)();
            *shared.outcome() = Some(outcome);
            shared.arrived.notify_all();
            link.wake();
        };
        thread::Builder::new()
            .name("vsnd-open".into())
            .spawn(open)
            .map_err(|reason| Error::Resource { what: "a thread that opens a device", reason })?;
        self.under_way = true;
        Ok(())
    }
}
