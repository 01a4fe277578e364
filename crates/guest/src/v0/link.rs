//! Resources of a stream's connection, and the waiting for answers.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use frontend::SubmitError;
use frontend::v0::{Completion, Counters};
use sndif::v0::{ANSWER_TIMEOUT_MS, Operation};

use crate::connection::{Shared, Wire};
use crate::transport::v0::Transport;
use crate::wait::readable;
use crate::{Error, Result, Stats};

/// Maximum time of an answer. Answers come in the order of the requests: each restarts the time for the next.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(ANSWER_TIMEOUT_MS as u64);

/// An open stream's use of its transport.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    /// The transport; `None` between losing a connection and getting the next.
    transport: Option<Transport>,
    /// The transport's counters when it was attached.
    before: Counters,
    /// Counts of earlier connections, and counts of this one that the core does not have.
    pub(crate) stats: Stats,
    pub(crate) mixer: frontend::v0::Mixer,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>, transport: Transport, mixer: frontend::v0::Mixer) -> Self {
        Self { shared, before: transport.stream.counters(), transport: Some(transport), stats: Stats::default(), mixer }
    }

    /// Returns the transport while its connection lasts.
    pub(crate) fn transport(&mut self) -> Result<&mut Transport> {
        match &mut self.transport {
            Some(transport) if !transport.epoch.is_lost() => Ok(transport),
            _ => Err(Error::Lost),
        }
    }

    /// Returns the bytes of READs and WRITEs that were answered in this connection.
    pub(crate) fn moved_bytes(&self) -> u64 {
        let moved = |transport: &Transport| transport.stream.counters().moved_bytes - self.before.moved_bytes;
        self.transport.as_ref().map_or(0, moved)
    }

    /// Takes the next connection's transport.
    pub(crate) fn attach(&mut self, deadline: Instant, timeout: Duration) -> Result<()> {
        let mut connection = self.shared.lock();
        connection.wait_connected(deadline, timeout)?;
        let transport = connection.slots.first_mut().and_then(|slot| slot.transport.take());
        drop(connection);
        let Some(Wire::V0(transport)) = transport else { return Err(Error::Lost) };
        self.before = transport.stream.counters();
        self.transport = Some(*transport);
        self.mixer.replay();
        Ok(())
    }

    /// Releases the transport of a lost connection.
    pub(crate) fn detach(&mut self) {
        self.stats = self.stats();
        self.transport = None;
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        if let Some(transport) = &self.transport {
            let now = transport.stream.counters();
            stats.requests += now.requests - self.before.requests;
            stats.responses += now.responses - self.before.responses;
            stats.errors += now.errors - self.before.errors;
            stats.violations += u64::from(transport.stream.violation().is_some());
        }
        stats
    }

    /// Puts a request into the ring, waiting for a slot.
    pub(crate) fn submit(&mut self, operation: Operation, taken: &mut impl FnMut(Completion)) -> Result<()> {
        loop {
            match self.transport()?.stream.submit(operation, 0) {
                Ok(()) => return Ok(()),
                Err(SubmitError::Full) => self.wait_answer(&operation, taken)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Shows the submitted requests to the backend, and notifies it if it asked for that.
    pub(crate) fn publish(&mut self) -> Result<()> {
        let transport = self.transport()?;
        if transport.stream.publish() {
            transport.channel.notify().map_err(Error::system("notify the backend"))?;
            self.stats.notifications += 1;
        }
        Ok(())
    }

    /// Sends a request and waits for its answer; passes earlier answers, too, to `taken`.
    pub(crate) fn request(&mut self, operation: Operation, taken: &mut impl FnMut(Completion)) -> Result<Completion> {
        self.submit(operation, taken)?;
        self.publish()?;
        // Answers come in the order of the requests, and nothing is submitted behind this one.
        let mut answer = None;
        while self.transport()?.stream.in_flight() > 0 {
            self.wait_answer(&operation, &mut |completion| {
                answer = Some(completion);
                taken(completion);
            })?;
        }
        answer.ok_or(Error::Lost)
    }

    /// Like [`request`](Self::request), but only success is accepted.
    pub(crate) fn request_ok(
        &mut self,
        operation: Operation,
        taken: &mut impl FnMut(Completion),
    ) -> Result<Completion> {
        let completion = self.request(operation, taken)?;
        if completion.success {
            Ok(completion)
        } else {
            Err(Error::RefusedWithoutReason { operation: name(&operation) })
        }
    }

    /// Takes all answers that have come, and returns their number.
    pub(crate) fn take(&mut self, taken: &mut impl FnMut(Completion)) -> Result<u32> {
        let mut count = 0;
        while let Some(completion) = self.transport()?.stream.next_completion()? {
            count += 1;
            self.stats.events += u64::from(matches!(completion.operation, Operation::Read(_) | Operation::Write(_)));
            taken(completion);
        }
        Ok(count)
    }

    /// Waits until an answer has come, and takes all that have come.
    pub(crate) fn wait_answer(&mut self, waiting_for: &Operation, taken: &mut impl FnMut(Completion)) -> Result<()> {
        self.publish()?;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        while self.take(taken)? == 0 {
            if !self.transport()?.stream.arm(1) && !self.wait(deadline)? {
                return Err(Error::NoAnswer { operation: name(waiting_for), after: ANSWER_TIMEOUT });
            }
        }
        Ok(())
    }

    /// Sleeps until the channel or the connection has news; returns false at the deadline.
    fn wait(&mut self, deadline: Instant) -> Result<bool> {
        let Some(transport) = self.transport.as_mut().filter(|transport| !transport.epoch.is_lost()) else {
            return Err(Error::Lost);
        };
        let fds = [transport.channel.as_fd(), self.shared.store_fd.as_fd(), transport.epoch.as_fd()];
        let Some([ring, store, epoch]) = readable(fds, deadline)? else { return Ok(false) };
        if ring {
            self.stats.ring_wakeups += 1;
            if transport.channel.acknowledge().map_err(Error::system("acknowledge an event"))? {
                transport.stream.woken()?;
            }
        }
        if store || epoch {
            self.shared.lock().pump()?;
            self.transport()?;
        }
        Ok(true)
    }

    /// Sends the mixer's settings that the backend does not know.
    pub(crate) fn flush_mixer(&mut self, taken: &mut impl FnMut(Completion)) -> Result<()> {
        if let Some(volume) = self.mixer.to_tell() {
            self.request_ok(Operation::SetVolume(volume), taken)?;
            self.mixer.told(volume);
        }
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut connection = self.shared.lock();
        if let Some(slot) = connection.slots.first_mut() {
            slot.open = false;
            slot.v0_mixer = self.mixer;
            slot.v0_mixer.replay();
            if let Some(transport) = self.transport.take().filter(Transport::is_reusable) {
                slot.transport = Some(Wire::V0(Box::new(transport)));
            }
        }
        // An error is the store's; the next user of the store will see it.
        let _: Result<()> = connection.update_held();
    }
}

/// Returns the operation's name in the driver of 2015.
pub(crate) fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Open(_) => "OPEN",
        Operation::Close => "CLOSE",
        Operation::Read(_) => "READ",
        Operation::Write(_) => "WRITE",
        Operation::SetVolume(_) => "SET_VOLUME",
        Operation::GetVolume => "GET_VOLUME",
    }
}
