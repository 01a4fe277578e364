//! An open stream of protocol version 0: playing, recording, volume.

use std::time::Instant;

use frontend::SubmitError;
use frontend::v0::Transfers;
use sndif::SharedMemory;
use sndif::store::Direction;
use sndif::v0::{Level, OpenParams, Operation, Transfer};
use xen::Access;

use super::exchange::Exchange;
use crate::protocol::{Common, Protocol};
use crate::wait::RECOVERY_TIMEOUT;
use crate::{Config, Error, Result, Stats, StreamInfo, quarantine};

/// Number of READs in flight: the second is there when the first is answered.
const READS: u32 = 2;

/// An open stream.
pub(crate) struct Stream {
    common: Common,
    exchange: Exchange,
    transfers: Transfers,
    /// Written frames that a new connection has yet to be given.
    requeue: Vec<Vec<u8>>,
    muted: [bool; 2],
}

impl Stream {
    /// A stream whose sizes are chosen, and which is to be opened.
    pub(crate) fn new(exchange: Exchange, info: StreamInfo, config: &Config) -> Result<Self> {
        let Config { format, channels, rate_hz, period_frames, buffer_frames } = *config;
        let sizes = Transfers::nearest(format, channels, rate_hz, period_frames, buffer_frames);
        let (geometry, transfers) = sizes.ok_or(Error::Impossible { format, channels, rate_hz })?;
        let common = Common { info, geometry, recovery_timeout: RECOVERY_TIMEOUT };
        Ok(Self { common, exchange, transfers, requeue: Vec::new(), muted: [false; 2] })
    }

    /// Sends a period, waiting for free pages.
    fn put(&mut self, period: &[u8]) -> Result<()> {
        let length = u32::try_from(period.len()).unwrap_or(u32::MAX);
        self.exchange.take_transfers()?;
        while self.exchange.areas.in_flight() == self.exchange.areas.pages.len() {
            self.exchange.wait_transfers()?;
        }
        let pages = self.exchange.areas.next()?;
        pages.write(0, period);
        let transfer = Transfer::new(length, pages.refs()).ok_or(Error::Submit(SubmitError::OutOfRange))?;
        self.send(Operation::Write(transfer), length)
    }

    fn send(&mut self, operation: Operation, length: u32) -> Result<()> {
        self.exchange.submit(operation)?;
        self.exchange.areas.sent(length);
        match self.exchange.publish() {
            // The request is among those that are sent again on a new connection.
            Err(Error::Lost) => Ok(()),
            published => published,
        }
    }

    /// Keeps READs in flight and waits for one.
    fn get(&mut self) -> Result<()> {
        self.exchange.take_transfers()?;
        while self.exchange.areas.in_flight() < READS.min(self.transfers.areas()) as usize {
            let length = self.transfers.area_bytes();
            let transfer = Transfer::new(length, self.exchange.areas.next()?.refs());
            self.send(Operation::Read(transfer.ok_or(Error::Submit(SubmitError::OutOfRange))?), length)?;
        }
        if self.exchange.areas.captured.is_empty() { self.exchange.wait_transfers() } else { Ok(()) }
    }

    fn await_writes(&mut self) -> Result<()> {
        while self.exchange.areas.in_flight() > 0 {
            self.exchange.wait_transfers()?;
        }
        Ok(())
    }

    fn flush_mixer(&mut self) -> Result<()> {
        let told = self.exchange.flush_mixer();
        self.or_recover(told).map(drop)
    }
}

impl Protocol for Stream {
    fn common(&self) -> &Common {
        &self.common
    }
    fn common_mut(&mut self) -> &mut Common {
        &mut self.common
    }

    fn position(&self) -> u64 {
        self.exchange.areas.moved_bytes
    }

    fn stats(&self) -> Stats {
        self.exchange.hold.stats()
    }

    fn queued_bytes(&self) -> u32 {
        match self.common.info.direction {
            Direction::Playback => self.exchange.areas.in_flight_bytes(),
            Direction::Capture => self.room_bytes(),
        }
    }

    fn room_bytes(&self) -> u32 {
        let areas = &self.exchange.areas;
        match self.common.info.direction {
            Direction::Playback => {
                let free = areas.pages.len().saturating_sub(areas.in_flight());
                u32::try_from(free).unwrap_or(u32::MAX).saturating_mul(self.transfers.area_bytes())
            }
            Direction::Capture => u32::try_from(areas.captured.len()).unwrap_or(u32::MAX),
        }
    }

    fn is_running(&self) -> bool {
        self.exchange.areas.in_flight() > 0
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        let frame_bytes = self.common.geometry.frame_bytes();
        if !data.len().is_multiple_of(frame_bytes as usize) {
            return Err(Error::PartialFrame { bytes: data.len(), frame_bytes });
        }
        for period in data.chunks(self.transfers.area_bytes() as usize) {
            loop {
                let step = self.put(period);
                if self.or_recover(step)?.is_some() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        loop {
            let step = self.await_writes();
            if self.or_recover(step)?.is_some() {
                return Ok(());
            }
        }
    }

    fn read(&mut self, data: &mut [u8]) -> Result<usize> {
        let frame_bytes = self.common.geometry.frame_bytes();
        let whole = data.len() - data.len() % frame_bytes as usize;
        if whole == 0 {
            return Err(Error::PartialFrame { bytes: data.len(), frame_bytes });
        }
        while self.exchange.areas.captured.is_empty() {
            let step = self.get();
            self.or_recover(step)?;
        }
        let captured = &mut self.exchange.areas.captured;
        let ready = whole.min(captured.len());
        for (byte, captured) in data.iter_mut().zip(captured.drain(..ready)) {
            *byte = captured;
        }
        Ok(ready)
    }

    fn restart(&mut self, refusal: Error) -> Result<()> {
        // The protocol has no START, and a refused capture stays refused.
        Err(refusal)
    }

    fn stop(&mut self) -> Result<()> {
        // The protocol has no end of a run but CLOSE.
        self.exchange.areas.captured.clear();
        Ok(())
    }

    fn set_volume(&mut self, volume: &[i32]) -> Result<()> {
        let first = volume.first().copied().unwrap_or(0);
        let levels = [first, volume.get(1).copied().unwrap_or(first)].map(Level::from_millidecibels);
        self.exchange.mixer.set_volume(levels.map(Level::steps));
        let [left, right] = levels.map(|level| level != Level::OFF);
        self.exchange.mixer.set_switch([left && !self.muted[0], right && !self.muted[1]]);
        self.flush_mixer()
    }

    fn set_mute(&mut self, muted: &[bool]) -> Result<()> {
        let first = muted.first().copied().unwrap_or(false);
        self.muted = [first, muted.get(1).copied().unwrap_or(first)];
        self.exchange.mixer.set_switch(self.muted.map(|muted| !muted));
        self.flush_mixer()
    }

    fn volume(&mut self) -> Result<Vec<Option<i32>>> {
        let volume = self.exchange.request_ok(Operation::GetVolume)?.volume.ok_or(Error::NotOffered("volume"))?;
        Ok(vec![volume.left.millidecibels(), volume.right.millidecibels()])
    }

    fn send_open(&mut self) -> Result<()> {
        // A backend only reads frames that it plays.
        let access = match self.common.info.direction {
            Direction::Playback => Access::ReadOnly,
            Direction::Capture => Access::ReadWrite,
        };
        let shared = &self.exchange.hold.shared;
        self.exchange.areas.pages = (0..self.transfers.areas())
            .map(|_| quarantine::grant(&shared.xen, shared.backend, self.transfers.area_pages(), access))
            .collect::<Result<_>>()?;
        let geometry = &self.common.geometry;
        let open = OpenParams { format: geometry.format(), channels: geometry.channels(), rate_hz: geometry.rate_hz() };
        self.exchange.request_ok(Operation::Open(open))?;
        self.exchange.flush_mixer()
    }

    fn close(&mut self) -> Result<()> {
        let answered = match self.exchange.hold.transport() {
            Ok(transport) if transport.stream.is_open() => self.exchange.request_ok(Operation::Close).map(drop),
            _ => Ok(()),
        };
        self.exchange.areas.end_access();
        answered
    }

    fn is_connected(&self) -> bool {
        self.exchange.hold.lasting().is_ok()
    }

    fn forget_connection(&mut self) {
        // A connection that was lost before it got all frames has played none of them.
        if self.requeue.is_empty() && self.common.info.direction == Direction::Playback {
            self.requeue = self.exchange.areas.unanswered();
        }
        self.exchange.hold.detach();
        self.exchange.areas.end_access();
    }

    fn reopen(&mut self, deadline: Instant) -> Result<()> {
        self.exchange.attach(deadline, self.common.recovery_timeout)?;
        self.send_open()?;
        let unplayed = std::mem::take(&mut self.requeue);
        let sent = unplayed.iter().try_for_each(|period| self.put(period));
        if sent.as_ref().is_err_and(Error::is_lost) {
            self.requeue = unplayed;
        }
        sent
    }

    fn count_reconnect(&mut self) {
        self.exchange.hold.stats.reconnects += 1;
    }
}
