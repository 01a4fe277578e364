//! The configuration file; `docs/vsndd.toml` shows and explains all of it.
//!
//! The keys at its top hold for every stream, unless a [`Rule`] says otherwise. Rules are applied from top to bottom: a
//! key of a matching rule replaces the earlier value, a key that the rule leaves out keeps it.

mod diagnosis;
mod limits;
mod rule;
mod usable;
mod value;
mod words;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};

use host_audio::{DeviceSpec, WhenAbsent};
use serde::Deserialize;

pub use diagnosis::Problem;
pub use limits::Limits;
pub use rule::{DomainSelector, Rule};
pub use value::ListenAddress;
pub use worker::Worker;

/// The daemon's configuration: everything that the host decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// Host device that playback goes to.
    #[serde(deserialize_with = "value::device")]
    pub sink: DeviceSpec,
    /// Host device that capture comes from.
    #[serde(deserialize_with = "value::device")]
    pub source: DeviceSpec,
    /// True if guests may play.
    pub playback: bool,
    /// True if guests may capture.
    pub capture: bool,
    /// Treatment of a stream that is opened though its guest may not use it.
    pub when_denied: Instead,
    /// Treatment of a stream that is opened while its device is absent.
    pub when_absent: Instead,
    /// The host's volume, which is added to the guest's, in 0.001 dB.
    #[serde(rename = "volume-db", deserialize_with = "value::decibels")]
    pub volume_mdb: Option<i32>,
    /// True if streams are silent.
    pub muted: bool,
    /// Maximum of the volume of guest and host together, in 0.001 dB.
    #[serde(rename = "volume-max-db", deserialize_with = "value::decibels")]
    pub volume_max_mdb: Option<i32>,
    /// True if a stream's `unique-id` names its device; the guest can write that node.
    #[serde(alias = "trust_unique_id")]
    pub trust_unique_id: bool,
    /// Role of the streams on a sound server (`media.role`); `None` for none.
    #[serde(deserialize_with = "value::role")]
    pub media_role: Option<String>,
    /// Bounds for every guest.
    pub limits: Limits,
    /// The control socket.
    pub control: Control,
    /// The metrics socket.
    pub metrics: Metrics,
    /// Bounds and priority of each guest's worker.
    pub worker: Worker,
    /// Exceptions, in order.
    #[serde(rename = "rule", deserialize_with = "rule::rules")]
    pub rules: Vec<Rule>,
}

impl Default for Config {
    /// Plays to the null device and denies capture.
    fn default() -> Self {
        Self {
            sink: DeviceSpec::Null,
            source: DeviceSpec::Null,
            playback: true,
            capture: false,
            when_denied: Instead::Refuse,
            when_absent: Instead::Refuse,
            volume_mdb: None,
            muted: false,
            volume_max_mdb: None,
            trust_unique_id: false,
            media_role: None,
            limits: Limits::default(),
            control: Control::default(),
            metrics: Metrics::default(),
            worker: Worker::default(),
            rules: Vec::new(),
        }
    }
}

/// Treatment of a stream that cannot be opened as requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instead {
    /// The stream is not opened.
    Refuse,
    /// The stream plays to nobody, or captures silence, in real time.
    Silence,
}

impl From<Instead> for WhenAbsent {
    fn from(instead: Instead) -> Self {
        match instead {
            Instead::Refuse => Self::Refuse,
            Instead::Silence => Self::Silence,
        }
    }
}

/// Settings of the control socket, which are read when the daemon starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Control {
    /// Path of the socket; empty for none, `None` for the default path of the Xen that is served.
    pub socket: Option<PathBuf>,
    /// Group that may use the socket; `None` for `vsnd`, if there is one.
    pub group: Option<String>,
}

/// Settings of the metrics socket, which are read when the daemon starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Metrics {
    /// A Unix socket or an address of this machine; `None` for no metrics.
    #[serde(deserialize_with = "value::listen")]
    pub listen: Option<ListenAddress>,
}

/// A configuration that cannot be used; the text names file, line and column.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        cause: std::io::Error,
    },
    /// The file contains mistakes.
    #[error("{}", Mistakes(path, problems))]
    Parse {
        /// The file.
        path: PathBuf,
        /// All mistakes, in the order of the file.
        problems: Vec<Problem>,
    },
    /// The command line asks for something that is not available.
    #[error("{0}")]
    Option(String),
}

impl ConfigError {
    /// The error on one line, for a log; of several mistakes the first.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            Self::Parse { path, problems } => {
                let first = problems.first().map_or_else(String::new, |problem| {
                    let Problem { line, column, message, .. } = problem;
                    format!(":{line}:{column}: {message}")
                });
                let more = match problems.len() {
                    0 | 1 => String::new(),
                    all => format!(" (and {} more)", all - 1),
                };
                format!("configuration {}{first}{more}", path.display())
            }
            other => other.to_string(),
        }
    }
}

/// All mistakes of a file with their lines.
struct Mistakes<'a>(&'a Path, &'a [Problem]);

impl fmt::Display for Mistakes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, problems) = self;
        let count = match problems.len() {
            1 => "1 mistake".to_owned(),
            count if count >= diagnosis::PROBLEMS_MAX => format!("{count} mistakes, and perhaps more"),
            count => format!("{count} mistakes"),
        };
        write!(f, "configuration {}: {count}", path.display())?;
        for problem in *problems {
            writeln!(f)?;
            problem.show(path, f)?;
        }
        Ok(())
    }
}

impl Config {
    /// The text of a configuration file.
    ///
    /// # Errors
    /// [`ConfigError::Read`].
    pub(crate) fn text(path: &Path) -> Result<String, ConfigError> {
        std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read or contains an error, a key that does not exist included.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&Self::text(path)?, path)
    }

    /// Parses the text of a configuration file; `path` is for the message.
    ///
    /// # Errors
    /// [`ConfigError::Parse`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config = diagnosis::understand(text).config();
        config.map_err(|problems| ConfigError::Parse { path: path.to_owned(), problems })
    }

    /// Parses a file as [`parse`](Self::parse) does, and checks that this host can start a daemon with it.
    ///
    /// # Errors
    /// [`ConfigError::Parse`].
    pub(crate) fn parse_usable(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config = diagnosis::understand(text).config_unless(usable::refused);
        config.map_err(|problems| ConfigError::Parse { path: path.to_owned(), problems })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("f.toml")).unwrap_err().brief()
    }

    #[test]
    fn errors_name_line_and_column() {
        assert!(error("sink = \"null\"\nsnik = 1\n").starts_with("configuration f.toml:2:1: unknown key `snik`"));
        assert!(error("sink = \"als:x\"\n").starts_with("configuration f.toml:1:8: "));
        assert!(error("[limits]\nbuffer-bytes-max = 1\n").contains("f.toml:2:20: 1 is not between 4096 and"));
        assert!(error("[[rule]]\ndomain = 99999\n").contains("f.toml:2:10: "));
        assert!(error("capture = \n").contains("f.toml:1:"));
        assert!(error("[[rule]]\nprotocol = \"v1\"\n").contains("f.toml:2:12: `v1` is not a version of the protocol"));
        assert!(error("[[rule]]\nprotocol = \"v0\"\npcm = 0\n").contains("that of a whole card"));
        assert!(error("[[rule]]\nstream = 0\nlimits = { streams-per-card = 1 }\n").contains("concern whole"));
        assert!(error("[[rule]]\ndomain = \"a[\"\n").contains("f.toml:2:10: `a[` is no pattern"));
        assert!(error("volume-max-db = 21\n").contains("f.toml:1:17: 21 is not between -100 and 20"));
        assert!(error("[limits]\nformats = [\"s17_le\"]\n").contains("f.toml:2:11: `s17_le` is not a sample format"));
        assert!(error("[limits]\nrates-hz = []\n").contains("f.toml:2:12: no rate at all"));
        assert!(error("[limits]\nchannels-max = 0\n").contains("f.toml:2:16: 0 is not between 1 and 255"));
        assert!(error("when-denied = \"shout\"\n").contains("f.toml:1:15: unknown value `shout`"));
        assert!(error("[metrics]\nlisten = \"tcp:0.0.0.0:9469\"\n").contains("only to this machine"));
    }

    #[test]
    fn all_mistakes_are_told_in_their_order_each_with_its_line_and_the_nearest_key() {
        let text = "volume-max-db = \"loud\"\ncaptur = true\n[limits]\nchannels-max = 0\n[[rules]]\n[[rule]]\n\
            domain = \"a\"\npcm = 0\nprotocol = \"v0\"\n[[rule]]\nsink = 7\nlimits = { bufer-bytes-max = 1 }\n";
        let expected = "\
configuration f.toml: 7 mistakes
error: expected a number, found string \"loud\"
 --> f.toml:1:17
  |
1 | volume-max-db = \"loud\"
  |                 ^^^^^^
  |
error: unknown key `captur`
 --> f.toml:2:1
  |
2 | captur = true
  | ^^^^^^ did you mean `capture`?
  |
error: 0 is not between 1 and 255
 --> f.toml:4:16
  |
4 | channels-max = 0
  |                ^
  |
error: unknown key `rules`
 --> f.toml:5:3
  |
5 | [[rules]]
  |   ^^^^^ did you mean `[[rule]]`?
  |
error: `protocol` is that of a whole card: leave out `pcm` and `stream` in its rule
 --> f.toml:6:1
  |
6 | [[rule]]
  | ^^^^^^^^
  |
error: expected a string in quotes, found integer `7`
  --> f.toml:11:8
   |
11 | sink = 7
   |        ^
   |
error: unknown key `bufer-bytes-max`
  --> f.toml:12:12
   |
12 | limits = { bufer-bytes-max = 1 }
   |            ^^^^^^^^^^^^^^^ did you mean `buffer-bytes-max`?
   |";
        let told = Config::parse(text, Path::new("f.toml")).unwrap_err().to_string();
        assert_eq!(told, expected);
    }

    #[test]
    fn any_text_has_mistakes_that_can_be_shown() {
        for text in ["a", "\t\u{e4} = \u{1f600}\n", "sink = \"\r\n", "a = [\n", "=\n=\n=", "\u{0}", "a.b = 1\na = 2"] {
            let error = Config::parse(text, Path::new("f.toml")).unwrap_err();
            assert!(error.to_string().contains(" --> f.toml:"), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_host_that_cannot_start_with_a_configuration_says_where_and_why() {
        let text = "[control]\ngroup = \"no such group\"\nsocket = \"/no/such/dir/x.sock\"\n[metrics]\nlisten = \"unix:/dev/null/x\"\n";
        let error = Config::parse_usable(text, Path::new("f.toml")).unwrap_err();
        assert_eq!(error.brief(), "configuration f.toml:2:9: there is no group `no such group` (and 2 more)");
        let told = error.to_string();
        assert!(told.contains("groupadd") && told.contains("f.toml:3:10") && told.contains("f.toml:5:10"), "{told}");
        assert!(Config::parse_usable("[control]\nsocket = \"\"\n", Path::new("f.toml")).is_ok());
    }

    #[test]
    fn what_the_host_lacks_is_told_with_all_other_mistakes() {
        let text = "[control]\ngroup = \"no such group\"\n[[rule]]\nlimits = { formats = [\"s17\"], chanels = 1 }\n\
            [[rule]]\nsinc = \"null\"\n[metrics]\nlisten = \"unix:/dev/null/x\"\n";
        let error = Config::parse_usable(text, Path::new("f.toml")).unwrap_err().to_string();
        let places: Vec<&str> = error.lines().filter_map(|line| line.trim().strip_prefix("--> f.toml:")).collect();
        assert_eq!(places, ["2:9", "4:22", "4:31", "6:1", "8:10"], "{error}");
    }

    #[test]
    fn a_file_of_mistakes_is_not_said_to_have_fewer() {
        let mistakes = |count: usize| (0..count).map(|number| format!("k{number} = 1\n")).collect::<String>();
        let told = |count| Config::parse(&mistakes(count), Path::new("f.toml")).unwrap_err().to_string();
        assert!(told(25).starts_with("configuration f.toml: 25 mistakes\n"), "{}", told(25));
        assert!(told(200).starts_with("configuration f.toml: 100 mistakes, and perhaps more\n"), "{}", told(200));
    }

    #[cfg(not(feature = "pipewire"))]
    #[test]
    fn a_kind_of_device_that_is_not_built_in_is_a_mistake_of_the_file() {
        let text = "[[rule]]\n[[rule]]\nsource = \"pipewire\"\n";
        let error = Config::parse_usable(text, Path::new("f.toml")).unwrap_err();
        assert!(error.brief().contains("f.toml:3:10: "), "{error}");
        assert!(error.to_string().contains("feature `pipewire`"), "{error}");
    }

    #[test]
    fn the_example_in_the_documentation_is_one() {
        let text = include_str!("../../../../docs/vsndd.toml");
        let config = Config::parse(text, Path::new("docs/vsndd.toml")).unwrap();
        assert_eq!(config.rules.len(), 6);
    }

    #[test]
    fn the_example_in_the_documentation_has_every_key() {
        let text = include_str!("../../../../docs/vsndd.toml");
        for table in ["", "[limits]\n", "[worker]\n", "[control]\n", "[metrics]\n", "[[rule]]\n"] {
            // The parser names all keys that it knows.
            let error = toml::from_str::<Config>(&format!("{table}no-such-key = 1\n")).unwrap_err().to_string();
            let (_, known) = error.split_once("expected ").unwrap_or_else(|| panic!("{error}"));
            let keys: Vec<&str> = known.split('`').skip(1).step_by(2).filter(|key| !key.contains('_')).collect();
            assert!(!keys.is_empty(), "{error}");
            for key in keys {
                let there = [format!("{key} ="), format!("[{key}]")].iter().any(|form| text.contains(form.as_str()));
                assert!(there, "`{key}` of `{}` is not in the example", table.trim());
            }
        }
    }

    #[test]
    fn the_empty_file_hears_nothing() {
        let config = Config::parse("", Path::new("f.toml")).unwrap();
        assert!(!config.capture);
    }
}
