//! 24 simulated hours of a stream's thread, with devices whose clocks are 200 ppm apart.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A period of 100 ms, and a buffer of four periods.
fn spec(rate_hz: u32) -> StreamSpec {
    let period_frames = rate_hz / 10;
    StreamSpec { format: Format::U8, rate_hz, channels: 1, period_frames, buffer_frames: 4 * period_frames }
}

fn by_clock(rate_hz: u32, ppm: i64) -> u64 {
    (DAY.as_secs() as i64 * i64::from(rate_hz) * (1_000_000 + ppm) / 1_000_000).cast_unsigned()
}

#[test]
fn over_a_day_both_directions_follow_their_devices_and_nothing_accumulates() {
    const HALF: Duration = Duration::from_millis(50);
    for rate_hz in [48_000, 44_100] {
        let need = u64::from(rate_hz) / 10;
        let mut playing = Playing::new(spec(rate_hz), need, Script { ppm: 100, ..Script::default() });
        let mut capturing = Capturing::new(spec(rate_hz), 0, Script { ppm: -100, ..Script::default() });
        let frames = vec![7; 2 * need as usize];
        let mut block = vec![0; 2 * need as usize];
        let (begin, mut longest) = (playing.now, 0);
        while playing.now - begin < DAY {
            playing.now += HALF;
            playing.accepted += playing.sink.write(&frames).unwrap() as u64;
            playing.player.turn(&mut playing.ring, false, playing.now);
            longest = longest.max(playing.sink.queued_frames());
            let position = playing.accepted - playing.sink.queued_frames();
            assert!(position >= playing.position, "back from {} to {position}", playing.position);
            playing.position = position;
            capturing.now += HALF;
            capturing.recorder.turn(&mut capturing.ring, false, capturing.now);
            capturing.captured += capturing.source.read(&mut block).unwrap() as u64;
        }
        let (played, captured) = (playing.position, capturing.captured);
        assert!(played.abs_diff(by_clock(rate_hz, 100)) < 2 * need, "{played}, expected {}", by_clock(rate_hz, 100));
        let expected = by_clock(rate_hz, -100);
        assert!(captured.abs_diff(expected) < need, "{captured}, expected {expected}");
        assert!(longest <= 4 * need, "{longest} frames queued");
        assert_eq!((playing.sink.xruns(), capturing.source.xruns()), (0, 0));
        let script = playing.script.lock().unwrap();
        assert_eq!((script.thrown, script.opened), (0, 1));
    }
}

/// Rests in every way, for 0.2 s to two minutes each time.
#[test]
fn over_a_day_of_gaps_and_pauses_nothing_is_lost() {
    let spec = StreamSpec { rate_hz: 44_100, ..SPEC };
    for (spec, ppm) in [(SPEC, 100), (spec, -100)] {
        let lag = Duration::from_millis(20);
        let mut playing = Playing::new(spec, 960, Script { lag, ppm, ..Script::default() });
        let begin = playing.now;
        let mut number = 0_u64;
        while playing.now - begin < DAY {
            let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let most_ms = if scattered.is_multiple_of(4) { 2_000 } else { 120_000 };
            let gap = Duration::from_millis(200 + (scattered >> 2) % (most_ms - 199));
            playing.play_around(RESTS[number as usize % RESTS.len()], gap);
            number += 1;
        }
        assert!(number > 500, "{number} rests");
    }
}
