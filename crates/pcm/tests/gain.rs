//! Effect of a volume and a mute on the samples of every format.

use pcm::{Gain, Linear, fill_silence, gain, is_decodable, sample_bytes, samples, supports_gain};
use proptest::prelude::*;
use sndif::Format;

/// −6.0206 dB: half.
const HALF: i32 = -6_021;

fn both_channels(volume: i32) -> Gain {
    let mut gain = Gain::new(2);
    gain.set_volume(0, volume);
    gain.set_volume(1, volume);
    gain
}

fn integer_formats() -> impl Iterator<Item = (Format, Linear)> {
    Format::all().filter_map(|format| Linear::of(format).map(|layout| (format, layout)))
}

/// `samples` (left-justified) in the format's bytes.
fn encode(layout: Linear, samples: &[i32]) -> Vec<u8> {
    let mut frames = vec![0; samples.len() * layout.bytes()];
    for (bytes, &sample) in frames.chunks_exact_mut(layout.bytes()).zip(samples) {
        layout.encode(sample, bytes);
    }
    frames
}

fn decode(layout: Linear, frames: &[u8]) -> Vec<i32> {
    frames.chunks_exact(layout.bytes()).map(|bytes| layout.decode(bytes)).collect()
}

#[test]
fn six_decibels_less_is_half_in_every_integer_format() {
    let input = [0, 1 << 30, -(1 << 30), i32::MIN, i32::MAX, 77 << 24, -(3 << 24), 0];
    for (format, layout) in integer_formats() {
        let mut frames = encode(layout, &input);
        let before = decode(layout, &frames);
        both_channels(HALF).apply(format, 2, &mut frames);
        let step = i64::from(1_u32 << (32 - layout.bits()));
        for (was, is) in before.iter().zip(decode(layout, &frames)) {
            // −6.021 dB is a half less 0.0045 %, which 24 and 32 bits resolve.
            let exact = f64::from(*was) * 10_f64.powf(f64::from(HALF) / 20_000.0);
            assert!((exact - f64::from(is)).abs() <= step as f64 * 0.51 + 16.0, "{format}: {was} {is}");
            let off = (i64::from(*was) / 2 - i64::from(is)).abs();
            assert!(off <= step.max(i64::from(was.unsigned_abs() >> 14)), "{format}: {was} became {is}");
        }
    }
}

#[test]
fn six_decibels_less_is_half_in_float_and_companded_formats() {
    for (format, tolerance) in [
        (Format::F32Le, 1e-4),
        (Format::F32Be, 1e-4),
        (Format::F64Le, 1e-4),
        (Format::F64Be, 1e-4),
        (Format::MuLaw, 0.02),
        (Format::ALaw, 0.02),
    ] {
        let mut frames = match format {
            Format::F32Le => 0.5_f32.to_le_bytes().to_vec(),
            Format::F32Be => 0.5_f32.to_be_bytes().to_vec(),
            Format::F64Le => 0.5_f64.to_le_bytes().to_vec(),
            Format::F64Be => 0.5_f64.to_be_bytes().to_vec(),
            // About half scale in either code.
            Format::MuLaw => vec![0x8f],
            _ => vec![0xa5],
        };
        let before = samples(format, &frames).next().unwrap();
        both_channels(HALF).apply(format, 1, &mut frames);
        let after = samples(format, &frames).next().unwrap();
        assert!(before > 0.4 && (before / 2.0 - after).abs() < tolerance, "{format}: {before} {after}");
    }
}

#[test]
fn twenty_decibels_more_saturate() {
    for (format, layout) in integer_formats() {
        let mut frames = encode(layout, &[1 << 30, -(1 << 30)]);
        both_channels(20_000).apply(format, 2, &mut frames);
        let top = i32::MAX >> (32 - layout.bits()) << (32 - layout.bits());
        assert_eq!(decode(layout, &frames), [top, i32::MIN], "{format}");
    }
    let mut frames = vec![0x8f, 0x0f];
    both_channels(20_000).apply(Format::MuLaw, 2, &mut frames);
    assert_eq!(frames, [0x80, 0x00]);
}

#[test]
fn scaled_24_bit_samples_have_the_top_byte_that_alsa_expects() {
    let mut frames = encode(Linear::of(Format::S24Le).unwrap(), &[-(1 << 30)]);
    both_channels(HALF).apply(Format::S24Le, 1, &mut frames);
    assert_eq!(frames[3], 0xff);
    let mut frames = encode(Linear::of(Format::U24Be).unwrap(), &[1 << 30]);
    both_channels(HALF).apply(Format::U24Be, 1, &mut frames);
    assert_eq!(frames[0], 0);
}

#[test]
fn a_muted_channel_is_silent_and_the_other_one_is_untouched() {
    for format in Format::all().filter(|&format| supports_gain(format)) {
        let mut frames = vec![0x5a; sample_bytes(format) * 4];
        let untouched = frames.clone();
        let mut silence = frames.clone();
        fill_silence(format, &mut silence);
        let mut gain = Gain::new(2);
        gain.set_mute(1, true);
        gain.apply(format, 2, &mut frames);
        let width = sample_bytes(format);
        for (index, sample) in frames.chunks_exact(width).enumerate() {
            let expected = if index % 2 == 0 { &untouched } else { &silence };
            assert_eq!(sample, &expected[index * width..][..width], "{format}");
        }
    }
}

#[test]
fn a_stream_that_cannot_be_scaled_is_silenced_only_as_a_whole() {
    for format in Format::all().filter(|&format| !supports_gain(format)) {
        let mut frames = vec![0x5a; 16];
        let mut gain = both_channels(HALF);
        gain.set_mute(0, true);
        gain.apply(format, 2, &mut frames);
        assert_eq!(frames, [0x5a; 16], "{format}");
        gain.set_mute(1, true);
        gain.apply(format, 2, &mut frames);
        assert_eq!(frames, [0; 16], "{format}");
    }
}

#[test]
fn the_lowest_volume_is_silence_and_what_is_beyond_is_clamped() {
    let mut gain = both_channels(i32::MIN);
    assert_eq!(gain.volume(0), gain::MIN_MILLIDECIBEL);
    let mut frames = vec![1; 4];
    gain.apply(Format::S16Le, 2, &mut frames);
    assert_eq!(frames, [0; 4]);
    gain.set_volume(0, i32::MAX);
    assert_eq!(gain.volume(0), gain::MAX_MILLIDECIBEL);
}

#[test]
fn unmuting_brings_the_volume_back() {
    let mut gain = both_channels(HALF);
    let before = gain.clone();
    gain.set_mute(0, true);
    assert!(gain.is_muted(0) && gain != before);
    gain.set_mute(0, false);
    assert_eq!(gain, before);
}

#[test]
fn a_muted_not_a_number_is_silent() {
    let mut frames = [f32::NAN.to_le_bytes(), f32::NAN.to_le_bytes()].concat();
    let mut gain = Gain::new(2);
    gain.set_mute(0, true);
    gain.apply(Format::F32Le, 2, &mut frames);
    assert_eq!(frames[..4], [0; 4]);
    assert_eq!(frames[4..], f32::NAN.to_le_bytes());
}

#[test]
fn each_channel_of_any_number_has_its_own_volume() {
    const FRAMES: usize = 37;
    for format in Format::all().filter(|&format| supports_gain(format)) {
        let width = sample_bytes(format);
        for channels in [1_u8, 2, 3, 5, 6, 8, 9, 12, 24, 255] {
            let count = usize::from(channels);
            let frames: Vec<u8> = (0..FRAMES * count * width).map(|at| (at * 41 + at / 13) as u8).collect();
            let volume = |channel: usize| channel as i32 % 7 * -3_000;
            let mut gain = Gain::new(channels);
            (0..count).for_each(|channel| gain.set_volume(channel, volume(channel)));
            let mut together = frames.clone();
            gain.apply(format, channels, &mut together);
            for channel in 0..count {
                let of = |frames: &[u8]| -> Vec<u8> {
                    frames.chunks(width).skip(channel).step_by(count).flatten().copied().collect()
                };
                let mut apart = of(&frames);
                both_channels(volume(channel)).apply(format, 1, &mut apart);
                assert_eq!(of(&together), apart, "{format}, channel {channel} of {channels}");
            }
        }
    }
}

#[test]
fn whatever_can_be_decoded_can_be_scaled() {
    for format in Format::all() {
        assert_eq!(is_decodable(format), supports_gain(format));
    }
}

proptest! {
    #[test]
    fn zero_decibels_pass_every_byte_through(bytes: Vec<u8>, channels: u8) {
        for format in Format::all() {
            let mut frames = bytes.clone();
            let gain = Gain::new(channels);
            prop_assert!(gain.is_identity());
            gain.apply(format, channels, &mut frames);
            prop_assert_eq!(&frames, &bytes);
            // The same beside a channel that does change.
            let mut gain = Gain::new(2);
            gain.set_volume(1, -1);
            gain.apply(format, 2, &mut frames);
            let width = sample_bytes(format);
            for (is, was) in frames.chunks(width).zip(bytes.chunks(width)).step_by(2) {
                prop_assert_eq!(is, was);
            }
        }
    }

    #[test]
    fn no_buffer_no_volume_and_no_channel_count_panics(
        bytes: Vec<u8>, volumes: [i32; 3], mute: [bool; 3], made_for in 0..4_u8, channels: u8,
    ) {
        let mut gain = Gain::new(made_for);
        for channel in 0..3 {
            gain.set_volume(channel, volumes[channel]);
            gain.set_mute(channel, mute[channel]);
        }
        for format in Format::all() {
            for channels in [channels, 0, 1, 2, 3] {
                gain.apply(format, channels, &mut bytes.clone());
            }
        }
    }

    #[test]
    fn a_lower_volume_is_never_louder(sample: i32, a in -100_000..20_000_i32, b in -100_000..20_000_i32) {
        for (format, layout) in integer_formats() {
            let scale = |volume: i32| {
                let mut frames = encode(layout, &[sample]);
                both_channels(volume).apply(format, 1, &mut frames);
                i64::from(decode(layout, &frames)[0]).abs()
            };
            prop_assert!(scale(a.min(b)) <= scale(a.max(b)), "{}", format);
        }
    }
}
