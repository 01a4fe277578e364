//! Silent and other stretches of a recording.

/// Size of a frame in bytes: two 16-bit samples.
const FRAME_BYTES: usize = 4;

/// The stretches of a recording in frames, as text: `sound 480, silence 960`. An incomplete frame at the end is
/// ignored.
pub fn describe(heard: &[u8]) -> String {
    let frames = heard.as_chunks::<FRAME_BYTES>().0;
    let stretches = frames.chunk_by(|one, next| is_silent(one) == is_silent(next));
    let texts = stretches.map(|stretch| {
        let kind = if stretch.first().is_some_and(is_silent) { "silence" } else { "sound" };
        format!("{kind} {}", stretch.len())
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn is_silent(frame: &[u8; FRAME_BYTES]) -> bool {
    frame.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_and_silence_are_told_apart_frame_by_frame() {
        assert_eq!(
            describe(&[0, 1, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
            "sound 2, silence 2, sound 1"
        );
        assert_eq!(describe(&[]), "");
    }
}
