//! Where the configuration comes from: a file, and what the command line says in place of its top.

use std::path::{Path, PathBuf};

use host_audio::DeviceSpec;

use crate::config::{Config, ConfigError};

/// Configuration that is read when none is named, if it is there.
pub const DEFAULT_CONFIG: &str = "/etc/vsnd/vsndd.toml";

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct ConfigSource {
    /// The file; `None` for [`DEFAULT_CONFIG`] if it is there.
    pub file: Option<PathBuf>,
    /// In place of [`Config::sink`].
    pub sink: Option<DeviceSpec>,
    /// In place of [`Config::source`].
    pub source: Option<DeviceSpec>,
    /// Sets [`Config::capture`].
    pub allow_capture: bool,
}

impl ConfigSource {
    /// The file that is read.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        let default = || Path::new(DEFAULT_CONFIG).exists().then(|| DEFAULT_CONFIG.into());
        self.file.clone().or_else(default)
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(&self) -> Result<Config, ConfigError> {
        let mut config = match self.path() {
            Some(path) => Config::read(&path)?,
            None => Config::default(),
        };
        if let Some(sink) = &self.sink {
            config.sink = sink.clone();
        }
        if let Some(source) = &self.source {
            config.source = source.clone();
        }
        config.capture |= self.allow_capture;
        Ok(config)
    }
}
