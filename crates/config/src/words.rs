//! Messages about mistakes, in the terms of TOML and of this file in place of those of the parser's data model.

/// Message about a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// Names of types in the parser's messages, and their usual names in TOML.
const TYPES: [(&str, &str); 14] = [
    ("a sequence", "an array"),
    ("sequence", "an array"),
    ("map", "a table"),
    ("a map", "a table"),
    ("f64", "a number"),
    ("u8", "an integer from 0 to 255"),
    ("u16", "an integer from 0 to 65535"),
    ("u32", "an integer from 0 to 4294967295"),
    ("u64", "an integer from 0 on"),
    ("usize", "an integer from 0 on"),
    ("i64", "an integer"),
    ("a string", "a string in quotes"),
    ("a boolean", "`true` or `false`"),
    ("floating point", "float"),
];

/// Likeness from which on a name is suggested, from 0 to 1.
const NEAR: f64 = 0.8;

/// A message of the parser in words of TOML.
pub(crate) fn of_toml(message: &str) -> Words {
    let message = message.lines().collect::<Vec<_>>().join("; ");
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return unknown("key", rest);
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        return unknown("value", rest);
    }
    let wrong = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = wrong.and_then(|rest| rest.rsplit_once(", expected ")) {
        return Words { message: format!("expected {}, found {}", type_name(expected), type_name(found)), help: None };
    }
    Words { message, help: None }
}

fn type_name(name: &str) -> String {
    if name.starts_with("struct ") {
        return "a table".to_owned();
    }
    match TYPES.iter().find(|(parsers, _)| *parsers == name) {
        Some((_, ours)) => (*ours).to_owned(),
        // The name has a value behind it.
        None => name.replacen("floating point", "float", 1),
    }
}

/// Message about an unknown name; `rest` is `` `x`, expected one of `a`, `b` ``.
fn unknown(kind: &str, rest: &str) -> Words {
    let mut names = rest.split('`').skip(1).step_by(2);
    let name = names.next().unwrap_or_default();
    // Older spellings are accepted, but not suggested.
    let known: Vec<&str> = names.filter(|name| !name.contains('_')).collect();
    let help = match nearest(name, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    Words { message: format!("unknown {kind} `{name}`"), help: Some(help) }
}

/// The name that is most like `name`, if one is like it at all.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.replace('_', "-").to_lowercase();
    let likeness =
        |other: &str| match name.len() > 3 && other.len() > 3 && (name.contains(other) || other.contains(&name)) {
            true => 1.0,
            false => strsim::jaro_winkler(&name, other),
        };
    let near = known.iter().map(|other| (likeness(other), *other)).filter(|(likeness, _)| *likeness >= NEAR);
    near.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_in_words_of_toml() {
        let told = |message: &str| of_toml(message).message;
        assert_eq!(told("invalid type: string \"loud\", expected f64"), "expected a number, found string \"loud\"");
        assert_eq!(told("invalid type: sequence, expected struct Limits"), "expected a table, found an array");
        assert_eq!(
            told("invalid value: integer `-1`, expected u8"),
            "expected an integer from 0 to 255, found integer `-1`"
        );
        assert_eq!(
            told("invalid type: floating point `1.5`, expected u32").split(", found ").nth(1),
            Some("float `1.5`")
        );
        assert_eq!(told("1 is not between 4096 and 7"), "1 is not between 4096 and 7");
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        let told = |name: &str| {
            of_toml(&format!(
                "unknown field `{name}`, expected one of `sink`, `source`, `capture`, `when-denied`, `when_denied`, `rule`"
            ))
        };
        assert_eq!(told("rules").message, "unknown key `rules`");
        for (name, near) in [
            ("snik", "sink"),
            ("captur", "capture"),
            ("allow-capture", "capture"),
            ("rules", "rule"),
            ("when_denied", "when-denied"),
            ("Sink", "sink"),
        ] {
            assert_eq!(told(name).help, Some(format!("did you mean `{near}`?")), "{name}");
        }
        let help = told("xyzzy").help.unwrap();
        assert_eq!(help, "known here: sink, source, capture, when-denied, rule");
    }
}
