//! Positions of a stream with their times, by a clock that can be compared with another domain's.

use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// Maximum time of an undisturbed reading of a position.
const LOOK_NS: i128 = 200_000;

/// Nanoseconds of the monotonic clock.
fn now_ns() -> i128 {
    let now = clock_gettime(ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

/// The monotonic clock and the processor's counter at one moment: of several readings, the one that took the least
/// time.
pub fn clock() -> Result<String> {
    let counter = || xen::processor_counter().context("domains share no counter of this processor");
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..10 {
        let before = counter()?;
        let now = now_ns();
        let took = counter()?.saturating_sub(before);
        if took < best.0 {
            best = (took, now, before + took / 2);
        }
    }
    let (_, now, counter) = best;
    Ok(format!("{now} {counter}"))
}

/// The time of the reading, and the text of the file. The domain may lose its processor for milliseconds during a
/// reading, which is then repeated.
fn look_at(status: &Path) -> Result<(i128, String)> {
    let mut look = (i128::MAX, 0, String::new());
    for _ in 0..10 {
        let before = now_ns();
        let text = std::fs::read_to_string(status)?;
        let took = now_ns() - before;
        if took < look.0 {
            look = (took, before + took / 2, text);
        }
        if took <= LOOK_NS {
            break;
        }
    }
    Ok((look.1, look.2))
}

/// Reads the position `looks` times and writes a line for each. The time between two readings varies, so that they fall
/// on all parts of a period.
pub fn watch(looks: u32, status: &Path, out: &mut impl Write) -> Result<()> {
    for look in 0..looks {
        // The fractional parts of multiples of the golden ratio lie evenly between 0 and 1.
        let part = f64::from(look) * 0.618_034 % 1.0;
        thread::sleep(Duration::from_secs_f64(0.004 + part * 0.010));
        let (now, text) = look_at(status)?;
        let (played, written) = pointers(&text).with_context(|| format!("nothing plays: {}", text.trim()))?;
        writeln!(out, "{now} {played} {written}")?;
    }
    Ok(())
}

/// `hw_ptr` and `appl_ptr` of a stream's status.
fn pointers(status: &str) -> Option<(u64, u64)> {
    let value = |name: &str| {
        let (_, value) = status.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
        value.trim().parse().ok()
    };
    Some((value("hw_ptr")?, value("appl_ptr")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streams_pointers_are_read_from_its_status() {
        let status = "state: RUNNING\ntrigger_time: 2.933625584\n-----\nhw_ptr      : 47574\nappl_ptr    : 49494\n";
        assert_eq!(pointers(status), Some((47_574, 49_494)));
        assert_eq!(pointers("closed\n"), None);
    }

    #[test]
    fn a_stream_that_does_not_play_is_not_looked_at() {
        let status = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&status, "closed\n").unwrap();
        let told = watch(1, status.path(), &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(told, "nothing plays: closed");
    }
}
