//! Target for WAV files of other programs.

use std::fs;

use host_audio::wav::read_file;
use tempfile::TempDir;

thread_local! {
    static DIRECTORY: TempDir = tempfile::tempdir().expect("a temporary directory");
}

/// Reads any bytes as a WAV file. The result must be whole frames of a playable format, no more than the file has
/// bytes for, or an error with a reason.
pub fn wav(bytes: &[u8]) {
    let path = DIRECTORY.with(|directory| directory.path().join("fuzz.wav"));
    fs::write(&path, bytes).expect("room for a file");
    match read_file(&path) {
        Ok(audio) => {
            let frame = audio.format.frame_bytes(audio.channels).expect("whole frames") as usize;
            assert!(frame > 0 && audio.data.len().is_multiple_of(frame));
            // Three bytes become four in memory, which is the largest growth.
            assert!(audio.data.len() <= bytes.len() / 3 * 4 + 4);
            assert!(audio.rate_hz > 0);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
