//! Shared code of the project's programs: exit statuses, the end of a run, signals and logging.

#![forbid(unsafe_code)]

mod exit;
mod fuller;
pub mod manual;
mod run;

pub use exit::{ExitStatus, Failure, command_line, end, no_output};
pub use fuller::become_fuller;
pub use run::{end_signal, from_env, reload_signal, start_log, stop_signal};

/// Time that a program waits for its other end, which may be starting at the same time.
pub const OTHER_END: std::time::Duration = std::time::Duration::from_secs(2);
