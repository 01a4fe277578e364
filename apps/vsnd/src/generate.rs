//! Completions for shells, and the manual pages, from the command line's own definitions.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_complete::env::Shells;
use program::{ExitStatus, Failure};

use crate::output::Output;
use crate::{complete, manual};

/// Part of bash's script that handles words with colons in them.
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
    /// Directory to write the pages to: one for the program and one for each command.
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
        let sections = manual::sections(name).unwrap_or_default();
        let page = program::manual::page(command, "1", &sections).map_err(failed)?;
        std::fs::write(arguments.directory.join(format!("{name}.1")), page).map_err(failed)?;
    }
    Ok(ExitStatus::Success)
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
            let sections = manual::sections(name).unwrap_or_else(|| panic!("{name} has no sections"));
            let entries = [sections.examples, sections.files, sections.environment];
            assert!(entries.iter().all(|entries| !entries.is_empty()), "{name}: {entries:?}");
            assert!(!sections.statuses.is_empty(), "{name}");
            let page = String::from_utf8(program::manual::page(command, "1", &sections).unwrap()).unwrap();
            assert!(page.contains(".SH EXAMPLES") && page.contains("SEE ALSO"), "{page}");
        }
    }

    /// Panics if the program does not understand `command`; words and quotes are a shell's.
    fn understood(place: &str, command: &str) {
        let quoted = |(index, part): (usize, &str)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        };
        let split = if command.contains('"') { '"' } else { '\'' };
        let words: Vec<String> = command.split(split).enumerate().flat_map(quoted).collect();
        let parsed = crate::Arguments::command().try_get_matches_from(&words);
        assert!(parsed.is_ok(), "{place}: {command}: {}", parsed.err().map_or_else(String::new, |e| e.to_string()));
    }

    #[test]
    fn every_example_is_understood() {
        let mut program = crate::Arguments::command();
        program.build();
        for command in pages(&program) {
            let name = command.get_display_name().unwrap_or_else(|| command.get_name());
            for (example, _) in manual::sections(name).expect("sections of its own").examples {
                // Only the part of a pipeline that is ours.
                let ours = example.split(['|', '<', '(', ')']).map(str::trim).find(|part| part.starts_with("vsnd "));
                if let Some(ours) = ours {
                    understood(name, ours);
                }
            }
        }
    }

    #[test]
    fn every_command_of_the_documents_is_understood() {
        let project = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let docs = std::fs::read_dir(project.join("docs")).expect("there").flatten().map(|entry| entry.path());
        let pages =
            docs.filter(|path| path.extension().is_some_and(|end| end == "md")).chain([project.join("README.md")]);
        let mut count = 0;
        for page in pages {
            let text = std::fs::read_to_string(&page).expect("text");
            let lines =
                text.lines().filter_map(|line| line.strip_prefix("    ")?.trim_start_matches("$ ").split(" #").next());
            // A line that goes on in the next one is left to the test that runs it.
            for line in lines.filter(|line| {
                line.starts_with("vsnd ") && !line.starts_with("vsnd =") && line.matches('"').count() % 2 == 0
            }) {
                count += 1;
                understood(&page.display().to_string(), line.split(['|', '>', '&']).next().unwrap_or_default());
            }
        }
        assert!(count > 20, "{count} commands");
    }
}
