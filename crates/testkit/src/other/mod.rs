//! A model of the one other backend of this protocol in the field, as a frontend sees it, **habits included**.
//!
//! * [`Backend`] serves a card of a guest, on the emulated Xen or the real one, in a thread or ([`serve`]) forever.
//! * [`Habits`] are its variations, and deviations from our backend that a test selects.
//!
//! Habits of that backend, which a frontend has to tolerate:
//! * Positions count from START: in the first run after OPEN from 0, in later ones from 0 or from the count that an
//!   underrun left. After STOP no position is sent.
//! * A timer of whole milliseconds sends the positions, so they come before a period's end as well as after it, and
//!   also exceed the written frames by a part of a millisecond. Each position is an event and a notification of its
//!   own.
//! * Ids of events increase by one from 0 in a connection. One id is used up when the page is full.
//! * PAUSE and RESUME are refused with ENOSYS, and playing continues. Volume and mute are refused with EINVAL.
//! * READ is refused with EIO from an overrun of the device until the next START, or OPEN.
//! * A query does not exclude formats that OPEN then refuses.
//! * Playback goes to a new file for each OPEN.
//! * No `versions`, no `feature-volume`, no `feature-mute`. The backend's states at first contact are 5, 6, 1, 2; a
//!   frontend in [Reconfiguring](sndif::XenbusState::Reconfiguring) is ignored; a frontend that was connected to an
//!   earlier backend has to go back to Initialising. A stream without its nodes makes the whole card fail.
//!
//! Not modelled: a crash if WRITE comes before OPEN, or if a frontend goes while a stream plays; a device that a query
//! keeps open; a timer of 0 ms that never waits (here it is 1 ms).

mod bus;
mod device;
mod stream;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use sndif::v2::Operation;
use xen::{DomainId, Xen};

/// Error that ends the backend.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The card that the backend serves.
#[derive(Debug, Clone)]
pub struct Card {
    /// The card's guest.
    pub guest: DomainId,
    /// Device id.
    pub card: u32,
    /// Directory for playback: the file is `GUEST-CARD-PCM-STREAM.wav`, or the next free `…-2.wav`, `…-3.wav`.
    pub directory: PathBuf,
    /// Sound to capture from OPEN on, repeated: bytes of whole frames, for any opened format.
    pub source: Arc<[u8]>,
    /// Variations of the backend.
    pub habits: Habits,
}

/// Variations of the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Habits {
    /// Frames from which the second and further runs after an OPEN count; 0 for the count that an underrun left.
    pub counts_from: u64,
    /// True if after an overrun only OPEN helps, and not START.
    pub overruns_until_open: bool,
    /// True if the backend offers volume and mute, although it refuses them.
    pub offers_mixer: bool,
}

/// The received requests, in order.
pub type Operations = Arc<Mutex<Vec<Operation>>>;

/// A backend in a thread; killed when dropped.
pub struct Backend {
    /// Requests of all streams.
    pub operations: Operations,
    orders: Sender<()>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Backend {
    /// Starts a backend that serves the card.
    #[must_use]
    pub fn start(xen: Xen, card: Card) -> Self {
        let operations = Operations::default();
        let (orders, ordered) = channel();
        let kept = Arc::clone(&operations);
        let thread = std::thread::spawn(move || serve_until(xen, card, kept, &ordered));
        Self { operations, orders, thread: Some(thread) }
    }

    /// Ends the backend without informing the guest, like a killed process.
    ///
    /// # Panics
    /// If the backend ended by itself; the message has the reason.
    pub fn kill(mut self) {
        self.end();
    }

    /// Number of requests that satisfy `like`.
    pub fn count(&self, like: impl Fn(&Operation) -> bool) -> usize {
        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        operations.iter().filter(|operation| like(operation)).count()
    }

    fn end(&mut self) {
        let _ = self.orders.send(());
        if let Some(thread) = self.thread.take() {
            match thread.join() {
                Ok(ended) => ended.expect("the backend ended by itself"),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

/// Serves a card until the process ends; `connected` is called at each connection.
///
/// # Errors
/// Errors of Xen and of the store.
pub fn serve(xen: Xen, card: Card, mut connected: impl FnMut()) -> Result<(), Error> {
    let mut bus = bus::Bus::new(xen, card, Operations::default())?;
    loop {
        let before = bus.connections;
        bus.turn()?;
        if bus.connections != before {
            connected();
        }
    }
}

fn serve_until(xen: Xen, card: Card, operations: Operations, ordered: &Receiver<()>) -> Result<(), Error> {
    let mut bus = bus::Bus::new(xen, card, operations)?;
    while matches!(ordered.try_recv(), Err(TryRecvError::Empty)) {
        bus.turn()?;
    }
    Ok(())
}
