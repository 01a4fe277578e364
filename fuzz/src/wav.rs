//! WAV files of other programs.

use std::fs;

use host_audio::wav::read_file;
use tempfile::TempDir;

thread_local! {
    static DIRECTORY: TempDir = tempfile::tempdir().expect("a temporary directory");
}

/// Any bytes as a WAV file: whole frames of a format that can be played, no more of them than the file has
/// bytes for, or a reason.
pub fn wav(bytes: &[u8]) {
    let path = DIRECTORY.with(|directory| directory.path().join("fuzz.wav"));
    fs::write(&path, bytes).expect("room for a file");
    match read_file(&path) {
        Ok(audio) => {
            let frame = audio.format.frame_bytes(audio.channels).expect("whole frames") as usize;
            assert!(frame > 0 && audio.data.len().is_multiple_of(frame));
            // Three bytes become four in memory, nothing grows more than that.
            assert!(audio.data.len() <= bytes.len() / 3 * 4 + 4);
            assert!(audio.rate_hz > 0);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
