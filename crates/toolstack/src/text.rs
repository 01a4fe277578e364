//! The words of xl.cfg(5): lists of lists of quoted strings, with the place of each for messages.

use std::fmt;

/// A mistake in a configuration, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Description of the mistake, and of what is expected.
    pub message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for SyntaxError {}

/// A quoted string and the place of its first character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) value: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Text {
    /// An error at the `offset`th character of the string (which never spans lines).
    pub(crate) fn error(&self, offset: usize, message: impl Into<String>) -> SyntaxError {
        SyntaxError { line: self.line, column: self.column.saturating_add(offset), message: message.into() }
    }
}

/// Splits a configuration into words, strings and lists.
pub(crate) struct Lexer<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
    column: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text.chars().peekable(), line: 1, column: 1 }
    }

    /// An error at the lexer's place.
    pub(crate) fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError { line: self.line, column: self.column, message: message.into() }
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        if next == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(next)
    }

    /// The next character that is neither white space nor comment.
    pub(crate) fn peek(&mut self) -> Option<char> {
        while let Some(&next) = self.rest.peek() {
            if next == '#' {
                while self.rest.peek().is_some_and(|&next| next != '\n') {
                    self.bump();
                }
            } else if next.is_whitespace() {
                self.bump();
            } else {
                return Some(next);
            }
        }
        None
    }

    /// Takes `expected`, or fails with what was found instead.
    pub(crate) fn expect(&mut self, expected: char) -> Result<(), SyntaxError> {
        match self.peek() {
            Some(found) if found == expected => {
                self.bump();
                Ok(())
            }
            Some(found) => Err(self.error(format!("expected `{expected}`, found `{}`", found.escape_default()))),
            None => Err(self.error(format!("expected `{expected}`, found the end"))),
        }
    }

    /// Takes `wanted` if it comes next; returns true if so.
    pub(crate) fn take(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.bump();
        }
        there
    }

    /// Takes a bare word of letters.
    pub(crate) fn word(&mut self) -> String {
        let mut word = String::new();
        self.peek();
        while let Some(&next) = self.rest.peek()
            && next.is_ascii_alphabetic()
        {
            word.push(next);
            self.bump();
        }
        word
    }

    /// Takes a string in single or double quotes.
    pub(crate) fn string(&mut self) -> Result<Text, SyntaxError> {
        let quote = match self.peek() {
            Some(quote @ ('\'' | '"')) => quote,
            Some(found) => {
                return Err(self.error(format!("expected a quoted item, found `{}`", found.escape_default())));
            }
            None => return Err(self.error("expected a quoted item, found the end")),
        };
        self.bump();
        let mut text = Text { value: String::new(), line: self.line, column: self.column };
        loop {
            match self.rest.peek() {
                Some('\n') | None => return Err(text.error(0, "this string has no closing quote")),
                Some(&next) => {
                    self.bump();
                    if next == quote {
                        return Ok(text);
                    }
                    text.value.push(next);
                }
            }
        }
    }

    /// Takes `[ item, item, … ]`, a comma after the last item allowed.
    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<Vec<T>, SyntaxError> {
        self.expect('[')?;
        let mut items = Vec::new();
        while !self.take(']') {
            items.push(item(self)?);
            if !self.take(',') {
                self.expect(']')?;
                break;
            }
        }
        Ok(items)
    }
}
