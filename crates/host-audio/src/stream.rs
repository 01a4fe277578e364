//! A stream's end on the host: a sink or a source, and what both have in common.

use crate::Error;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// Who says when frames are due.
#[derive(Debug, Clone, Copy)]
pub enum Pacing<'a> {
    /// The caller's own clock; the device takes or gives whatever it is asked for.
    Caller,
    /// The descriptor becomes readable when the device has moved on, at least once a period while it runs, and when it was
    /// opened, ran dry or failed; [`HostStream::acknowledge`] makes it unreadable again. A device that needs no thread of its own
    /// does all that at [`HostStream::wake_at`] instead.
    Device(BorrowedFd<'a>),
}

/// Volume and mute of a stream on its sound server: the host's people's, whom nobody else speaks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServerVolume {
    /// Of the loudest channel, in decibels; minus infinity for none.
    pub db: f64,
    /// It is muted there.
    pub muted: bool,
}

impl ServerVolume {
    /// From linear factors for the amplitude of each channel.
    pub(crate) fn from_linear(channels: impl Iterator<Item = f64>, muted: bool) -> Self {
        Self { db: 20.0 * channels.fold(0.0, f64::max).log10(), muted }
    }
}

/// What happened to the device of an open stream.
#[derive(Debug)]
pub enum Notice {
    /// It is not there, or not any more: the stream goes on in real time, silently, and the device is tried again
    /// and again.
    Lost(Error),
    /// It is there again, and used.
    Back,
}

/// An open stream in either direction. Dropping it closes the device without waiting for it.
pub trait HostStream: Send {
    /// Who keeps the time.
    fn pacing(&self) -> Pacing<'_> {
        Pacing::Caller
    }

    /// What became of opening it; `None` while that goes on. The pacing descriptor is readable when it is over. A stream that
    /// could not be opened is to be dropped.
    fn opened(&mut self) -> Option<Result<(), Error>> {
        Some(Ok(()))
    }

    /// Starts to play what is written, or to capture.
    ///
    /// # Errors
    /// The device failed for good: the stream is to be dropped.
    fn start(&mut self) -> Result<(), Error>;

    /// Holds it, or goes on. A sink keeps what is queued; a source does not record what is heard in between.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    fn pause(&mut self, on: bool) -> Result<(), Error>;

    /// Stops, and forgets what is queued, or was captured and not read; [`start`](Self::start) makes it run again.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    fn stop(&mut self) -> Result<(), Error>;

    /// How often sound was lost: the device ran dry and went on later, nobody read it, or it could not keep up.
    fn xruns(&self) -> u64;

    /// Volume and mute of this stream on its sound server, as far as they are known.
    fn server_volume(&self) -> Option<ServerVolume> {
        None
    }

    /// The device that is really used, where the configured text leaves that open.
    fn in_use(&self) -> Option<String> {
        None
    }

    /// What happened to the device, oldest first; to be asked for when the pacing descriptor was readable.
    fn notice(&mut self) -> Option<Notice> {
        None
    }

    /// To be called when the pacing descriptor was readable; cheap at any time.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    fn acknowledge(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// When [`attend`](Self::attend) has something to do for a device without a thread of its own.
    fn wake_at(&self) -> Option<Instant> {
        None
    }

    /// Does what is due: to be called at [`wake_at`](Self::wake_at) and after writing; cheap at any time.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    fn attend(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Where a stream's frames go.
///
/// Frames are written at any time; nothing is heard before [`start`](HostStream::start). A sink that ran dry goes on by itself
/// when more is written.
pub trait Sink: HostStream {
    /// Frames that [`write`](Self::write) would take now.
    ///
    /// With [`Pacing::Device`] that keeps the queue short (two periods, or 40 ms), so that what the stream's
    /// owner rewrites ahead of the play position still takes effect.
    fn room_frames(&mut self) -> usize;

    /// Takes whole frames from the start of `frames` and says how many.
    ///
    /// # Errors
    /// As [`start`](HostStream::start).
    fn write(&mut self, frames: &[u8]) -> Result<usize, Error>;

    /// Frames accepted and not yet heard; 0 with [`Pacing::Caller`].
    ///
    /// Accepted minus queued is the device's position: it never goes back, and never runs ahead of time.
    fn queued_frames(&mut self) -> u64;

    /// Has what is queued be heard, if it is started, then closes the device; nobody waits for it.
    fn finish(self: Box<Self>) {}
}

/// Where a stream's frames come from.
pub trait Source: HostStream {
    /// Frames that [`read`](Self::read) would give now.
    fn available_frames(&mut self) -> usize;

    /// Fills the start of `into` with whole frames and says how many.
    ///
    /// # Errors
    /// As [`start`](HostStream::start).
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error>;
}
