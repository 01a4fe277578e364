//! Silence behind the last frame in a card's ring.
//!
//! A card plays on behind the last frame until its next interrupt, and the frames there were heard before. An interrupt
//! is late where the processor is away, as in a virtual machine; so all the room is made silent, again and again as it
//! grows.

use crate::StreamSpec;
use alsa::direct::pcm::Control;
use alsa::pcm::{Frames, IO, PCM};
use sndif::Format;

/// The room of a card's ring, which is kept silent until frames take it.
pub(super) struct Behind {
    format: Format,
    frame_bytes: usize,
    /// The kernel's position of the next frame. Room that continues at the ring's beginning can be reached only from a
    /// position there; `None` for an architecture or a card that does not share the position.
    next: Option<Control>,
    /// Positions are counted up to here and then from 0; a multiple of the ring.
    boundary: Frames,
    ring: Frames,
    /// True if the kernel's position moves with the frames that are put, which a plugin's card may not do.
    is_ours: bool,
}

impl Behind {
    /// The room of a PCM that is set up, with a ring of `ring` frames.
    pub fn new(pcm: &PCM, spec: &StreamSpec, ring: Frames) -> Self {
        let boundary = pcm.sw_params_current().and_then(|params| params.get_boundary()).unwrap_or(0);
        let next = if boundary > 0 { Control::new(pcm).ok() } else { None };
        Self { format: spec.format, frame_bytes: spec.frame_bytes(), next, boundary, ring, is_ours: false }
    }

    /// Position of the next frame, where it is known.
    pub fn place(&self) -> Option<Frames> {
        self.next.as_ref().map(Control::appl_ptr)
    }

    /// Checks that the position, which was `before`, has moved by the `frames` that were put.
    pub fn moved(&mut self, before: Option<Frames>, frames: usize) {
        self.is_ours = before.map(|before| (before + frames as Frames) % self.boundary) == self.place();
    }

    /// Makes the room silent.
    ///
    /// # Errors
    /// Errors of alsa-lib: the PCM ran dry, or is gone.
    pub fn fill(&self, io: &IO<'_, u8>) -> alsa::Result<()> {
        let reached = self.silence(io)?;
        let Some(next) = self.next.as_ref().filter(|_| self.is_ours) else { return Ok(()) };
        let place = next.appl_ptr();
        if (place + reached) % self.ring != 0 {
            return Ok(());
        }
        // For this moment the card has more to play, which is silence.
        next.set_appl_ptr((place + reached) % self.boundary);
        let outcome = self.silence(io);
        next.set_appl_ptr(place);
        outcome.map(|_| ())
    }

    /// Makes the room silent from the next position up to the ring's end, and returns its frames.
    fn silence(&self, io: &IO<'_, u8>) -> alsa::Result<Frames> {
        let mut frames = 0;
        io.mmap(self.ring as usize, |room| {
            pcm::fill_silence(self.format, room);
            frames = room.len() / self.frame_bytes;
            0
        })?;
        Ok(frames as Frames)
    }
}
