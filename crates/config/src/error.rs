//! Errors of a configuration, on one line for a log or with all mistakes for people.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::diagnosis::{PROBLEMS_MAX, Problem};

/// A configuration that cannot be used; the text names file, line and column.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        cause: std::io::Error,
    },
    /// The file contains mistakes.
    #[error("{}", Mistakes(path, problems))]
    Parse {
        /// The file.
        path: PathBuf,
        /// All mistakes, in the order of the file.
        problems: Vec<Problem>,
    },
    /// The command line asks for something that is not available.
    #[error("{0}")]
    Option(String),
}

impl ConfigError {
    /// The error on one line, for a log; of several mistakes the first.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            Self::Parse { path, problems } => {
                let first = problems.first().map_or_else(String::new, |problem| {
                    let Problem { line, column, message, .. } = problem;
                    format!(":{line}:{column}: {message}")
                });
                let more = match problems.len() {
                    0 | 1 => String::new(),
                    all => format!(" (and {} more)", all - 1),
                };
                format!("configuration {}{first}{more}", path.display())
            }
            other => other.to_string(),
        }
    }
}

/// All mistakes of a file with their lines.
struct Mistakes<'a>(&'a Path, &'a [Problem]);

impl fmt::Display for Mistakes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, problems) = self;
        let count = match problems.len() {
            1 => "1 mistake".to_owned(),
            count if count >= PROBLEMS_MAX => format!("{count} mistakes, and perhaps more"),
            count => format!("{count} mistakes"),
        };
        write!(f, "configuration {}: {count}", path.display())?;
        for problem in *problems {
            writeln!(f)?;
            problem.show(path, f)?;
        }
        Ok(())
    }
}
