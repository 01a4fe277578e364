//! Completions for shells, and the manual pages, from the command line's own definitions.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_complete::env::Shells;
use program::manual::Sections;
use program::{ExitStatus, Failure};

use crate::output::Output;
use crate::{complete, manual};

/// Words with colons in them, for bash.
const BASH: &str = include_str!("completions.bash");

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
pub fn completions(arguments: &Completions) -> Result<ExitStatus, Failure> {
    let failed = |error: std::io::Error| Failure::new(ExitStatus::Failure, format!("no completions: {error}"));
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell =
        shells.completer(&arguments.shell.to_string()).ok_or_else(|| failed(std::io::ErrorKind::Unsupported.into()))?;
    shell.write_registration(complete::VARIABLE, "vsnd", "vsnd", "vsnd", &mut script).map_err(failed)?;
    if arguments.shell == Shell::Bash {
        let registered = String::from_utf8_lossy(&script).replace("-F _clap_complete_vsnd ", "-F _vsnd ");
        script = (registered + BASH).into_bytes();
    }
    Output::new().bytes(&script)?;
    Ok(ExitStatus::Success)
}

/// Writes the manual pages.
pub fn manual_pages(arguments: &ManualPages, mut program: Command) -> Result<ExitStatus, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(ExitStatus::File, format!("cannot write to {}: {error}", arguments.directory.display()))
    };
    program.build();
    for command in pages(&program) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let sections = sections(name).unwrap_or_default();
        let page = program::manual::page(command, "1", &sections).map_err(failed)?;
        std::fs::write(arguments.directory.join(format!("{name}.1")), page).map_err(failed)?;
    }
    Ok(ExitStatus::Success)
}

/// The sections of a command's page; a command's commands share its own.
fn sections(name: &str) -> Option<Sections<'static>> {
    manual::sections(name).or_else(|| manual::sections(name.rsplit_once('-')?.0))
}

/// The program, its commands and theirs, each of which has a page.
fn pages(program: &Command) -> Vec<&Command> {
    let shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    let below = program.get_subcommands().filter(shown).flat_map(pages);
    std::iter::once(program).chain(below).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_has_a_page_with_all_sections() {
        let mut program = crate::Arguments::command();
        program.build();
        for command in pages(&program) {
            let name = command.get_display_name().unwrap_or_else(|| command.get_name());
            let sections = sections(name).unwrap_or_else(|| panic!("{name} has no sections"));
            let entries = [sections.examples, sections.files, sections.environment];
            assert!(entries.iter().all(|entries| !entries.is_empty()), "{name}: {entries:?}");
            assert!(!sections.statuses.is_empty(), "{name}");
            let page = String::from_utf8(program::manual::page(command, "1", &sections).unwrap()).unwrap();
            assert!(page.contains(".SH EXAMPLES") && page.contains("SEE ALSO"), "{page}");
        }
    }

    #[test]
    fn every_example_is_understood() {
        let program = crate::Arguments::command();
        for command in
            std::iter::once(&program).chain(program.get_subcommands().filter(|command| !command.is_hide_set()))
        {
            let name = match command.get_name() {
                "vsnd" => "vsnd".to_owned(),
                name => format!("vsnd-{name}"),
            };
            for (example, _) in manual::sections(&name).expect("sections").examples {
                // Of a pipeline the part that is ours, in words as a shell makes them.
                let ours = example.split(['|', '<', '(', ')']).map(str::trim).find(|part| part.starts_with("vsnd "));
                let Some(ours) = ours else { continue };
                let quoted = |(index, part): (usize, &str)| match index % 2 {
                    0 => part.split_whitespace().map(str::to_owned).collect(),
                    _ => vec![part.to_owned()],
                };
                let split = if ours.contains('"') { '"' } else { '\'' };
                let words: Vec<String> = ours.split(split).enumerate().flat_map(quoted).collect();
                let parsed = crate::Arguments::command().try_get_matches_from(&words);
                assert!(
                    parsed.is_ok(),
                    "{example}: {}",
                    parsed.err().map_or_else(String::new, |error| error.to_string())
                );
            }
        }
    }
}
