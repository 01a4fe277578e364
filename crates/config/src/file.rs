//! Keys of the file and their defaults, and the values that hold for one stream after all rules.

use std::path::PathBuf;

use host_audio::{DeviceSpec, Fallback};
use serde::Deserialize;
use sndif::Protocol;
use sndif::store::Direction;

use crate::asker::Asker;
use crate::limits::Limits;
use crate::rule::{self, Rule};
use crate::value::{self, FallbackWord, ListenAddress};
use crate::worker::Worker;

/// The daemon's configuration: everything that the host decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// Host device that playback goes to.
    #[serde(deserialize_with = "value::device")]
    pub sink: DeviceSpec,
    /// Host device that capture comes from.
    #[serde(deserialize_with = "value::device")]
    pub source: DeviceSpec,
    /// True if guests may play.
    pub playback: bool,
    /// True if guests may capture.
    pub capture: bool,
    /// Treatment of a stream that is opened though its guest may not use it.
    #[serde(deserialize_with = "FallbackWord::deserialize")]
    pub when_denied: Fallback,
    /// Treatment of a stream that is opened while its device is absent.
    #[serde(deserialize_with = "FallbackWord::deserialize")]
    pub when_absent: Fallback,
    /// The host's volume, which is added to the guest's, in 0.001 dB.
    #[serde(rename = "volume-db", deserialize_with = "value::decibels")]
    pub volume_mdb: Option<i32>,
    /// True if streams are silent.
    pub muted: bool,
    /// Maximum of the volume of guest and host together, in 0.001 dB.
    #[serde(rename = "volume-max-db", deserialize_with = "value::decibels")]
    pub volume_max_mdb: Option<i32>,
    /// True if a stream's `unique-id` names its device; the guest can write that node.
    #[serde(alias = "trust_unique_id")]
    pub trust_unique_id: bool,
    /// Role of the streams on a sound server (`media.role`); `None` for none.
    #[serde(deserialize_with = "value::role")]
    pub media_role: Option<String>,
    /// Bounds for every guest.
    pub limits: Limits,
    /// The control socket.
    pub control: Control,
    /// The metrics socket.
    pub metrics: Metrics,
    /// Bounds and priority of each guest's worker.
    pub worker: Worker,
    /// Exceptions, in order.
    #[serde(rename = "rule", deserialize_with = "rule::rules")]
    pub rules: Vec<Rule>,
}

impl Default for Config {
    /// Plays to the null device and denies capture.
    fn default() -> Self {
        Self {
            sink: DeviceSpec::Null,
            source: DeviceSpec::Null,
            playback: true,
            capture: false,
            when_denied: Fallback::Refuse,
            when_absent: Fallback::Refuse,
            volume_mdb: None,
            muted: false,
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

impl Config {
    /// Rules that are about a stream, in order.
    pub fn rules_for(&self, asker: &Asker<'_>) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.matches(asker))
    }

    /// The bounds of a stream, or of a whole card.
    #[must_use]
    pub fn limits(&self, asker: &Asker<'_>) -> Limits {
        self.rules_for(asker).fold(self.limits, |limits, rule| limits.replaced_by(&rule.limits))
    }

    /// The protocol that a rule forces a card to use.
    #[must_use]
    pub fn protocol(&self, asker: &Asker<'_>) -> Option<Protocol> {
        self.rules_for(asker).filter_map(|rule| rule.protocol).last()
    }

    /// Every host device that the configuration names, with the direction it is used in.
    pub fn devices(&self) -> impl Iterator<Item = (&DeviceSpec, Direction)> {
        let sinks = std::iter::once(&self.sink).chain(self.rules.iter().filter_map(|rule| rule.sink.as_ref()));
        let sources = std::iter::once(&self.source).chain(self.rules.iter().filter_map(|rule| rule.source.as_ref()));
        sinks.map(|device| (device, Direction::Playback)).chain(sources.map(|device| (device, Direction::Capture)))
    }
}

/// Settings of the control socket, which are read when the daemon starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Control {
    /// Path of the socket; empty for none, `None` for the default path of the Xen that is served.
    pub socket: Option<PathBuf>,
    /// Group that may use the socket; `None` for `vsnd`, if there is one.
    pub group: Option<String>,
}

/// Settings of the metrics socket, which are read when the daemon starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Metrics {
    /// A Unix socket or an address of this machine; `None` for no metrics.
    #[serde(deserialize_with = "value::listen")]
    pub listen: Option<ListenAddress>,
}
