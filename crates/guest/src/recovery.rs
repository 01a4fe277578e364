//! Recovery of an open stream on the next connection.
//!
//! The caller's stream stays open: on the new connection it is opened with the same sizes, gets its volume and again
//! the unplayed frames, and goes on. Frames that the old backend played after its last report are heard twice, at most
//! a period of them; nothing is lost.

use std::time::Instant;

use sndif::SharedMemory;
use sndif::v2::{Operation, Span, Trigger};

use crate::stream::Desired;
use crate::{Error, OpenStream, Result};

/// Number of ways to restart a capture: STOP and START, CLOSE and OPEN.
const FUTILE_RESTARTS: u32 = 2;

impl OpenStream {
    /// Waits for the backend to come back, at most for the recovery time, and goes on with the new connection. Does
    /// nothing while the connection lasts. The descriptors of [`event_fds`](Self::event_fds) are different ones
    /// afterwards.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::NoDaemon`] or [`Error::ConnectTimeout`] when the backend does not come back; errors of
    /// opening when it refuses the stream.
    pub fn recover(&mut self) -> Result<()> {
        if self.link.transport().is_ok() {
            return Ok(());
        }
        let deadline = Instant::now() + self.recovery_timeout;
        loop {
            self.forget_connection();
            match self.reopen(deadline) {
                Ok(()) => {
                    self.link.count_reconnect();
                    return Ok(());
                }
                Err(error) if error.is_lost() && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Passes a result on; a lost connection is recovered instead, and the result is `None`.
    pub(crate) fn or_recover<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_lost() && !self.recovery_timeout.is_zero() => self.recover().map(|()| None),
            Err(error) => Err(error),
        }
    }

    /// Goes on with a capture whose READ was refused, as `refusal` says: a backend whose device overran may refuse
    /// every READ until the next START. First sends STOP and START; also CLOSE and OPEN if no READ brought anything
    /// since. Frames that were read stay; those that the device captured after them until now are lost and count as an
    /// xrun.
    ///
    /// # Errors
    /// `refusal` itself if it is another error, the stream does not run, or neither has helped; otherwise errors of
    /// [`write`](Self::write).
    pub fn restart(&mut self, refusal: Error) -> Result<()> {
        if !refusal.is_refused_read()
            || self.desired != Desired::Running
            || self.link.futile_restarts == FUTILE_RESTARTS
        {
            return Err(refusal);
        }
        self.link.futile_restarts += 1;
        let begun = self.begin_capture_again();
        self.or_recover(begun).map(drop)
    }

    fn begin_capture_again(&mut self) -> Result<()> {
        self.link.request_ok(Operation::Trigger(Trigger::Stop))?;
        self.started = false;
        // Answers of the run that ends must not reach the next run.
        self.await_answers()?;
        self.link.lose_captured();
        if self.link.futile_restarts > 1 {
            self.close_and_open()?;
        }
        self.send_trigger()
    }

    /// Keeps the frames that the lost connection had not played, and detaches from it.
    pub(crate) fn forget_connection(&mut self) {
        if let Some(stream) = self.link.stream() {
            self.carried += stream.position_bytes();
            // A connection that was lost before it got all frames has played none of them.
            if self.requeue == 0 {
                let filled = stream.filled_bytes();
                let played = stream.run_position_bytes() % u64::from(self.geometry.ring_bytes());
                if let Ok(played) = usize::try_from(played)
                    && played < self.history.len()
                {
                    self.history.rotate_left(played);
                    self.requeue = filled;
                }
            }
        }
        self.link.detach();
    }

    fn reopen(&mut self, deadline: Instant) -> Result<()> {
        self.link.attach(deadline, self.recovery_timeout)?;
        self.send_open()?;
        let length = self.geometry.whole_frames(self.requeue);
        if length > 0 {
            let unplayed = self.history.get(..length as usize).unwrap_or(&[]);
            let buffer = self.link.buffer.as_ref().ok_or(Error::Lost)?;
            buffer.pages.write(0, unplayed);
            self.link.request_ok(Operation::Write(Span { offset: 0, length }))?;
        }
        self.requeue = 0;
        if self.draining {
            self.link.stream_mut()?.set_draining(true);
        }
        // A paused stream is started by `resume`.
        if self.desired == Desired::Running { self.send_trigger() } else { Ok(()) }
    }
}
