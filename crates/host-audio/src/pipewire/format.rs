//! A stream in the server's terms: sample format, channel positions, the requested cycle.

use crate::live::queue_frames;
use crate::{ServerVolume, StreamSpec};
use pipewire::spa::param::audio::{AudioFormat, AudioInfoRaw, MAX_CHANNELS};
use pipewire::spa::pod::deserialize::PodDeserializer;
use pipewire::spa::pod::{self, Pod, Property, Value, ValueArray};
use pipewire::spa::sys;
use sndif::{Format, FormatSet};
use std::ops::RangeInclusive;

/// Rates that every server takes.
pub(super) const RATES_HZ: RangeInclusive<u32> = 4_000..=384_000;
/// Channel counts that every server takes.
pub(super) const CHANNELS: RangeInclusive<u32> = 1..=MAX_CHANNELS as u32;
/// Parts into which the queue is divided for the requested cycle: one is in the device, one on its way, one is
/// refilled.
const CYCLES: u64 = 3;
/// Shortest cycle that is requested, as a part of a second (2 ms): all clients share it, and each cycle costs the host.
const SHORTEST_CYCLE: u32 = 500;

/// The server's name for a format. Missing formats are no part of PipeWire, or its converter takes them but plays noise
/// or silence (`S8`, `S24_32BE` and `F64BE` in 0.3.65); this crate converts them.
fn format_of(format: Format) -> Option<AudioFormat> {
    Some(match format {
        Format::U8 => AudioFormat::U8,
        Format::S16Le => AudioFormat::S16LE,
        Format::S16Be => AudioFormat::S16BE,
        Format::S24Le => AudioFormat::S24_32LE,
        Format::S32Le => AudioFormat::S32LE,
        Format::S32Be => AudioFormat::S32BE,
        Format::F32Le => AudioFormat::F32LE,
        Format::F32Be => AudioFormat::F32BE,
        Format::F64Le => AudioFormat::F64LE,
        Format::ALaw => AudioFormat::ALAW,
        Format::MuLaw => AudioFormat::ULAW,
        _ => return None,
    })
}

/// Formats that every server takes.
pub(super) fn formats() -> FormatSet {
    Format::all().filter(|&format| format_of(format).is_some()).collect()
}

/// Positions of the channels, in ALSA's order, which is a guest's.
fn positions(channels: u8) -> [u32; MAX_CHANNELS] {
    const ALSA: [u32; 8] = [
        sys::SPA_AUDIO_CHANNEL_FL,
        sys::SPA_AUDIO_CHANNEL_FR,
        sys::SPA_AUDIO_CHANNEL_RL,
        sys::SPA_AUDIO_CHANNEL_RR,
        sys::SPA_AUDIO_CHANNEL_FC,
        sys::SPA_AUDIO_CHANNEL_LFE,
        sys::SPA_AUDIO_CHANNEL_SL,
        sys::SPA_AUDIO_CHANNEL_SR,
    ];
    let mut positions = [0; MAX_CHANNELS];
    match channels {
        1 => positions[0] = sys::SPA_AUDIO_CHANNEL_MONO,
        2 | 4 | 5 | 6 | 8 => positions[..8].copy_from_slice(&ALSA),
        // Nobody knows where these channels belong: they are passed on one to one.
        _ => positions.iter_mut().zip(sys::SPA_AUDIO_CHANNEL_AUX0..).for_each(|(entry, aux)| *entry = aux),
    }
    positions
}

/// The one format that a stream has, as a parameter of its connection.
pub(super) fn stream_format(spec: &StreamSpec) -> Vec<u8> {
    let mut info = AudioInfoRaw::new();
    info.set_format(format_of(spec.format).unwrap_or(AudioFormat::Unknown));
    info.set_rate(spec.rate_hz);
    info.set_channels(spec.channels.into());
    info.set_position(positions(spec.channels));
    object(sys::SPA_TYPE_OBJECT_Format, sys::SPA_PARAM_EnumFormat, info.into())
}

/// Volume and mute in a node's properties, if they have them.
pub(super) fn volume(param: &Pod) -> Option<ServerVolume> {
    let (_, Value::Object(object)) = PodDeserializer::deserialize_any_from(param.as_bytes()).ok()? else { return None };
    let property = |key| object.properties.iter().find(|property| property.key == key).map(|property| &property.value);
    let Value::ValueArray(ValueArray::Float(channels)) = property(sys::SPA_PROP_channelVolumes)? else { return None };
    let muted = matches!(property(sys::SPA_PROP_mute), Some(Value::Bool(true)));
    Some(ServerVolume::from_linear(channels.iter().map(|&factor| f64::from(factor)), muted))
}

fn object(type_: u32, id: u32, properties: Vec<Property>) -> Vec<u8> {
    let object = Value::Object(pod::Object { type_, id, properties });
    let written = pod::serialize::PodSerializer::serialize(std::io::Cursor::new(Vec::new()), &object);
    // Cannot fail: the object is written to memory.
    written.map(|(cursor, _)| cursor.into_inner()).unwrap_or_default()
}

/// Most frames that the graph's cycle is requested to have.
pub(super) fn cycle_frames(spec: &StreamSpec) -> u64 {
    (queue_frames(spec, 0) / CYCLES).max((spec.rate_hz / SHORTEST_CYCLE).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_a_third_of_what_is_queued_but_not_shorter_than_a_host_can_bear() {
        let cycle = |period_frames, buffer_frames| {
            let spec = StreamSpec { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames, buffer_frames };
            cycle_frames(&spec)
        };
        assert_eq!(cycle(480, 4_800), 320);
        assert_eq!(cycle(480, 480), 160);
        assert_eq!(cycle(48, 96), 96);
        // 10 ms at least, 200 ms at most.
        assert_eq!(cycle(48, 4_800), 160);
        assert_eq!(cycle(48_000, 96_000), 3_200);
    }
}
