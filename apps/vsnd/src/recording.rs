//! The frames of a file, or of standard input, one after the other: WAV as it is, FLAC, Ogg Vorbis and MP3 decoded.

mod compressed;
mod vorbis;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, Cursor, IsTerminal, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use host_audio::wav::{self, WavAudio};
use program::{ExitStatus, Failure};
use rustix::event::{PollFd, PollFlags};

use crate::shape::Shape;
use compressed::Compressed;
use vorbis::Vorbis;

/// Frames that are read at a time if all are wanted.
const CHUNK_FRAMES: usize = 1 << 14;

/// A file that is read from its first frame to its last.
pub(crate) struct Recording {
    /// Name of the file in messages.
    path: PathBuf,
    pub(crate) shape: Shape,
    /// Number of frames, if the file says.
    pub(crate) frames: Option<u64>,
    content: Content,
    /// Frames that were read at the opening, to see if there are any.
    head: Vec<u8>,
}

enum Content {
    Wav(wav::Reader<Input>),
    Compressed(Box<Compressed>),
    Vorbis(Vorbis),
}

type Input = Box<dyn Read + Send + Sync>;

impl Recording {
    /// Reads standard input, until `stop` becomes readable.
    pub(crate) fn from_stdin(stop: UnixStream) -> Result<Self, Failure> {
        let name = Path::new("standard input");
        if io::stdin().is_terminal() {
            return Err(failed(name, &"it is a terminal; give a file, or a pipe"));
        }
        Self::read_from(Box::new(BufReader::new(Stdin { stop })), name)
    }

    /// Opens a file, or a FIFO.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|reason| failed(path, &reason))?;
        Self::read_from(Box::new(BufReader::new(file)), path)
    }

    fn read_from(mut input: Input, path: &Path) -> Result<Self, Failure> {
        // The first bytes tell the kind of file. They are put back in front, since a pipe cannot be read again.
        let mut first = Vec::new();
        input.by_ref().take(vorbis::FIRST_BYTES).read_to_end(&mut first).map_err(|reason| failed(path, &reason))?;
        let is_vorbis = vorbis::begins_like_one(&first);
        let is_compressed = compressed::begins_like_one(&first);
        if !is_compressed && !first.starts_with(b"RI") && first.get(8..12) != Some(b"WAVE") {
            let reason = if first.is_empty() { "it is empty" } else { "it is neither WAV nor FLAC, Ogg Vorbis or MP3" };
            return Err(failed(path, &reason));
        }
        let whole: Input = Box::new(Cursor::new(first).chain(input));
        let (shape, frames, content) = if is_vorbis {
            let decoder = Vorbis::new(whole).map_err(|reason| failed(path, &reason))?;
            (decoder.shape, None, Content::Vorbis(decoder))
        } else if is_compressed {
            let decoder = Compressed::new(whole).map_err(|reason| failed(path, &reason))?;
            (decoder.shape, decoder.frames, Content::Compressed(Box::new(decoder)))
        } else {
            let reader = wav::Reader::new(whole, path).map_err(Failure::with(ExitStatus::File))?;
            let shape = Shape { format: reader.format, rate_hz: reader.rate_hz, channels: reader.channels };
            (shape, reader.frames_left(), Content::Wav(reader))
        };
        let mut recording = Self { path: path.to_owned(), shape, frames, content, head: Vec::new() };
        let mut head = Vec::new();
        recording.read(1, &mut head)?;
        if head.is_empty() {
            return Err(failed(path, &"it holds no frame, there is nothing to play"));
        }
        recording.head = head;
        Ok(recording)
    }

    /// Returns true if the frames are those of a WAV file, as they are.
    pub(crate) fn is_wav(&self) -> bool {
        matches!(self.content, Content::Wav(_))
    }

    /// Appends the next frames to `out`, about `most`; none at the end. Warns if the end comes too early.
    pub(crate) fn read(&mut self, most: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
        if !self.head.is_empty() {
            out.append(&mut self.head);
            return Ok(());
        }
        let before = out.len();
        match &mut self.content {
            Content::Wav(reader) => {
                reader.read(most, out).map_err(|reason| failed(&self.path, &reason))?;
                let missing = reader.bytes_left.unwrap_or(0);
                if out.len() == before && missing > 0 {
                    eprintln!("vsnd: `{}` ends early: {missing} byte(s) of samples are missing", self.path.display());
                }
            }
            Content::Compressed(decoder) => tell_damage(&self.path, decoder.read(most, out)),
            Content::Vorbis(decoder) => tell_damage(&self.path, decoder.read(most, out)),
        }
        Ok(())
    }

    /// Reads all frames.
    pub(crate) fn read_all(&mut self) -> Result<WavAudio, Failure> {
        let mut data = Vec::new();
        loop {
            let before = data.len();
            self.read(CHUNK_FRAMES, &mut data)?;
            if data.len() == before {
                let Shape { format, rate_hz, channels } = self.shape;
                return Ok(WavAudio { format, rate_hz, channels, data });
            }
        }
    }
}

/// Standard input; ends when the user wants an end, even if no more input comes.
struct Stdin {
    stop: UnixStream,
}

impl Read for Stdin {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let stdin = io::stdin();
        let mut events = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
        rustix::event::poll(&mut events, None)?;
        if events[1].revents().is_empty() { Ok(rustix::io::read(&stdin, into)?) } else { Ok(0) }
    }
}

fn tell_damage(path: &Path, outcome: Result<(), String>) {
    if let Err(fault) = outcome {
        eprintln!("vsnd: `{}` is damaged and ends early: {fault}", path.display());
    }
}

fn failed(path: &Path, reason: &dyn Display) -> Failure {
    Failure::new(ExitStatus::File, format!("cannot read `{}`: {reason}", path.display()))
}
