//! Settings of a guest that were made while the daemon ran and override its configuration.
//!
//! An override is about a guest or a part of it, and holds until another replaces it, its time is over or it is
//! forgotten. The latest wins.

use config::Asker;
use control::Part;
use host_audio::DeviceSpec;
use serde::{Deserialize, Serialize};
use sndif::store::Direction;

/// Maximum number of overrides of one guest.
pub(crate) const OVERRIDES_MAX: usize = 1024;

/// Overrides that hold for a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) volume_mdb: Option<i32>,
    pub(crate) muted: Option<bool>,
    pub(crate) capture: Option<bool>,
    pub(crate) sink: Option<DeviceSpec>,
    pub(crate) source: Option<DeviceSpec>,
}

/// One override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Override {
    VolumeMdb(i32),
    Muted(bool),
    Capture(bool),
    Sink(#[serde(with = "device")] DeviceSpec),
    Source(#[serde(with = "device")] DeviceSpec),
}

impl Override {
    /// Returns true if the override is valid; a file may contain anything.
    fn is_possible(&self) -> bool {
        match self {
            Self::VolumeMdb(volume) => (pcm::gain::MIN_MILLIDECIBEL..=pcm::gain::MAX_MILLIDECIBEL).contains(volume),
            Self::Muted(_) | Self::Capture(_) | Self::Sink(_) | Self::Source(_) => true,
        }
    }

    /// Direction of the streams that the override is about, if only one.
    pub(crate) fn direction(&self) -> Option<Direction> {
        match self {
            Self::VolumeMdb(_) | Self::Muted(_) => None,
            Self::Sink(_) => Some(Direction::Playback),
            Self::Capture(_) | Self::Source(_) => Some(Direction::Capture),
        }
    }

    /// The override in words, for the audit.
    pub(crate) fn words(&self) -> String {
        match self {
            // In tenths, as in the list.
            Self::VolumeMdb(volume) => format!("volume {} dB", (f64::from(*volume) / 100.0).round() / 10.0 + 0.0),
            Self::Muted(true) => "muted".to_owned(),
            Self::Muted(false) => "unmuted".to_owned(),
            Self::Capture(true) => "capture allowed".to_owned(),
            Self::Capture(false) => "capture denied".to_owned(),
            Self::Sink(device) => format!("plays to {device}"),
            Self::Source(device) => format!("captures from {device}"),
        }
    }
}

/// A host device as the text that names it.
mod device {
    use host_audio::DeviceSpec;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(device: &DeviceSpec, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(device)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DeviceSpec, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// An override, the streams that it is about and its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The streams of the guest that the override is about.
    #[serde(default)]
    pub(crate) part: Part,
    #[serde(rename = "override")]
    pub(crate) value: Override,
    /// End of the override, in milliseconds since 1970; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until_ms: Option<u64>,
}

/// All overrides of a guest, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Overrides(Vec<Entry>);

impl Overrides {
    /// Adds an override. One with an end keeps the permanent ones that it hides, which hold again afterwards.
    pub(crate) fn decide(&mut self, entry: Entry) {
        self.make_way(&entry);
        self.0.push(entry);
    }

    /// Returns true if there is room for an override, which may take the place of others.
    pub(crate) fn has_room_for(&self, entry: &Entry) -> bool {
        if self.0.len() < OVERRIDES_MAX {
            return true;
        }
        let mut left = self.clone();
        left.make_way(entry);
        left.0.len() < OVERRIDES_MAX
    }

    /// Removes the overrides that a new one replaces.
    fn make_way(&mut self, entry: &Entry) {
        let same_kind = |other: &Override| std::mem::discriminant(other) == std::mem::discriminant(&entry.value);
        self.0.retain(|older| {
            let outlives_it = entry.until_ms.is_some() && older.until_ms.is_none();
            outlives_it || !(entry.part.covers(&older.part) && same_kind(&older.value))
        });
    }

    /// Overrides that hold for a stream.
    pub(crate) fn of(&self, asker: &Asker<'_>) -> Decided {
        let mut decided = Decided::default();
        let about_it = |entry: &&Entry| entry.part.has(asker.stream);
        for Entry { value, .. } in self.0.iter().filter(about_it) {
            match value {
                Override::VolumeMdb(volume) => decided.volume_mdb = Some(*volume),
                Override::Muted(on) => decided.muted = Some(*on),
                Override::Capture(allow) => decided.capture = Some(*allow),
                Override::Sink(device) => decided.sink = Some(device.clone()),
                Override::Source(device) => decided.source = Some(device.clone()),
            }
        }
        decided
    }

    /// Forgets the overrides of a part or of something in it; returns their number.
    pub(crate) fn forget(&mut self, part: &Part) -> usize {
        let before = self.0.len();
        self.0.retain(|entry| !part.covers(&entry.part));
        before - self.0.len()
    }

    /// Removes and returns the overrides that are over.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Vec<Entry> {
        self.0.extract_if(.., |entry| entry.until_ms.is_some_and(|until_ms| until_ms <= now_ms)).collect()
    }

    /// End of the first override that ends.
    pub(crate) fn next_end_ms(&self) -> Option<u64> {
        self.0.iter().filter_map(|entry| entry.until_ms).min()
    }

    /// Drops overrides that are invalid or too many; returns their number.
    pub(crate) fn check(&mut self) -> usize {
        let before = self.0.len();
        self.0.retain(|entry| entry.value.is_possible());
        self.0.truncate(OVERRIDES_MAX);
        before - self.0.len()
    }

    /// Host devices that the overrides name.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &DeviceSpec> {
        self.0.iter().filter_map(|entry| match &entry.value {
            Override::Sink(device) | Override::Source(device) => Some(device),
            Override::VolumeMdb(_) | Override::Muted(_) | Override::Capture(_) => None,
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use control::Target;
    use sndif::store::StreamAddress;

    use super::*;

    fn asker(card: u32, stream: u8) -> Asker<'static> {
        let stream = StreamAddress { domain: 5, card, pcm: 0, stream };
        Asker { stream, name: None, uuid: None, unique_id: "" }
    }

    fn entry(target: &str, value: Override, until_ms: Option<u64>) -> Entry {
        Entry { part: target.parse::<Target>().unwrap().part, value, until_ms }
    }

    #[test]
    fn the_latest_override_holds_and_a_wider_one_replaces_narrower_ones() {
        let mut overrides = Overrides::default();
        let mut decide = |target: &str, value| overrides.decide(entry(target, value, None));
        decide("x/0/0/1", Override::Capture(true));
        decide("x", Override::VolumeMdb(-3000));
        decide("x", Override::Capture(false));
        decide("x/1", Override::Capture(true));
        decide("x/1", Override::Capture(true));
        assert_eq!(overrides.len(), 3);
        assert_eq!(overrides.of(&asker(0, 1)).capture, Some(false));
        let other = Decided { volume_mdb: Some(-3000), capture: Some(true), ..Decided::default() };
        assert_eq!(overrides.of(&asker(1, 1)), other);
        assert_eq!(overrides.forget(&Part { card: Some(1), ..Part::default() }), 1);
        assert_eq!(overrides.of(&asker(1, 1)).capture, Some(false));
        assert_eq!((overrides.forget(&Part::default()), overrides.is_empty()), (2, true));
    }

    #[test]
    fn after_an_override_that_ends_holds_what_held_before() {
        let mut overrides = Overrides::default();
        overrides.decide(entry("x/0/0/1", Override::Capture(false), None));
        overrides.decide(entry("x", Override::Capture(true), Some(1000)));
        overrides.decide(entry("x", Override::Capture(true), Some(2000)));
        assert_eq!((overrides.len(), overrides.next_end_ms()), (2, Some(2000)));
        assert_eq!(overrides.of(&asker(0, 1)).capture, Some(true));
        assert!(overrides.expire(1999).is_empty());
        assert_eq!(overrides.expire(2000).len(), 1);
        assert_eq!(overrides.of(&asker(0, 1)).capture, Some(false));
        assert_eq!(overrides.of(&asker(0, 0)).capture, None);
        overrides.decide(entry("x", Override::Capture(true), Some(3000)));
        overrides.decide(entry("x", Override::Capture(false), None));
        assert_eq!((overrides.len(), overrides.next_end_ms()), (1, None), "one for good replaces it");
    }

    #[test]
    fn a_volume_is_told_in_tenths() {
        let words = [-18_062, -3_000, -40, 500].map(|volume| Override::VolumeMdb(volume).words());
        assert_eq!(words, ["volume -18.1 dB", "volume -3 dB", "volume 0 dB", "volume 0.5 dB"]);
    }

    #[test]
    fn an_override_that_there_cannot_be_is_dropped() {
        let text = r#"[{"override":{"volume-mdb":99999}},{"part":{"card":0},"override":{"sink":"alsa:hw:1"}}]"#;
        let mut overrides: Overrides = serde_json::from_str(text).unwrap();
        assert_eq!((overrides.check(), overrides.len()), (1, 1));
        assert_eq!(overrides.of(&asker(0, 0)).sink, Some("alsa:hw:1".parse().unwrap()));
        assert!(serde_json::from_str::<Overrides>(r#"[{"override":{"sink":"alsa"}}]"#).is_err());
    }

    #[test]
    fn an_override_that_replaces_another_needs_no_room() {
        let entry = |card, value| Entry { part: Part { card: Some(card), ..Part::default() }, value, until_ms: None };
        let mut overrides = Overrides::default();
        for card in 0..OVERRIDES_MAX as u32 {
            assert!(overrides.has_room_for(&entry(card, Override::Muted(true))));
            overrides.decide(entry(card, Override::Muted(true)));
        }
        assert!(overrides.has_room_for(&entry(7, Override::Muted(false))));
        assert!(!overrides.has_room_for(&entry(7, Override::VolumeMdb(-1000))));
        assert!(!overrides.has_room_for(&entry(OVERRIDES_MAX as u32, Override::Muted(true))));
    }
}
