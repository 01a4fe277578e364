//! Recovery of an open stream on the next connection.
//!
//! The caller's stream stays open: on the new connection it is opened with the same sizes, gets its volume and again
//! the unplayed frames, and goes on. Frames that the old backend played after its last report are heard twice, at most
//! a period of them; nothing is lost.

use sndif::SharedMemory;
use sndif::v2::{Operation, Span, Trigger};

use super::stream::{Desired, Stream};
use crate::protocol::Protocol;
use crate::{Error, Result};

/// Number of ways to restart a capture: STOP and START, CLOSE and OPEN.
const FUTILE_RESTARTS: u32 = 2;

impl Stream {
    /// Sends STOP and START to a capture whose READ was refused; also CLOSE and OPEN if no READ brought anything since.
    pub(crate) fn restart_capture(&mut self, refusal: Error) -> Result<()> {
        if !refusal.is_refused_read()
            || self.desired != Desired::Running
            || self.exchange.futile_restarts == FUTILE_RESTARTS
        {
            return Err(refusal);
        }
        self.exchange.futile_restarts += 1;
        let begun = self.begin_capture_again();
        self.or_recover(begun).map(drop)
    }

    fn begin_capture_again(&mut self) -> Result<()> {
        self.exchange.request_ok(Operation::Trigger(Trigger::Stop))?;
        self.started = false;
        // Answers of the run that ends must not reach the next run.
        self.await_answers()?;
        self.exchange.lose_captured();
        if self.exchange.futile_restarts > 1 {
            self.close_and_open()?;
        }
        self.send_trigger()
    }

    /// Keeps the frames that the lost connection had not played.
    pub(crate) fn keep_unplayed(&mut self) {
        if let Some(stream) = self.exchange.stream() {
            self.carried += stream.position_bytes();
            // A connection that was lost before it got all frames has played none of them.
            if self.requeue == 0 {
                let filled = stream.filled_bytes();
                let played = stream.run_position_bytes() % u64::from(self.common.geometry.ring_bytes());
                if let Ok(played) = usize::try_from(played)
                    && played < self.history.len()
                {
                    self.history.rotate_left(played);
                    self.requeue = filled;
                }
            }
        }
    }

    /// Goes on with the run on the connection where the stream was opened again.
    pub(crate) fn take_up(&mut self) -> Result<()> {
        let length = self.common.geometry.whole_frames(self.requeue);
        if length > 0 {
            let unplayed = self.history.get(..length as usize).unwrap_or(&[]);
            let buffer = self.exchange.buffer.as_ref().ok_or(Error::Lost)?;
            buffer.pages.write(0, unplayed);
            self.exchange.request_ok(Operation::Write(Span { offset: 0, length }))?;
        }
        self.requeue = 0;
        if self.draining {
            self.exchange.stream_mut()?.set_draining(true);
        }
        // A paused stream is started by `resume`.
        if self.desired == Desired::Running { self.send_trigger() } else { Ok(()) }
    }
}
