//! xl.cfg(5)'s `vsnd = [ [ 'CARD, …', 'PCM, …', 'STREAM, …' ], … ]`.
//!
//! The rules are xl's: items belong to the last item above them, identifiers may be written in any case, a STREAM
//! without a PCM device gets one, lists within an item are separated by `;`.

use sndif::Format;
use sndif::store::{Direction, LONG_NAME_MAX_LEN, SHORT_NAME_MAX_LEN};

use crate::card::{Card, Params, Pcm, Stream};
use crate::text::{Lexer, SyntaxError, Text};

/// Parses `vsnd = [ … ]`, or the list alone.
///
/// # Errors
/// [`SyntaxError`] with the place of the first mistake; a parameter that xl does not know is a mistake as well.
pub fn parse(text: &str) -> Result<Vec<Card>, SyntaxError> {
    let mut lexer = Lexer::new(text);
    if lexer.peek().is_some_and(|next| next.is_ascii_alphabetic()) {
        let start = lexer.error("expected `vsnd = [ … ]`");
        if lexer.word() != "vsnd" {
            return Err(start);
        }
        lexer.expect('=')?;
    }
    let cards = lexer.list(|lexer| {
        let mut items = Vec::new();
        // `list` ends behind the bracket; the place of an empty card is its first character.
        let start = lexer.error("a card is a list of items: ['CARD, …', 'PCM, …', 'STREAM, type=p']");
        if lexer.peek() != Some('[') {
            return Err(start);
        }
        items.extend(lexer.list(Lexer::string)?);
        card(&items)
    })?;
    match lexer.peek() {
        None => Ok(cards),
        Some(found) => Err(lexer.error(format!("unexpected `{}` behind the list", found.escape_default()))),
    }
}

fn card(items: &[Text]) -> Result<Card, SyntaxError> {
    let mut card = Card::default();
    for item in items {
        let mut parts = Parts::new(item);
        let identifier = parts.next().unwrap_or(Part { offset: 0, text: "" });
        match identifier.text.to_ascii_lowercase().as_str() {
            "card" => {
                for part in parts {
                    let pair = part.pair(item)?;
                    match pair.key {
                        "backend" => card.backend = Some(pair.value.to_owned()),
                        "short-name" => card.short_name = Some(pair.name(item, SHORT_NAME_MAX_LEN)?),
                        "long-name" => card.long_name = Some(pair.name(item, LONG_NAME_MAX_LEN)?),
                        _ => pair.param(item, &mut card.params, "backend, short-name, long-name")?,
                    }
                }
            }
            "pcm" => {
                let mut pcm = Pcm::default();
                for part in parts {
                    let pair = part.pair(item)?;
                    match pair.key {
                        "name" => pcm.name = Some(pair.name(item, LONG_NAME_MAX_LEN)?),
                        _ => pair.param(item, &mut pcm.params, "name")?,
                    }
                }
                card.pcms.push(pcm);
            }
            "stream" => {
                let stream = stream(item, parts)?;
                if card.pcms.is_empty() {
                    card.pcms.push(Pcm::default());
                }
                if let Some(pcm) = card.pcms.last_mut() {
                    pcm.streams.push(stream);
                }
            }
            other => {
                return Err(item.error(
                    identifier.offset,
                    format!("unknown item `{}`: CARD, PCM or STREAM", other.escape_default()),
                ));
            }
        }
    }
    Ok(card)
}

fn stream(item: &Text, parts: Parts<'_>) -> Result<Stream, SyntaxError> {
    let (mut unique_id, mut direction, mut params) = (None, None, Params::default());
    for part in parts {
        let pair = part.pair(item)?;
        match pair.key {
            "unique-id" => unique_id = Some(pair.value.to_owned()),
            "type" => {
                direction = Some(
                    Direction::from_node(pair.value.as_bytes())
                        .ok_or_else(|| pair.error(item, "is neither `p` (playback) nor `c` (capture)"))?,
                );
            }
            // The example of xl.cfg(5) has `id`, but xl refuses it.
            "id" => return Err(item.error(pair.offset, "unknown parameter `id`: write `unique-id`")),
            _ => pair.param(item, &mut params, "unique-id, type")?,
        }
    }
    let direction = direction.ok_or_else(|| item.error(0, "a STREAM needs `type=p` or `type=c`"))?;
    Ok(Stream { unique_id, direction, params })
}

/// The comma-separated parts of an item.
struct Parts<'a> {
    rest: Option<&'a str>,
    offset: usize,
}

struct Part<'a> {
    offset: usize,
    text: &'a str,
}

impl<'a> Parts<'a> {
    fn new(item: &'a Text) -> Self {
        Self { rest: Some(&item.value), offset: 0 }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let rest = self.rest?;
        let (text, rest) = match rest.split_once(',') {
            Some((text, rest)) => (text, Some(rest)),
            None => (rest, None),
        };
        let trimmed = text.trim_start();
        let skipped = text.chars().count().saturating_sub(trimmed.chars().count());
        let part = Part { offset: self.offset.saturating_add(skipped), text: trimmed.trim_end() };
        self.offset = self.offset.saturating_add(text.chars().count()).saturating_add(1);
        self.rest = rest;
        Some(part)
    }
}

struct Pair<'a> {
    offset: usize,
    key: &'a str,
    value: &'a str,
}

impl<'a> Part<'a> {
    fn pair(&self, item: &Text) -> Result<Pair<'a>, SyntaxError> {
        match self.text.split_once('=') {
            Some((key, value)) => Ok(Pair { offset: self.offset, key: key.trim(), value: value.trim() }),
            None => Err(item.error(self.offset, format!("`{}` is not `parameter=value`", self.text.escape_default()))),
        }
    }
}

impl Pair<'_> {
    fn error(&self, item: &Text, what: &str) -> SyntaxError {
        item.error(self.offset, format!("{}: `{}` {what}", self.key, self.value.escape_default()))
    }

    fn name(&self, item: &Text, max_len: usize) -> Result<String, SyntaxError> {
        if self.value.len() > max_len {
            return Err(self.error(item, &format!("is longer than {max_len} bytes")));
        }
        Ok(self.value.to_owned())
    }

    fn number(&self, item: &Text, max: u32) -> Result<u32, SyntaxError> {
        sndif::store::number(self.value.as_bytes())
            .filter(|number| (1..=max).contains(number))
            .ok_or_else(|| self.error(item, &format!("is not a number from 1 to {max}")))
    }

    /// Takes one of the parameters that every item has; `others` are the item's own, for the message.
    fn param(&self, item: &Text, params: &mut Params, others: &str) -> Result<(), SyntaxError> {
        let list = || self.value.split(';').map(str::trim).filter(|word| !word.is_empty());
        match self.key {
            "sample-rates" => {
                params.sample_rates = list()
                    .map(|rate| {
                        sndif::store::number(rate.as_bytes())
                            .filter(|&rate| rate > 0)
                            .ok_or_else(|| self.error(item, "is not a list of rates such as 44100;48000"))
                    })
                    .collect::<Result<_, _>>()?;
            }
            "sample-formats" => {
                params.sample_formats = list()
                    .map(|name| {
                        Format::from_name(name).map_err(|_| {
                            self.error(item, &format!("names an unknown format `{}`", name.escape_default()))
                        })
                    })
                    .collect::<Result<_, _>>()?;
            }
            "channels-min" => params.channels_min = Some(self.number(item, 255)?),
            "channels-max" => params.channels_max = Some(self.number(item, 255)?),
            "buffer-size" => params.buffer_size = Some(self.number(item, u32::MAX)?),
            unknown => {
                return Err(item.error(
                    self.offset,
                    format!(
                        "unknown parameter `{}`: {others}, sample-rates, sample-formats, channels-min, channels-max, \
                         buffer-size",
                        unknown.escape_default()
                    ),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_manual_page() {
        let cards = parse(
            "vsnd = [
                ['CARD, short-name=Main, sample-formats=s16_le;s8;u32_be',  # the first
                    'PCM, name=Main',
                        'STREAM, unique-id=0, type=p',
                        'STREAM, unique-id=1, type=c, channels-max=2'
                ],
                [\"CARD, short-name=Second\",
                    \"PCM, name=Second, buffer-size=1024\",
                        \"stream, unique-id=2, type=p\",
                        \"stream, unique-id=3, type=c\"
                ],
            ]",
        )
        .unwrap();
        assert_eq!(cards.len(), 2);
        assert_eq!(cards[0].params.sample_formats, [Format::S16Le, Format::S8, Format::U32Be]);
        assert_eq!(cards[0].pcms[0].streams[1].params.channels_max, Some(2));
        assert_eq!(cards[1].pcms[0].params.buffer_size, Some(1024));
        assert_eq!(cards[1].pcms[0].streams[1].direction, Direction::Capture);
    }

    #[test]
    fn a_stream_without_a_pcm_device_gets_one() {
        let cards = parse("[['CARD', 'STREAM, type=p']]").unwrap();
        assert_eq!(cards[0].pcms.len(), 1);
    }

    #[test]
    fn names_of_the_field_are_taken_as_they_are() {
        let cards = parse("[['STREAM, type=p, unique-id=alsa<hw:0;0>']]").unwrap();
        assert_eq!(cards[0].pcms[0].streams[0].unique_id.as_deref(), Some("alsa<hw:0;0>"));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, place, message) in [
            ("vsnd = [['CARD', 'STREAM, id=0, type=p']]", (1, 27), "unknown parameter `id`: write `unique-id`"),
            ("vsnd = [\n  ['CRAD']\n]", (2, 5), "unknown item `crad`: CARD, PCM or STREAM"),
            ("vsnd = [['STREAM, unique-id=0']]", (1, 11), "a STREAM needs `type=p` or `type=c`"),
            ("vsnd = [['STREAM, type=x']]", (1, 19), "type: `x` is neither `p` (playback) nor `c` (capture)"),
            ("vsnd = [['PCM, sample-formats=s17']]", (1, 16), "sample-formats: `s17` names an unknown format `s17`"),
            ("vsnd = [['PCM, channels-max=300']]", (1, 16), "channels-max: `300` is not a number from 1 to 255"),
            ("vsnd = [['PCM, mane=x']]", (1, 16), "unknown parameter `mane`: name, sample-rates"),
            ("vsnd = [['PCM]]", (1, 11), "this string has no closing quote"),
            ("vsnd = ['PCM']", (1, 9), "a card is a list of items"),
            ("vsnd = [['PCM']", (1, 16), "expected `]`, found the end"),
            ("vsdn = [['PCM']]", (1, 1), "expected `vsnd = [ … ]`"),
            ("[['PCM']] x", (1, 11), "unexpected `x` behind the list"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.column), place, "{text}");
            assert!(error.message.starts_with(message), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]'\",a-zA-Z=; #\n0-9-]{0,80}") {
            let _ = parse(&text);
        }
    }
}
