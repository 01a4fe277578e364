//! Plugins: libraries that alsa-lib loads by their names, as its configuration says, when a PCM is opened.
//!
//! The configuration is alsa-lib's own, printed by it. Its functions and arguments are not evaluated: a definition
//! counts as used if anything that is used has its name as a word. A library too many costs some memory.

use super::ask;
use super::hw::io_error;
use crate::Error;
use alsa::Output;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time in which the configuration has to be read: a function in it may ask a sound server.
const PATIENCE: Duration = Duration::from_secs(2);

/// Rate converter of a configuration that names none.
const RATE_CONVERTER: &str = "speexrate";

/// Types that a PCM probably has whose configuration cannot be read in time: those of sound servers.
const LIKELY: &[&str] = &["pulse", "pipewire"];

/// Needs of PCMs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Libraries that there are.
    pub libraries: BTreeSet<PathBuf>,
    /// Types of PCMs that are used, built-in ones included.
    pub types: BTreeSet<String>,
}

/// Needs of the PCMs with these names, with plugins in `directory`.
pub(crate) fn needs(names: &[&str], directory: &Path) -> Needs {
    match ask::ask("", PATIENCE, configuration) {
        Ok(text) => Tree::parse(&text).needs(names, directory),
        Err(_) => Tree::default().needs(&[names, LIKELY].concat(), directory),
    }
}

/// The configuration in alsa-lib's own form.
fn configuration() -> Result<String, Error> {
    let _silenced = Output::local_error_handler();
    let read = || -> alsa::Result<String> {
        let mut text = Output::buffer_open()?;
        alsa::config::update_ref()?.save(&mut text)?;
        Ok(text.to_string())
    };
    read().map_err(|error| Error::unusable("ALSA's configuration", io_error(error), "`aplay -L` says what is wrong"))
}

/// A configuration: the values, each with its path.
#[derive(Debug, Default)]
struct Tree(Vec<(String, String)>);

impl Tree {
    /// Parses the text that alsa-lib writes: one value, or one bracket, in a line.
    fn parse(text: &str) -> Self {
        let mut values = Vec::new();
        let mut path: Vec<String> = Vec::new();
        for line in text.lines() {
            let mut words = words(line);
            match words.pop() {
                None => {}
                Some(Word::Sign('}' | ']')) => drop(path.pop()),
                Some(Word::Sign(_)) => path.push(words.pop().map(Word::text).unwrap_or_default()),
                Some(value @ Word::Text(_)) => {
                    let key = words.pop().map(Word::text).unwrap_or_default();
                    let all: Vec<&str> = path.iter().map(String::as_str).chain([key.as_str()]).collect();
                    values.push((all.join("."), value.text()));
                }
            }
        }
        Self(values)
    }

    /// Values at or below a path; each with the rest of its path.
    fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(key, value)| {
            let rest = key.strip_prefix(path)?;
            (rest.is_empty() || rest.starts_with('.')).then_some((rest, value.as_str()))
        })
    }

    fn needs(&self, names: &[&str], directory: &Path) -> Needs {
        let mut needs = Needs::default();
        let plugin = |name: &str| directory.join(name);
        let module = |kind: &str, name: &str| plugin(&format!("libasound_module_{kind}_{name}.so"));
        let mut wanted = BTreeSet::new();
        // Functions of the configuration run whenever it is read.
        for (key, value) in self.below("hook_func").chain(self.below("func")) {
            if key.ends_with(".lib") {
                wanted.insert(plugin(value));
                // A function of that kind makes PCMs of its server the default ones, if the server runs then.
                let server = value.strip_prefix("libasound_module_conf_").and_then(|name| name.strip_suffix(".so"));
                needs.types.extend(server.map(str::to_owned));
            }
        }
        let mut open: Vec<&str> = names.iter().flat_map(|name| parts(name)).collect();
        if names.iter().any(|name| converts(name)) {
            let mut converters: Vec<&str> = self.below("defaults.pcm.rate_converter").map(|(_, value)| value).collect();
            if converters.is_empty() {
                converters.push(RATE_CONVERTER);
            }
            open.extend(converters);
        }
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            if !seen.insert(name) {
                continue;
            }
            wanted.insert(module("rate", name));
            let values: Vec<(&str, &str)> = self.below(&format!("pcm.{name}")).collect();
            if values.is_empty() {
                // Without a configuration, the name of a PCM is probably that of its type.
                needs.types.insert(name.to_owned());
            }
            for (key, value) in values {
                if key.contains(".hint.") {
                    continue;
                }
                if key.ends_with(".type") {
                    needs.types.insert(value.to_owned());
                }
                if key.ends_with(".lib") {
                    wanted.insert(plugin(value));
                }
                open.extend(parts(value));
            }
        }
        for name in &needs.types {
            let own: Vec<&str> =
                self.below("pcm_type").filter(|(key, _)| *key == format!(".{name}.lib")).map(|(_, lib)| lib).collect();
            if own.is_empty() {
                wanted.insert(module("pcm", name));
            }
            wanted.extend(own.into_iter().map(plugin));
        }
        needs.libraries = wanted.into_iter().filter(|path| path.is_file()).collect();
        needs
    }
}

/// Names in a value: `plug:{SLAVE="hw:0,0"}` has `plug`, `SLAVE`, `hw` and `0`.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let parts = value.split(|sign: char| sign.is_whitespace() || ":,={}\"'".contains(sign));
    parts.map(|part| part.strip_prefix("pcm.").unwrap_or(part)).filter(|part| !part.is_empty())
}

/// Returns true if a PCM may convert rates.
fn converts(name: &str) -> bool {
    !matches!(name.split(':').next(), Some("hw" | "null"))
}

/// A word of the configuration's text.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// A bracket.
    Sign(char),
    Text(String),
}

impl Word {
    fn text(self) -> String {
        match self {
            Self::Sign(sign) => sign.into(),
            Self::Text(text) => text,
        }
    }
}

fn words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut signs = line.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            sign if sign.is_whitespace() => {}
            '\'' | '"' => {
                let mut text = String::new();
                while let Some(next) = signs.next() {
                    match next {
                        '\\' => text.extend(signs.next()),
                        end if end == sign => break,
                        next => text.push(next),
                    }
                }
                words.push(Word::Text(text));
            }
            '{' | '}' | '[' | ']' => words.push(Word::Sign(sign)),
            sign => {
                let mut text = String::from(sign);
                while let Some(next) = signs.next_if(|next| !next.is_whitespace()) {
                    text.push(next);
                }
                words.push(Word::Text(text));
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
defaults.pcm.card 0
pcm.hw {
\t@args.0 CARD
\ttype hw
}
pcm.plug {
\t@args.SLAVE {
\t\ttype string
\t}
\ttype plug
\tslave.pcm $SLAVE
}
pcm.default {
\ttype asym
\tplayback.pcm 'plug:room'
\thint {
\t\tshow on
\t\tdescription 'not jack'
\t}
}
pcm.room {
\ttype upmix
\tslave {
\t\tpcm 'deep'
\t}
}
pcm.deep {
\ttype own
}
pcm_type.own.lib '/opt/own.so'
pcm.jack {
\ttype jack
}
hook_func.greets {
\tlib libgreets.so
\tfunc greet
}
";

    fn needs(text: &str, names: &[&str], there: &[&str]) -> (Vec<String>, Needs) {
        let directory = tempfile::tempdir().unwrap();
        for name in there {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let needs = Tree::parse(text).needs(names, directory.path());
        let file = |path: &PathBuf| path.strip_prefix(directory.path()).unwrap().display().to_string();
        (needs.libraries.iter().map(file).collect(), needs)
    }

    const THERE: &[&str] = &[
        "libasound_module_pcm_upmix.so",
        "libasound_module_pcm_jack.so",
        "libasound_module_rate_speexrate.so",
        "libasound_module_rate_other.so",
        "libgreets.so",
    ];

    #[test]
    fn a_pcm_needs_the_plugins_behind_it_and_what_reads_the_configuration() {
        let (libraries, needs) = needs(TEXT, &["default"], THERE);
        assert_eq!(libraries, ["libasound_module_pcm_upmix.so", "libasound_module_rate_speexrate.so", "libgreets.so"]);
        assert!(needs.types.contains("own"), "{needs:?}");
    }

    #[test]
    fn a_card_alone_converts_nothing() {
        assert_eq!(needs(TEXT, &["hw:0,0", "null"], THERE).0, ["libgreets.so"]);
        assert!(needs(TEXT, &[], &["libasound_module_pcm_jack.so"]).0.is_empty());
    }

    #[test]
    fn a_server_that_becomes_the_default_later_counts() {
        let text = "hook_func.load {\n\tlib 'libasound_module_conf_jack.so'\n}\n";
        assert_eq!(needs(text, &["hw"], THERE).0, ["libasound_module_pcm_jack.so"]);
    }

    #[test]
    fn the_slave_in_a_name_and_the_configured_converter_count() {
        let text = format!("{TEXT}defaults.pcm.rate_converter [\n\tother\n\tlinear\n]\n");
        let (libraries, _) = needs(&text, &["plug:{SLAVE=\"jack\"}"], THERE);
        assert_eq!(libraries, ["libasound_module_pcm_jack.so", "libasound_module_rate_other.so", "libgreets.so"]);
    }

    #[test]
    fn without_a_configuration_a_name_is_taken_for_a_type() {
        assert_eq!(
            needs("", &["jack"], THERE).0,
            ["libasound_module_pcm_jack.so", "libasound_module_rate_speexrate.so"]
        );
    }

    #[test]
    fn the_systems_own_configuration_is_understood() {
        let text = configuration().unwrap();
        let tree = Tree::parse(&text);
        assert!(tree.below("pcm.hw").any(|found| found == (".type", "hw")), "{text}");
        assert!(tree.below("defaults.pcm.card").any(|found| found == ("", "0")), "{text}");
        let needs = tree.needs(&["plug:null"], Path::new("/nowhere"));
        assert!(needs.types.contains("plug") && needs.types.contains("null"), "{needs:?}");
    }
}
