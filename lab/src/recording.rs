//! Recordings in which every frame is different, in any format that a WAV file can hold.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Result, bail, ensure};
use host_audio::wav::{self, Writer};
use pcm::{Linear, linear};
use sndif::Format;

use crate::{Recording, tone};

impl Recording {
    /// Size of a frame in bytes.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.format.frame_bytes(self.channels).unwrap_or(0) as usize
    }

    /// All frames, with the layout of a guest's buffer.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        if self.tone {
            return (0..self.frames as u32).flat_map(tone::frame).flat_map(i16::to_le_bytes).collect();
        }
        let mut bytes = Vec::with_capacity(self.frame_bytes() * self.frames as usize);
        for number in 0..self.frames * u64::from(self.channels) {
            let bits = scatter(number ^ u64::from(self.seed) << 40);
            sample(self.format, bits, &mut bytes);
        }
        bytes
    }

    pub(crate) fn write(&self, rate_hz: u32, file: &Path) -> Result<()> {
        ensure!(self.frame_bytes() > 0, "a recording needs channels, and a format whose samples have a size");
        let bytes = self.bytes();
        if is_wav(file) {
            let mut writer = Writer::create(file, self.format, rate_hz, self.channels)?;
            writer.write(&bytes)?;
            writer.finish();
        } else {
            let mut out = BufWriter::new(File::create(file)?);
            out.write_all(&bytes)?;
            out.flush()?;
        }
        Ok(())
    }
}

/// The frames of a file, in `format`. WAV stores some formats in another form, which is converted back.
pub(crate) fn read(file: &Path, format: Format, channels: u8) -> Result<Vec<u8>> {
    if !is_wav(file) {
        return Ok(fs::read(file)?);
    }
    let audio = wav::read_file(file)?;
    ensure!(audio.channels == channels, "it has {} channels, expected {channels}", audio.channels);
    let mut bytes = Vec::with_capacity(audio.data.len());
    match (Linear::of(audio.format), Linear::of(format)) {
        _ if audio.format == format => return Ok(audio.data),
        (Some(from), Some(to)) if from.bits() == to.bits() => linear::convert(from, &audio.data, to, &mut bytes),
        (_, None) if audio.format.width() == format.width() => {
            // WAV has no big-endian samples.
            let sample_bytes = format.frame_bytes(1).unwrap_or(1) as usize;
            let reversed = matches!(format, Format::F32Be | Format::F64Be | Format::Iec958SubframeBe);
            for sample in audio.data.chunks_exact(sample_bytes) {
                if reversed { bytes.extend(sample.iter().rev()) } else { bytes.extend(sample) }
            }
        }
        _ => bail!("it holds {}, expected {format}", audio.format),
    }
    Ok(bytes)
}

fn is_wav(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "wav")
}

/// Appends a sample made from `bits`; a float is never NaN.
fn sample(format: Format, bits: u64, bytes: &mut Vec<u8>) {
    let high = (bits >> 32) as u32;
    if let Some(layout) = Linear::of(format) {
        let mut place = [0; 4];
        layout.encode(high.cast_signed(), &mut place);
        bytes.extend_from_slice(&place[..layout.bytes()]);
        return;
    }
    let float = f64::from(high.cast_signed()) / f64::from(1_u32 << 31);
    match format {
        Format::F32Le => bytes.extend((float as f32).to_le_bytes()),
        Format::F32Be => bytes.extend((float as f32).to_be_bytes()),
        Format::F64Le => bytes.extend(float.to_le_bytes()),
        Format::F64Be => bytes.extend(float.to_be_bytes()),
        _ => bytes.extend(&bits.to_le_bytes()[..format.frame_bytes(1).unwrap_or(1) as usize]),
    }
}

/// Hashes a number to 64 bits (the finisher of SplitMix64), so that adjacent numbers give unrelated bits.
fn scatter(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_one_and_no_frame_is_like_the_one_before() {
        let tone = Recording { format: Format::S16Le, channels: 2, frames: 48_000, seed: 1, tone: true };
        let bytes = tone.bytes();
        assert_eq!(bytes.len(), 192_000);
        let frames: Vec<_> = bytes.chunks(4).collect();
        assert!(frames.windows(2).all(|pair| pair[0] != pair[1]));
        let samples = |channel: usize| {
            frames.iter().map(move |frame| i16::from_le_bytes([frame[channel * 2], frame[channel * 2 + 1]]))
        };
        // Samples rise above zero as often as the pitch says, up to a quarter of the full scale.
        for (channel, pitch) in [(0, 440), (1, 660)] {
            let above: Vec<_> = samples(channel).map(|sample| sample > 0).collect();
            assert_eq!(above.windows(2).filter(|pair| !pair[0] && pair[1]).count(), pitch);
            assert_eq!((samples(channel).min(), samples(channel).max()), (Some(-8192), Some(8191)));
        }
    }

    #[test]
    fn a_recording_comes_back_from_wav_in_every_format() {
        let directory = std::env::temp_dir().join(format!("vsnd-lab-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for format in wav::writable_formats().iter() {
            let recording = Recording { format, channels: 2, frames: 50, seed: 3, tone: false };
            let file = directory.join(format!("{format}.wav"));
            recording.write(8_000, &file).unwrap();
            assert_eq!(read(&file, format, 2).unwrap(), recording.bytes(), "{format}");
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
