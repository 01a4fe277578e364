//! A stream's end on the host: a sink or a source, and their common part.

use crate::Error;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// The clock that says when frames are due.
#[derive(Debug, Clone, Copy)]
pub enum Pacing<'a> {
    /// The caller's own clock; the device takes or gives as much as it is asked for.
    Caller,
    /// The descriptor becomes readable when the device has moved on, at least once a period while it runs, and when it
    /// was opened, ran dry or failed; [`HostStream::acknowledge`] makes the descriptor unreadable again. A device that
    /// needs no thread of its own does all that at [`HostStream::wake_at`] instead.
    Device(BorrowedFd<'a>),
}

/// Volume and mute of a stream on its sound server, which users of the host alone set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServerVolume {
    /// Volume of the loudest channel, in decibels; minus infinity for none.
    pub db: f64,
    /// True if the stream is muted there.
    pub muted: bool,
}

impl ServerVolume {
    /// Makes a volume from linear factors for the amplitude of each channel.
    pub(crate) fn from_linear(channels: impl Iterator<Item = f64>, muted: bool) -> Self {
        Self { db: 20.0 * channels.fold(0.0, f64::max).log10(), muted }
    }
}

/// Event of the device of an open stream.
#[derive(Debug)]
pub enum Notice {
    /// The device is absent or lost: the stream goes on in real time, silently, and the device is tried again and
    /// again.
    Lost(Error),
    /// The device is available again, and used.
    Back,
}

/// An open stream in either direction. Dropping it closes the device without waiting for it.
pub trait HostStream: Send {
    /// The clock that keeps the time.
    fn pacing(&self) -> Pacing<'_> {
        Pacing::Caller
    }

    /// Outcome of opening the stream; `None` while that goes on. The pacing descriptor is readable when it is over. A
    /// stream that could not be opened has to be dropped.
    fn opened(&mut self) -> Option<Result<(), Error>> {
        Some(Ok(()))
    }

    /// Starts to play what is written, or to capture.
    ///
    /// # Errors
    /// The device failed for good: the stream has to be dropped.
    fn start(&mut self) -> Result<(), Error>;

    /// Holds the stream, or goes on. A sink keeps queued frames; a source records nothing in between.
    ///
    /// # Errors
    /// Same as [`start`](Self::start).
    fn pause(&mut self, on: bool) -> Result<(), Error>;

    /// Stops, and discards frames that are queued, or were captured and not read; [`start`](Self::start) makes it run
    /// again.
    ///
    /// # Errors
    /// Same as [`start`](Self::start).
    fn stop(&mut self) -> Result<(), Error>;

    /// Number of times that sound was lost: the device ran dry and went on later, nobody read it, or it could not keep
    /// up.
    fn xruns(&self) -> u64;

    /// Volume and mute of this stream on its sound server, as far as they are known.
    fn server_volume(&self) -> Option<ServerVolume> {
        None
    }

    /// The device that is really used, if the configured text leaves that open.
    fn in_use(&self) -> Option<String> {
        None
    }

    /// The oldest event of the device that was not taken; to be asked for when the pacing descriptor was readable.
    fn notice(&mut self) -> Option<Notice> {
        None
    }

    /// Acknowledges that the pacing descriptor was readable; cheap at any time.
    ///
    /// # Errors
    /// Same as [`start`](Self::start).
    fn acknowledge(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Time at which [`attend`](Self::attend) has something to do for a device without a thread of its own.
    fn wake_at(&self) -> Option<Instant> {
        None
    }

    /// Does the work that is due: to be called at [`wake_at`](Self::wake_at) and after writing; cheap at any time.
    ///
    /// # Errors
    /// Same as [`start`](Self::start).
    fn attend(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Destination of a stream's frames.
///
/// Frames may be written at any time; nothing is heard before [`start`](HostStream::start). A sink that ran dry goes on
/// by itself when more is written.
pub trait Sink: HostStream {
    /// Frames that [`write`](Self::write) would take now.
    ///
    /// With [`Pacing::Device`] the room keeps the queue short (two periods, or 40 ms), so that frames that the stream's
    /// owner rewrites ahead of the play position still take effect.
    fn room_frames(&mut self) -> usize;

    /// Takes whole frames from the start of `frames` and returns how many.
    ///
    /// # Errors
    /// Same as [`start`](HostStream::start).
    fn write(&mut self, frames: &[u8]) -> Result<usize, Error>;

    /// Frames accepted and not yet heard; 0 with [`Pacing::Caller`].
    ///
    /// Accepted minus queued is the device's position, which never goes back, and never runs ahead of time.
    fn queued_frames(&mut self) -> u64;

    /// Tells the sink that nothing more is written at this moment, after everything else; cheap at any time.
    fn settle(&mut self) {}

    /// Plays queued frames, if the sink is started, then closes the device; nobody waits for that.
    fn finish(self: Box<Self>) {}
}

/// Origin of a stream's frames.
pub trait Source: HostStream {
    /// Frames that [`read`](Self::read) would give now.
    fn available_frames(&mut self) -> usize;

    /// Fills the start of `into` with whole frames and returns how many.
    ///
    /// # Errors
    /// Same as [`start`](HostStream::start).
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error>;
}
