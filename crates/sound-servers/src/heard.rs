//! Sound that a sink of PulseAudio really plays. The sink's pipe gets each frame once; the monitor of a null sink
//! misses frames that the server takes back, and hears them twice.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Everything that a sink has played so far: 48 kHz, two channels of 16 bits. The sink must exist as long as the value.
#[derive(Debug)]
pub struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    /// Reads from a pipe until its last writer closes it.
    pub(crate) fn of(pipe: &Path) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (collected, mut pipe) = (Arc::clone(&heard), File::open(pipe).unwrap());
        // A server drops frames that do not fit: five seconds fit, however busy the machine is.
        rustix::pipe::fcntl_setpipe_size(&pipe, 1 << 20).unwrap();
        thread::spawn(move || {
            let mut block = [0; 4_096];
            while let Ok(bytes @ 1..) = pipe.read(&mut block) {
                collected.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&block[..bytes]);
            }
        });
        Self(heard)
    }

    /// Frames that were heard, in their order, without silence.
    #[must_use]
    pub fn frames(&self) -> Vec<[i16; 2]> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = |low, high| i16::from_le_bytes([low, high]);
        let frames = heard.as_chunks::<4>().0.iter().map(|&[a, b, c, d]| [sample(a, b), sample(c, d)]);
        frames.filter(|frame| *frame != [0, 0]).collect()
    }
}
