//! Playing from a reader and recording to a writer, with progress.

use std::io::{ErrorKind, Read, Write};
use std::ops::ControlFlow;

use crate::{OpenStream, Result};

/// Progress of [`play`] and [`record`], once per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Bytes handed over so far.
    pub transferred_bytes: u64,
    /// Bytes played or captured so far.
    pub position_bytes: u64,
}

/// Plays the data of `source` until it ends, waits until all is played, and stops. An incomplete frame at the end is
/// dropped. `progress` ends the playback early with `Break`. Returns the bytes played.
///
/// # Errors
/// Errors of [`OpenStream::write`] and [`OpenStream::drain`]; [`Error::Io`](crate::Error::Io) of the source.
pub fn play(
    stream: &mut OpenStream,
    source: &mut impl Read,
    mut progress: impl FnMut(Tick) -> ControlFlow<()>,
) -> Result<u64> {
    let geometry = *stream.geometry();
    let mut period = vec![0; geometry.period_bytes() as usize];
    let mut transferred_bytes = 0;
    loop {
        let read = fill(source, &mut period)?;
        let whole = read - read % geometry.frame_bytes() as usize;
        stream.write(period.get(..whole).unwrap_or(&[]))?;
        transferred_bytes += whole as u64;
        let tick = Tick { transferred_bytes, position_bytes: stream.position() };
        if progress(tick).is_break() {
            stream.stop()?;
            return Ok(stream.position());
        }
        if read < period.len() {
            break;
        }
    }
    stream.drain()?;
    stream.stop()?;
    Ok(stream.position())
}

/// Records `frames` frames (without an end, if `None`) into `target`, and stops. After a refused READ it [starts
/// again](OpenStream::restart). `progress` ends the recording early with `Break`. Returns the bytes recorded.
///
/// # Errors
/// Errors of [`OpenStream::read`]; [`Error::Io`](crate::Error::Io) of the target.
pub fn record(
    stream: &mut OpenStream,
    target: &mut impl Write,
    frames: Option<u64>,
    mut progress: impl FnMut(Tick) -> ControlFlow<()>,
) -> Result<u64> {
    let geometry = *stream.geometry();
    let mut period = vec![0; geometry.period_bytes() as usize];
    let wanted = frames.map_or(u64::MAX, |frames| frames.saturating_mul(geometry.frame_bytes().into()));
    let mut transferred_bytes = 0;
    while transferred_bytes < wanted {
        let length = usize::try_from(wanted - transferred_bytes).unwrap_or(usize::MAX).min(period.len());
        let read = match stream.read(period.get_mut(..length).unwrap_or_default()) {
            Err(error) => stream.restart(error).map(|()| 0)?,
            Ok(read) => read,
        };
        target.write_all(period.get(..read).unwrap_or(&[]))?;
        transferred_bytes += read as u64;
        let tick = Tick { transferred_bytes, position_bytes: stream.position() };
        if progress(tick).is_break() {
            break;
        }
    }
    stream.stop()?;
    Ok(transferred_bytes)
}

/// Reads until `into` is full or the source ends.
fn fill(source: &mut impl Read, into: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}
