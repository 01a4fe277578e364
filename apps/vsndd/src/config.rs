//! The configuration file.
//!
//! ```toml
//! # What holds for every stream that no rule speaks of.
//! sink = "alsa:default"       # null, wav:PATH, alsa:PCM or pulse[:SINK][@SERVER]
//! source = "null"
//! capture = false             # guests do not hear the host until this says so
//! when-absent = "refuse"      # a stream whose device is not there is not opened; "silence": it is, silently
//!
//! [limits]
//! buffer-bytes-max = 1048576
//! period-us-min = 1000
//! streams-per-card = 64
//!
//! # Rules are read from top to bottom; what a matching one names replaces what stood before.
//! [[rule]]
//! domain = "studio"           # name, UUID or number; leave out to match all
//! card = 0
//! pcm = 0
//! stream = 1
//! source = "alsa:hw:1,0"
//! capture = true
//!
//! [[rule]]
//! domain = "car"
//! protocol = "v0"             # v0 or v2; recognised by the card's nodes where nothing is said
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use host_audio::{DeviceSpec, WhenAbsent};
use serde::Deserialize;
use serde::de::{self, Deserializer};
use sndif::Protocol;

/// Everything that the host decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// Where playback goes.
    #[serde(deserialize_with = "device")]
    pub sink: DeviceSpec,
    /// Where capture comes from.
    #[serde(deserialize_with = "device")]
    pub source: DeviceSpec,
    /// Whether guests may capture.
    pub capture: bool,
    /// What becomes of a stream that is opened while its device is not there.
    pub when_absent: Absent,
    /// Bounds for every guest.
    pub limits: Limits,
    /// Exceptions, in order.
    #[serde(rename = "rule", deserialize_with = "rules")]
    pub rules: Vec<Rule>,
}

impl Default for Config {
    /// Plays to nowhere, hears nothing.
    fn default() -> Self {
        Self {
            sink: DeviceSpec::Null,
            source: DeviceSpec::Null,
            capture: false,
            when_absent: Absent::Refuse,
            limits: Limits::default(),
            rules: Vec::new(),
        }
    }
}

/// Bounds for every guest.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// Largest shared buffer of a stream in octets, 4096 to 64 MiB.
    #[serde(deserialize_with = "buffer_bytes")]
    pub buffer_bytes_max: u32,
    /// Shortest period in microseconds.
    #[serde(deserialize_with = "period_us")]
    pub period_us_min: u32,
    /// Streams of one card.
    pub streams_per_card: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { buffer_bytes_max: 4 << 20, period_us_min: 1000, streams_per_card: 64 }
    }
}

/// What holds for the streams it matches.
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
    /// Replaces [`Config::sink`].
    #[serde(deserialize_with = "optional_device")]
    pub sink: Option<DeviceSpec>,
    /// Replaces [`Config::source`].
    #[serde(deserialize_with = "optional_device")]
    pub source: Option<DeviceSpec>,
    /// Replaces [`Config::capture`].
    pub capture: Option<bool>,
    /// The protocol that the card speaks, whatever its nodes say. It is that of a whole card: a rule with it names no
    /// PCM device or stream.
    #[serde(deserialize_with = "optional_protocol")]
    pub protocol: Option<Protocol>,
    /// Replaces [`Config::when_absent`].
    pub when_absent: Option<Absent>,
}

/// [`WhenAbsent`] as the file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// It is not opened.
    Refuse,
    /// It plays to nobody, or captures silence, until the device is there.
    Silence,
}

impl From<Absent> for WhenAbsent {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::Refuse => Self::Refuse,
            Absent::Silence => Self::Silence,
        }
    }
}

/// A guest by number, name or UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainSelector {
    /// Domain id; changes with every start of the guest.
    Id(u16),
    /// Name, or UUID in its usual form.
    Name(String),
}

impl<'de> Deserialize<'de> for DomainSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = DomainSelector;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a domain's name, UUID or number (0 to 32751)")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<DomainSelector, E> {
                if name.is_empty() {
                    return Err(E::invalid_value(de::Unexpected::Str(name), &self));
                }
                Ok(DomainSelector::Name(name.to_owned()))
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

fn device<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DeviceSpec, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn optional_device<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DeviceSpec>, D::Error> {
    device(deserializer).map(Some)
}

fn optional_protocol<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Protocol>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|error| de::Error::custom(format!("`{text}` is {error}")))
}

fn rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rule>, D::Error> {
    let rules = Vec::<Rule>::deserialize(deserializer)?;
    if rules.iter().any(|rule| rule.protocol.is_some() && (rule.pcm.is_some() || rule.stream.is_some())) {
        return Err(de::Error::custom("`protocol` is that of a whole card: leave out `pcm` and `stream` in its rule"));
    }
    Ok(rules)
}

fn bounded<'de, D: Deserializer<'de>>(deserializer: D, least: u32, most: u32) -> Result<u32, D::Error> {
    let number = i64::deserialize(deserializer)?;
    u32::try_from(number)
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| de::Error::custom(format!("{number} is not between {least} and {most}")))
}

fn buffer_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    bounded(deserializer, 4096, 64 << 20)
}

fn period_us<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    bounded(deserializer, 100, 1_000_000)
}

/// A configuration that cannot be used; the text names file, line and column.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file contains an error.
    #[error("configuration {}:{line}:{column}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1, in characters.
        column: usize,
        /// What is wrong, on one line.
        message: String,
    },
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read or contains an error, a key that does not exist included.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Understands the text of a configuration file; `path` is for the message.
    ///
    /// # Errors
    /// [`ConfigError::Parse`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            ConfigError::Parse {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                message: error.message().lines().collect::<Vec<_>>().join("; "),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("f.toml")).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_line_and_column() {
        assert!(error("sink = \"null\"\nsnik = 1\n").starts_with("configuration f.toml:2:1: unknown field `snik`"));
        assert!(error("sink = \"als:x\"\n").starts_with("configuration f.toml:1:8: "));
        assert!(error("[limits]\nbuffer-bytes-max = 1\n").contains("f.toml:2:20: 1 is not between 4096 and"));
        assert!(error("[[rule]]\ndomain = 99999\n").contains("f.toml:2:10: "));
        assert!(error("capture = \n").contains("f.toml:1:"));
        assert!(error("[[rule]]\nprotocol = \"v1\"\n").contains("f.toml:2:12: `v1` is not a version of the protocol"));
        assert!(error("[[rule]]\nprotocol = \"v0\"\npcm = 0\n").contains("that of a whole card"));
    }

    #[test]
    fn the_example_in_the_documentation_is_one() {
        let text = include_str!("../../../docs/vsndd.toml");
        let config = Config::parse(text, Path::new("docs/vsndd.toml")).unwrap();
        assert_eq!(config.rules.len(), 4);
    }

    #[test]
    fn the_empty_file_hears_nothing() {
        let config = Config::parse("", Path::new("f.toml")).unwrap();
        assert!(!config.capture);
    }
}
