//! The configuration file; `docs/vsndd.toml` shows and explains all of it.
//!
//! What stands at its top holds for every stream that no [`Rule`] speaks of. Rules are applied from top to bottom; what a
//! matching one names replaces what stood before, what it leaves out stays.

mod limits;
mod rule;
mod value;
mod worker;

use std::path::{Path, PathBuf};

use host_audio::{DeviceSpec, WhenAbsent};
use serde::Deserialize;

pub use limits::Limits;
pub use rule::{DomainSelector, Rule};
pub use value::ListenAddress;
pub use worker::Worker;

/// Everything that the host decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// Where playback goes.
    #[serde(deserialize_with = "value::device")]
    pub sink: DeviceSpec,
    /// Where capture comes from.
    #[serde(deserialize_with = "value::device")]
    pub source: DeviceSpec,
    /// Whether guests may play.
    pub playback: bool,
    /// Whether guests may capture.
    pub capture: bool,
    /// What becomes of a stream that is opened though its guest may not use it.
    pub when_denied: Instead,
    /// What becomes of a stream that is opened while its device is not there.
    pub when_absent: Instead,
    /// What the volume of guest and host together never exceeds, in 0.001 dB.
    #[serde(rename = "volume-max-db", deserialize_with = "value::decibels")]
    pub volume_max_mdb: Option<i32>,
    /// Whether a stream's `unique-id` names its device; the guest can write it.
    #[serde(alias = "trust_unique_id")]
    pub trust_unique_id: bool,
    /// Role of the streams on a sound server (`media.role`); `None` for none.
    #[serde(deserialize_with = "value::role")]
    pub media_role: Option<String>,
    /// Bounds for every guest.
    pub limits: Limits,
    /// Where the daemon is seen and steered.
    pub control: Control,
    /// Where figures are to be had.
    pub metrics: Metrics,
    /// Bounds of each guest's process.
    pub worker: Worker,
    /// Exceptions, in order.
    #[serde(rename = "rule", deserialize_with = "rule::rules")]
    pub rules: Vec<Rule>,
}

impl Default for Config {
    /// Plays to nowhere, hears nothing.
    fn default() -> Self {
        Self {
            sink: DeviceSpec::Null,
            source: DeviceSpec::Null,
            playback: true,
            capture: false,
            when_denied: Instead::Refuse,
            when_absent: Instead::Refuse,
            volume_max_mdb: None,
            trust_unique_id: false,
            media_role: None,
            limits: Limits::default(),
            control: Control::default(),
            metrics: Metrics::default(),
            worker: Worker::default(),
            rules: Vec::new(),
        }
    }
}

/// What becomes of a stream that cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instead {
    /// It is not opened.
    Refuse,
    /// It plays to nobody, or captures silence, in real time.
    Silence,
}

impl From<Instead> for WhenAbsent {
    fn from(instead: Instead) -> Self {
        match instead {
            Instead::Refuse => Self::Refuse,
            Instead::Silence => Self::Silence,
        }
    }
}

/// Where the daemon is seen and steered; what is read when the daemon starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Control {
    /// The socket; empty for none, `None` for the one of the Xen that is served.
    pub socket: Option<PathBuf>,
    /// The group that may use it; `None` for `vsnd`, if there is one.
    pub group: Option<String>,
}

/// Where figures are to be had; what is read when the daemon starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Metrics {
    /// A Unix socket or an address of this machine; `None` for nowhere.
    #[serde(deserialize_with = "value::listen")]
    pub listen: Option<ListenAddress>,
}

/// A configuration that cannot be used; the text names file, line and column.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        cause: std::io::Error,
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
    /// The text of a configuration file.
    ///
    /// # Errors
    /// [`ConfigError::Read`].
    pub(crate) fn text(path: &Path) -> Result<String, ConfigError> {
        std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read or contains an error, a key that does not exist included.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&Self::text(path)?, path)
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
        assert!(error("[[rule]]\nstream = 0\nlimits = { streams-per-card = 1 }\n").contains("concern whole"));
        assert!(error("[[rule]]\ndomain = \"a[\"\n").contains("f.toml:2:10: `a[` is no pattern"));
        assert!(error("volume-max-db = 21\n").contains("f.toml:1:17: 21 is not between -100 and 20"));
        assert!(error("[limits]\nformats = [\"s17_le\"]\n").contains("f.toml:2:11: `s17_le` is not a sample format"));
        assert!(error("[limits]\nrates-hz = []\n").contains("f.toml:2:12: no rate at all"));
        assert!(error("[limits]\nchannels-max = 0\n").contains("f.toml:2:16: 0 is not between 1 and 255"));
        assert!(error("when-denied = \"shout\"\n").contains("f.toml:1:15: unknown variant `shout`"));
        assert!(error("[metrics]\nlisten = \"tcp:0.0.0.0:9469\"\n").contains("only to this machine"));
    }

    #[test]
    fn the_example_in_the_documentation_is_one() {
        let text = include_str!("../../../../docs/vsndd.toml");
        let config = Config::parse(text, Path::new("docs/vsndd.toml")).unwrap();
        assert_eq!(config.rules.len(), 6);
    }

    #[test]
    fn the_empty_file_hears_nothing() {
        let config = Config::parse("", Path::new("f.toml")).unwrap();
        assert!(!config.capture);
    }
}
