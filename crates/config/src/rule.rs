//! Exceptions: settings for some guests, cards or streams.

use std::fmt;

use glob::{MatchOptions, Pattern};
use host_audio::{DeviceSpec, Fallback};
use serde::Deserialize;
use serde::de::{self, Deserializer};
use sndif::Protocol;
use sndif::store::StreamAddress;

use crate::asker::Asker;
use crate::limits::Limits;
use crate::value;

/// Settings for the streams that the rule matches.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Rule {
    /// The guest.
    pub domain: Option<DomainSelector>,
    /// The card's number (its XenBus device id).
    pub card: Option<u32>,
    /// The PCM device's index.
    pub pcm: Option<u8>,
    /// The stream's index.
    pub stream: Option<u8>,
    /// Replaces [`crate::Config::sink`].
    #[serde(deserialize_with = "value::optional_device")]
    pub sink: Option<DeviceSpec>,
    /// Replaces [`crate::Config::source`].
    #[serde(deserialize_with = "value::optional_device")]
    pub source: Option<DeviceSpec>,
    /// Replaces [`crate::Config::playback`].
    pub playback: Option<bool>,
    /// Replaces [`crate::Config::capture`].
    pub capture: Option<bool>,
    /// Replaces [`crate::Config::when_denied`].
    #[serde(deserialize_with = "value::optional_fallback")]
    pub when_denied: Option<Fallback>,
    /// Protocol that the card speaks, whatever its nodes say. The protocol is that of a whole card: a rule with this
    /// key names no PCM device or stream.
    #[serde(deserialize_with = "value::protocol")]
    pub protocol: Option<Protocol>,
    /// Replaces [`crate::Config::when_absent`].
    #[serde(deserialize_with = "value::optional_fallback")]
    pub when_absent: Option<Fallback>,
    /// Replaces [`crate::Config::volume_mdb`].
    #[serde(rename = "volume-db", deserialize_with = "value::decibels")]
    pub volume_mdb: Option<i32>,
    /// Replaces [`crate::Config::muted`].
    pub muted: Option<bool>,
    /// Replaces [`crate::Config::volume_max_mdb`].
    #[serde(rename = "volume-max-db", deserialize_with = "value::decibels")]
    pub volume_max_mdb: Option<i32>,
    /// Replaces [`crate::Config::trust_unique_id`].
    #[serde(alias = "trust_unique_id")]
    pub trust_unique_id: Option<bool>,
    /// Replaces [`crate::Config::media_role`].
    #[serde(deserialize_with = "value::role")]
    pub media_role: Option<String>,
    /// Bounds, each of which replaces its earlier value.
    pub limits: Limits,
}

impl Rule {
    /// Returns true if the rule is about this stream.
    pub(crate) fn matches(&self, asker: &Asker<'_>) -> bool {
        let StreamAddress { domain, card, pcm, stream } = asker.stream;
        self.domain.as_ref().is_none_or(|selector| selector.selects(domain, asker.name, asker.uuid))
            && self.card.is_none_or(|wanted| wanted == card)
            && self.pcm.is_none_or(|wanted| wanted == pcm)
            && self.stream.is_none_or(|wanted| wanted == stream)
    }
}

/// A guest by number, name or UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainSelector {
    /// Domain id; changes with every start of the guest.
    Id(u16),
    /// Name, or UUID in its usual form; `*`, `?` and `[…]` are wildcards as in a shell.
    Name(Pattern),
}

impl DomainSelector {
    /// Returns true if the selector matches the guest with this id, name and UUID.
    #[must_use]
    pub fn selects(&self, domain: u16, name: Option<&str>, uuid: Option<&str>) -> bool {
        match self {
            Self::Id(id) => *id == domain,
            Self::Name(pattern) => {
                let any_case = MatchOptions { case_sensitive: false, ..MatchOptions::new() };
                name.is_some_and(|name| pattern.matches(name))
                    || uuid.is_some_and(|uuid| pattern.matches_with(uuid, any_case))
            }
        }
    }
}

impl<'de> Deserialize<'de> for DomainSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = DomainSelector;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a domain's name or UUID, also as a pattern, or its number (0 to 32751)")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<DomainSelector, E> {
                if name.is_empty() {
                    return Err(E::invalid_value(de::Unexpected::Str(name), &self));
                }
                let pattern = Pattern::new(name)
                    .map_err(|error| E::custom(format!("`{name}` is no pattern for names: {}", error.msg)))?;
                Ok(DomainSelector::Name(pattern))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<DomainSelector, E> {
                match u16::try_from(number) {
                    // Xen reserves the numbers from 0x7FF0 on.
                    Ok(id) if id < 0x7FF0 => Ok(DomainSelector::Id(id)),
                    _ => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

pub(crate) fn rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rule>, D::Error> {
    Ok(Vec::<Whole>::deserialize(deserializer)?.into_iter().map(|Whole(rule)| rule).collect())
}

/// A rule that was checked for keys that exclude each other.
struct Whole(Rule);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rule = Rule::deserialize(deserializer)?;
        if rule.pcm.is_some() || rule.stream.is_some() {
            if rule.protocol.is_some() {
                return Err(de::Error::custom(
                    "`protocol` is that of a whole card: leave out `pcm` and `stream` in its rule",
                ));
            }
            if rule.limits.streams_per_card.is_some() || rule.limits.streams_per_domain.is_some() {
                return Err(de::Error::custom(
                    "`streams-per-card` and `streams-per-domain` concern whole cards: leave out `pcm` and `stream` in their rule",
                ));
            }
        }
        Ok(Self(rule))
    }
}
