//! Models of `aplay` and `arecord`.

use super::core::{Pcm, State};
use super::errno::Errno;

/// Result of playing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Played {
    /// Underruns after which the application prepared the stream again.
    pub underruns: usize,
}

impl Pcm {
    /// Plays frames on a stream that has its parameters: in periods, the last one padded with silence, drained
    /// at the end. Continues after underruns.
    ///
    /// # Errors
    /// Errors that end a real `aplay`.
    pub fn aplay(&mut self, bytes: &[u8]) -> Result<Played, Errno> {
        let chunk_bytes = self.agreed().period_frames as usize * self.agreed().frame_bytes;
        let mut played = Played::default();
        if self.state() == State::Setup {
            self.prepare()?;
        }
        for chunk in bytes.chunks(chunk_bytes) {
            let mut chunk = chunk.to_vec();
            chunk.resize(chunk_bytes, 0);
            let mut done = 0;
            while done < chunk.len() {
                match self.writei(&chunk[done..]) {
                    Ok(frames) => done += frames * self.agreed().frame_bytes,
                    Err(Errno::EPIPE) => {
                        played.underruns += 1;
                        self.prepare()?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        self.drain()?;
        Ok(played)
    }

    /// Records `frames` frames on a stream that has its parameters.
    ///
    /// # Errors
    /// Errors that end a real `arecord`, an overrun included.
    pub fn arecord(&mut self, frames: usize) -> Result<Vec<u8>, Errno> {
        let frame_bytes = self.agreed().frame_bytes;
        let chunk_frames = self.agreed().period_frames as usize;
        if self.state() == State::Setup {
            self.prepare()?;
        }
        let mut bytes = vec![0; frames * frame_bytes];
        let mut done = 0;
        while done < frames {
            let until = (done + chunk_frames).min(frames);
            done += self.readi(&mut bytes[done * frame_bytes..until * frame_bytes])?;
        }
        self.drop_frames()?;
        Ok(bytes)
    }
}
