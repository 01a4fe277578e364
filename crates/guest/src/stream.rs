//! An open stream as applications have it, whatever protocol its card speaks.

use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use frontend::Geometry;

use crate::protocol::Protocol;
use crate::{Error, Result, Stats, StreamInfo};

/// Kind of a stream's event channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    /// Answers have come.
    Ring,
    /// Events have come.
    Events,
}

/// Result of a wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wake {
    /// Bytes newly played or captured.
    pub moved_bytes: u64,
    /// Playback ran dry, or captured data was lost.
    pub xrun: bool,
    /// Bytes that can be written, or read, now.
    pub available_bytes: u32,
}

/// Direction of a [`Stream`] that plays.
#[derive(Debug, Clone, Copy)]
pub enum Playing {}

/// Direction of a [`Stream`] that records.
#[derive(Debug, Clone, Copy)]
pub enum Recording {}

/// A stream that plays.
pub type Playback = Stream<Playing>;

/// A stream that records.
pub type Capture = Stream<Recording>;

/// An open stream: a [`Playback`] or a [`Capture`]. Dropping it closes it.
///
/// Blocking calls survive the loss of the backend as long as it comes back within the recovery time; the non-blocking
/// ones ([`try_write`](Self::try_write), [`try_read`](Self::try_read), [`on_wake`](Self::on_wake)) say [`Error::Lost`]
/// and leave the rest to [`recover`](Self::recover).
///
/// # Protocol version 0
/// The limits of the protocol show: no pause, no position but the answers, no end of a run but CLOSE, one volume for
/// the left and one for the right side. A backend tells that it refuses, never the reason
/// ([`Error::RefusedWithoutReason`]). Frames that a lost backend had accepted and not played (a tenth of a second with
/// vsndd) are lost with it: the protocol does not tell their number. The non-blocking calls,
/// [`pause`](Self::pause) and [`resume`](Self::resume) are [not offered](Error::NotOffered).
pub struct Stream<D> {
    open: Box<dyn Protocol>,
    closed: bool,
    direction: PhantomData<D>,
}

impl<D> Stream<D> {
    /// Opens `stream` on its card's connection.
    pub(crate) fn open(stream: Box<dyn Protocol>) -> Result<Self> {
        // Made first: whatever becomes of OPEN, the stream is closed.
        let mut stream = Self { open: stream, closed: false, direction: PhantomData };
        stream.open.send_open()?;
        Ok(stream)
    }

    /// The stream, unless it was closed.
    fn opened(&mut self) -> Result<&mut dyn Protocol> {
        if self.closed { Err(Error::Closed) } else { Ok(self.open.as_mut()) }
    }

    /// Returns the description of the stream.
    #[must_use]
    pub fn info(&self) -> &StreamInfo {
        &self.open.common().info
    }

    /// Returns the sizes that were agreed on. With version 0 they were chosen, and a buffer is as many periods as may be
    /// in flight to the backend.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.open.common().geometry
    }

    /// Sets the time that a blocking call waits for a lost backend; 15 s unless set, 0 to fail with [`Error::Lost`] at
    /// once.
    pub fn set_recovery_timeout(&mut self, timeout: Duration) {
        self.open.common_mut().recovery_timeout = timeout;
    }

    /// Measures the time from each WRITE to its answer. Answers are waited for then, which costs wake-ups that normal
    /// playing does without. Does nothing with version 0, where the answer depends on the playback and its delay says
    /// nothing about the transport.
    pub fn measure_write_latency(&mut self, measure: bool) {
        self.open.measure_write_latency(measure);
    }

    /// Says that the descriptors are waited for edge-triggered (`EPOLLET`): [`on_wake`](Self::on_wake) then saves the
    /// system call that consumes the event.
    pub fn set_edge_triggered(&mut self, edge_triggered: bool) {
        self.open.set_edge_triggered(edge_triggered);
    }

    /// Returns the counters since the stream was opened. With version 0 an answered READ or WRITE counts as an event.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.open.stats()
    }

    /// Returns the bytes played or captured since the stream was opened, over all its connections. Never rewinds.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.open.position()
    }

    /// Returns the bytes written and not played yet, or captured and not read yet.
    #[must_use]
    pub fn queued_bytes(&self) -> u32 {
        self.open.queued_bytes()
    }

    /// Returns the bytes that can be written, or read, without waiting.
    #[must_use]
    pub fn room_bytes(&self) -> u32 {
        self.open.room_bytes()
    }

    /// Returns true if the stream was started and is not paused.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.open.is_running()
    }

    /// Returns the descriptors to wait for (readable): of the ring, and of the events. They change when the stream
    /// [recovers](Self::recover).
    ///
    /// # Errors
    /// [`Error::Lost`] while there is no connection.
    pub fn event_fds(&self) -> Result<[BorrowedFd<'_>; 2]> {
        self.open.event_fds()
    }

    /// Takes in what a readable descriptor announced, and asks for what was captured. Never waits.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::Violation`], [`Error::Refused`] for an earlier WRITE or READ.
    pub fn on_wake(&mut self, channel: ChannelKind) -> Result<Wake> {
        self.open.on_wake(channel)
    }

    /// The same for what has come whether or not anybody announced it. Never waits.
    ///
    /// # Errors
    /// As [`on_wake`](Self::on_wake).
    pub fn poll(&mut self) -> Result<Wake> {
        self.open.poll()
    }

    /// Starts the device. With version 0, the first frames do that.
    ///
    /// # Errors
    /// As [`write`](Playback::write).
    pub fn start(&mut self) -> Result<()> {
        self.opened()?.start()
    }

    /// Holds the device; what is queued stays.
    ///
    /// # Errors
    /// As [`write`](Playback::write).
    pub fn pause(&mut self) -> Result<()> {
        self.opened()?.pause()
    }

    /// Goes on after [`pause`](Self::pause).
    ///
    /// # Errors
    /// As [`write`](Playback::write).
    pub fn resume(&mut self) -> Result<()> {
        self.opened()?.resume()
    }

    /// Stops the device and forgets what is queued. With version 0 nothing is sent, and only captured frames are
    /// forgotten.
    ///
    /// # Errors
    /// As [`write`](Playback::write).
    pub fn stop(&mut self) -> Result<()> {
        self.opened()?.stop()
    }

    /// Sets the volume, one value per channel in 0.001 dB (0 = unchanged); the last value holds for further channels. It
    /// is kept while the stream is closed.
    ///
    /// With version 0 the first value is that of the left side, the second, if there is one, of the right. The
    /// protocol's scale goes from −45 dB, below which is silence, to 0 dB in steps of 0.30 dB.
    ///
    /// # Errors
    /// [`Error::NotOffered`] when the backend has no volume; [`Error::Lost`] and the like.
    pub fn set_volume(&mut self, volume: &[i32]) -> Result<()> {
        self.opened()?.set_volume(volume)
    }

    /// Mutes the channels whose flag is set and unmutes the others; with version 0, the sides.
    ///
    /// # Errors
    /// As [`set_volume`](Self::set_volume).
    pub fn set_mute(&mut self, muted: &[bool]) -> Result<()> {
        self.opened()?.set_mute(muted)
    }

    /// Returns the volume that the backend has, per channel (with version 0, per side) in 0.001 dB; `None` is silence.
    ///
    /// # Errors
    /// As [`set_volume`](Self::set_volume).
    pub fn volume(&mut self) -> Result<Vec<Option<i32>>> {
        self.opened()?.volume()
    }

    /// Waits for the backend to come back, at most for the recovery time, and goes on with the new connection. Does
    /// nothing while the connection lasts. The descriptors of [`event_fds`](Self::event_fds) are different ones
    /// afterwards.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::NoDaemon`] or [`Error::ConnectTimeout`] when the backend does not come back; errors of
    /// opening when it refuses the stream.
    pub fn recover(&mut self) -> Result<()> {
        self.open.recover()
    }

    /// Closes the stream and takes its buffer back; what is queued is not played, except with version 0, whose backends
    /// play all written frames before they answer. Closing twice does nothing.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::Violation`]: the stream is closed all the same, and unusable until the card is
    /// connected again.
    pub fn close(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        match self.open.close() {
            Err(Error::Lost) => Ok(()),
            other => other,
        }
    }
}

impl Playback {
    /// Writes all of `data`, waiting for room. A stream that was not started starts when its ring is full.
    ///
    /// # Errors
    /// [`Error::PartialFrame`], [`Error::Paused`] when the ring of a paused stream is full, [`Error::Stalled`],
    /// [`Error::Closed`], [`Error::Refused`], [`Error::NoAnswer`], [`Error::Violation`]; [`Error::Lost`] and those of
    /// connecting when the backend does not come back in time.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        self.opened()?.write(data)
    }

    /// Writes as many whole frames of `data` as there is room for, without waiting, and returns their bytes. (The first after
    /// [`stop`](Self::stop) waits for answers where the backend has to be told CLOSE and OPEN.)
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Lost`], [`Error::Violation`].
    pub fn try_write(&mut self, data: &[u8]) -> Result<usize> {
        self.opened()?.try_write(data)
    }

    /// Waits until everything written is played; starts the stream if it was not started. Running dry at the end is no
    /// xrun then. With version 0, waits until every WRITE is answered: the backend keeps the last frames as its lead,
    /// and plays them before it answers [`close`](Self::close).
    ///
    /// # Errors
    /// [`Error::Stalled`] when it takes longer than what is queued allows; otherwise as [`write`](Self::write).
    pub fn drain(&mut self) -> Result<()> {
        self.opened()?.drain()
    }
}

impl Capture {
    /// Reads captured frames into `data` and returns how many bytes: at least one frame, waiting for it. A stream that
    /// was not started starts.
    ///
    /// Frames come with the event that tells of their period, where the backend takes READs ahead. Elsewhere they come up to
    /// a period later: the event makes us ask for them, and the answer is collected when the next event comes. To be told of
    /// it at once would take a second notification in every period. What was asked for is out of the device's way, so a
    /// caller may still be late by the whole buffer.
    ///
    /// # Errors
    /// As [`write`](Playback::write); frames whose READ was [refused](Error::Refused) are lost, those before and behind
    /// them are not. Where every READ is refused from then on, [`restart`](Self::restart) helps. [`Error::Paused`] when a
    /// paused stream has nothing left.
    pub fn read(&mut self, data: &mut [u8]) -> Result<usize> {
        self.opened()?.read(data)
    }

    /// Reads as many whole frames into `data` as there are, without waiting, and returns their bytes. As with
    /// [`read`](Self::read), what an event tells of may be there only when the next one comes.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Lost`], [`Error::Violation`], [`Error::Refused`] for an earlier READ.
    pub fn try_read(&mut self, data: &mut [u8]) -> Result<usize> {
        self.opened()?.try_read(data)
    }

    /// Goes on with a capture whose READ was refused, as `refusal` says: a backend whose device overran may refuse
    /// every READ until the next START. First sends STOP and START; also CLOSE and OPEN if no READ brought anything
    /// since. Frames that were read stay; those that the device captured after them until now are lost and count as an
    /// xrun.
    ///
    /// # Errors
    /// `refusal` itself if it is another error, the stream does not run, neither has helped, or the protocol is version
    /// 0, which has no START; otherwise errors of [`read`](Self::read).
    pub fn restart(&mut self, refusal: Error) -> Result<()> {
        self.opened()?.restart(refusal)
    }
}

impl<D> Drop for Stream<D> {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _: Result<()> = self.close();
    }
}

impl<D> std::fmt::Debug for Stream<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let StreamInfo { pcm, stream, direction, .. } = self.info();
        f.debug_struct("Stream")
            .field("pcm", pcm)
            .field("stream", stream)
            .field("direction", direction)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
