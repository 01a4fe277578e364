//! Manual pages: a command line's own definitions, with the sections that they do not have.

use std::io;

use clap::Command;
use clap_mangen::Man;
use roff::{Inline, Roff, bold, roman};

use crate::ExitStatus;

/// Beginning of a help text about exit statuses, which have a section of their own in a manual page.
const STATUSES: &str = "Exit status: ";

/// A name, and a line about it.
pub type Entry = (&'static str, &'static str);

/// The sections that a command line does not define.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sections<'a> {
    /// Commands as they are typed, and their purpose.
    pub examples: &'a [Entry],
    /// Files that the program reads or makes.
    pub files: &'a [Entry],
    /// Environment variables that the program reads.
    pub environment: &'a [Entry],
    /// Exit statuses of the program.
    pub statuses: &'a [ExitStatus],
    /// Related pages, such as `vsnd(1)`.
    pub see_also: &'a [&'static str],
}

/// Renders the manual page of `command` in `section`.
///
/// # Errors
/// None; writing to a buffer does not fail.
pub fn page(command: &Command, section: &str, sections: &Sections<'_>) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let source = format!("vsnd {}", command.get_version().unwrap_or(env!("CARGO_PKG_VERSION")));
    let man = Man::new(without_help(command)).title(name.to_uppercase()).section(section).source(source).manual("vsnd");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let mut roff = Roff::new();
    if let Some(notes) = command.get_after_help().map(ToString::to_string).filter(|notes| !notes.starts_with(STATUSES))
    {
        roff.control("SH", ["NOTES"]);
        roff.text([roman(notes)]);
    }
    further(&mut roff, sections);
    page.extend_from_slice(roff.render().as_bytes());
    Ok(page)
}

/// Hides the subcommand `help`, which has no page.
fn without_help(command: &Command) -> Command {
    let command = command.clone().subcommand_value_name("COMMAND");
    match command.find_subcommand("help") {
        Some(_) => command.mut_subcommand("help", |help| help.hide(true)),
        None => command,
    }
}

/// Writes the sections after the options.
fn further(roff: &mut Roff, sections: &Sections<'_>) {
    for (title, entries) in
        [("EXAMPLES", sections.examples), ("FILES", sections.files), ("ENVIRONMENT", sections.environment)]
    {
        entry_section(roff, title, entries.iter().map(|(name, text)| ((*name).to_owned(), *text)));
    }
    let known = ExitStatus::ALL.into_iter().filter(|(status, _)| sections.statuses.contains(status));
    entry_section(roff, "EXIT STATUS", known.map(|(status, text)| ((status as u8).to_string(), text)));
    if !sections.see_also.is_empty() {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([roman(sections.see_also.join(", "))]);
    }
}

fn entry_section(roff: &mut Roff, title: &str, entries: impl Iterator<Item = (String, &'static str)>) {
    let mut entries = entries.peekable();
    if entries.peek().is_none() {
        return;
    }
    roff.control("SH", [title]);
    for (name, text) in entries {
        roff.control("TP", []);
        roff.text([bold(name)]);
        roff.text([roman(text)]);
    }
}

/// The page of a file format: an introduction, and a commented example that has everything.
#[must_use]
pub fn file_page(name: &str, summary: &str, words: &str, example: &str, sections: &Sections<'_>) -> String {
    let mut roff = Roff::new();
    let source = format!("vsnd {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", [name.to_uppercase().as_str(), "5", "", source.as_str(), "vsnd"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} - {summary}"))]);
    roff.control("SH", ["DESCRIPTION"]);
    for paragraph in words.split("\n\n") {
        roff.text([roman(paragraph.replace('\n', " "))]);
        roff.control("PP", []);
    }
    roff.control("SH", ["THE FILE"]);
    roff.control("nf", []);
    let lines: Vec<Inline> = example.lines().flat_map(|line| [roman(line), roff::line_break()]).collect();
    roff.text(lines);
    roff.control("fi", []);
    further(&mut roff, sections);
    roff.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_sections_that_a_command_line_does_not_define() {
        let mut command = Command::new("vsnd-x").about("Does something.").arg(clap::Arg::new("file").help("A file."));
        command = command.subcommand(Command::new("more")).after_help("Exit status: 0 success.");
        command.build();
        let sections = Sections {
            examples: &[("vsnd x -a", "does it")],
            files: &[("/run/x", "a socket")],
            environment: &[("X", "where")],
            statuses: &[ExitStatus::Success, ExitStatus::NoDaemon],
            see_also: &["vsnd(1)"],
        };
        let page = String::from_utf8(page(&command, "1", &sections).unwrap()).unwrap();
        let mut rest = page.as_str();
        for part in [
            ".SH NAME",
            ".SH EXAMPLES",
            "\\-a",
            ".SH FILES",
            ".SH ENVIRONMENT",
            ".SH \"EXIT STATUS\"",
            "no daemon answers",
            ".SH \"SEE ALSO\"",
        ] {
            let at = rest.find(part).unwrap_or_else(|| panic!("{part} is missing, or not in its place, in {page}"));
            rest = &rest[at..];
        }
        assert!(!page.contains("the other side"), "statuses of others: {page}");
        assert!(page.contains("more") && !page.contains("help(1)"), "a page that there is not: {page}");
        assert!(!page.contains("Exit status:"), "told twice: {page}");
        let noted = super::page(&command.after_help("Notes on it."), "1", &sections).unwrap();
        assert!(String::from_utf8(noted).unwrap().contains(".SH NOTES\nNotes on it."));
    }
}
