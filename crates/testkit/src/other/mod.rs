//! A model of the one other backend of this protocol in the field, as far as a frontend can tell, **habits included**.
//!
//! * [`Backend`] serves a card of a guest, on the emulated Xen or the real one, from a thread or ([`serve`]) for ever.
//! * [`Habits`] are the things in which it varies, and those in which it differs from ours and a test wants it to.
//!
//! Its habits, each of which a frontend has to live with:
//! * A position counts from START: the first run after OPEN from 0, the next ones from 0 or from where an underrun left the count.
//!   After STOP no position is told.
//! * Positions are told by a timer of whole milliseconds, so before a period's end as well as behind it; behind the end of
//!   what was written, too, by a part of a millisecond. Each is an event and a notification of its own.
//! * Ids of events go up by one from 0 in a connection. One is used up where the page is full.
//! * PAUSE and RESUME are refused with ENOSYS, and it plays on. Volume and mute are refused with EINVAL.
//! * READ is refused with EIO from an overrun of its device until the next START, or OPEN.
//! * A query narrows nothing that OPEN then refuses: a format.
//! * Playing goes to a new file for each OPEN.
//! * No `versions`, no `feature-volume`, no `feature-mute`. It says 5, 6, 1, 2 at first contact; a frontend in
//!   [Reconfiguring](sndif::XenbusState::Reconfiguring) is passed over; a frontend that was connected to its predecessor has to go
//!   back to Initialising. A stream without its nodes makes the whole card fail.
//!
//! Not modelled: it ends with a fault where WRITE comes before OPEN, or a frontend goes while a stream plays; a device that is kept open by a
//! query; a timer of 0 ms that never waits (here it is 1 ms).

mod bus;
mod device;
mod stream;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use sndif::v2::Operation;
use xen::{DomainId, Xen};

/// Whatever ends the backend.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the backend serves.
#[derive(Debug, Clone)]
pub struct Card {
    /// The guest whose card it is.
    pub guest: DomainId,
    /// Device id.
    pub card: u32,
    /// Playing goes to `GUEST-CARD-PCM-STREAM.wav` in it, or the next free `…-2.wav`, `…-3.wav`.
    pub directory: PathBuf,
    /// What is captured from OPEN on, again and again: bytes of whole frames, whatever format is opened.
    pub source: Arc<[u8]>,
    /// How it varies.
    pub habits: Habits,
}

/// Ways in which the backend varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Habits {
    /// Frames from which the second and further runs after an OPEN count; where it is 0, from where an underrun left the count.
    pub counts_from: u64,
    /// After an overrun START does not help, only OPEN.
    pub overruns_until_open: bool,
    /// It offers volume and mute, and refuses them all the same.
    pub offers_mixer: bool,
}

/// The requests that came, in their order.
pub type Operations = Arc<Mutex<Vec<Operation>>>;

/// A backend in a thread. Dropping it kills it.
pub struct Backend {
    /// Requests of all its streams.
    pub operations: Operations,
    orders: Sender<()>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Backend {
    /// Serves the card.
    #[must_use]
    pub fn start(xen: Xen, card: Card) -> Self {
        let operations = Operations::default();
        let (orders, ordered) = channel();
        let kept = Arc::clone(&operations);
        let thread = std::thread::spawn(move || serve_until(xen, card, kept, &ordered));
        Self { operations, orders, thread: Some(thread) }
    }

    /// Ends it without a word to the guest, as a process that is killed.
    ///
    /// # Panics
    /// When it ended by itself, with its reason.
    pub fn kill(mut self) {
        self.end();
    }

    /// How many of the requests are like that.
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
/// Xen's and the store's.
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
