//! An opened stream: playing, recording, volume.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use frontend::v0::{Completion, Transfers};
use frontend::{Geometry, SubmitError};
use sndif::SharedMemory;
use sndif::store::Direction;
use sndif::v0::{Level, OpenParams, Operation, Transfer};
use xen::{Access, Granted};

use super::link::{Link, name};
use crate::wait::RECOVERY_TIMEOUT;
use crate::{Config, Error, Result, Stats, StreamInfo, quarantine};

/// Number of READs in flight: the second is there when the first is answered.
const READS: u32 = 2;

/// Memory of frames in flight.
struct Areas {
    pages: Vec<Granted>,
    /// Areas in flight, in the order of the ring: their index, and the bytes used.
    used: VecDeque<(usize, u32)>,
    next: usize,
    /// Bytes that were captured and that the application has not read yet.
    captured: VecDeque<u8>,
    /// Operation that failed while nobody waited for it.
    failed: Option<Operation>,
}

impl Areas {
    /// Frees the area of an answered request.
    fn completed(&mut self, completion: &Completion) {
        let (Operation::Read(transfer) | Operation::Write(transfer)) = completion.operation else { return };
        let Some((index, _)) = self.used.pop_front() else { return };
        if !completion.success {
            self.failed.get_or_insert(completion.operation);
        } else if let (Operation::Read(_), Some(pages)) = (completion.operation, self.pages.get(index)) {
            let mut bytes = vec![0; transfer.length() as usize];
            pages.read(0, &mut bytes);
            self.captured.extend(bytes);
        }
    }
}

/// An opened stream of protocol version 0. Dropping it closes it.
///
/// Blocking calls survive the loss of the backend if it comes back within the recovery time. Frames that it had
/// accepted and not played by then (a tenth of a second with vsndd) are lost with it: the protocol does not tell their
/// number.
pub struct OpenStream {
    link: Link,
    info: StreamInfo,
    geometry: Geometry,
    transfers: Transfers,
    areas: Areas,
    /// Bytes answered in earlier connections.
    carried: u64,
    muted: [bool; 2],
    recovery_timeout: Duration,
    closed: bool,
}

impl OpenStream {
    pub(crate) fn open(link: Link, info: StreamInfo, config: &Config) -> Result<Self> {
        let Config { format, channels, rate_hz, period_frames, buffer_frames } = *config;
        let sizes = Transfers::nearest(format, channels, rate_hz, period_frames, buffer_frames);
        let (geometry, transfers) = sizes.ok_or(Error::Impossible { format, channels, rate_hz })?;
        let areas =
            Areas { pages: Vec::new(), used: VecDeque::new(), next: 0, captured: VecDeque::new(), failed: None };
        let mut stream = Self {
            link,
            info,
            geometry,
            transfers,
            areas,
            carried: 0,
            muted: [false; 2],
            recovery_timeout: RECOVERY_TIMEOUT,
            closed: false,
        };
        stream.send_open()?;
        Ok(stream)
    }

    /// Grants pages and opens the stream on the link's connection.
    fn send_open(&mut self) -> Result<()> {
        // A backend only reads frames that it plays.
        let access = match self.info.direction {
            Direction::Playback => Access::ReadOnly,
            Direction::Capture => Access::ReadWrite,
        };
        let shared = &self.link.shared;
        self.areas.pages = (0..self.transfers.areas())
            .map(|_| quarantine::grant(&shared.xen, shared.backend, self.transfers.area_pages(), access))
            .collect::<Result<_>>()?;
        let open = OpenParams {
            format: self.geometry.format(),
            channels: self.geometry.channels(),
            rate_hz: self.geometry.rate_hz(),
        };
        self.link.request_ok(Operation::Open(open), &mut |_| {})?;
        self.link.flush_mixer(&mut |_| {})
    }

    /// Returns the description of the stream.
    #[must_use]
    pub fn info(&self) -> &StreamInfo {
        &self.info
    }

    /// Returns the sizes that were chosen; a buffer is as many periods as may be in flight to the backend.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Sets the time that a blocking call waits for a lost backend; 15 s unless set, 0 to fail with [`Error::Lost`]
    /// immediately.
    pub fn set_recovery_timeout(&mut self, timeout: Duration) {
        self.recovery_timeout = timeout;
    }

    /// Does nothing: the answer to a WRITE depends on the playback, and its delay says nothing about the transport.
    pub fn measure_write_latency(&mut self, _measure: bool) {}

    /// Returns the counters since the stream was opened; an answered READ or WRITE counts as an event.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.link.stats()
    }

    /// Returns the bytes that the backend reported as played or captured, over all connections.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.carried + self.link.moved_bytes()
    }

    /// Writes all of `data`, a period or less in each WRITE, waiting for free pages.
    ///
    /// # Errors
    /// [`Error::PartialFrame`], [`Error::Direction`], [`Error::Closed`], [`Error::RefusedWithoutReason`],
    /// [`Error::NoAnswer`], [`Error::Violation`]; [`Error::Lost`] and errors of connecting when the backend does not
    /// come back in time.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        self.expect(Direction::Playback)?;
        let frame_bytes = self.geometry.frame_bytes();
        if !data.len().is_multiple_of(frame_bytes as usize) {
            return Err(Error::PartialFrame { bytes: data.len(), frame_bytes });
        }
        for period in data.chunks(self.transfers.area_bytes() as usize) {
            while self.retry(|stream| stream.put(period))?.is_none() {}
        }
        Ok(())
    }

    /// Sends a period, waiting for free pages.
    fn put(&mut self, period: &[u8]) -> Result<()> {
        let length = u32::try_from(period.len()).unwrap_or(u32::MAX);
        self.take_answers()?;
        while self.areas.used.len() == self.areas.pages.len() {
            self.wait_answer()?;
        }
        let index = self.areas.next;
        let pages = self.areas.pages.get(index).ok_or(Error::Closed)?;
        pages.write(0, period);
        let transfer = Transfer::new(length, pages.refs()).ok_or(Error::Submit(SubmitError::OutOfRange))?;
        self.send(Operation::Write(transfer), length)
    }

    fn send(&mut self, operation: Operation, length: u32) -> Result<()> {
        let areas = &mut self.areas;
        self.link.submit(operation, &mut |completion| areas.completed(&completion))?;
        areas.used.push_back((areas.next, length));
        areas.next = (areas.next + 1) % areas.pages.len().max(1);
        match self.link.publish() {
            // The request is among those that are sent again on a new connection.
            Err(Error::Lost) => Ok(()),
            published => published,
        }
    }

    fn take_answers(&mut self) -> Result<()> {
        let areas = &mut self.areas;
        self.link.take(&mut |completion| areas.completed(&completion))?;
        self.report_failure()
    }

    fn wait_answer(&mut self) -> Result<()> {
        let areas = &mut self.areas;
        let operation = Operation::Close;
        self.link.wait_answer(&operation, &mut |completion| areas.completed(&completion))?;
        self.report_failure()
    }

    fn report_failure(&mut self) -> Result<()> {
        match self.areas.failed.take() {
            Some(operation) => Err(Error::RefusedWithoutReason { operation: name(&operation) }),
            None => Ok(()),
        }
    }

    /// Reads captured frames into `data` and returns the number of bytes: at least one frame, waiting for it.
    ///
    /// # Errors
    /// Errors of [`write`](Self::write).
    pub fn read(&mut self, data: &mut [u8]) -> Result<usize> {
        self.expect(Direction::Capture)?;
        let frame_bytes = self.geometry.frame_bytes();
        let whole = data.len() - data.len() % frame_bytes as usize;
        if whole == 0 {
            return Err(Error::PartialFrame { bytes: data.len(), frame_bytes });
        }
        while self.areas.captured.is_empty() {
            self.retry(Self::get)?;
        }
        let ready = whole.min(self.areas.captured.len());
        for (byte, captured) in data.iter_mut().zip(self.areas.captured.drain(..ready)) {
            *byte = captured;
        }
        Ok(ready)
    }

    /// Returns `refusal`: the protocol has no START, and a refused capture stays refused.
    ///
    /// # Errors
    /// Always; [`Error::Closed`] or [`Error::Direction`] come first.
    pub fn restart(&mut self, refusal: Error) -> Result<()> {
        self.expect(Direction::Capture).and(Err(refusal))
    }

    /// Keeps READs in flight and waits for one.
    fn get(&mut self) -> Result<()> {
        self.take_answers()?;
        while self.areas.used.len() < READS.min(self.transfers.areas()) as usize {
            let pages = self.areas.pages.get(self.areas.next).ok_or(Error::Closed)?;
            let length = self.transfers.area_bytes();
            let transfer = Transfer::new(length, pages.refs()).ok_or(Error::Submit(SubmitError::OutOfRange))?;
            self.send(Operation::Read(transfer), length)?;
        }
        if self.areas.captured.is_empty() { self.wait_answer() } else { Ok(()) }
    }

    /// Waits until every WRITE is answered. The backend keeps the last frames as its lead, and plays them before it
    /// answers [`close`](Self::close).
    ///
    /// # Errors
    /// Errors of [`write`](Self::write).
    pub fn drain(&mut self) -> Result<()> {
        self.expect(Direction::Playback)?;
        while self
            .retry(|stream| {
                while !stream.areas.used.is_empty() {
                    stream.wait_answer()?;
                }
                Ok(())
            })?
            .is_none()
        {}
        Ok(())
    }

    /// Sends nothing to the backend: the protocol has no end of a run but CLOSE. Captured frames are dropped.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn stop(&mut self) -> Result<()> {
        self.expect(self.info.direction)?;
        self.areas.captured.clear();
        Ok(())
    }

    /// Sets the volume in 0.001 dB: the first value for the left side, the second, if there is one, for the right. The
    /// protocol's scale goes from −45 dB, below which is silence, to 0 dB in steps of 0.30 dB.
    ///
    /// # Errors
    /// Errors of [`write`](Self::write).
    pub fn set_volume(&mut self, volume: &[i32]) -> Result<()> {
        let first = volume.first().copied().unwrap_or(0);
        let levels = [first, volume.get(1).copied().unwrap_or(first)].map(Level::from_millidecibels);
        self.link.mixer.set_volume(levels.map(Level::steps));
        let [left, right] = levels.map(|level| level != Level::OFF);
        self.link.mixer.set_switch([left && !self.muted[0], right && !self.muted[1]]);
        self.flush_mixer()
    }

    /// Mutes the sides whose flag is set and unmutes the others.
    ///
    /// # Errors
    /// Errors of [`write`](Self::write).
    pub fn set_mute(&mut self, muted: &[bool]) -> Result<()> {
        let first = muted.first().copied().unwrap_or(false);
        self.muted = [first, muted.get(1).copied().unwrap_or(first)];
        self.link.mixer.set_switch(self.muted.map(|muted| !muted));
        self.flush_mixer()
    }

    fn flush_mixer(&mut self) -> Result<()> {
        self.expect(self.info.direction)?;
        self.retry(|stream| {
            let areas = &mut stream.areas;
            stream.link.flush_mixer(&mut |completion| areas.completed(&completion))
        })?;
        Ok(())
    }

    /// Returns the backend's volume, left and right in 0.001 dB; `None` is silence.
    ///
    /// # Errors
    /// Errors of [`write`](Self::write).
    pub fn volume(&mut self) -> Result<[Option<i32>; 2]> {
        self.expect(self.info.direction)?;
        let areas = &mut self.areas;
        let answer = self.link.request_ok(Operation::GetVolume, &mut |completion| areas.completed(&completion))?;
        let volume = answer.volume.ok_or(Error::NotOffered("volume"))?;
        Ok([volume.left.millidecibels(), volume.right.millidecibels()])
    }

    /// Calls `act`; if the connection is lost, gets a new one and returns `None`.
    fn retry<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        match act(self) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_lost() && !self.recovery_timeout.is_zero() => self.recover().map(|()| None),
            Err(error) => Err(error),
        }
    }

    /// Waits for the backend to come back, at most for the recovery time, and goes on with the new connection: opens
    /// the stream again, tells its volume, and sends the unanswered frames again.
    fn recover(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.recovery_timeout;
        // The pages are our own, and no backend could write to them: their contents are those that were written.
        let unanswered: Vec<Vec<u8>> = match self.info.direction {
            Direction::Playback => self
                .areas
                .used
                .iter()
                .filter_map(|&(index, length)| {
                    let mut bytes = vec![0; length as usize];
                    self.areas.pages.get(index)?.read(0, &mut bytes).then_some(bytes)
                })
                .collect(),
            Direction::Capture => Vec::new(),
        };
        loop {
            self.carried += self.link.moved_bytes();
            self.link.detach();
            self.end_access();
            match self.reopen(deadline, &unanswered) {
                Ok(()) => {
                    self.link.stats.reconnects += 1;
                    return Ok(());
                }
                Err(error) if error.is_lost() && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn reopen(&mut self, deadline: Instant, unanswered: &[Vec<u8>]) -> Result<()> {
        self.link.attach(deadline, self.recovery_timeout)?;
        self.send_open()?;
        unanswered.iter().try_for_each(|period| self.put(period))
    }

    /// Takes the pages back. Pages that the backend still maps go into quarantine: dropped, but not freed before the
    /// last mapping ends (XSA-396).
    fn end_access(&mut self) {
        self.areas.used.clear();
        self.areas.next = 0;
        for pages in self.areas.pages.drain(..) {
            if let Err(still_mapped) = pages.end_access() {
                drop(still_mapped.granted);
            }
        }
    }

    fn expect(&self, direction: Direction) -> Result<()> {
        if self.closed {
            return Err(Error::Closed);
        }
        if self.info.direction == direction { Ok(()) } else { Err(Error::Direction(self.info.direction)) }
    }

    /// Closes the stream; the backend plays all written frames before it answers. Closing twice does nothing.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::Violation`]: the stream is closed all the same, and unusable until the card is
    /// connected again.
    pub fn close(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let areas = &mut self.areas;
        let answered = match self.link.transport() {
            Ok(transport) if transport.stream.is_open() => {
                self.link.request_ok(Operation::Close, &mut |completion| areas.completed(&completion)).map(drop)
            }
            _ => Ok(()),
        };
        self.end_access();
        match answered {
            Err(Error::Lost) => Ok(()),
            other => other,
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        // No caller is left to get the error.
        let _: Result<()> = self.close();
    }
}

impl std::fmt::Debug for OpenStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("v0::OpenStream").field("position", &self.position()).finish_non_exhaustive()
    }
}
