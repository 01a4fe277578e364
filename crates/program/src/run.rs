//! Signals and logging.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;

use crate::{ExitStatus, Failure};

/// A socket that becomes readable at SIGINT or SIGTERM.
///
/// # Errors
/// The socket or the handlers cannot be created.
pub fn stop_signal() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

/// A socket that becomes readable at SIGHUP.
///
/// # Errors
/// The socket or the handler cannot be created.
pub fn reload_signal() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGHUP, writer)?;
    Ok(reader)
}

/// Logs to stderr the events that pass `filter`: a level, or `target=level` pairs.
///
/// # Errors
/// The filter cannot be understood.
pub fn start_log(filter: &str) -> Result<(), Failure> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|error| Failure::new(ExitStatus::Usage, format!("--log `{filter}`: {error}")))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // The journal adds the time itself.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init()
    } else {
        log.init()
    }
    Ok(())
}

/// The default of an option: the value of the environment's `variable`, or `otherwise`.
///
/// The command-line parser reads environment variables as well, but then shows such an option as required.
#[must_use]
pub fn from_env(variable: &str, otherwise: &'static str) -> &'static str {
    static VALUES: Mutex<BTreeMap<String, &'static str>> = Mutex::new(BTreeMap::new());
    let Some(value) = std::env::var_os(variable) else { return otherwise };
    let mut values = VALUES.lock().unwrap_or_else(PoisonError::into_inner);
    // Options need defaults of static lifetime: one for each variable.
    values
        .entry(variable.to_owned())
        .or_insert_with(|| Box::leak(value.to_string_lossy().into_owned().into_boxed_str()))
}
