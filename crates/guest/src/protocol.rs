//! The seam between [`Stream`](crate::Stream), which applications have, and the protocols.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use frontend::Geometry;

use crate::{ChannelKind, Error, Result, Stats, StreamInfo, Wake};

/// Properties of an open stream that do not depend on the protocol.
pub(crate) struct Common {
    pub(crate) info: StreamInfo,
    /// Sizes that were agreed on.
    pub(crate) geometry: Geometry,
    pub(crate) recovery_timeout: Duration,
}

/// Operations of an open stream in one protocol; [`Stream`](crate::Stream) says what they do. It calls `write` and
/// `drain` of a stream that plays, `read` and `restart` of one that records, and nothing but `close` of a closed one.
///
/// Default implementations are those of a protocol that lacks the operation.
pub(crate) trait Protocol: Send {
    fn common(&self) -> &Common;
    fn common_mut(&mut self) -> &mut Common;
    fn position(&self) -> u64;
    fn stats(&self) -> Stats;
    fn queued_bytes(&self) -> u32;
    fn room_bytes(&self) -> u32;
    fn is_running(&self) -> bool;

    fn write(&mut self, data: &[u8]) -> Result<()>;
    fn drain(&mut self) -> Result<()>;
    fn read(&mut self, data: &mut [u8]) -> Result<usize>;
    fn restart(&mut self, refusal: Error) -> Result<()>;
    fn stop(&mut self) -> Result<()>;
    fn set_volume(&mut self, volume: &[i32]) -> Result<()>;
    fn set_mute(&mut self, muted: &[bool]) -> Result<()>;
    fn volume(&mut self) -> Result<Vec<Option<i32>>>;

    /// Makes the buffer and opens the stream on the present connection.
    fn send_open(&mut self) -> Result<()>;
    /// Closes the stream, if it is open, and takes its pages back.
    fn close(&mut self) -> Result<()>;

    fn is_connected(&self) -> bool;
    /// Keeps what the lost connection has not played, and releases its transport.
    fn forget_connection(&mut self);
    /// Waits for the next connection, and goes on there from where the last one was.
    fn reopen(&mut self, deadline: Instant) -> Result<()>;
    fn count_reconnect(&mut self);

    fn start(&mut self) -> Result<()> {
        Ok(())
    }
    fn pause(&mut self) -> Result<()> {
        Err(Error::NotOffered("pause"))
    }
    fn resume(&mut self) -> Result<()> {
        Err(Error::NotOffered("pause"))
    }
    fn try_write(&mut self, _data: &[u8]) -> Result<usize> {
        Err(NO_EVENTS)
    }
    fn try_read(&mut self, _data: &mut [u8]) -> Result<usize> {
        Err(NO_EVENTS)
    }
    fn event_fds(&self) -> Result<[BorrowedFd<'_>; 2]> {
        Err(NO_EVENTS)
    }
    fn on_wake(&mut self, _channel: ChannelKind) -> Result<Wake> {
        Err(NO_EVENTS)
    }
    fn poll(&mut self) -> Result<Wake> {
        Err(NO_EVENTS)
    }
    fn measure_write_latency(&mut self, _measure: bool) {}
    fn set_edge_triggered(&mut self, _edge_triggered: bool) {}

    fn recover(&mut self) -> Result<()> {
        if self.is_connected() {
            return Ok(());
        }
        let deadline = Instant::now() + self.common().recovery_timeout;
        loop {
            self.forget_connection();
            match self.reopen(deadline) {
                Ok(()) => {
                    self.count_reconnect();
                    return Ok(());
                }
                Err(error) if error.is_lost() && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Passes a result on; a lost connection is recovered instead, and the result is `None`.
    fn or_recover<T>(&mut self, result: Result<T>) -> Result<Option<T>>
    where
        Self: Sized,
    {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_lost() && !self.common().recovery_timeout.is_zero() => self.recover().map(|()| None),
            Err(error) => Err(error),
        }
    }
}

/// Version 0 tells nothing between the answers to requests.
const NO_EVENTS: Error = Error::NotOffered("position events");
