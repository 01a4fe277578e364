//! A worker from the broker's side: what is lent to it, which answers it owes, and if it is alive.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;

use xen::{DomainId, Lender, Xen};
use xenstore::hub::{Hub, Scope};

use super::launch::{Launch, Running};
use super::log::{Limit, WorkerLog};
use crate::kept::Who;
use crate::link::{Link, Order, Report, Seen};
use crate::poller::Poller;

/// Silence of a worker after which it is asked for a sign of life.
const PING_NS: u64 = 5_000_000_000;
/// Time that a worker may take to answer.
const HANG_NS: u64 = 10_000_000_000;
/// Time that a worker may take to complete its files.
const END_NS: u64 = 7_000_000_000;

/// A descriptor of a worker that can become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Link,
    Lender,
    View,
    Log,
}

const PARTS: [Part; 4] = [Part::Link, Part::Lender, Part::View, Part::Log];

/// The token of a part.
fn token(guest: DomainId, part: Part) -> u64 {
    u64::from(guest.0) << 2 | part as u64
}

/// The part that a token stands for.
pub(super) fn part(token: u64) -> Option<(DomainId, Part)> {
    let part = PARTS.get(usize::try_from(token & 3).ok()?)?;
    Some((DomainId(u16::try_from(token >> 2).ok()?), *part))
}

/// An answer that a worker owes: the job that it is for, if any, and the time of the question.
pub(super) type Owed = (Option<u64>, u64);

/// A worker.
pub(super) struct Worker {
    running: Box<dyn Running>,
    log: Option<WorkerLog>,
    lender: Lender,
    link: Link,
    owed: VecDeque<Owed>,
    pub(super) started_ns: u64,
    heard_ns: u64,
    /// True once the guest's cards were offered.
    pub(super) serving: bool,
    /// Time by which the worker has to end, or to say that it stays.
    ends_ns: Option<u64>,
    /// True if the worker was told to end even if its guest has cards.
    must_end: bool,
    /// True if a part of the worker has more to do than was done in one turn.
    busy: bool,
    /// True if the worker has printed something that was not passed on.
    printed: bool,
    pub(super) cards: usize,
    /// Identity of the guest for overrides.
    pub(super) who: Who,
    pub(super) seen: Seen,
}

/// A worker that was abandoned and ends soon.
pub(super) struct Remains {
    running: Box<dyn Running>,
    log: Option<WorkerLog>,
}

impl Remains {
    pub(super) fn kill(&mut self) {
        self.running.kill();
    }

    /// Passes on the last lines of the worker; returns true if it has ended.
    pub(super) fn is_over(&mut self, limit: &mut Limit, now_ns: u64) -> bool {
        let over = self.running.is_over();
        if let Some(log) = &mut self.log {
            while log.relay(limit, now_ns) && over {}
        }
        over
    }
}

/// Terms on which a worker serves.
pub(super) struct Terms<'a> {
    /// Pages that may be lent to the worker at the same time.
    pub(super) pages_max: usize,
    pub(super) who: Who,
    /// First order to the worker.
    pub(super) begin: &'a Order,
    pub(super) limits: &'a config::Worker,
}

/// A message of a worker.
pub(super) enum Said {
    Report(Report),
    /// An answer to a job.
    Answer(u64, crate::link::Answer),
}

impl Worker {
    /// Starts the worker of `guest` and sends the first order.
    pub(super) fn start(
        xen: &Xen,
        hub: &mut Hub,
        guest: DomainId,
        Terms { pages_max, who, begin, limits }: Terms<'_>,
        launch: &mut dyn Launch,
        poller: &Poller,
    ) -> Result<Self, crate::Error> {
        let own = xen.domain();
        let (view, theirs) = UnixStream::pair()?;
        let scope = Scope {
            readable: vec![
                format!("/local/domain/{guest}/device/vsnd"),
                // The guest's identity, which the policy's rules match.
                format!("/local/domain/{guest}/name"),
                format!("/local/domain/{guest}/vm"),
            ],
            writable: vec![format!("/local/domain/{own}/backend/vsnd/{guest}")],
        };
        hub.add(guest.0, theirs.into(), scope)?;
        let (lender, lent) = xen.lend(guest, view.into(), pages_max)?;
        let (link, theirs) = UnixStream::pair()?;
        let mut running = launch.launch(own, guest, &who.called(), lent, theirs, limits)?;
        let mut log = running.take_log().map(WorkerLog::new);
        if let Some(log) = &mut log {
            log.watched = Some(poller.watch_edge(log.fd(), token(guest, Part::Log))?);
        }
        let now_ns = poller.now_ns();
        let mut worker = Self {
            running,
            log,
            lender,
            link: Link::new(link)?,
            owed: VecDeque::new(),
            started_ns: now_ns,
            heard_ns: now_ns,
            serving: false,
            ends_ns: None,
            must_end: false,
            busy: false,
            printed: false,
            cards: 0,
            who,
            seen: Seen::default(),
        };
        poller.add_both_edges(&worker.link, token(guest, Part::Link))?;
        poller.add_level(&worker.lender, token(guest, Part::Lender))?;
        if let Some(view) = hub.client(guest.0) {
            poller.add_both_edges(view, token(guest, Part::View))?;
        }
        worker.link.send(begin);
        Ok(worker)
    }

    /// Sends an order whose answer is for `job`.
    pub(super) fn ask(&mut self, order: &Order, job: Option<u64>, now_ns: u64) {
        self.owed.push_back((job, now_ns));
        self.link.send(order);
    }

    /// Tells the worker to end.
    pub(super) fn end(&mut self, now_ns: u64) {
        if !std::mem::replace(&mut self.must_end, true) {
            self.ends_ns = Some(now_ns + END_NS);
            self.link.send(&Order::End);
        }
    }

    /// Tells the worker to end if it, too, sees no card: the worker may have seen the next card already.
    pub(super) fn leave(&mut self, now_ns: u64) {
        if self.ends_ns.is_none() {
            self.ends_ns = Some(now_ns + END_NS);
            self.link.send(&Order::Leave);
        }
    }

    /// Takes note that the worker does not leave.
    pub(super) fn stays(&mut self) {
        if !self.must_end {
            self.ends_ns = None;
        }
    }

    /// Returns true if the worker was told to end.
    pub(super) fn is_ending(&self) -> bool {
        self.ends_ns.is_some()
    }

    /// Serves the worker after a part of it became ready.
    ///
    /// # Errors
    /// The worker cannot be served any more: it is gone, or sent something invalid.
    pub(super) fn woke(&mut self, part: Part) -> io::Result<()> {
        match part {
            Part::Link => self.link.woke(),
            Part::Lender => self.busy |= self.lender.serve()?,
            // The hub serves the views of all workers together.
            Part::View => {}
            Part::Log => self.printed = true,
        }
        Ok(())
    }

    /// Continues with what was not done in the last turn.
    ///
    /// # Errors
    /// The errors of [`woke`](Self::woke).
    pub(super) fn go_on(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.busy) {
            self.woke(Part::Lender)?;
        }
        Ok(())
    }

    /// Passes on what the worker printed.
    pub(super) fn relay_log(&mut self, limit: &mut Limit, now_ns: u64) {
        if std::mem::take(&mut self.printed)
            && let Some(log) = &mut self.log
        {
            self.printed = log.relay(limit, now_ns);
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy || self.printed || self.link.has_message()
    }

    /// The next message of the worker.
    ///
    /// # Errors
    /// The errors of [`woke`](Self::woke).
    pub(super) fn next(&mut self, now_ns: u64) -> io::Result<Option<Said>> {
        let Some(report) = self.link.next::<Report>()? else { return Ok(None) };
        self.heard_ns = now_ns;
        match report {
            Report::Answer(answer) => match self.owed.pop_front() {
                Some((Some(job), _)) => Ok(Some(Said::Answer(job, answer))),
                Some((None, _)) => self.next(now_ns),
                None => Err(io::Error::other("it answers what nobody asked")),
            },
            report => Ok(Some(Said::Report(report))),
        }
    }

    /// Asks the worker for a sign of life when that is due; returns false if the worker is overdue.
    pub(super) fn goes_on(&mut self, now_ns: u64) -> bool {
        let since_ns = match self.owed.front() {
            Some((_, since_ns)) => *since_ns,
            None if !self.serving => self.started_ns,
            None => {
                if now_ns >= self.heard_ns + PING_NS && self.ends_ns.is_none() {
                    self.ask(&Order::Ping, None, now_ns);
                }
                return self.ends_ns.is_none_or(|ends_ns| now_ns < ends_ns);
            }
        };
        now_ns < self.ends_ns.unwrap_or(since_ns + HANG_NS)
    }

    /// Time at which [`goes_on`](Self::goes_on) has to be called next.
    pub(super) fn next_wake_ns(&self) -> u64 {
        let owed_ns = self.owed.front().map(|(_, since_ns)| since_ns + HANG_NS);
        let starting_ns = (!self.serving).then_some(self.started_ns + HANG_NS);
        self.ends_ns.or(owed_ns).or(starting_ns).unwrap_or(self.heard_ns + PING_NS)
    }

    /// Number of the worker's process, if it has one.
    pub(super) fn process(&self) -> Option<u32> {
        self.running.process()
    }

    /// Takes back what was lent. Returns the rest of the worker, which ends soon or is killed, and the answers that it
    /// owed.
    pub(super) fn abandon(self, kill: bool) -> (Remains, VecDeque<Owed>) {
        let (mut running, mut log) = (self.running, self.log);
        if kill {
            running.kill();
        }
        if let Some(log) = &mut log {
            log.watched = None;
        }
        (Remains { running, log }, self.owed)
    }
}
