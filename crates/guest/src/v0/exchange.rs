//! Requests and answers of a stream of protocol version 0, and the waiting for them.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use frontend::SubmitError;
use frontend::v0::{Completion, Mixer};
use sndif::v0::{ANSWER_TIMEOUT_MS, Operation};

use super::areas::Areas;
use super::transport::Transport;
use crate::connection::Shared;
use crate::hold::Hold;
use crate::wait::readable;
use crate::{Error, Result};

/// Maximum time of an answer. Answers come in the order of the requests: each restarts the time for the next.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(ANSWER_TIMEOUT_MS as u64);

pub(crate) struct Exchange {
    pub(crate) hold: Hold<Transport>,
    pub(crate) areas: Areas,
    pub(crate) mixer: Mixer,
}

impl Exchange {
    /// With version 0 the first slot has the device, whatever its directions.
    pub(crate) fn new(shared: Arc<Shared>, transport: Transport, mixer: Mixer) -> Self {
        Self { hold: Hold::new(shared, 0, transport), areas: Areas::default(), mixer }
    }

    /// Takes the next connection's transport.
    pub(crate) fn attach(&mut self, deadline: Instant, timeout: Duration) -> Result<()> {
        self.hold.attach(deadline, timeout)?;
        self.mixer.replay();
        Ok(())
    }

    /// Puts a request into the ring, waiting for a slot.
    pub(crate) fn submit(&mut self, operation: Operation) -> Result<()> {
        loop {
            match self.hold.transport()?.stream.submit(operation, 0) {
                Ok(()) => return Ok(()),
                Err(SubmitError::Full) => self.wait_answer(&operation).map(drop)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Shows the submitted requests to the backend, and notifies it if it asked for that.
    pub(crate) fn publish(&mut self) -> Result<()> {
        self.hold.notify_if(|transport| transport.stream.publish())
    }

    /// Sends a request and waits for its success.
    pub(crate) fn request_ok(&mut self, operation: Operation) -> Result<Completion> {
        self.submit(operation)?;
        self.publish()?;
        // Answers come in the order of the requests, and nothing is submitted behind this one.
        let mut answer = None;
        while self.hold.transport()?.stream.in_flight() > 0 {
            answer = Some(self.wait_answer(&operation)?);
        }
        let answer: Completion = answer.ok_or(Error::Lost)?;
        if answer.success { Ok(answer) } else { Err(Error::RefusedWithoutReason { operation: name(&operation) }) }
    }

    /// Takes all answers that have come, and returns the last.
    fn take(&mut self) -> Result<Option<Completion>> {
        let mut last = None;
        while let Some(completion) = self.hold.transport()?.stream.next_completion()? {
            let moved = matches!(completion.operation, Operation::Read(_) | Operation::Write(_));
            self.hold.stats.events += u64::from(moved);
            self.areas.completed(&completion);
            last = Some(completion);
        }
        Ok(last)
    }

    /// Waits until an answer has come, and takes all that have come; returns the last.
    fn wait_answer(&mut self, waiting_for: &Operation) -> Result<Completion> {
        self.publish()?;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            if let Some(last) = self.take()? {
                return Ok(last);
            }
            if !self.hold.transport()?.stream.arm(1) && !self.wait(deadline)? {
                return Err(Error::NoAnswer { operation: name(waiting_for), after: ANSWER_TIMEOUT });
            }
        }
    }

    /// Takes the answers to READs and WRITEs that have come.
    ///
    /// # Errors
    /// A READ or WRITE was refused; [`Error::Lost`], [`Error::Violation`].
    pub(crate) fn take_transfers(&mut self) -> Result<()> {
        self.take()?;
        self.areas.report_failure()
    }

    /// Like [`take_transfers`](Self::take_transfers), and waits for one.
    pub(crate) fn wait_transfers(&mut self) -> Result<()> {
        self.wait_answer(&Operation::Close)?;
        self.areas.report_failure()
    }

    /// Sleeps until the channel or the connection has news; returns false at the deadline.
    fn wait(&mut self, deadline: Instant) -> Result<bool> {
        let transport = self.hold.lasting()?;
        let [store, epoch] = self.hold.fds(transport);
        let Some([ring, store, epoch]) = readable([transport.channel.as_fd(), store, epoch], deadline)? else {
            return Ok(false);
        };
        if ring {
            self.hold.stats.ring_wakeups += 1;
            let transport = self.hold.transport()?;
            if transport.channel.acknowledge().map_err(Error::system("acknowledge an event"))? {
                transport.stream.woken()?;
            }
        }
        if store || epoch {
            self.hold.look_at_store()?;
        }
        Ok(true)
    }

    /// Sends the mixer's settings that the backend does not know.
    pub(crate) fn flush_mixer(&mut self) -> Result<()> {
        if let Some(volume) = self.mixer.to_tell() {
            self.request_ok(Operation::SetVolume(volume))?;
            self.mixer.told(volume);
        }
        Ok(())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut mixer = self.mixer;
        mixer.replay();
        self.hold.give_back(|slot| slot.v0_mixer = mixer);
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
