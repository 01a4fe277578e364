//! Words of a command that a user can copy.

use std::fmt::Write;

/// A word, quoted for a shell if necessary.
pub(super) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:,+@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut word = String::from("'");
    for c in text.chars() {
        let _ = if c == '\'' { word.write_str(r"'\''") } else { word.write_char(c) };
    }
    word + "'"
}
