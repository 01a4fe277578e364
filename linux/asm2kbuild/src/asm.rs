// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Lines of assembly, as LLVM prints them.

/// One line, without its comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Blank,
    Label(&'a str),
    Directive { name: &'a str, arguments: &'a str },
    Instruction { mnemonic: &'a str, operands: &'a str },
}

impl<'a> Line<'a> {
    /// Parses a line, in which comments begin with `comment`.
    pub(crate) fn parse(line: &'a str, comment: &str) -> Self {
        let line = without_comment(line, comment).trim();
        if line.is_empty() {
            return Self::Blank;
        }
        if let Some(label) = line.strip_suffix(':') {
            return Self::Label(label);
        }
        let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        if first.starts_with('.') {
            Self::Directive { name: first, arguments: rest }
        } else {
            Self::Instruction { mnemonic: first, operands: rest }
        }
    }
}

/// Removes the comment, whose marker may also stand in a string.
fn without_comment<'a>(line: &'a str, comment: &str) -> &'a str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, character) in line.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted && line[at..].starts_with(comment) => return &line[..at],
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let parse = |line| Line::parse(line, "#");
        assert_eq!(parse("  # only a comment"), Line::Blank);
        assert_eq!(parse(".LBB0_1:  # in a loop"), Line::Label(".LBB0_1"));
        let ascii = Line::Directive { name: ".ascii", arguments: r##""a#\"#""## };
        assert_eq!(parse("\t.ascii\t\"a#\\\"#\" # text"), ascii);
        assert_eq!(parse("\tretq"), Line::Instruction { mnemonic: "retq", operands: "" });
        let add = Line::Instruction { mnemonic: "addq", operands: "$8, %rsp" };
        assert_eq!(parse("\taddq\t$8, %rsp"), add);
    }

    #[test]
    fn each_machine_has_its_comments() {
        let add = Line::Instruction { mnemonic: "add", operands: "x0, x0, #8" };
        assert_eq!(Line::parse("\tadd\tx0, x0, #8 // more", "//"), add);
    }
}
