//! Text that has to fit into a number of columns of a terminal.

use ::control::Target;
use ratatui::text::Span;

use crate::text;

/// Text between two fields.
pub(super) const SEPARATOR: &str = " · ";

/// Columns that the text takes; a Chinese character takes two.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text, cut at its end if it does not fit.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if width(&kept) > room {
            kept.pop();
            break;
        }
    }
    kept + "…"
}

/// The text, cut in its middle: names that are alike often differ at their end.
fn cut_middle(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut end = String::new();
    for c in text.chars().rev() {
        end.insert(0, c);
        if width(&end) > columns.saturating_sub(1) / 2 {
            end.remove(0);
            break;
        }
    }
    cut(text, columns - width(&end)) + &end
}

/// The target; if it does not fit, the guest's name is cut, and the numbers that distinguish its streams stay.
pub(super) fn cut_target(target: &Target, columns: usize) -> String {
    let whole = text::plain(&target.to_string());
    if width(&whole) <= columns {
        return whole;
    }
    let domain = text::plain(&target.domain);
    let numbers = whole.strip_prefix(&domain).unwrap_or_default();
    match columns.checked_sub(width(numbers)) {
        Some(room) if room >= 2 => cut_middle(&domain, room) + numbers,
        _ => cut(&whole, columns),
    }
}

/// Lines of at most `columns` columns with as many of the fields as fit, with a separator between them.
pub(super) fn wrap(fields: &[String], columns: usize, lines: usize) -> Vec<String> {
    let mut wrapped: Vec<String> = Vec::new();
    for field in fields {
        let full = wrapped.len() == lines;
        match wrapped.last_mut() {
            Some(line) if width(line) + width(SEPARATOR) + width(field) <= columns => {
                line.push_str(SEPARATOR);
                line.push_str(field);
            }
            _ if full => break,
            _ => wrapped.push(cut(field, columns)),
        }
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_columns_not_by_letters() {
        assert_eq!(cut("studio", 6), "studio");
        assert_eq!(cut("studio", 5), "stud…");
        assert_eq!(cut("漢字漢字", 6), "漢字…");
        assert_eq!(cut("漢字漢字", 4), "漢…");
        assert_eq!(["studio", "漢"].map(|text| cut(text, 0)), ["", ""]);
    }

    #[test]
    fn a_targets_numbers_stay() {
        let target: Target = "recording-studio/0/1/0".parse().unwrap();
        assert_eq!(cut_target(&target, 40), "recording-studio/0/1/0");
        assert_eq!(cut_target(&target, 14), "reco…dio/0/1/0");
        assert_eq!(cut_target(&target, 5), "reco…");
    }

    #[test]
    fn fields_are_wrapped_whole() {
        let fields = ["one", "two", "three", "four"].map(str::to_owned);
        assert_eq!(wrap(&fields, 11, 2), ["one · two", "three"]);
        assert_eq!(wrap(&fields, 14, 2), ["one · two", "three · four"]);
        assert_eq!(wrap(&fields, 4, 9), ["one", "two", "thr…", "four"]);
    }
}
