//! A stream in the server's terms: sample format, channel map, lengths of queues.

use crate::StreamSpec;
use pulseaudio::protocol::{self as pa, ChannelPosition as Position, SampleFormat};
use sndif::{Format, FormatSet};
use std::ops::RangeInclusive;

/// Rates that every server takes.
pub(super) const RATES_HZ: RangeInclusive<u32> = 4_000..=384_000;
/// Channel counts that every server takes.
pub(super) const CHANNELS: RangeInclusive<u32> = 1..=pa::sample_spec::MAX_CHANNELS as u32;
/// Default length of the requested queue, and the longest one, as parts of a second: 40 and 200 ms.
const USUAL_QUEUE: u32 = 25;
const LONGEST_QUEUE: u32 = 5;

/// The server's name for a format.
fn format_of(format: Format) -> Option<SampleFormat> {
    Some(match format {
        Format::U8 => SampleFormat::U8,
        Format::S16Le => SampleFormat::S16Le,
        Format::S16Be => SampleFormat::S16Be,
        Format::S24Le => SampleFormat::S24In32Le,
        Format::S24Be => SampleFormat::S24In32Be,
        Format::S32Le => SampleFormat::S32Le,
        Format::S32Be => SampleFormat::S32Be,
        Format::F32Le => SampleFormat::Float32Le,
        Format::F32Be => SampleFormat::Float32Be,
        Format::ALaw => SampleFormat::Alaw,
        Format::MuLaw => SampleFormat::Ulaw,
        _ => return None,
    })
}

/// Formats that every server takes.
pub(super) fn formats() -> FormatSet {
    Format::all().filter(|&format| format_of(format).is_some()).collect()
}

fn sample_spec(spec: &StreamSpec) -> pa::SampleSpec {
    let format = format_of(spec.format).unwrap_or_default();
    pa::SampleSpec { format, channels: spec.channels, sample_rate: spec.rate_hz }
}

/// Channels without known positions.
const ANY: [Position; pa::sample_spec::MAX_CHANNELS as usize] = [
    Position::Aux0,
    Position::Aux1,
    Position::Aux2,
    Position::Aux3,
    Position::Aux4,
    Position::Aux5,
    Position::Aux6,
    Position::Aux7,
    Position::Aux8,
    Position::Aux9,
    Position::Aux10,
    Position::Aux11,
    Position::Aux12,
    Position::Aux13,
    Position::Aux14,
    Position::Aux15,
    Position::Aux16,
    Position::Aux17,
    Position::Aux18,
    Position::Aux19,
    Position::Aux20,
    Position::Aux21,
    Position::Aux22,
    Position::Aux23,
    Position::Aux24,
    Position::Aux25,
    Position::Aux26,
    Position::Aux27,
    Position::Aux28,
    Position::Aux29,
    Position::Aux30,
    Position::Aux31,
];

/// The channels in ALSA's order, which is a guest's.
fn channel_map(channels: u8) -> pa::ChannelMap {
    const ALSA: [Position; 8] = [
        Position::FrontLeft,
        Position::FrontRight,
        Position::RearLeft,
        Position::RearRight,
        Position::FrontCenter,
        Position::Lfe,
        Position::SideLeft,
        Position::SideRight,
    ];
    match channels {
        1 => pa::ChannelMap::mono(),
        2 | 4 | 5 | 6 | 8 => pa::ChannelMap::new(ALSA.into_iter().take(channels.into())),
        // Nobody knows where these channels belong: they are passed on one to one.
        _ => pa::ChannelMap::new(ANY.iter().copied().take(channels.into())),
    }
}

/// Number of frames to be queued, the server's device included: two periods, but not more than there is room for.
fn queue_frames(spec: &StreamSpec) -> u32 {
    let wish = match spec.period_frames {
        0 => spec.rate_hz / USUAL_QUEUE,
        period => period.saturating_mul(2).min(spec.rate_hz / LONGEST_QUEUE),
    };
    let most = if spec.buffer_frames == 0 { wish } else { spec.buffer_frames };
    wish.min(most).max(2)
}

fn bytes(frames: u32, spec: &StreamSpec) -> u32 {
    frames.saturating_mul(spec.frame_bytes() as u32)
}

pub(super) fn playback(spec: &StreamSpec) -> pa::PlaybackStreamParams {
    let queue = queue_frames(spec);
    pa::PlaybackStreamParams {
        sample_spec: sample_spec(spec),
        channel_map: channel_map(spec.channels),
        buffer_attr: pa::stream::BufferAttr {
            max_length: u32::MAX,
            target_length: bytes(queue, spec),
            // Late frames are played from where they are, not skipped.
            pre_buffering: bytes(1, spec),
            minimum_request_length: bytes((queue / 8).max(1), spec),
            ..Default::default()
        },
        flags: pa::stream::StreamFlags { start_corked: true, adjust_latency: true, ..Default::default() },
        ..Default::default()
    }
}

pub(super) fn record(spec: &StreamSpec) -> pa::RecordStreamParams {
    let fragment = (queue_frames(spec) / 4).max(1);
    pa::RecordStreamParams {
        sample_spec: sample_spec(spec),
        channel_map: channel_map(spec.channels),
        buffer_attr: pa::stream::BufferAttr {
            max_length: u32::MAX,
            fragment_size: bytes(fragment, spec),
            ..Default::default()
        },
        flags: pa::stream::StreamFlags { start_corked: true, adjust_latency: true, ..Default::default() },
        ..Default::default()
    }
}
