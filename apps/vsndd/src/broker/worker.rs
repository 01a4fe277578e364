//! One worker as the broker sees it: what is lent to it, what it was asked, and whether it goes on.

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

/// How long a worker may be silent before it is asked whether it goes on.
const PING_NS: u64 = 5_000_000_000;
/// How long it may owe an answer.
const HANG_NS: u64 = 10_000_000_000;
/// How long it may take to complete its files.
const END_NS: u64 = 7_000_000_000;

/// Which of a worker's descriptors became ready.
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

/// Whose answer a worker owes, a job's or nobody's, and since when.
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
    /// Its guest's cards were offered.
    pub(super) serving: bool,
    /// Until when it may take to end, or to say that it stays.
    ends_ns: Option<u64>,
    /// Told to end, whatever its guest has.
    must_end: bool,
    /// A part of it has more to do than was done at once.
    busy: bool,
    /// The worker has printed something that was not passed on.
    printed: bool,
    pub(super) cards: usize,
    /// Its guest, as decisions about it know it.
    pub(super) who: Who,
    pub(super) seen: Seen,
}

/// A worker that was left: it ends soon.
pub(super) struct Remains {
    running: Box<dyn Running>,
    log: Option<WorkerLog>,
}

impl Remains {
    pub(super) fn kill(&mut self) {
        self.running.kill();
    }

    /// Whether it has ended, with its last words passed on.
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
    /// Pages that may be lent to it at once.
    pub(super) pages_max: usize,
    pub(super) who: Who,
    /// Its first order.
    pub(super) begin: &'a Order,
    pub(super) limits: &'a crate::config::Worker,
}

/// A message of a worker.
pub(super) enum Said {
    Report(Report),
    /// An answer to a job.
    Answer(u64, crate::link::Answer),
}

impl Worker {
    /// Starts the worker of `guest` and tells it what holds.
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
                // Who it is: the policy goes by that.
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

    /// Asks something that is answered to `job`.
    pub(super) fn ask(&mut self, order: &Order, job: Option<u64>, now_ns: u64) {
        self.owed.push_back((job, now_ns));
        self.link.send(order);
    }

    /// Has it end by itself.
    pub(super) fn end(&mut self, now_ns: u64) {
        if !std::mem::replace(&mut self.must_end, true) {
            self.ends_ns = Some(now_ns + END_NS);
            self.link.send(&Order::End);
        }
    }

    /// Has it end by itself if it, too, sees no card: the next may be there already, and with it.
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

    /// Whether it was told to end.
    pub(super) fn is_ending(&self) -> bool {
        self.ends_ns.is_some()
    }

    /// Serves it after a part of it became ready.
    ///
    /// # Errors
    /// Why it cannot be served any more: it is gone, or says what makes no sense.
    pub(super) fn woke(&mut self, part: Part) -> io::Result<()> {
        match part {
            Part::Link => self.link.woke(),
            Part::Lender => self.busy |= self.lender.serve()?,
            // The hub serves all of them together.
            Part::View => {}
            Part::Log => self.printed = true,
        }
        Ok(())
    }

    /// Goes on with what was not done at once.
    ///
    /// # Errors
    /// As [`woke`](Self::woke).
    pub(super) fn go_on(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.busy) {
            self.woke(Part::Lender)?;
        }
        Ok(())
    }

    /// Passes on what it printed.
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
    /// As [`woke`](Self::woke).
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

    /// Asks whether it goes on, where that is due; false where it does not.
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

    /// When [`goes_on`](Self::goes_on) has something to say.
    pub(super) fn next_wake_ns(&self) -> u64 {
        let owed_ns = self.owed.front().map(|(_, since_ns)| since_ns + HANG_NS);
        let starting_ns = (!self.serving).then_some(self.started_ns + HANG_NS);
        self.ends_ns.or(owed_ns).or(starting_ns).unwrap_or(self.heard_ns + PING_NS)
    }

    /// Its process, where it has one.
    pub(super) fn process(&self) -> Option<u32> {
        self.running.process()
    }

    /// Takes back what was lent and gives what is left of it: something that ends soon, or is killed.
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
