//! Messages between the broker and a guest's worker: a line of JSON each, over a pair of sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use config::Settings;
use control::{Event, EventKind, Guest};
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::connection::{Connection, Socket};
use crate::overrides::{Entry, Overrides};
use crate::totals::Totals;

/// Longest line: a report on a guest with the maximum number of streams.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Longest text of a worker's event that the broker keeps.
const TEXT_BYTES_MAX: usize = 2048;

/// Messages from the broker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// The first order: settings and overrides. Answered by [`Report::Serving`].
    Begin { settings: Settings, overrides: Overrides },
    /// A new configuration took effect. This and the orders below are answered by a [`Report::Answer`], unless they say
    /// otherwise.
    Settings(Settings),
    /// A new override of the guest.
    Decide(Entry),
    /// All overrides of the guest, in place of the earlier ones.
    Overrides(Overrides),
    /// End the connection of this card, or of all.
    Disconnect { card: Option<u32> },
    /// Report everything that is served; with `levels`, measure levels from now on.
    Look { levels: bool },
    /// Answer as a sign of life.
    Ping,
    /// Tell the guest that its cards go, complete the files, and end. Not answered.
    End,
    /// End in the same way if the guest has no card any more. Answered by [`Report::Stays`] if it has.
    Leave,
}

/// Messages from a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Report {
    /// The cards that the guest had at the start are offered.
    Serving,
    /// Number of cards that are served now.
    Cards(usize),
    /// The guest may have another name than the broker knows.
    Renamed,
    /// The worker that was to leave stays: its guest has a card.
    Stays,
    /// Something happened.
    Event(Event),
    /// Answer to the oldest order that was not answered.
    Answer(Answer),
}

/// Answer of a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// The order was carried out, for this number of connected streams.
    Done { streams: usize },
    /// The guest has no such card or stream.
    NoSuchStream,
    /// The override is about the other direction than that of every stream that it names.
    OtherDirection,
    /// Everything that the worker serves.
    Seen(Box<Seen>),
    /// The worker is alive.
    Alive,
}

/// A worker's report on its guest, and its counts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The guest; `None` if it has no card.
    pub(crate) guest: Option<Guest>,
    pub(crate) totals: Totals,
    /// Processor time that the worker has used.
    pub(crate) cpu_ms: u64,
}

impl Seen {
    /// The report without control characters, which a terminal would obey: a worker may have been taken over.
    pub(crate) fn plain(mut self) -> Self {
        let Some(guest) = &mut self.guest else { return self };
        guest.name.iter_mut().chain(&mut guest.uuid).for_each(plain);
        for card in &mut guest.cards {
            plain(&mut card.name);
            plain(&mut card.protocol);
            plain(&mut card.state);
            for stream in &mut card.streams {
                plain(&mut stream.pcm_name);
                plain(&mut stream.label);
                plain(&mut stream.device);
                stream.format.iter_mut().for_each(plain);
            }
        }
        self
    }
}

/// The event of a worker, as the broker keeps it: short, and without control characters. `None` for an event about
/// anything but the worker's guest, and for one that no worker has, such as a line of the audit: a worker may have been
/// taken over.
pub(crate) fn admitted(mut event: Event, guest: u16) -> Option<Event> {
    let happens_there = match event.kind {
        EventKind::Card
        | EventKind::Open
        | EventKind::Close
        | EventKind::Refused
        | EventKind::Xrun
        | EventKind::Violation
        | EventKind::Lost
        | EventKind::Back => true,
        EventKind::Audit | EventKind::Reload | EventKind::Worker => false,
    };
    if !happens_there || event.domain != Some(guest) {
        return None;
    }
    for text in std::iter::once(&mut event.text).chain(&mut event.device) {
        let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        plain(text);
    }
    Some(event)
}

/// Replaces control characters, which a terminal would obey.
pub(crate) fn plain(text: &mut String) {
    if text.contains(char::is_control) {
        *text = text.replace(char::is_control, "\u{FFFD}");
    }
}

/// One end of the link.
#[derive(Debug)]
pub(crate) struct Link(Connection);

impl Link {
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self(Connection::new(Socket::Unix(socket), 0)))
    }

    /// Sends a message, or keeps what the socket does not take.
    pub(crate) fn send(&mut self, message: &impl Serialize) {
        // Our messages can always be serialized.
        if let Ok(mut line) = serde_json::to_vec(message) {
            line.push(b'\n');
            self.0.send(&line);
        }
    }

    /// Reads what has come and sends what was kept. The owner calls this at every edge of the descriptor.
    pub(crate) fn woke(&mut self) {
        self.0.flush();
        self.0.receive(LINE_BYTES_MAX);
    }

    /// The next message that has come.
    ///
    /// # Errors
    /// The other end is gone, or sent something invalid.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        self.0.receive_more(LINE_BYTES_MAX);
        match self.0.take_until(b"\n") {
            Some(line) => Ok(Some(serde_json::from_slice(&line)?)),
            None if self.0.has_ended() || self.0.is_flooded(LINE_BYTES_MAX) => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Ok(None),
        }
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// The errors of [`next`](Self::next), and a timeout if no message comes in time.
    pub(crate) fn wait<T: DeserializeOwned>(&mut self, patience: Duration) -> io::Result<T> {
        let ends = Instant::now() + patience;
        loop {
            self.woke();
            if let Some(message) = self.next()? {
                return Ok(message);
            }
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            rustix::event::poll(&mut [PollFd::new(&self.0.socket, PollFlags::IN)], Some(&left))?;
        }
    }

    /// Returns true if a message has come for which there will be no event.
    pub(crate) fn has_message(&self) -> bool {
        self.0.has_line()
    }

    /// Returns true if everything was sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.is_idle()
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_worker_that_was_taken_over_controls_no_terminal() {
        let escape = || "x\u{1b}[2Jy\n".to_owned();
        let stream =
            control::Stream { label: escape(), pcm_name: escape(), device: escape(), ..control::Stream::default() };
        let card = control::Card { name: escape(), state: escape(), streams: vec![stream], ..control::Card::default() };
        let guest = Guest { name: Some(escape()), cards: vec![card], ..Guest::default() };
        let seen = Seen { guest: Some(guest), ..Seen::default() }.plain();
        assert!(!serde_json::to_string(&seen).unwrap().contains("\\u001b"));
        assert_eq!(seen.guest.unwrap().name.unwrap(), "x\u{FFFD}[2Jy\u{FFFD}");
    }

    #[test]
    fn a_worker_that_was_taken_over_adds_nothing_to_the_audit_and_no_long_events() {
        let event = |kind, domain, text: &str| Event {
            time_ms: 1,
            kind,
            domain,
            card: None,
            pcm: None,
            stream: None,
            device: Some("x\u{1b}".to_owned()),
            text: text.to_owned(),
        };
        for kind in [EventKind::Audit, EventKind::Reload, EventKind::Worker] {
            assert_eq!(admitted(event(kind, Some(3), "unmuted, by user 0"), 3), None, "{kind}");
        }
        for domain in [None, Some(4)] {
            assert_eq!(admitted(event(EventKind::Card, domain, "connected"), 3), None);
        }
        let kept = admitted(event(EventKind::Card, Some(3), &"ä\n".repeat(TEXT_BYTES_MAX)), 3).unwrap();
        assert!(kept.text.len() <= 2 * TEXT_BYTES_MAX && kept.text.starts_with("ä\u{FFFD}ä"), "{}", kept.text.len());
        assert_eq!(kept.device.unwrap(), "x\u{FFFD}");
    }

    #[test]
    fn lines_that_came_together_are_told_one_by_one_and_the_end_after_them() {
        let (one, other) = UnixStream::pair().unwrap();
        let (mut one, mut other) = (Link::new(one).unwrap(), Link::new(other).unwrap());
        one.send(&Order::Ping);
        one.send(&Order::End);
        drop(one);
        assert!(matches!(other.wait(Duration::from_secs(10)), Ok(Order::Ping)));
        assert!(other.has_message());
        assert!(matches!(other.next(), Ok(Some(Order::End))));
        assert!(other.next::<Order>().is_err());
    }

    #[test]
    fn what_is_no_line_of_ours_ends_the_link() {
        let (raw, link) = UnixStream::pair().unwrap();
        let mut link = Link::new(link).unwrap();
        (&raw).write_all(b"{\"hello\": 1}\n").unwrap();
        link.woke();
        assert!(link.next::<Report>().is_err());
    }
}
