//! What the host lets a stream do and where it leads: the configuration, applied to one stream.

use host_audio::{DeviceSpec, WhenAbsent};
use sndif::Protocol;
use sndif::store::Direction;

use crate::config::{Config, DomainSelector, Rule};

/// Who asks. Everything in here comes from the toolstack, nothing from the guest.
#[derive(Debug, Clone)]
pub(crate) struct Asker<'a> {
    pub(crate) domain: u16,
    pub(crate) name: Option<&'a str>,
    pub(crate) uuid: Option<&'a str>,
    pub(crate) card: u32,
    pub(crate) pcm: u8,
    pub(crate) stream: u8,
}

/// Where a stream leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) device: DeviceSpec,
    pub(crate) permitted: bool,
    pub(crate) absent: WhenAbsent,
}

impl Config {
    /// The route of a stream.
    pub(crate) fn route(&self, asker: &Asker<'_>, direction: Direction) -> Route {
        let (mut sink, mut source, mut capture, mut absent) =
            (&self.sink, &self.source, self.capture, self.when_absent);
        for rule in self.rules.iter().filter(|rule| rule.matches(asker)) {
            sink = rule.sink.as_ref().unwrap_or(sink);
            source = rule.source.as_ref().unwrap_or(source);
            capture = rule.capture.unwrap_or(capture);
            absent = rule.when_absent.unwrap_or(absent);
        }
        match direction {
            Direction::Playback => Route { device: sink.clone(), permitted: true, absent: absent.into() },
            Direction::Capture => Route { device: source.clone(), permitted: capture, absent: absent.into() },
        }
    }

    /// Whether any rule forces a protocol.
    pub(crate) fn forces_protocol(&self) -> bool {
        self.rules.iter().any(|rule| rule.protocol.is_some())
    }

    /// The protocol that a card is forced to.
    pub(crate) fn protocol(&self, asker: &Asker<'_>) -> Option<Protocol> {
        self.rules.iter().filter(|rule| rule.matches(asker)).filter_map(|rule| rule.protocol).next_back()
    }

    /// Every host device that the configuration names, with the direction it is used in.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (&DeviceSpec, Direction)> {
        let sinks = std::iter::once(&self.sink).chain(self.rules.iter().filter_map(|rule| rule.sink.as_ref()));
        let sources = std::iter::once(&self.source).chain(self.rules.iter().filter_map(|rule| rule.source.as_ref()));
        sinks.map(|device| (device, Direction::Playback)).chain(sources.map(|device| (device, Direction::Capture)))
    }
}

impl Rule {
    fn matches(&self, asker: &Asker<'_>) -> bool {
        let domain = match &self.domain {
            None => true,
            Some(DomainSelector::Id(id)) => *id == asker.domain,
            Some(DomainSelector::Name(name)) => {
                asker.name == Some(name) || asker.uuid.is_some_and(|uuid| uuid.eq_ignore_ascii_case(name))
            }
        };
        domain
            && self.card.is_none_or(|card| card == asker.card)
            && self.pcm.is_none_or(|pcm| pcm == asker.pcm)
            && self.stream.is_none_or(|stream| stream == asker.stream)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const ASKER: Asker<'static> = Asker {
        domain: 5,
        name: Some("studio"),
        uuid: Some("6c1f1d3e-0d5b-4f5b-9d0e-0f6d8a1b2c3d"),
        card: 0,
        pcm: 1,
        stream: 2,
    };

    fn route(text: &str, direction: Direction) -> Route {
        Config::parse(text, Path::new("f.toml")).unwrap().route(&ASKER, direction)
    }

    #[test]
    fn capture_is_off_until_allowed() {
        assert!(!route("", Direction::Capture).permitted);
        assert!(route("capture = true", Direction::Capture).permitted);
        assert!(route("[[rule]]\ndomain = \"studio\"\ncapture = true", Direction::Capture).permitted);
        assert!(!route("[[rule]]\ndomain = \"other\"\ncapture = true", Direction::Capture).permitted);
    }

    #[test]
    fn a_protocol_can_be_forced_for_a_card() {
        let text = "[[rule]]\nprotocol = \"v0\"\n[[rule]]\ndomain = \"studio\"\ncard = 0\nprotocol = \"v2\"\n[[rule]]\ncard = 9\nprotocol = \"v0\"";
        let config = Config::parse(text, Path::new("f.toml")).unwrap();
        assert_eq!(config.protocol(&ASKER), Some(Protocol::V2));
        assert_eq!(config.protocol(&Asker { card: 3, ..ASKER }), Some(Protocol::V0));
        assert!(config.forces_protocol() && !Config::default().forces_protocol());
    }

    #[test]
    fn a_stream_without_its_device_is_refused_unless_silence_is_asked_for() {
        assert_eq!(route("", Direction::Playback).absent, WhenAbsent::Refuse);
        assert_eq!(route("when-absent = \"silence\"", Direction::Playback).absent, WhenAbsent::Silence);
        let rule = "when-absent = \"silence\"\n[[rule]]\npcm = 1\nwhen-absent = \"refuse\"";
        assert_eq!(route(rule, Direction::Capture).absent, WhenAbsent::Refuse);
    }

    #[test]
    fn a_domain_is_known_by_name_uuid_and_number() {
        for domain in ["5", "\"studio\"", "\"6C1F1D3E-0D5B-4F5B-9D0E-0F6D8A1B2C3D\""] {
            let text = format!("[[rule]]\ndomain = {domain}\nsink = \"wav:/x.wav\"");
            assert_eq!(route(&text, Direction::Playback).device.to_string(), "wav:/x.wav");
        }
    }

    #[test]
    fn later_rules_replace_only_what_they_name() {
        let text = "[[rule]]\nsink = \"wav:/a.wav\"\ncapture = true\n[[rule]]\npcm = 1\nstream = 2\nsink = \"wav:/b.wav\"\n[[rule]]\ncard = 9\ncapture = false";
        assert_eq!(route(text, Direction::Playback).device.to_string(), "wav:/b.wav");
        assert!(route(text, Direction::Capture).permitted);
    }
}
