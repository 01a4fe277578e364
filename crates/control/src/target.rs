//! Target of a request: the streams that the request is about.

use std::fmt;
use std::str::FromStr;

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Part;

/// `DOMAIN[/CARD[/PCM[/STREAM]]]`: a guest, or a part of it; with a pattern, several guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The guest's id, name or UUID; `*`, `?` and `[…]` stand for others, as in the rules of the configuration.
    pub domain: String,
    /// The streams of the guest.
    pub part: Part,
}

/// A text that names no streams.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` does not name streams: expected DOMAIN[/CARD[/PCM[/STREAM]]] with the domain's id, name or UUID, also as a \
     pattern, such as `studio`, `studio/0/1` or `*` (`vsnd list` shows them)"
)]
pub struct ParseTargetError(String);

impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, ParseTargetError> {
        fn part<T: FromStr>(part: Option<&str>) -> Result<Option<T>, ()> {
            part.map(|text| text.parse().map_err(drop)).transpose()
        }
        let parse = || {
            let mut parts = text.split('/');
            let domain = parts.next().filter(|domain| !domain.is_empty()).ok_or(())?.to_owned();
            Pattern::new(&domain).map_err(drop)?;
            let of_guest = Part { card: part(parts.next())?, pcm: part(parts.next())?, stream: part(parts.next())? };
            parts.next().is_none().then_some(Self { domain, part: of_guest }).ok_or(())
        };
        parse().map_err(|()| ParseTargetError(text.to_owned()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.domain)?;
        let Part { card, pcm, stream } = self.part;
        let numbers = [card, pcm.map(u32::from), stream.map(u32::from)];
        numbers.into_iter().flatten().try_for_each(|number| write!(f, "/{number}"))
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Target {
    /// Returns true if the target names a guest with this id, name and UUID, or a part of that guest. A number is an
    /// id, even if another guest has it as its name.
    #[must_use]
    pub fn names_guest(&self, domain: u16, name: Option<&str>, uuid: Option<&str>) -> bool {
        let id = domain.to_string();
        if self.domain.parse::<u16>().is_ok_and(|number| number.to_string() == self.domain) {
            return self.domain == id;
        }
        // A guest with neither name nor UUID is known by its id alone.
        let is_nameless = name.is_none() && uuid.is_none();
        self.names(name, uuid) || is_nameless && self.pattern().is_some_and(|pattern| pattern.matches(&id))
    }

    /// Returns true if the target names a guest with this name and UUID, which may not exist at present.
    #[must_use]
    pub fn names(&self, name: Option<&str>, uuid: Option<&str>) -> bool {
        let any_case = MatchOptions { case_sensitive: false, ..MatchOptions::new() };
        let matches = |pattern: Pattern| {
            name.is_some_and(|name| pattern.matches(name))
                || uuid.is_some_and(|uuid| pattern.matches_with(uuid, any_case))
        };
        name == Some(&self.domain)
            || uuid.is_some_and(|uuid| uuid.eq_ignore_ascii_case(&self.domain))
            || self.pattern().is_some_and(matches)
    }

    /// Returns true if the target may name several guests.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        self.pattern().is_some()
    }

    fn pattern(&self) -> Option<Pattern> {
        if self.domain.contains(['*', '?', '[']) { Pattern::new(&self.domain).ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use sndif::store::StreamAddress;

    use super::*;

    #[test]
    fn a_target_is_read_and_written() {
        for text in ["studio", "5/0", "studio/0/1", "6c1f1d3e-0d5b-4f5b-9d0e-0f6d8a1b2c3d/0/1/2"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in ["", "stu[", "/0", "studio/x", "studio/0/256", "studio/0/0/0/0", "studio/"] {
            assert!(text.parse::<Target>().unwrap_err().to_string().starts_with(&format!("`{text}` ")), "{text}");
        }
    }

    #[test]
    fn a_guest_is_known_by_id_name_and_uuid() {
        let uuid = Some("6c1f1d3e-0d5b-4f5b-9d0e-0f6d8a1b2c3d");
        for (text, named) in
            [("5", true), ("studio", true), ("6C1F1D3E-0D5B-4F5B-9D0E-0F6D8A1B2C3D", true), ("6", false)]
        {
            assert_eq!(text.parse::<Target>().unwrap().names_guest(5, Some("studio"), uuid), named, "{text}");
        }
        let six: Target = "6".parse().unwrap();
        assert!(!six.names_guest(5, Some("6"), uuid) && six.names_guest(6, Some("5"), uuid), "a number is an id");
        assert!("007".parse::<Target>().unwrap().names_guest(5, Some("007"), uuid));
    }

    #[test]
    fn a_pattern_names_several_guests() {
        let uuid = Some("6c1f1d3e-0d5b-4f5b-9d0e-0f6d8a1b2c3d");
        let names = |pattern: &str, name| pattern.parse::<Target>().unwrap().names_guest(5, name, uuid);
        assert!(names("*", Some("studio")) && names("stu*", Some("studio")) && names("6C1F*", None));
        assert!(!names("stu?", Some("studio")) && !names("5*", Some("studio")));
        assert!("*".parse::<Target>().unwrap().names_guest(5, None, None));
        assert!("*".parse::<Target>().unwrap().is_pattern() && !"5".parse::<Target>().unwrap().is_pattern());
    }

    #[test]
    fn a_target_covers_what_it_does_not_narrow_down() {
        let stream = StreamAddress { domain: 5, card: 1, pcm: 0, stream: 2 };
        for (text, covered) in
            [("studio", true), ("studio/1", true), ("studio/1/0", true), ("studio/1/0/2", true), ("studio/0", false)]
        {
            assert_eq!(text.parse::<Target>().unwrap().part.has(stream), covered, "{text}");
        }
        assert!(!"studio/1/1".parse::<Target>().unwrap().part.has(stream));
        assert!(!"studio/1/0/1".parse::<Target>().unwrap().part.has(stream));
    }
}
