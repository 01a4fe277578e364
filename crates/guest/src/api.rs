//! What can be done with an open stream whatever its protocol.

use std::time::Duration;

use frontend::Geometry;

use crate::{Error, OpenStream, Result, Stats, v0};

/// An opened stream of either protocol; see [`OpenStream`] and [`v0::OpenStream`] for what each does.
pub trait Stream {
    /// The sizes that were agreed on.
    fn geometry(&self) -> &Geometry;

    /// Bytes played or captured since the stream was opened, over all its connections.
    fn position(&self) -> u64;

    /// Counters since the stream was opened.
    fn stats(&self) -> Stats;

    /// Measures the time from each WRITE to its answer, where that says anything.
    fn measure_write_latency(&mut self, measure: bool);

    /// How long a blocking call waits for a lost backend.
    fn set_recovery_timeout(&mut self, timeout: Duration);

    /// Writes all of `data`, waiting for room.
    ///
    /// # Errors
    /// As [`OpenStream::write`].
    fn write(&mut self, data: &[u8]) -> Result<()>;

    /// Reads captured frames, at least one.
    ///
    /// # Errors
    /// As [`OpenStream::read`].
    fn read(&mut self, data: &mut [u8]) -> Result<usize>;

    /// Goes on with a capture whose READ was refused.
    ///
    /// # Errors
    /// As [`OpenStream::restart`].
    fn restart(&mut self, refusal: Error) -> Result<()>;

    /// Waits until everything written is played, as far as the protocol tells.
    ///
    /// # Errors
    /// As [`OpenStream::drain`].
    fn drain(&mut self) -> Result<()>;

    /// Ends this run.
    ///
    /// # Errors
    /// As [`OpenStream::stop`].
    fn stop(&mut self) -> Result<()>;

    /// Closes the stream.
    ///
    /// # Errors
    /// As [`OpenStream::close`].
    fn close(&mut self) -> Result<()>;

    /// Sets the volume, one value per channel in 0.001 dB.
    ///
    /// # Errors
    /// As [`OpenStream::set_volume`].
    fn set_volume(&mut self, volume: &[i32]) -> Result<()>;

    /// Mutes channels.
    ///
    /// # Errors
    /// As [`OpenStream::set_mute`].
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
