//! Exit statuses of the project's programs, in one place: documented in the README and the help.

use std::io::{self, Write};

/// Exit status of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Everything went as asked.
    Success = 0,
    /// The program ran, but the result is not what was asked for: bytes differ, or an unexpected error.
    Failure = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// The configuration cannot be read or contains an error.
    Config = 3,
    /// There is no Xen, real or emulated, at the expected place, or its directory is in use.
    NoXen = 4,
    /// The domain has no such sound card or stream.
    NoCard = 5,
    /// No sound daemon answers.
    NoDaemon = 6,
    /// A file of the user cannot be read, understood or written.
    File = 7,
    /// A device of the host cannot be used.
    HostDevice = 8,
    /// The card does not take the format, rate or channel count.
    Unsupported = 9,
    /// The other side went away while running and did not come back.
    Lost = 10,
    /// The user lacks the permission.
    Denied = 11,
    /// Another program uses the sound card, or listens at an address of the daemon.
    Busy = 12,
}

impl ExitStatus {
    /// All statuses, with their meaning for the manual pages.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::Success, "success"),
        (Self::Failure, "bytes differ, something is missing, the daemon refuses, or an unexpected error"),
        (Self::Usage, "mistake in the command line"),
        (Self::Config, "mistake in the configuration, or something that it needs is missing on this host"),
        (Self::NoXen, "no Xen, no emulation in that directory, or the directory is in use"),
        (Self::NoCard, "no such guest, card or stream"),
        (Self::NoDaemon, "no daemon answers"),
        (Self::File, "a file, or standard output, cannot be read, understood or written"),
        (Self::HostDevice, "a device of the host cannot be used"),
        (Self::Unsupported, "the card does not take the format, rate or channel count, or capture is not allowed"),
        (Self::Lost, "the other side went away and did not come back"),
        (Self::Denied, "not permitted"),
        (Self::Busy, "another program uses the card, or another daemon uses the socket"),
    ];

    /// The status with this number; an unknown number means failure.
    #[must_use]
    pub fn from_code(code: i32) -> Self {
        let found = Self::ALL.into_iter().map(|(status, _)| status).find(|&status| status as i32 == code);
        found.unwrap_or(Self::Failure)
    }
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// Unsuccessful end of a program: the status, and one line for stderr that says what failed, where, and what to do.
#[derive(Debug)]
pub struct Failure {
    /// Exit status.
    pub status: ExitStatus,
    /// Message for the user.
    pub message: String,
    /// True if the lines of the message are shown one below the other.
    is_block: bool,
}

impl Failure {
    /// A failure with any displayable message.
    pub fn new(status: ExitStatus, message: impl ToString) -> Self {
        Self { status, message: message.to_string(), is_block: false }
    }

    /// A failure whose message has lines that belong below each other.
    pub fn block(status: ExitStatus, message: impl ToString) -> Self {
        Self { status, message: message.to_string(), is_block: true }
    }

    /// The end of a program whose child has already reported the fault.
    #[must_use]
    pub fn silent(status: ExitStatus) -> Self {
        Self { status, message: String::new(), is_block: false }
    }

    /// Returns a function for `map_err`.
    pub fn with<E: ToString>(status: ExitStatus) -> impl Fn(E) -> Self {
        move |error| Self::new(status, error)
    }
}

/// The end of a program whose output cannot be written; a reader that closes early (`| head`) is no failure.
#[must_use]
pub fn no_output(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(ExitStatus::Success),
        _ => Failure::new(ExitStatus::File, format!("cannot write to standard output: {error}")),
    }
}

/// Parses the command line. A mistake in it ends the program.
///
/// # Errors
/// The end of a program that was asked for its help or version, whether that was written or not.
pub fn command_line<T: clap::Parser>() -> Result<T, Failure> {
    T::try_parse().map_err(|error| {
        if error.use_stderr() {
            error.exit();
        }
        match error.print().and_then(|()| io::stdout().flush()) {
            Ok(()) => Failure::silent(ExitStatus::Success),
            Err(error) => no_output(&error),
        }
    })
}

/// Ends a program: writes the failure, if any, to stderr, as one line unless it is a block.
#[must_use]
pub fn end(program: &str, result: Result<ExitStatus, Failure>) -> std::process::ExitCode {
    match result {
        Ok(status) => status.into(),
        Err(Failure { status, message, is_block }) => {
            if !message.is_empty() {
                let separator = if is_block { "\n" } else { "; " };
                // A terminal that was closed takes no message.
                let _ = writeln!(io::stderr(), "{program}: {}", message.lines().collect::<Vec<_>>().join(separator));
            }
            status.into()
        }
    }
}
