//! Moves the frames of a stream between its guest's buffer and its host device.
//!
//! The room of a sink, or the frames of a source, are asked for once in a turn. A device goes on while it is written
//! to, so that each write makes room for another one: on a slow machine, asking again would move the stream frame by
//! frame, and the guest would be told late of its period.

use backend::Frames;
use host_audio::{Error, Sink, Source};
use pcm::{Fader, Meter};

/// Maximum number of bytes that are scaled at once, whatever the guest's buffer holds; more than a frame of any format.
pub(crate) const SCRATCH_BYTES: usize = 1 << 16;

/// Processing of frames on their way.
pub(crate) struct Passage<'a> {
    /// Changes the level of the frames.
    pub(crate) fader: &'a mut Fader,
    pub(crate) meter: &'a Meter,
    /// Buffer for scaled frames, of [`SCRATCH_BYTES`] at most: the frames in the guest's buffer stay as they are.
    pub(crate) scratch: &'a mut Vec<u8>,
}

/// Hands the guest's frames to the sink, as many as the sink takes now.
///
/// # Errors
/// The sink failed for good.
pub(crate) fn play(
    core: &mut impl Frames,
    sink: &mut dyn Sink,
    passage: Passage<'_>,
    now_ns: u64,
) -> Result<(), Error> {
    let Some(&geometry) = core.geometry() else { return Ok(()) };
    let scaled_bytes_max = SCRATCH_BYTES - SCRATCH_BYTES % (geometry.frame_bytes as usize).max(1);
    let mut room = sink.room_frames();
    let mut result = Ok(());
    while let Some(frames) = core.frames_to_play(now_ns, room) {
        let frames = if passage.fader.is_identity() {
            frames
        } else {
            passage.scratch.clear();
            passage.scratch.extend_from_slice(frames.get(..scaled_bytes_max).unwrap_or(frames));
            passage.fader.apply(geometry.format, geometry.channels, passage.scratch);
            passage.scratch.as_slice()
        };
        match sink.write(frames) {
            Ok(0) => break,
            Ok(written) => {
                let bytes = written * geometry.frame_bytes as usize;
                passage.meter.pass(geometry.format, frames.get(..bytes).unwrap_or(frames));
                passage.fader.advance(written);
                core.played(bytes);
                room = room.saturating_sub(written);
            }
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    if result.is_ok() {
        result = sink.attend();
    }
    sink.settle();
    core.set_queued_frames(sink.queued_frames());
    result
}

/// Fills the guest's buffer with what the source has now.
///
/// # Errors
/// The source failed for good.
pub(crate) fn capture(
    core: &mut impl Frames,
    source: &mut dyn Source,
    passage: Passage<'_>,
    now_ns: u64,
) -> Result<(), Error> {
    let Some(&geometry) = core.geometry() else { return Ok(()) };
    let mut available = source.available_frames();
    while let Some(room) = core.room_to_capture(now_ns, available) {
        let frames = source.read(room)?;
        if frames == 0 {
            break;
        }
        let bytes = frames * geometry.frame_bytes as usize;
        if let Some(filled) = room.get_mut(..bytes) {
            passage.fader.apply(geometry.format, geometry.channels, filled);
            passage.fader.advance(frames);
            passage.meter.pass(geometry.format, filled);
        }
        core.captured(bytes);
        available = available.saturating_sub(frames);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use backend::{Geometry, Pace, Run};
    use host_audio::HostStream;
    use pcm::Gain;
    use sndif::Format;
    use sndif::store::Direction;

    const GEOMETRY: Geometry = Geometry {
        format: Format::U8,
        rate_hz: 48_000,
        channels: 1,
        frame_bytes: 1,
        ring_bytes: 1_920,
        buffer_bytes: 4_096,
        period_bytes: 480,
    };

    /// A guest with frames of one byte, which has a buffer full of frames to be moved.
    struct Guest {
        buffer: Vec<u8>,
        moved: usize,
        queued: u64,
    }

    impl Guest {
        fn new() -> Self {
            Self { buffer: vec![1; GEOMETRY.ring_bytes as usize], moved: 0, queued: 0 }
        }

        fn next(&mut self, most: usize) -> Option<&mut [u8]> {
            let end = self.buffer.len().min(self.moved + most);
            self.buffer.get_mut(self.moved..end).filter(|stretch| !stretch.is_empty())
        }
    }

    impl Frames for Guest {
        fn direction(&self) -> Option<Direction> {
            None
        }
        fn geometry(&self) -> Option<&Geometry> {
            Some(&GEOMETRY)
        }
        fn frames_to_play(&mut self, _now_ns: u64, room_frames: usize) -> Option<&[u8]> {
            self.next(room_frames).map(|stretch| &*stretch)
        }
        fn played(&mut self, bytes: usize) {
            self.moved += bytes;
        }
        fn set_queued_frames(&mut self, frames: u64) {
            self.queued = frames;
        }
        fn room_to_capture(&mut self, _now_ns: u64, available_frames: usize) -> Option<&mut [u8]> {
            self.next(available_frames)
        }
        fn captured(&mut self, bytes: usize) {
            self.moved += bytes;
        }
        fn set_pace(&mut self, _pace: Pace, _now_ns: u64) {}
        fn run(&self) -> Run {
            Run::Running
        }
        fn backlog_frames(&self) -> u64 {
            0
        }
    }

    /// A device that plays, or captures, a frame in the time of each call.
    struct Moving {
        frames: usize,
        calls: usize,
        settled: usize,
    }

    impl Moving {
        fn moved(&mut self, frames: usize) -> usize {
            let moved = frames.min(self.frames);
            self.frames = self.frames - moved + 1;
            self.calls += 1;
            moved
        }
    }

    impl HostStream for Moving {
        fn start(&mut self) -> Result<(), Error> {
            Ok(())
        }
        fn pause(&mut self, _on: bool) -> Result<(), Error> {
            Ok(())
        }
        fn stop(&mut self) -> Result<(), Error> {
            Ok(())
        }
        fn xruns(&self) -> u64 {
            0
        }
    }

    impl Sink for Moving {
        fn room_frames(&mut self) -> usize {
            self.frames
        }
        fn write(&mut self, frames: &[u8]) -> Result<usize, Error> {
            Ok(self.moved(frames.len()))
        }
        fn queued_frames(&mut self) -> u64 {
            7
        }
        fn settle(&mut self) {
            self.settled += 1;
        }
    }

    impl Source for Moving {
        fn available_frames(&mut self) -> usize {
            self.frames
        }
        fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
            Ok(self.moved(into.len()))
        }
    }

    #[test]
    fn a_device_that_goes_on_meanwhile_is_not_followed_frame_by_frame() {
        let meter = Meter::new(1);
        let mut scratch = Vec::new();

        let (mut guest, mut sink) = (Guest::new(), Moving { frames: 480, calls: 0, settled: 0 });
        let mut fader = Fader::new(1, 48_000);
        let passage = Passage { fader: &mut fader, meter: &meter, scratch: &mut scratch };
        play(&mut guest, &mut sink, passage, 0).unwrap();
        assert_eq!((guest.moved, guest.queued, sink.calls, sink.settled), (480, 7, 1, 1));

        let (mut guest, mut source) = (Guest::new(), Moving { frames: 480, calls: 0, settled: 0 });
        let mut fader = Fader::new(1, 48_000);
        let passage = Passage { fader: &mut fader, meter: &meter, scratch: &mut scratch };
        capture(&mut guest, &mut source, passage, 0).unwrap();
        assert_eq!((guest.moved, source.calls), (480, 1));
    }

    #[test]
    fn however_much_a_guest_has_written_little_of_it_is_scaled_at_once() {
        let meter = Meter::new(1);
        let (mut scratch, mut fader) = (Vec::new(), Fader::new(1, 48_000));
        let mut quiet = Gain::new(1);
        quiet.set_volume(0, -20_000);
        fader.set(quiet);
        let frames = SCRATCH_BYTES * 3 + 1;
        let mut guest = Guest { buffer: vec![1; frames], ..Guest::new() };
        let mut sink = Moving { frames: 2 * frames, calls: 0, settled: 0 };
        let passage = Passage { fader: &mut fader, meter: &meter, scratch: &mut scratch };
        play(&mut guest, &mut sink, passage, 0).unwrap();
        assert_eq!((guest.moved, sink.calls, sink.settled), (frames, 4, 1));
        assert!(scratch.capacity() <= SCRATCH_BYTES, "{} bytes", scratch.capacity());
    }
}
