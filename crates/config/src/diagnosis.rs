//! All mistakes of a configuration file together, in TOML's terms, each with its line and the nearest right key.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{Level, Renderer, Snippet};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::file::Config;
use crate::words::{self, Words};

/// Number of mistakes of one file after which no more are looked for.
pub(crate) const PROBLEMS_MAX: usize = 100;

/// Tables of the file, which are written in brackets.
const TABLES: [(&str, &str); 5] = [
    ("rule", "[[rule]]"),
    ("limits", "[limits]"),
    ("worker", "[worker]"),
    ("control", "[control]"),
    ("metrics", "[metrics]"),
];

/// A mistake in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// The mistake, on one line.
    pub message: String,
    /// Suggested correction, if one is known.
    pub help: Option<String>,
    /// The line of the file.
    text: String,
    /// The wrong bytes of the line.
    marked: Range<usize>,
}

/// A place in a file: keys, and the places of tables in arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Key(&'static str),
    Index(usize),
}

/// A file, and what was understood of it.
pub(crate) struct Understood<'a> {
    text: &'a str,
    table: Spanned<DeTable<'a>>,
    /// Configuration without the mistakes; `None` if there are too many.
    config: Option<Config>,
    problems: Vec<Problem>,
}

/// Parses a file and finds everything that is wrong with it: each mistake found is removed, and the rest is parsed
/// again.
pub(crate) fn understand(text: &str) -> Understood<'_> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = Vec::new();
    for error in errors {
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        add(&mut problems, Problem::new(text, error.span().unwrap_or_default(), Words { message, help: None }));
    }
    // The rest of a line that is not TOML may be wrong for that reason alone.
    let broken: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    let (mut rest, mut understood) = (table.clone(), None);
    while problems.len() < PROBLEMS_MAX {
        let error = match Config::deserialize(toml::Deserializer::from(rest.clone())) {
            Ok(config) => {
                understood = Some(config);
                break;
            }
            Err(error) => error,
        };
        let span = error.span().unwrap_or_default();
        let mut words = words::of_toml(error.message());
        if let Some(help) = &mut words.help {
            for (name, bracketed) in TABLES {
                *help = help.replace(&format!("did you mean `{name}`"), &format!("did you mean `{bracketed}`"));
            }
        }
        let problem = Problem::new(text, span.clone(), words);
        if !broken.contains(&problem.line) {
            problems.push(problem);
        }
        if !remove(rest.get_mut(), &span) {
            break;
        }
    }
    Understood { text, table, config: understood, problems }
}

/// Adds a mistake, unless its line already has one, which may be the cause of this one.
fn add(problems: &mut Vec<Problem>, problem: Problem) {
    if !problems.iter().any(|known| known.line == problem.line) {
        problems.push(problem);
    }
}

impl Understood<'_> {
    /// The configuration, or all mistakes in the order of the file.
    pub(crate) fn config(self) -> Result<Config, Vec<Problem>> {
        self.config_unless(|_| Vec::new())
    }

    /// The configuration, or all mistakes in the order of the file, with those that `refused` finds in what was
    /// understood.
    pub(crate) fn config_unless(
        mut self,
        refused: impl FnOnce(&Config) -> Vec<(Vec<Step>, Words)>,
    ) -> Result<Config, Vec<Problem>> {
        let refused = self.config.as_ref().map(refused).unwrap_or_default();
        let refused: Vec<Problem> = refused.into_iter().map(|(place, words)| self.problem(&place, words)).collect();
        self.problems.extend(refused);
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        match self.config {
            Some(config) if self.problems.is_empty() => Ok(config),
            _ => Err(self.problems),
        }
    }

    /// A mistake at `place`, or at as much of that path as the file has.
    fn problem(&self, place: &[Step], words: Words) -> Problem {
        let mut span = 0..0;
        let mut table = Some(self.table.get_ref());
        let mut array = None;
        for step in place {
            let value = match *step {
                Step::Key(key) => table.and_then(|table| table.get(key)),
                Step::Index(index) => array.and_then(|array: &toml::de::DeArray<'_>| array.get(index)),
            };
            let Some(value) = value else { break };
            span = value.span();
            (table, array) = (value.get_ref().as_table(), value.get_ref().as_array());
        }
        Problem::new(self.text, span, words)
    }
}

/// Removes the innermost entry at `at` from a table; returns true if there was one.
fn remove(table: &mut DeTable<'_>, at: &Range<usize>) -> bool {
    let named = |(key, _): &(&Spanned<_>, &Spanned<DeValue<'_>>)| covers(&key.span(), at);
    let mut found = table.iter().find(named).map(|(key, _)| key.clone());
    if found.is_none() {
        if table.iter_mut().any(|(_, value)| remove_within(value, at)) {
            return true;
        }
        found = table.iter().find(|(_, value)| covers(&value.span(), at)).map(|(key, _)| key.clone());
    }
    found.is_some_and(|key| table.remove(key.get_ref().as_ref()).is_some())
}

fn remove_within(value: &mut Spanned<DeValue<'_>>, at: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => remove(table, at),
        DeValue::Array(array) => array.iter_mut().any(|element| {
            remove_within(element, at)
                // A rule that is wrong as a whole becomes an empty one, so that the others keep their places.
                || match (covers(&element.span(), at), element.get_mut()) {
                    (true, DeValue::Table(table)) if !table.is_empty() => {
                        table.clear();
                        true
                    }
                    _ => false,
                }
        }),
        _ => false,
    }
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    !inner.is_empty() && outer.start <= inner.start && inner.end <= outer.end
}

impl Problem {
    fn new(file: &str, span: Range<usize>, words: Words) -> Self {
        let mut start = span.start.min(file.len());
        while !file.is_char_boundary(start) {
            start -= 1;
        }
        let before = &file[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let text = file[line_start..].lines().next().unwrap_or_default();
        let from = (start - line_start).min(text.len());
        let mut to = (span.end.max(start) - line_start).min(text.len());
        while !text.is_char_boundary(to) {
            to += 1;
        }
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: words.message,
            help: words.help,
            text: text.to_owned(),
            marked: from..to.max(from),
        }
    }

    /// The mistake with its place and its line, for people.
    pub(crate) fn show(&self, path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A tab is as wide as a space here, so that the mark stands below what it marks.
        let text = self.text.replace(|c: char| c.is_control(), " ");
        let origin = path.display().to_string();
        let is_whole = text.len() == self.text.len() && text.is_char_boundary(self.marked.end);
        let marked = if is_whole { self.marked.clone() } else { 0..0 };
        let snippet = Snippet::source(&text)
            .line_start(self.line)
            .origin(&origin)
            .annotation(Level::Error.span(marked).label(self.help.as_deref().unwrap_or_default()));
        write!(f, "{}", Renderer::plain().render(Level::Error.title(&self.message).snippet(snippet)))
    }
}
