//! What the project's programs share: exit statuses, the end of a run, signals and logging.

#![forbid(unsafe_code)]

mod exit;
mod fuller;
pub mod manual;
mod run;

pub use exit::{ExitStatus, Failure, command_line, end, no_output};
pub use fuller::become_fuller;
pub use run::{from_env, reload_signal, start_log, stop_signal};

/// How long a program waits for the one that it talks to, which may be starting at the same time.
pub const OTHER_END: std::time::Duration = std::time::Duration::from_secs(2);
