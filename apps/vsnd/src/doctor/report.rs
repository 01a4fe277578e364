//! Findings, as lines for people or as JSON.

use std::io::IsTerminal;

use program::{ExitStatus, Failure};
use serde::Serialize;

use crate::output::Output;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Everything is as it should be.
    Ok,
    /// Sound cannot work without it.
    Missing,
    /// Worth knowing.
    Note,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    /// Subject of the check.
    pub(super) check: String,
    pub(super) state: State,
    /// Result of the check.
    pub(super) found: String,
    /// Next step, if there is any.
    pub(super) next: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Ok, found: found.into(), next: None }
    }

    pub(super) fn missing(check: impl Into<String>, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Missing, found: found.into(), next: Some(next.into()) }
    }

    pub(super) fn note(check: impl Into<String>, found: impl Into<String>, next: impl Into<Option<String>>) -> Self {
        Self { check: check.into(), state: State::Note, found: found.into(), next: next.into() }
    }
}

/// Mark of a state.
fn mark(state: State, terminal: bool, colour: bool) -> String {
    let (word, sign, code) = match state {
        State::Ok => ("ok     ", "✔", 32),
        State::Missing => ("missing", "✘", 31),
        State::Note => ("note   ", "•", 33),
    };
    match (terminal, colour) {
        (false, _) => word.to_owned(),
        (true, false) => sign.to_owned(),
        (true, true) => format!("\x1b[{code}m{sign}\x1b[0m"),
    }
}

/// Escapes control characters: no finding may write them to a terminal, wherever it comes from.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn summary(findings: &[Finding]) -> String {
    match findings.iter().filter(|finding| finding.state == State::Missing).count() {
        0 => "Sound can work here.".to_owned(),
        1 => "One thing is missing for sound.".to_owned(),
        many => format!("{many} things are missing for sound; begin with the first."),
    }
}

fn render(findings: &[Finding], terminal: bool, colour: bool) -> String {
    let width = findings.iter().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let mark = mark(finding.state, terminal, colour);
        text += &format!("{mark} {:width$}  {}\n", finding.check, printable(&finding.found));
        if let Some(next) = &finding.next {
            let indent = if terminal { 2 } else { 8 };
            text += &format!("{:indent$}{:width$}  → {}\n", "", "", printable(next));
        }
    }
    text + &summary(findings) + "\n"
}

pub(super) fn lines(findings: &[Finding]) -> Result<(), Failure> {
    let terminal = std::io::stdout().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Output::new().bytes(render(findings, terminal, colour).as_bytes())
}

pub(super) fn json(findings: &[Finding]) -> Result<(), Failure> {
    Output::new().line(serde_json::to_string_pretty(findings).map_err(Failure::with(ExitStatus::Failure))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_next_step_another() {
        let findings = [Finding::ok("Xen", "4.17"), Finding::missing("store", "silent", "start it")];
        let text = render(&findings, false, false);
        assert_eq!(
            text,
            "ok      Xen    4.17\nmissing store  silent\n               → start it\nOne thing is missing for sound.\n"
        );
        assert!(render(&findings, true, true).starts_with("\x1b[32m✔\x1b[0m Xen    4.17\n"));
        assert!(!render(&findings, true, false).contains('\x1b'));
    }

    #[test]
    fn what_was_found_cannot_write_to_the_terminal() {
        let text = render(&[Finding::missing("Xen", "a\x1b[2J\nok", "b\r\u{9b}")], true, false);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| !line.contains(char::is_control)), "{text}");
    }
}
