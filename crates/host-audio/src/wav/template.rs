//! Names of WAV files: placeholders for the stream's label, numbers for names that exist already.

use crate::{Error, StreamAddress};
use std::path::{Path, PathBuf};

/// A path with `{domain}`, `{card}`, `{pcm}` and `{stream}` in it.
pub(crate) struct Template;

impl Template {
    /// Checks that every placeholder in braces is known.
    ///
    /// # Errors
    /// A placeholder is not known, or not closed.
    pub(crate) fn check(text: &str) -> Result<(), String> {
        Self::fill(text, &StreamAddress { domain: 0, card: 0, pcm: 0, stream: 0 }).map(drop)
    }

    /// The path for the stream `who`.
    ///
    /// # Errors
    /// A placeholder is not known.
    pub(crate) fn expand(template: &Path, who: &StreamAddress) -> Result<PathBuf, Error> {
        let Some(text) = template.to_str() else {
            return Ok(template.to_owned());
        };
        Self::fill(text, who).map(PathBuf::from).map_err(|reason| Error::content(template, reason))
    }

    fn fill(text: &str, who: &StreamAddress) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let (name, tail) = after.split_once('}').ok_or_else(|| "the path has a `{` without a `}`".to_owned())?;
            out.push_str(&match name {
                "domain" => who.domain.to_string(),
                "card" => who.card.to_string(),
                "pcm" => who.pcm.to_string(),
                "stream" => who.stream.to_string(),
                _ => return Err(format!("`{{{name}}}` is none of {{domain}}, {{card}}, {{pcm}}, {{stream}}")),
            });
            rest = tail;
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The `number`th name for a file: `x.wav`, `x-2.wav`, `x-3.wav`, …
#[must_use]
pub fn numbered(path: &Path, number: u32) -> PathBuf {
    if number <= 1 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: StreamAddress = StreamAddress { domain: 7, card: 1, pcm: 2, stream: 3 };

    #[test]
    fn placeholders_become_the_streams_label() {
        let path = Template::expand(Path::new("/a{b/{domain}-{card}-{pcm}-{stream}.wav"), &WHO);
        assert!(path.unwrap_err().to_string().contains("{domain}, {card}"));
        let path = Template::expand(Path::new("/ab/{domain}-{card}-{pcm}-{stream}.wav"), &WHO);
        assert_eq!(path.unwrap(), Path::new("/ab/7-1-2-3.wav"));
    }

    #[test]
    fn numbers_come_before_the_extension() {
        assert_eq!(numbered(Path::new("/a/x.wav"), 1), Path::new("/a/x.wav"));
        assert_eq!(numbered(Path::new("/a/x.wav"), 2), Path::new("/a/x-2.wav"));
        assert_eq!(numbered(Path::new("x"), 12), Path::new("x-12"));
    }
}
