//! Cache of a device's minimum period and buffer: a guest asks dozens of times for one stream.

use crate::{Direction, Error, Minimums, StreamSpec};
use sndif::Format;
use std::time::{Duration, Instant};

/// Time for which an answer holds: the device may be another one then.
const HOLDS: Duration = Duration::from_secs(10);
/// Maximum number of questions to a device within that time, whatever a guest asks for.
const MOST: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key(Direction, Format, u32, u8);

/// Answers of one device.
#[derive(Debug, Default)]
pub(super) struct MinimumsCache {
    known: Vec<(Key, Instant, Minimums)>,
}

impl MinimumsCache {
    /// The known answer for a stream of `spec`, or the result of `ask`; no bound where that fails or the device was
    /// asked too often.
    pub fn get(
        &mut self,
        direction: Direction,
        spec: &StreamSpec,
        now: Instant,
        ask: impl FnOnce() -> Result<Minimums, Error>,
    ) -> Minimums {
        let key = Key(direction, spec.format, spec.rate_hz, spec.channels);
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < HOLDS;
        let old = self.known.iter().position(|(known, ..)| *known == key);
        if let Some(&(_, at, minimums)) = old.and_then(|index| self.known.get(index))
            && fresh(&at)
        {
            return minimums;
        }
        if self.known.iter().filter(|(_, at, _)| fresh(at)).count() >= MOST {
            return Minimums::default();
        }
        // The earlier answer holds for a device that is in use, perhaps by this very stream.
        let before = old.map(|index| self.known.swap_remove(index).2).unwrap_or_default();
        let minimums = ask().unwrap_or(before);
        // If there are that many answers, one of them is not fresh.
        if self.known.len() >= MOST {
            self.known.retain(|(_, at, _)| fresh(at));
        }
        self.known.push((key, now, minimums));
        minimums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: StreamSpec =
        StreamSpec { format: Format::S16Le, rate_hz: 48_000, channels: 2, period_frames: 0, buffer_frames: 0 };
    const MINIMUMS: Minimums = Minimums { period_frames: 1_024, buffer_frames: 2_048 };

    #[test]
    fn a_device_is_asked_once_for_a_stream_and_again_when_it_may_be_another() {
        let (mut cache, now) = (MinimumsCache::default(), Instant::now());
        let mut asked = 0;
        let mut get = |now| {
            cache.get(Direction::Playback, &SPEC, now, || {
                asked += 1;
                Ok(MINIMUMS)
            })
        };
        for _ in 0..100 {
            assert_eq!(get(now), MINIMUMS);
        }
        get(now + HOLDS);
        assert_eq!(asked, 2);
    }

    #[test]
    fn a_device_in_use_keeps_its_bounds_and_one_that_is_not_there_has_none() {
        let (mut cache, now) = (MinimumsCache::default(), Instant::now());
        let busy = || Err(Error::not_built("any"));
        assert_eq!(cache.get(Direction::Capture, &SPEC, now, busy), Minimums::default());
        assert_eq!(cache.get(Direction::Playback, &SPEC, now, || Ok(MINIMUMS)), MINIMUMS);
        assert_eq!(cache.get(Direction::Playback, &SPEC, now + HOLDS, busy), MINIMUMS);
    }

    #[test]
    fn a_guest_that_asks_for_everything_does_not_have_the_device_opened_each_time() {
        let (mut cache, now) = (MinimumsCache::default(), Instant::now());
        let mut asked = 0;
        for rate_hz in 8_000..9_000 {
            cache.get(Direction::Playback, &StreamSpec { rate_hz, ..SPEC }, now, || {
                asked += 1;
                Ok(MINIMUMS)
            });
        }
        assert_eq!((asked, cache.known.len()), (MOST, MOST));
    }
}
