//! Ogg Vorbis, by Xiph's own decoder: symphonia 0.6.1 undoes the coupling of more than two channels in the wrong order.

use host_audio::speakers::Order;
use sndif::Format;
use vorbis_rs::{VorbisDecoder, VorbisError, VorbisLibraryErrorKind};

use super::Input;
use crate::shape::Shape;

/// Bytes of a file that [`begins_like_one`] looks at: the header of a page with one packet, and the packet's beginning.
pub(super) const FIRST_BYTES: u64 = 35;

/// Returns true if these are the first bytes of an Ogg Vorbis file.
pub(super) fn begins_like_one(first: &[u8]) -> bool {
    first.starts_with(b"OggS") && first.get(28..) == Some(b"\x01vorbis")
}

/// The decoder and its input.
pub(super) struct Vorbis {
    pub(super) shape: Shape,
    order: Order,
    decoder: VorbisDecoder<Input>,
}

impl Vorbis {
    /// Reads a file's beginning.
    pub(super) fn new(input: Input) -> Result<Self, String> {
        let decoder = VorbisDecoder::<Input>::new(input).map_err(|error| error.to_string())?;
        let channels = decoder.channels().get();
        let shape = Shape { format: Format::F32Le, rate_hz: decoder.sampling_frequency().get(), channels };
        Ok(Self { shape, order: Order::of_vorbis(channels), decoder })
    }

    /// Appends the frames of the next packets to `out`, `least` or more; fewer at the end, or if the file is damaged.
    pub(super) fn read(&mut self, least: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let enough = out.len() + least * self.shape.frame_bytes();
        while out.len() < enough {
            let block = match self.decoder.decode_audio_block() {
                Ok(Some(block)) => block.samples(),
                Ok(None) => break,
                // A damaged packet; the next one may be intact.
                Err(VorbisError::LibraryError(error)) if error.kind() == VorbisLibraryErrorKind::Hole => continue,
                Err(error) => return Err(error.to_string()),
            };
            let first = out.len();
            for frame in 0..block.first().map_or(0, |channel| channel.len()) {
                out.extend(block.iter().flat_map(|channel| channel[frame].to_le_bytes()));
            }
            self.order.order_in(&mut out[first..], pcm::sample_bytes(self.shape.format));
        }
        Ok(())
    }
}
