//! Signals and logging.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use tracing_subscriber::EnvFilter;

use crate::{ExitStatus, Failure};

/// A socket that becomes readable at SIGINT or SIGTERM.
///
/// # Errors
/// The socket or the handlers cannot be created.
pub fn stop_signal() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

/// A socket that becomes readable when the user ends a program of theirs: with SIGINT, SIGTERM or SIGQUIT, or by closing
/// the terminal. A program that ignores SIGHUP or SIGQUIT from its start, as behind `nohup`, goes on ignoring it.
///
/// # Errors
/// The socket or the handlers cannot be created.
pub fn end_signal() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    // A small guest may have no /proc; then nothing counts as ignored.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = [SIGHUP, SIGQUIT].into_iter().filter(|signal| is_ignored(&status, *signal)).collect::<Vec<_>>();
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT].into_iter().filter(|signal| !ignored.contains(signal)) {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

/// Returns true if a process with this text in `/proc/PID/status` ignores `signal`.
fn is_ignored(status: &str, signal: i32) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// A socket that becomes readable at SIGHUP.
///
/// # Errors
/// The socket or the handler cannot be created.
pub fn reload_signal() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGHUP, writer)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000004\n";
        assert!(is_ignored(status, SIGHUP) && is_ignored(status, 13));
        assert!(!is_ignored(status, SIGQUIT) && !is_ignored("", SIGHUP));
    }
}
