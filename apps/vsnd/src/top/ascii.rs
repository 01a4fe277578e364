//! The screen in ASCII, for terminals whose locale has no UTF-8.

use ratatui::buffer::Buffer;

/// Returns true if the locale has UTF-8: the first of these variables that is set decides (setlocale(3)).
pub(super) fn has_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let named = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    named.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// Replaces every sign that is not ASCII by one that is.
pub(super) fn transliterate(buffer: &mut Buffer) {
    for index in 0..buffer.content.len() {
        let symbol = buffer.content[index].symbol();
        if symbol == "\u{221e}" {
            // The sign stands behind the minus of a number that is aligned to the right.
            let signs = ["-", "i", "n", "f"].into_iter().rev();
            for (cell, sign) in buffer.content[..=index].iter_mut().rev().zip(signs) {
                cell.set_symbol(sign);
            }
        } else if !symbol.is_ascii() {
            let sign = sign(symbol);
            buffer.content[index].set_symbol(sign);
        }
    }
}

fn sign(symbol: &str) -> &'static str {
    match symbol {
        "\u{2588}" => "#",
        "\u{258f}" | "\u{258e}" | "\u{258d}" => "-",
        "\u{258c}" | "\u{258b}" | "\u{258a}" | "\u{2589}" => "=",
        "\u{b7}" => ".",
        "\u{2502}" => "|",
        "\u{2500}" | "\u{2013}" | "\u{2212}" => "-",
        "\u{250c}" | "\u{2510}" | "\u{2514}" | "\u{2518}" => "+",
        "\u{25b6}" => ">",
        "\u{2264}" => "<",
        "\u{201c}" | "\u{201d}" => "\"",
        "\u{2026}" => "~",
        "\u{2191}" => "^",
        "\u{2193}" => "v",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_at_all_is_no_figure() {
        let mut buffer = Buffer::with_lines(["\u{2588}\u{b7}\u{b7}    -\u{221e}"]);
        transliterate(&mut buffer);
        assert_eq!(buffer, Buffer::with_lines(["#..  -inf"]));
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let has = |set: &[(&str, &str)]| {
            has_utf8(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(has(&[("LANG", "de_DE.UTF-8")]) && has(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8"), ("LANG", "C")]));
        assert!(!has(&[]) && !has(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]) && !has(&[("LANG", "de_DE")]));
    }
}
