//! Questions to a PCM, each in a thread of its own: a plugin may wait for a server without a limit; the caller must
//! not.

use crate::Error;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// PCMs that owe an answer, and since when. A PCM that owes one for longer is asked nothing else until it answers: each
/// caller would wait, and leave a thread behind.
static OWING: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());
static ANSWERED: Condvar = Condvar::new();

fn owing() -> MutexGuard<'static, BTreeMap<String, Instant>> {
    OWING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answer of the PCM `name`, which takes some milliseconds; [`ErrorKind::Slow`](crate::ErrorKind::Slow) if it does not
/// come within `patience`.
pub(super) fn ask<T: Send + 'static>(
    name: &str,
    patience: Duration,
    question: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let slow = || Error::slow(format_args!("alsa:{name}"));
    let mut owes = owing();
    while let Some(since) = owes.get(name) {
        let left = patience.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Err(slow());
        }
        owes = ANSWERED.wait_timeout(owes, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    owes.insert(name.to_owned(), Instant::now());
    drop(owes);
    let (answer, answered) = mpsc::sync_channel(1);
    let asked = name.to_owned();
    let put = move || {
        let outcome = question();
        settle(&asked);
        // Nobody waits any more for an answer that is late.
        let _ = answer.send(outcome);
    };
    if let Err(reason) = thread::Builder::new().name("vsnd-ask".into()).spawn(put) {
        settle(name);
        return Err(Error::resource("a thread that asks a device", reason));
    }
    answered.recv_timeout(patience).unwrap_or_else(|_| Err(slow()))
}

fn settle(name: &str) {
    owing().remove(name);
    ANSWERED.notify_all();
}
