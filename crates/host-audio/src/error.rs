//! Errors of host devices, in words that say what to do about them.

use crate::StreamSpec;
use std::fmt;
use std::path::Path;

/// A host device's failure: which device, what of it failed, why, and what helps. The text has all of it, so there is
/// no [`source`](std::error::Error::source).
#[derive(Debug)]
pub struct Error {
    device: String,
    kind: ErrorKind,
    cause: Option<String>,
    hint: Option<String>,
}

/// Kind of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The device cannot be used now.
    Unusable,
    /// The device refused this parameter.
    Setup(String),
    /// The device stopped working while in use.
    Lost,
    /// The device did not open, or answer, in time.
    Slow,
    /// The device takes frames but does not play them, or gives none.
    StandsStill,
    /// The device cannot carry such a stream.
    Unsupported(StreamSpec),
    /// A file could not be made, written or read: the verb says which.
    File(&'static str),
    /// A file's content cannot be used.
    Content,
    /// A thread or descriptor that a device needs could not be created.
    Resource,
    /// The program was built without this kind of device.
    NotBuilt,
}

impl Error {
    fn new(kind: ErrorKind, device: impl ToString) -> Self {
        Self { device: device.to_string(), kind, cause: None, hint: None }
    }

    fn because(self, cause: impl ToString) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    fn helped_by(self, hint: impl ToString) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    /// Kind of a failure.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    pub(crate) fn unusable(device: impl ToString, cause: impl ToString, hint: &str) -> Self {
        Self::new(ErrorKind::Unusable, device).because(cause).helped_by(hint)
    }

    #[cfg(feature = "alsa")]
    pub(crate) fn setup(device: impl ToString, parameter: &str, cause: impl ToString, hint: &str) -> Self {
        Self::new(ErrorKind::Setup(parameter.to_owned()), device).because(cause).helped_by(hint)
    }

    pub(crate) fn lost(device: impl ToString, cause: impl ToString) -> Self {
        Self::new(ErrorKind::Lost, device).because(cause)
    }

    pub(crate) fn slow(device: impl ToString) -> Self {
        Self::new(ErrorKind::Slow, device).helped_by("it is tried again with the next stream")
    }

    pub(crate) fn stands_still(device: impl ToString) -> Self {
        Self::new(ErrorKind::StandsStill, device)
    }

    pub(crate) fn unsupported(device: impl ToString, spec: &StreamSpec, cause: impl ToString) -> Self {
        Self::new(ErrorKind::Unsupported(*spec), device).because(cause)
    }

    pub(crate) fn file(verb: &'static str, path: &Path, cause: impl ToString) -> Self {
        Self::new(ErrorKind::File(verb), quoted(path)).because(cause)
    }

    pub(crate) fn content(path: &Path, cause: impl ToString) -> Self {
        Self::new(ErrorKind::Content, quoted(path)).because(cause)
    }

    pub(crate) fn resource(what: &str, cause: impl ToString) -> Self {
        Self::new(ErrorKind::Resource, what).because(cause)
    }

    #[cfg(any(test, not(all(feature = "alsa", feature = "pipewire"))))]
    pub(crate) fn not_built(kind: &str) -> Self {
        let package = if kind == "PipeWire" { "; the package `vsndd-pipewire` has them" } else { "" };
        let hint = format!("the cargo feature `{}` builds them in{package}", kind.to_lowercase());
        Self::new(ErrorKind::NotBuilt, kind).helped_by(hint)
    }
}

fn quoted(path: &Path) -> String {
    format!("`{}`", path.display())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = &self.device;
        match &self.kind {
            ErrorKind::Unusable => write!(f, "cannot use {device}"),
            ErrorKind::Setup(parameter) => write!(f, "{device} refused {parameter}"),
            ErrorKind::Lost => write!(f, "lost {device}"),
            ErrorKind::Slow => write!(f, "{device} did not open in time"),
            ErrorKind::StandsStill => write!(f, "{device} stands still"),
            ErrorKind::Unsupported(spec) => write!(f, "{device} cannot carry {spec}"),
            ErrorKind::File(verb) => write!(f, "cannot {verb} {device}"),
            ErrorKind::Content => write!(f, "{device}"),
            ErrorKind::Resource => write!(f, "cannot start {device}"),
            ErrorKind::NotBuilt => write!(f, "this program was built without {device} devices"),
        }?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_device_the_cause_once_and_what_helps() {
        let error = Error::unusable("ALSA playback PCM `x`", "No such file", "`aplay -L` lists what there is");
        assert_eq!(error.to_string(), "cannot use ALSA playback PCM `x`: No such file; `aplay -L` lists what there is");
        assert!(std::error::Error::source(&error).is_none(), "a chain would name the cause twice");
        assert_eq!(
            Error::slow("`pulse`").to_string(),
            "`pulse` did not open in time; it is tried again with the next stream"
        );
        assert_eq!(
            Error::not_built("PipeWire").to_string(),
            "this program was built without PipeWire devices; the cargo feature `pipewire` builds them in; \
             the package `vsndd-pipewire` has them"
        );
    }
}
