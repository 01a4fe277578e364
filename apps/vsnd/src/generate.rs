//! Completions for shells, and the manual pages, from the command line's own definitions.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use program::{ExitStatus, Failure};

use crate::output::Output;

/// Arguments of `vsnd completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell; `source <(vsnd completions bash)` tries it.
    shell: Shell,
}

/// Arguments of `vsnd man`.
#[derive(Debug, Args)]
pub struct ManualPages {
    /// Where to write them: a page for the program, and one for each command.
    directory: PathBuf,
}

/// Writes the completions to standard output.
pub fn completions(arguments: &Completions, mut program: Command) -> Result<ExitStatus, Failure> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, name, &mut script);
    Output::new().bytes(&script)?;
    Ok(ExitStatus::Success)
}

/// Writes the manual pages.
pub fn manual_pages(arguments: &ManualPages, program: Command) -> Result<ExitStatus, Failure> {
    clap_mangen::generate_to(program, &arguments.directory).map_err(|error| {
        Failure::new(ExitStatus::File, format!("cannot write to {}: {error}", arguments.directory.display()))
    })?;
    Ok(ExitStatus::Success)
}
