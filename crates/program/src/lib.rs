//! What the project's programs share: exit statuses, the end of a run, signals and logging.

#![forbid(unsafe_code)]

mod exit;
mod run;

pub use exit::{ExitStatus, Failure, end};
pub use run::{from_env, reload_signal, start_log, stop_signal};
