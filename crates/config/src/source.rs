//! Source of the configuration: a file, and the options of the command line that replace values at its top.

use std::path::{Path, PathBuf};

use host_audio::DeviceSpec;
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::file::Config;

/// Configuration file that is read if none is named, and if this one exists.
pub const DEFAULT_CONFIG: &str = "/etc/vsnd/vsndd.toml";

/// Source of the configuration.
#[derive(Debug, Clone, Default)]
pub struct ConfigSource {
    /// The file; `None` for [`DEFAULT_CONFIG`] if that exists, and for no file in an emulation.
    pub file: Option<PathBuf>,
    /// True if the Xen is emulated: the host's own configuration is not meant for its guests.
    pub emulated: bool,
    /// Replaces [`Config::sink`].
    pub sink: Option<DeviceSpec>,
    /// Replaces [`Config::source`].
    pub source: Option<DeviceSpec>,
    /// Sets [`Config::capture`].
    pub allow_capture: bool,
}

impl ConfigSource {
    /// The file that is read.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        let default = || (!self.emulated && Path::new(DEFAULT_CONFIG).exists()).then(|| DEFAULT_CONFIG.into());
        self.file.clone().or_else(default)
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(&self) -> Result<Config, ConfigError> {
        self.settings()?.config()
    }

    /// Reads the configuration in the form in which it is handed to another process.
    ///
    /// # Errors
    /// [`ConfigError::Read`].
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let path = self.path();
        let text = path.as_deref().map(Config::text).transpose()?.unwrap_or_default();
        let spec = |device: &Option<DeviceSpec>| device.as_ref().map(ToString::to_string);
        Ok(Settings {
            path: path.unwrap_or_default(),
            text,
            sink: spec(&self.sink),
            source: spec(&self.source),
            allow_capture: self.allow_capture,
        })
    }
}

/// The contents of a [`ConfigSource`] at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    path: PathBuf,
    text: String,
    sink: Option<String>,
    source: Option<String>,
    allow_capture: bool,
}

impl Settings {
    /// Parses these settings.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn config(&self) -> Result<Config, ConfigError> {
        self.with_options(Config::parse(&self.text, &self.path)?)
    }

    /// Parses these settings as [`config`](Self::config) does, and checks that this host can start a daemon with them.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn usable(&self) -> Result<Config, ConfigError> {
        let config = self.with_options(Config::parse_usable(&self.text, &self.path)?)?;
        for (option, device) in [("--sink", &config.sink), ("--source", &config.source)] {
            device.check_built().map_err(|error| ConfigError::Option(format!("{option}: {error}")))?;
        }
        Ok(config)
    }

    /// Summary of the configuration, in a line for people.
    #[must_use]
    pub fn describe(&self, config: &Config) -> String {
        let rules = match config.rules.len() {
            1 => "1 rule".to_owned(),
            rules => format!("{rules} rules"),
        };
        match self.path.as_os_str().is_empty() {
            true => format!("no configuration file, {rules}"),
            false => format!("{}: {rules}", self.path.display()),
        }
    }

    /// Replaces values at the top of the file by those of the command line.
    fn with_options(&self, mut config: Config) -> Result<Config, ConfigError> {
        let device = |option: &str, spec: &Option<String>| {
            let parsed = spec.as_deref().map(str::parse::<DeviceSpec>).transpose();
            parsed.map_err(|error| ConfigError::Option(format!("{option}: {error}")))
        };
        config.sink = device("--sink", &self.sink)?.unwrap_or(config.sink);
        config.source = device("--source", &self.source)?.unwrap_or(config.source);
        config.capture |= self.allow_capture;
        Ok(config)
    }
}
