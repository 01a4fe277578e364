//! Opens a device in a thread of its own: opening may wait, and the guest's time must not.

use super::Opened;
use super::bridge::{Bridge, Mode};
use crate::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Result of an attempt to open a device.
pub(super) type Outcome<D> = Result<Opened<D>, Error>;

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

/// Attempts that have not come back: number, device and start of each.
static OWING: Mutex<Vec<(u64, Mode, Instant)>> = Mutex::new(Vec::new());
static NUMBER: AtomicU64 = AtomicU64::new(0);
/// Time that an attempt may take before no other is made to open that device: each would leave a thread behind, and
/// more descriptors.
const OWES_AFTER: Duration = Duration::from_secs(1);

fn owing() -> MutexGuard<'static, Vec<(u64, Mode, Instant)>> {
    OWING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a device as often as needed, but not twice at the same time.
pub(super) struct Opener<D: ?Sized> {
    shared: Arc<Shared<D>>,
}

impl<D: ?Sized + 'static> Opener<D>
where
    Opened<D>: Send,
{
    pub fn new(open: impl Fn() -> Outcome<D> + Send + Sync + 'static) -> Self {
        let shared = Shared { open: Box::new(open), outcome: Mutex::new(None), arrived: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Makes an attempt; wakes `bridge` when its outcome is there. The outcome of the last attempt must be taken before.
    pub fn begin(&self, bridge: &Arc<Bridge>) -> Result<(), Error> {
        let mode = bridge.mode();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        {
            let mut owing = owing();
            if owing.iter().any(|(_, owes, since)| owes.is_same_device(mode) && since.elapsed() > OWES_AFTER) {
                return Err(Error::slow(&mode.name));
            }
            owing.push((number, mode.clone(), Instant::now()));
        }
        let (shared, bridge) = (Arc::clone(&self.shared), Arc::clone(bridge));
        let open = move || {
            bridge.wait_until_closed();
            let outcome = (shared.open)();
            owing().retain(|(other, ..)| *other != number);
            *shared.outcome() = Some(outcome);
            shared.arrived.notify_all();
            bridge.wake_for_outcome();
        };
        thread::Builder::new().name("vsnd-open".into()).spawn(open).map(drop).map_err(|reason| {
            owing().retain(|(other, ..)| *other != number);
            Error::resource("a thread that opens a device", reason)
        })
    }

    /// The outcome of the attempt, if it is there.
    pub fn outcome(&self) -> Option<Outcome<D>> {
        self.shared.outcome().take()
    }

    /// The outcome of the attempt, after waiting for it no longer than `patience`.
    pub fn outcome_within(&self, patience: Duration) -> Option<Outcome<D>> {
        let deadline = Instant::now() + patience;
        let mut outcome = self.shared.outcome();
        while outcome.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            outcome = self.shared.arrived.wait_timeout(outcome, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        outcome.take()
    }
}
