//! FLAC and MP3, by `symphonia`.

use std::io::Read;

use host_audio::speakers::Order;
use sndif::Format;
use symphonia::core::audio::{Channels, GenericAudioBufferRef};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;

use crate::shape::Shape;

/// Returns true if these are the first bytes of a FLAC (also in Ogg) or MP3 file. MP3 begins with an MPEG frame, or
/// with a tag (ID3).
pub(super) fn begins_like_one(first: &[u8]) -> bool {
    let is_mpeg = matches!(first, [0xff, second, ..] if second & 0xe6 == 0xe2);
    is_mpeg || [b"fLaC".as_slice(), b"OggS", b"ID3"].iter().any(|tag| first.starts_with(tag))
}

/// A decoder and its input.
pub(super) struct Compressed {
    /// The samples are as wide as the file's, or float if the file has no width.
    pub(super) shape: Shape,
    /// Number of frames, if the file says.
    pub(super) frames: Option<u64>,
    order: Order,
    track: u32,
    file: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    /// Samples as the decoder gives them; the vectors are used again.
    integers: Vec<i32>,
    floats: Vec<f32>,
}

impl Compressed {
    /// Reads a file's beginning.
    pub(super) fn new(input: impl Read + Send + Sync + 'static) -> Result<Self, String> {
        let words = |error: Error| error.to_string();
        let stream = MediaSourceStream::new(Box::new(ReadOnlySource::new(input)), Default::default());
        let file = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(words)?;
        let track = file.default_track(TrackType::Audio).ok_or("it has no sound")?;
        let Some(CodecParameters::Audio(sound)) = &track.codec_params else { return Err("it has no sound".into()) };
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(sound, &AudioDecoderOptions::default())
            .map_err(|_| "its sound is coded in a way that is not read here; FLAC, Vorbis and MP3 are")?;
        let channels = sound.channels.as_ref().ok_or("it does not say how many channels it has")?;
        let mask = match channels {
            // The first 18 positions are those of WAV, in its order.
            Channels::Positioned(positions) => u32::try_from(positions.bits()).unwrap_or(0),
            _ => 0,
        };
        let count = u8::try_from(channels.count()).map_err(|_| "it has more than 255 channels")?;
        let format = match sound.bits_per_sample {
            Some(0..=16) => Format::S16Le,
            Some(17..=24) => Format::S24Le,
            Some(25..=32) => Format::S32Le,
            _ => Format::F32Le,
        };
        let rate_hz = sound.sample_rate.filter(|&rate| rate > 0).ok_or("it does not say what rate it has")?;
        Ok(Self {
            shape: Shape { format, rate_hz, channels: count },
            frames: track.num_frames,
            order: Order::of(count, mask),
            track: track.id,
            file,
            decoder,
            integers: Vec::new(),
            floats: Vec::new(),
        })
    }

    /// Appends the frames of the next packets to `out`, `least` or more; fewer at the end, or if the file is damaged.
    pub(super) fn read(&mut self, least: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let enough = out.len() + least * self.shape.frame_bytes();
        while out.len() < enough {
            let packet = match self.file.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => packet,
                Ok(Some(_)) => continue,
                Ok(None) => break,
                Err(error) => return Err(error.to_string()),
            };
            match self.decoder.decode(&packet) {
                Ok(frames) if frames.num_planes() != usize::from(self.shape.channels) => {
                    return Err("the number of its channels changes".into());
                }
                Ok(frames) => {
                    let first = out.len();
                    append(&frames, self.shape.format, (&mut self.integers, &mut self.floats), out);
                    self.order.order_in(&mut out[first..], pcm::sample_bytes(self.shape.format));
                }
                // A damaged packet; the next one may be intact.
                Err(Error::DecodeError(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }
}

/// Appends a packet's samples as `format`, which is one of those of [`Compressed::new`].
fn append(
    frames: &GenericAudioBufferRef<'_>,
    format: Format,
    (integers, floats): (&mut Vec<i32>, &mut Vec<f32>),
    out: &mut Vec<u8>,
) {
    if format == Format::F32Le {
        frames.copy_to_vec_interleaved(floats);
        out.extend(floats.iter().flat_map(|sample| sample.to_le_bytes()));
        return;
    }
    frames.copy_to_vec_interleaved(integers);
    match format {
        Format::S16Le => out.extend(integers.iter().flat_map(|sample| ((sample >> 16) as i16).to_le_bytes())),
        Format::S24Le => out.extend(integers.iter().flat_map(|sample| (sample >> 8).to_le_bytes())),
        _ => out.extend(integers.iter().flat_map(|sample| sample.to_le_bytes())),
    }
}
