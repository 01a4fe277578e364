//! Permissions and route of a stream: the configuration and the overrides, applied to one stream.

use std::collections::HashSet;

use backend::HostLimits;
use config::{Asker, Config, Limits};
use host_audio::{DeviceSpec, Fallback};
use sndif::FormatSet;
use sndif::store::Direction;

use crate::overrides::Overrides;
use crate::unique_id;

/// The host's part of a stream's volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HostVolume {
    /// Added to the guest's, in 0.001 dB.
    pub(crate) millidecibels: i32,
    /// Maximum of the sum.
    pub(crate) max: Option<i32>,
    pub(crate) muted: bool,
}

impl HostVolume {
    /// Sum of this and a guest's volume, within the maximum, in 0.001 dB.
    pub(crate) fn under_ceiling(&self, guest: i32) -> i32 {
        guest.saturating_add(self.millidecibels).min(self.max.unwrap_or(i32::MAX))
    }

    /// The same as [`under_ceiling`](Self::under_ceiling); `None` if the host has muted the stream.
    pub(crate) fn with(&self, guest: i32) -> Option<i32> {
        (!self.muted).then(|| self.under_ceiling(guest))
    }
}

/// Device of a stream, and the conditions of its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) device: DeviceSpec,
    /// Treatment of the stream if its guest may not use it; the guest is not told of silence.
    pub(crate) denied: Option<Fallback>,
    pub(crate) absent: Fallback,
    pub(crate) volume: HostVolume,
    /// Role of the stream on a sound server.
    pub(crate) role: Option<String>,
    pub(crate) limits: Limits,
}

impl Route {
    /// Returns true if the stream cannot be opened because its guest may not use it.
    pub(crate) fn is_refused(&self) -> bool {
        self.denied == Some(Fallback::Refuse)
    }

    /// The host's bounds for OPEN.
    pub(crate) fn host_limits(&self) -> HostLimits {
        HostLimits {
            buffer_bytes_max: self.limits.buffer_bytes_max.unwrap_or(Limits::BUFFER_BYTES_MAX),
            period_us_min: self.limits.period_us_min.unwrap_or(Limits::PERIOD_US_MIN),
        }
    }

    /// Returns true if the same may be opened as with `other`; of the volumes, only the maximum counts.
    pub(crate) fn has_bounds_of(&self, other: &Self) -> bool {
        let volume = HostVolume { max: self.volume.max, ..other.volume };
        Self { volume, ..self.clone() } == *other
    }

    /// Formats that may be used. A format whose samples cannot be scaled would evade a ceiling.
    pub(crate) fn formats(&self) -> FormatSet {
        let formats = self.limits.formats.unwrap_or(FormatSet::ALL);
        match self.volume.max {
            Some(max) if max < 0 => formats.iter().filter(|&format| pcm::supports_gain(format)).collect(),
            _ => formats,
        }
    }
}

/// The configuration and the overrides.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) config: Config,
    pub(crate) overrides: Overrides,
}

impl Policy {
    /// Every host device that the configuration or an override names.
    pub(crate) fn devices(&self) -> HashSet<DeviceSpec> {
        let configured = self.config.devices().map(|(device, _)| device);
        configured.chain(self.overrides.devices()).cloned().collect()
    }

    /// The route of a stream.
    pub(crate) fn route(&self, asker: &Asker<'_>, direction: Direction) -> Route {
        let config = &self.config;
        let (mut sink, mut source) = (&config.sink, &config.source);
        let (mut playback, mut capture) = (config.playback, config.capture);
        let (mut denied, mut absent) = (config.when_denied, config.when_absent);
        let (mut volume, mut muted) = (config.volume_mdb, config.muted);
        let (mut max, mut trusted) = (config.volume_max_mdb, config.trust_unique_id);
        let mut role = &config.media_role;
        for rule in config.rules_for(asker) {
            sink = rule.sink.as_ref().unwrap_or(sink);
            source = rule.source.as_ref().unwrap_or(source);
            playback = rule.playback.unwrap_or(playback);
            capture = rule.capture.unwrap_or(capture);
            denied = rule.when_denied.unwrap_or(denied);
            absent = rule.when_absent.unwrap_or(absent);
            volume = rule.volume_mdb.or(volume);
            muted = rule.muted.unwrap_or(muted);
            max = rule.volume_max_mdb.or(max);
            trusted = rule.trust_unique_id.unwrap_or(trusted);
            if rule.media_role.is_some() {
                role = &rule.media_role;
            }
        }
        let decided = self.overrides.of(asker);
        let (moved, device, granted) = match direction {
            Direction::Playback => (decided.sink, sink, playback),
            Direction::Capture => (decided.source, source, decided.capture.unwrap_or(capture)),
        };
        let named = || if trusted { unique_id::device(asker.unique_id) } else { None };
        Route {
            device: moved.or_else(named).unwrap_or_else(|| device.clone()),
            denied: (!granted).then_some(denied),
            absent,
            volume: HostVolume {
                millidecibels: decided.volume_mdb.or(volume).unwrap_or(0),
                max,
                muted: decided.muted.unwrap_or(muted),
            },
            role: role.clone(),
            limits: config.limits(asker),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use control::Part;
    use sndif::Protocol;
    use sndif::store::StreamAddress;

    use super::*;
    use crate::overrides::{Entry, Override};

    const STREAM: StreamAddress = StreamAddress { domain: 5, card: 0, pcm: 1, stream: 2 };
    const ASKER: Asker<'static> = Asker {
        stream: STREAM,
        name: Some("studio"),
        uuid: Some("6c1f1d3e-0d5b-4f5b-9d0e-0f6d8a1b2c3d"),
        unique_id: "",
    };

    fn policy(text: &str) -> Policy {
        let config = Config::parse(text, Path::new("f.toml")).unwrap();
        Policy { config, overrides: Overrides::default() }
    }

    fn route(text: &str, direction: Direction) -> Route {
        policy(text).route(&ASKER, direction)
    }

    fn granted(text: &str, direction: Direction) -> bool {
        route(text, direction).denied.is_none()
    }

    #[test]
    fn capture_is_off_until_allowed() {
        assert!(!granted("", Direction::Capture));
        assert!(granted("capture = true", Direction::Capture));
        assert!(granted("[[rule]]\ndomain = \"studio\"\ncapture = true", Direction::Capture));
        assert!(!granted("[[rule]]\ndomain = \"other\"\ncapture = true", Direction::Capture));
    }

    #[test]
    fn a_protocol_can_be_forced_for_a_card() {
        let text = "[[rule]]\nprotocol = \"v0\"\n[[rule]]\ndomain = \"studio\"\ncard = 0\nprotocol = \"v2\"\n[[rule]]\ncard = 9\nprotocol = \"v0\"";
        let config = Config::parse(text, Path::new("f.toml")).unwrap();
        assert_eq!(config.protocol(&ASKER), Some(Protocol::V2));
        assert_eq!(
            config.protocol(&Asker { stream: StreamAddress { card: 3, ..STREAM }, ..ASKER }),
            Some(Protocol::V0)
        );
    }

    #[test]
    fn a_stream_without_its_device_is_refused_unless_silence_is_asked_for() {
        assert_eq!(route("", Direction::Playback).absent, Fallback::Refuse);
        assert_eq!(route("when-absent = \"silence\"", Direction::Playback).absent, Fallback::Silence);
        let rule = "when-absent = \"silence\"\n[[rule]]\npcm = 1\nwhen-absent = \"refuse\"";
        assert_eq!(route(rule, Direction::Capture).absent, Fallback::Refuse);
    }

    #[test]
    fn a_domain_is_known_by_name_uuid_and_number() {
        let others = ["6", "\"Studio\"", "\"studi\"", "\"stud?\"", "\"6c1f1d3e\""];
        for domain in others {
            let text = format!("[[rule]]\ndomain = {domain}\nsink = \"wav:/x.wav\"");
            assert_eq!(route(&text, Direction::Playback).device, DeviceSpec::Null, "{domain}");
        }
        for domain in [
            "5",
            "\"studio\"",
            "\"st*\"",
            "\"[rst]tudi?\"",
            "\"6C1F1D3E-0D5B-4F5B-9D0E-0F6D8A1B2C3D\"",
            "\"6c1f1d3e-*\"",
        ] {
            let text = format!("[[rule]]\ndomain = {domain}\nsink = \"wav:/x.wav\"");
            assert_eq!(route(&text, Direction::Playback).device.to_string(), "wav:/x.wav");
        }
    }

    #[test]
    fn later_rules_replace_only_what_they_name() {
        let text = "[[rule]]\nsink = \"wav:/a.wav\"\ncapture = true\n[[rule]]\npcm = 1\nstream = 2\nsink = \"wav:/b.wav\"\n[[rule]]\ncard = 9\ncapture = false";
        assert_eq!(route(text, Direction::Playback).device.to_string(), "wav:/b.wav");
        assert!(granted(text, Direction::Capture));
    }

    #[test]
    fn playback_can_be_denied() {
        assert!(granted("", Direction::Playback));
        assert!(!granted("playback = false", Direction::Playback));
        assert!(granted("playback = false\n[[rule]]\ndomain = \"studio\"\nplayback = true", Direction::Playback));
    }

    #[test]
    fn rules_set_volume_and_mute_and_an_override_replaces_them() {
        let text = "volume-db = -3\nmuted = true\n[[rule]]\ndomain = \"studio\"\nvolume-db = -12.5\n[[rule]]\npcm = 1\nmuted = false";
        let volume = |policy: &Policy, pcm| {
            let stream = StreamAddress { pcm, ..STREAM };
            policy.route(&Asker { stream, ..ASKER }, Direction::Playback).volume
        };
        let mut policy = policy(text);
        assert_eq!(volume(&policy, 1), HostVolume { millidecibels: -12_500, max: None, muted: false });
        assert!(volume(&policy, 0).muted);
        assert_eq!(policy.route(&Asker { name: Some("x"), ..ASKER }, Direction::Playback).volume.millidecibels, -3000);
        for value in [Override::VolumeMdb(0), Override::Muted(true), Override::Sink(DeviceSpec::Wav("/x.wav".into()))] {
            policy.overrides.decide(Entry { part: Part::default(), value, until_ms: None });
        }
        assert_eq!(volume(&policy, 1), HostVolume { millidecibels: 0, max: None, muted: true });
        assert_eq!(policy.route(&ASKER, Direction::Playback).device.to_string(), "wav:/x.wav");
        assert_eq!(policy.route(&ASKER, Direction::Capture).device, DeviceSpec::Null);
    }

    #[test]
    fn what_is_denied_is_refused_or_silent_as_configured() {
        assert_eq!(route("", Direction::Capture).denied, Some(Fallback::Refuse));
        assert_eq!(route("when-denied = \"silence\"", Direction::Capture).denied, Some(Fallback::Silence));
        let rule = "when-denied = \"silence\"\n[[rule]]\npcm = 1\nwhen-denied = \"refuse\"";
        assert_eq!(route(rule, Direction::Capture).denied, Some(Fallback::Refuse));
    }

    #[test]
    fn a_rules_limits_replace_those_above_one_by_one() {
        let text = "[limits]\nbuffer-bytes-max = 65536\nchannels-max = 2\n[[rule]]\ndomain = \"studio\"\n\
            limits = { channels-max = 8, formats = [\"s16_le\"], rates-hz = [48000, 44100] }";
        let route = route(text, Direction::Playback);
        assert_eq!((route.host_limits().buffer_bytes_max, route.limits.channels_max), (65_536, Some(8)));
        assert_eq!(route.formats(), FormatSet::EMPTY.with(sndif::Format::S16Le));
        assert_eq!(route.limits.rates_hz.unwrap().list(), [44_100, 48_000]);
        assert_eq!(route.host_limits().period_us_min, 1000);
    }

    #[test]
    fn a_ceiling_leaves_out_what_cannot_be_scaled() {
        assert!(route("", Direction::Playback).formats().contains(sndif::Format::Mpeg));
        let below = route("volume-max-db = -6", Direction::Playback);
        assert_eq!(below.volume.max, Some(-6000));
        assert!(!below.formats().contains(sndif::Format::Mpeg) && below.formats().contains(sndif::Format::S16Le));
    }

    #[test]
    fn a_unique_id_names_a_device_only_where_it_is_trusted() {
        let asker = Asker { unique_id: "alsa<hw:1;0>", ..ASKER };
        let device = |text: &str| policy(text).route(&asker, Direction::Playback).device.to_string();
        assert_eq!(device(""), "null");
        assert_eq!(device("trust_unique_id = true"), "alsa:hw:1,0");
        assert_eq!(device("trust-unique-id = true\n[[rule]]\ndomain = 5\ntrust-unique-id = false"), "null");
        assert_eq!(policy("trust-unique-id = true").route(&ASKER, Direction::Playback).device, DeviceSpec::Null);
    }
}
