//! Conversion for a device that takes other samples than its stream has.

use super::{Event, Fault, Input, Opened, Output};
use crate::{ServerVolume, StreamSpec};
use pcm::Converter;
use sndif::{Format, FormatSet};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that are converted together.
const BLOCK_BYTES: usize = 16 * 1024;

/// Formats, best first, in which a device may be opened in place of one that it does not take.
const STAND_INS: [Format; 8] =
    [Format::S32Le, Format::F32Le, Format::S24Le, Format::S16Le, Format::S32Be, Format::S16Be, Format::U8, Format::S8];

/// Formats that a device with these `native` ones carries, with conversion.
pub(super) fn reachable(native: FormatSet) -> FormatSet {
    Format::all().filter(|&format| nearest(format, native).is_some()).collect()
}

/// The format with which a device opens for a stream of `format`: the same, or the one that loses least.
pub(super) fn nearest(format: Format, native: FormatSet) -> Option<Format> {
    if native.contains(format) {
        return Some(format);
    }
    let bits = pcm::significant_bits(format)?;
    let possible = || STAND_INS.into_iter().filter(|&other| native.contains(other));
    // The narrowest format that loses nothing, else the best one available.
    let lossless = possible().filter(|&other| pcm::significant_bits(other).is_some_and(|most| most >= bits));
    lossless.min_by_key(|&other| pcm::significant_bits(other)).or_else(|| possible().next())
}

/// Wraps `opened`, which takes `carried`, for a stream of `spec`.
pub(super) fn output(opened: Opened<dyn Output>, spec: &StreamSpec, carried: Format) -> Opened<dyn Output> {
    match Converter::new(spec.format, carried) {
        Some(converter) if spec.format != carried => {
            Opened { device: Box::new(Converting::new(opened.device, converter, spec)), ..opened }
        }
        _ => opened,
    }
}

/// Wraps `opened`, which gives `carried`, for a stream of `spec`.
pub(super) fn input(opened: Opened<dyn Input>, spec: &StreamSpec, carried: Format) -> Opened<dyn Input> {
    match Converter::new(carried, spec.format) {
        Some(converter) if spec.format != carried => {
            Opened { device: Box::new(Converting::new(opened.device, converter, spec)), ..opened }
        }
        _ => opened,
    }
}

struct Converting<D: ?Sized> {
    device: Box<D>,
    converter: Converter,
    channels: usize,
    block: Vec<u8>,
}

impl<D: ?Sized> Converting<D> {
    fn new(device: Box<D>, converter: Converter, spec: &StreamSpec) -> Self {
        Self { device, converter, channels: spec.channels.into(), block: vec![0; BLOCK_BYTES] }
    }

    /// Number of frames that fit in the block.
    fn frames_max(&self) -> usize {
        self.block.len() / (self.converter.from_bytes().max(self.converter.to_bytes()) * self.channels)
    }
}

impl Output for Converting<dyn Output> {
    fn is_immediate(&self) -> bool {
        self.device.is_immediate()
    }

    fn report_to(&mut self, owner: &Arc<Event>) {
        self.device.report_to(owner);
    }

    fn attend(&mut self, now: Instant) -> Result<(), Fault> {
        self.device.attend(now)
    }

    fn room(&mut self, now: Instant) -> Result<u64, Fault> {
        self.device.room(now)
    }

    fn write(&mut self, frames: &[u8], now: Instant) -> Result<usize, Fault> {
        let (from, to) = (self.converter.from_bytes() * self.channels, self.converter.to_bytes() * self.channels);
        // Frames that the device does not take are converted again: its room is asked for before, so that is rare.
        let count = (frames.len() / from).min(self.frames_max()).min(self.device.room(now)? as usize);
        let converted = &mut self.block[..count * to];
        self.converter.convert(&frames[..count * from], converted);
        if count == 0 { Ok(0) } else { self.device.write(converted, now) }
    }

    fn delay(&mut self, now: Instant) -> Result<u64, Fault> {
        self.device.delay(now)
    }

    fn settle(&mut self) {
        self.device.settle();
    }

    fn start(&mut self, now: Instant) -> Result<(), Fault> {
        self.device.start(now)
    }

    fn pause(&mut self, on: bool, now: Instant) -> Result<bool, Fault> {
        self.device.pause(on, now)
    }

    fn reset(&mut self, now: Instant) -> Result<(), Fault> {
        self.device.reset(now)
    }

    fn ran_out(&mut self, now: Instant) -> Result<(), Fault> {
        self.device.ran_out(now)
    }

    fn finish(&mut self) {
        self.device.finish();
    }

    fn take_volume(&mut self) -> Option<ServerVolume> {
        self.device.take_volume()
    }

    fn wait(&mut self, wake: BorrowedFd<'_>, room: bool, timeout: Option<Duration>) -> bool {
        self.device.wait(wake, room, timeout)
    }
}

impl Input for Converting<dyn Input> {
    fn is_immediate(&self) -> bool {
        self.device.is_immediate()
    }

    fn report_to(&mut self, owner: &Arc<Event>) {
        self.device.report_to(owner);
    }

    fn take_volume(&mut self) -> Option<ServerVolume> {
        self.device.take_volume()
    }

    fn attend(&mut self, now: Instant) -> Result<(), Fault> {
        self.device.attend(now)
    }

    fn available(&mut self, now: Instant) -> Result<u64, Fault> {
        self.device.available(now)
    }

    fn read(&mut self, into: &mut [u8], now: Instant) -> Result<usize, Fault> {
        let (from, to) = (self.converter.from_bytes() * self.channels, self.converter.to_bytes() * self.channels);
        let count = (into.len() / to).min(self.frames_max());
        let raw = &mut self.block[..count * from];
        let read = self.device.read(raw, now)?;
        self.converter.convert(&raw[..read * from], &mut into[..read * to]);
        Ok(read)
    }

    fn start(&mut self, now: Instant) -> Result<(), Fault> {
        self.device.start(now)
    }

    fn reset(&mut self, now: Instant) -> Result<(), Fault> {
        self.device.reset(now)
    }

    fn wait(&mut self, wake: BorrowedFd<'_>, late: bool, timeout: Option<Duration>) -> bool {
        self.device.wait(wake, late, timeout)
    }
}
