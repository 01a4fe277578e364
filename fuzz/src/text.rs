//! Targets for text that people write: the daemon's configuration and xl's `vsnd` lines.

use std::path::Path;

/// Parses any text as a configuration file; each error must have a valid position.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = config::Config::parse(text, Path::new("fuzz.toml")) {
        assert!(error.to_string().contains(" --> fuzz.toml:"), "{error}");
        let config::ConfigError::Parse { problems, .. } = error else { panic!("{error}") };
        assert!(!problems.is_empty());
        let longest = text.split('\n').map(|line| line.chars().count()).max().unwrap_or(0);
        for config::Problem { line, column, message, .. } in problems {
            assert!(line >= 1 && line <= text.lines().count() + 1, "line {line}");
            assert!(column >= 1 && column <= longest + 1, "column {column}");
            assert!(!message.is_empty() && !message.contains('\n'));
        }
    }
}

/// Parses any text as a `vsnd = [ … ]` line.
pub fn xl_cfg(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match toolstack::parse(text) {
        Ok(cards) => {
            for card in &cards {
                for pcm in &card.pcms {
                    assert!(pcm.streams.iter().all(|stream| format!("{stream:?}").len() < 2 * text.len() + 4096));
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
