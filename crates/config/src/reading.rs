//! From the text of a file to a configuration, or to all mistakes of that text.

use std::path::Path;

use crate::diagnosis;
use crate::error::ConfigError;
use crate::file::Config;
use crate::usable;

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
        let text = crate::EXAMPLE;
        let config = Config::parse(text, Path::new("docs/vsndd.toml")).unwrap();
        assert_eq!(config.rules.len(), 6);
    }

    #[test]
    fn the_example_in_the_documentation_has_every_key() {
        let text = crate::EXAMPLE;
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
