//! Operations of an open stream of any protocol.

use std::time::Duration;

use frontend::Geometry;

use crate::{Error, OpenStream, Result, Stats, v0};

/// An opened stream of either protocol; see [`OpenStream`] and [`v0::OpenStream`] for the operations of each.
pub trait Stream {
    /// Returns the sizes that were agreed on.
    fn geometry(&self) -> &Geometry;

    /// Returns the bytes played or captured since the stream was opened, over all its connections.
    fn position(&self) -> u64;

    /// Returns the counters since the stream was opened.
    fn stats(&self) -> Stats;

    /// Measures the time from each WRITE to its answer, if that is meaningful.
    fn measure_write_latency(&mut self, measure: bool);

    /// Sets the time that a blocking call waits for a lost backend.
    fn set_recovery_timeout(&mut self, timeout: Duration);

    /// Writes all of `data`, waiting for room.
    ///
    /// # Errors
    /// Errors of [`OpenStream::write`].
    fn write(&mut self, data: &[u8]) -> Result<()>;

    /// Reads captured frames, at least one.
    ///
    /// # Errors
    /// Errors of [`OpenStream::read`].
    fn read(&mut self, data: &mut [u8]) -> Result<usize>;

    /// Goes on with a capture whose READ was refused.
    ///
    /// # Errors
    /// Errors of [`OpenStream::restart`].
    fn restart(&mut self, refusal: Error) -> Result<()>;

    /// Waits until everything written is played, as far as the protocol tells.
    ///
    /// # Errors
    /// Errors of [`OpenStream::drain`].
    fn drain(&mut self) -> Result<()>;

    /// Ends this run.
    ///
    /// # Errors
    /// Errors of [`OpenStream::stop`].
    fn stop(&mut self) -> Result<()>;

    /// Closes the stream.
    ///
    /// # Errors
    /// Errors of [`OpenStream::close`].
    fn close(&mut self) -> Result<()>;

    /// Sets the volume, one value per channel in 0.001 dB.
    ///
    /// # Errors
    /// Errors of [`OpenStream::set_volume`].
    fn set_volume(&mut self, volume: &[i32]) -> Result<()>;

    /// Mutes channels.
    ///
    /// # Errors
    /// Errors of [`OpenStream::set_mute`].
    fn set_mute(&mut self, muted: &[bool]) -> Result<()>;
}

macro_rules! stream {
    ($stream:ty) => {
        impl Stream for $stream {
            fn geometry(&self) -> &Geometry {
                <$stream>::geometry(self)
            }
            fn position(&self) -> u64 {
                <$stream>::position(self)
            }
            fn stats(&self) -> Stats {
                <$stream>::stats(self)
            }
            fn measure_write_latency(&mut self, measure: bool) {
                <$stream>::measure_write_latency(self, measure);
            }
            fn set_recovery_timeout(&mut self, timeout: Duration) {
                <$stream>::set_recovery_timeout(self, timeout);
            }
            fn write(&mut self, data: &[u8]) -> Result<()> {
                <$stream>::write(self, data)
            }
            fn read(&mut self, data: &mut [u8]) -> Result<usize> {
                <$stream>::read(self, data)
            }
            fn restart(&mut self, refusal: Error) -> Result<()> {
                <$stream>::restart(self, refusal)
            }
            fn drain(&mut self) -> Result<()> {
                <$stream>::drain(self)
            }
            fn stop(&mut self) -> Result<()> {
                <$stream>::stop(self)
            }
            fn close(&mut self) -> Result<()> {
                <$stream>::close(self)
            }
            fn set_volume(&mut self, volume: &[i32]) -> Result<()> {
                <$stream>::set_volume(self, volume)
            }
            fn set_mute(&mut self, muted: &[bool]) -> Result<()> {
                <$stream>::set_mute(self, muted)
            }
        }
    };
}

stream!(OpenStream);
stream!(v0::OpenStream);
