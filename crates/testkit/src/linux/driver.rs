//! The driver's part of an open substream: buffer, OPEN and CLOSE, position.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sndif::SharedMemory;
use xen::{Access, Granted};

use super::bus::{Shared, lock};
use super::channel::{Answer, Pair, op};
use super::errno::Errno;

const PAGE: usize = 4096;
const REFS_PER_PAGE: usize = PAGE / 4 - 1;

/// Operand of TRIGGER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    Start = 0,
    Pause = 1,
    Stop = 2,
}

/// The buffer shared with the backend, and its directory.
struct SharedBuffer {
    pages: Granted,
    directory: Granted,
    bytes: usize,
}

/// Fields of OPEN.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenFields {
    pub format: u8,
    pub channels: u8,
    pub rate_hz: u32,
    pub buffer_bytes: u32,
    pub period_bytes: u32,
}

/// The driver's state of a substream.
pub(super) struct DriverStream {
    shared: Arc<Shared>,
    pair: Arc<Mutex<Pair>>,
    buffer: Option<SharedBuffer>,
    is_open: bool,
    /// Frames at the last event.
    reported_frames: u64,
    /// Result of `pointer`. Kept over `prepare`.
    pointer: u64,
    /// Frames since the last wake-up. Kept over `prepare`.
    out_frames: u64,
}

impl DriverStream {
    pub fn open(shared: Arc<Shared>, pair: Arc<Mutex<Pair>>) -> Self {
        let mut stream =
            Self { shared, pair, buffer: None, is_open: false, reported_frames: 0, pointer: 0, out_frames: 0 };
        stream.clear();
        lock(&stream.pair).set_connected(true);
        stream
    }

    fn clear(&mut self) {
        self.is_open = false;
        self.reported_frames = 0;
        self.out_frames = 0;
        self.pointer = 0;
        lock(&self.pair).clear();
        self.buffer = None;
    }

    pub fn request(&self, operation: u8, fields: impl FnOnce(&super::channel::Slot<'_>)) -> Result<Answer, Errno> {
        lock(&self.pair).request(operation, self.shared.timings.answer, fields)
    }

    pub fn with_pair<T>(&self, act: impl FnOnce(&mut Pair) -> T) -> T {
        act(&mut lock(&self.pair))
    }

    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Shares a new buffer; takes the old one back without informing the backend.
    pub fn hw_params(&mut self, bytes: usize) -> Result<(), Errno> {
        self.clear();
        let domain = self.shared.backend_domain;
        let count = bytes.div_ceil(PAGE);
        let grant = |pages| self.shared.xen.grant(domain, pages, Access::ReadWrite).map_err(|_| Errno(12));
        let (pages, directory) = (grant(count)?, grant(count.div_ceil(REFS_PER_PAGE))?);
        for (index, refs) in pages.refs().chunks(REFS_PER_PAGE).enumerate() {
            let next = directory.refs().get(index + 1).map_or(0, |page| page.0);
            let words = std::iter::once(next).chain(refs.iter().map(|page| page.0));
            let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
            assert!(directory.write(index * PAGE, &bytes));
        }
        self.buffer = Some(SharedBuffer { pages, directory, bytes });
        Ok(())
    }

    /// Sends OPEN if the stream is not open.
    pub fn prepare(&mut self, fields: &OpenFields) -> Result<(), Errno> {
        if self.is_open {
            return Ok(());
        }
        let directory = self.buffer.as_ref().map_or(0, |buffer| buffer.directory.refs()[0].0);
        self.request(op::OPEN, |slot| {
            slot.put(12, &[fields.format]);
            slot.put(13, &[fields.channels]);
            slot.put_u32(8, fields.rate_hz);
            slot.put_u32(16, fields.buffer_bytes);
            slot.put_u32(24, fields.period_bytes);
            slot.put_u32(20, directory);
        })?;
        self.is_open = true;
        lock(&self.pair).set_stream_open(true);
        Ok(())
    }

    pub fn trigger(&self, trigger: Trigger) -> Result<(), Errno> {
        self.request(op::TRIGGER, |slot| slot.put(8, &[trigger as u8])).map(drop)
    }

    /// Copies frames into the buffer and sends WRITE.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Errno> {
        let buffer = self.buffer.as_ref().filter(|buffer| offset + bytes.len() <= buffer.bytes).ok_or(Errno::EINVAL)?;
        assert!(buffer.pages.write(offset, bytes));
        self.transfer(op::WRITE, offset, bytes.len())
    }

    /// Sends READ and copies the frames out of the buffer.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Errno> {
        let buffer = self.buffer.as_ref().filter(|buffer| offset + bytes.len() <= buffer.bytes).ok_or(Errno::EINVAL)?;
        self.transfer(op::READ, offset, bytes.len())?;
        assert!(buffer.pages.read(offset, bytes));
        Ok(())
    }

    fn transfer(&self, operation: u8, offset: usize, length: usize) -> Result<(), Errno> {
        let word = |value: usize| u32::try_from(value).expect("a buffer is below 4 GiB");
        self.request(operation, |slot| {
            slot.put_u32(12, word(length));
            slot.put_u32(8, word(offset));
        })
        .map(drop)
    }

    /// Overwrites the shared buffer without informing the backend.
    pub fn scribble(&self, byte: u8) {
        if let Some(buffer) = &self.buffer {
            buffer.pages.write(0, &vec![byte; buffer.bytes]);
        }
    }

    /// Sends CLOSE, even without an earlier OPEN, and frees the buffer after any answer.
    pub fn hw_free(&mut self) -> Result<(), Errno> {
        lock(&self.pair).set_stream_open(false);
        let result = self.request(op::CLOSE, |_| {}).map(drop);
        self.clear();
        result
    }

    pub fn close(&mut self) {
        lock(&self.pair).set_connected(false);
        self.shared.closed();
    }

    /// Handles interrupts for at most `timeout`; [`next_position`](Self::next_position) returns their positions.
    pub fn interrupts(&self, timeout: Duration) {
        lock(&self.pair).interrupts(timeout);
    }

    pub fn next_position(&self) -> Option<u64> {
        lock(&self.pair).positions.pop_front()
    }

    /// Handles an event; returns true if a period has elapsed.
    ///
    /// # Panics
    /// If the kernel would divide by zero: at an event before the stream has a format.
    pub fn handle_position(&mut self, bytes: u64, frame_bytes: u64, buffer_frames: u64, period_frames: u64) -> bool {
        assert!(frame_bytes > 0 && buffer_frames > 0, "the guest's kernel divides by zero");
        let frames = bytes / frame_bytes;
        let delta = frames.wrapping_sub(self.reported_frames);
        self.reported_frames = frames;
        self.pointer = self.pointer.wrapping_add(delta) % buffer_frames;
        // The driver's counter is 32 bits wide.
        self.out_frames = self.out_frames.wrapping_add(delta) & u64::from(u32::MAX);
        if self.out_frames > period_frames {
            self.out_frames %= period_frames;
            true
        } else {
            false
        }
    }

    pub fn pointer(&self) -> u64 {
        self.pointer
    }

    pub fn timings(&self) -> super::bus::Timings {
        self.shared.timings
    }
}
