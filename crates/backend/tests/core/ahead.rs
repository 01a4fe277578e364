//! READs that a guest lays out ahead of the device.

use backend::Pace;
use proptest::collection::vec;
use proptest::prelude::*;
use sndif::store::Direction;
use sndif::test_utils::Pages;
use sndif::v2::{Operation, Span, Trigger};
use sndif::{Errno, SharedMemory};

use crate::host::{Device, Host, few, next_byte};

const FRAME: u64 = 4;

/// A guest that lays out READs of a period each, `most` at a time.
struct Guest {
    memory: Pages,
    ring: u64,
    period: u64,
    most: usize,
    asked: u64,
    heard: Vec<u8>,
}

impl Guest {
    fn read(&mut self, host: &mut Host<Pages>, until: u64) -> Result<(), Errno> {
        let offset = self.asked % self.ring;
        let length = (until - self.asked).min(self.ring - offset);
        self.asked += length;
        let span = Span { offset: offset as u32, length: length as u32 };
        let none = |_| unreachable!("no OPEN");
        host.request(Operation::ReadAhead { span, until_bytes: self.asked }, none).map(drop)
    }

    /// Takes answers, and lays out what comes next.
    fn wake(&mut self, host: &mut Host<Pages>) {
        for (until, result) in std::mem::take(&mut host.answered) {
            assert_eq!(result, Ok(()));
            let from = self.heard.len() as u64;
            let mut bytes = vec![0; (until - from) as usize];
            assert!(self.memory.read((from % self.ring) as usize, &mut bytes));
            self.heard.extend(bytes);
        }
        while host.kept.len() < self.most && self.asked + self.period <= host.told + self.ring {
            let before = host.kept.len();
            let until = (self.asked / self.period + 1) * self.period;
            assert_eq!(self.read(host, until), Ok(()));
            assert_eq!(host.kept.len(), before + usize::from(self.asked > host.told), "kept until it is told");
            if self.asked <= host.told {
                // The READ was late, and answered at once.
                host.answered.push((self.asked, Ok(())));
                return self.wake(host);
            }
        }
    }
}

fn stream(pace: Pace, period: u64, periods: u64, most: usize) -> (Host<Pages>, Guest) {
    let (period, ring) = (period * FRAME, period * periods * FRAME);
    let memory = Pages::of_bytes(ring as usize);
    let mut host = Host::new(Direction::Capture, pace);
    host.open(48_000, (ring / FRAME) as u32, (period / FRAME) as u32, memory.clone());
    (host, Guest { memory, ring, period, most, asked: 0, heard: Vec::new() })
}

fn in_order(heard: &[u8]) -> bool {
    heard.first().is_none_or(|first| *first == 0) && heard.windows(2).all(|pair| pair[1] == next_byte(pair[0]))
}

proptest! {
    #[test]
    fn each_period_is_there_with_its_event_and_nothing_twice(
        device_paced: bool, periods in 4..9_u64, period in 48..400_u64, most in 1..5_usize,
        steps in vec((1..1000_u64, any::<bool>(), any::<bool>()), 1..few(200)),
    ) {
        let pace = if device_paced { Pace::Device } else { Pace::Clock };
        let (mut host, mut guest) = stream(pace, period, periods, most);
        guest.wake(&mut host);
        host.trigger(Trigger::Start);
        let period_ns = period * 1_000_000_000 / 48_000;
        // A position that finds the page full is told 5 ms later: a ring that is shorter is overrun by then. A step, a
        // guest that is late and what a device gives at a time add a period each.
        let waits = periods * period_ns * 3 / 4 > 5_000_000 + 4 * period_ns;
        for (share, page_full, late) in steps {
            host.now_ns += period_ns * share / 1000 + 1;
            let page_full = page_full && waits && host.taken - host.told < guest.ring / 4;
            // A device gives what its rate has brought, in blocks of half a period: what it gave later and faster could
            // overrun the ring between two events.
            let brought = host.now_ns * 48_000 / 1_000_000_000 - host.taken / FRAME;
            let blocks = brought / (period / 2) * (period / 2);
            host.look(Device { frames: blocks as usize, queued: 0, page_full });
            // A guest that is late may be so for a period.
            if !late || host.told + guest.period > guest.asked {
                guest.wake(&mut host);
                prop_assert!(guest.heard.len() as u64 + guest.period > host.told, "what was told is there");
            }
        }
        // One that was late last wakes all the same.
        guest.wake(&mut host);
        prop_assert!(in_order(&guest.heard));
        host.trigger(Trigger::Pause);
        prop_assert!(host.kept.len() <= most && host.answered.is_empty());
        host.trigger(Trigger::Stop);
        prop_assert!(host.answered.iter().all(|(_, result)| *result == Err(Errno::EIO)));
    }
}

#[test]
fn further_reads_may_lie_in_the_ring_while_some_are_laid_out() {
    for period in [480, 48, 24_000] {
        let (mut host, mut guest) = stream(Pace::Clock, period, 4, 2);
        assert_eq!(host.core.requests_awaited(), 1);
        host.trigger(Trigger::Start);
        assert_eq!(host.core.requests_awaited(), 1, "nothing is laid out");
        guest.wake(&mut host);
        for _ in 0..50 {
            assert_eq!(host.core.requests_awaited(), 16);
            host.now_ns = host.core.next_wake_ns().expect("running");
            host.look(Device::READY);
            guest.wake(&mut host);
        }
        assert_eq!((host.events, guest.heard.len() as u64), (50, 50 * guest.period));
        assert!(in_order(&guest.heard));
        // The guest lays out nothing more: the READs that are there are answered, then a notification of each request
        // is wanted.
        for left in [16, 1, 1] {
            host.now_ns = host.core.next_wake_ns().expect("running");
            host.look(Device::READY);
            assert_eq!(host.core.requests_awaited(), left);
        }
        guest.wake(&mut host);
        assert_eq!(host.core.requests_awaited(), 16);
        host.trigger(Trigger::Pause);
        assert_eq!((host.core.requests_awaited(), host.kept.len()), (1, 2), "nobody looks at a stream that stands");
        host.trigger(Trigger::Resume);
        assert_eq!(host.core.requests_awaited(), 16);
    }
    // Periods of a second: an answer would take too long.
    let (mut host, mut guest) = stream(Pace::Clock, 48_000, 4, 2);
    host.trigger(Trigger::Start);
    guest.wake(&mut host);
    assert_eq!(host.core.requests_awaited(), 1);
}

#[test]
fn a_read_that_asks_for_what_cannot_be_is_refused_and_the_others_stay() {
    let (mut host, mut guest) = stream(Pace::Clock, 480, 4, 3);
    guest.wake(&mut host);
    let none = |_| unreachable!("no OPEN");
    let ring = guest.ring;
    for (offset, length, until) in [
        (0, 1920, 1921),
        (0, 1920, 1920 + 2 * ring),
        (0, 0, 0),
        (0, ring + 4, ring + 4),
        (ring, 4, ring + 4),
        (u64::from(u32::MAX), 4, 4),
        (0, 1920, u64::MAX),
        // More in all than the ring holds.
        (0, ring, ring),
    ] {
        let span = Span { offset: offset as u32, length: length as u32 };
        let asked = Operation::ReadAhead { span, until_bytes: until };
        assert_eq!(host.request(asked, none), Err(Errno::EINVAL), "{asked:?}");
    }
    assert_eq!(host.kept.len(), 3);
    // READs are kept until there are as many as the ring of requests has slots.
    let byte = Operation::ReadAhead { span: Span { offset: 5760, length: 1 }, until_bytes: 5761 };
    for _ in 3..32 {
        assert!(host.request(byte, none).is_ok());
    }
    assert_eq!(host.request(byte, none), Err(Errno::EINVAL));
    host.request(Operation::Close, none).expect("CLOSE succeeds");
    assert_eq!(
        host.answered,
        [(1920, Err(Errno::EIO)), (3840, Err(Errno::EIO)), (5760, Err(Errno::EIO))]
            .into_iter()
            .chain([(5761, Err(Errno::EIO)); 29])
            .collect::<Vec<_>>()
    );
    assert_eq!(host.request(byte, none), Err(Errno::EIO), "closed");
    let mut playback = Host::new(Direction::Playback, Pace::Clock);
    playback.open(48_000, 480, 48, Pages::of_bytes(1920));
    assert_eq!(playback.request(byte, none), Err(Errno::EINVAL));
}

#[test]
fn reads_ahead_end_with_their_run_and_the_next_run_starts_empty() {
    let (mut host, mut guest) = stream(Pace::Clock, 480, 4, 2);
    guest.wake(&mut host);
    host.trigger(Trigger::Start);
    host.now_ns = host.core.next_wake_ns().expect("running");
    host.look(Device::READY);
    assert_eq!(std::mem::take(&mut host.answered), [(1920, Ok(()))]);
    host.trigger(Trigger::Stop);
    assert_eq!(std::mem::take(&mut host.answered), [(3840, Err(Errno::EIO))]);
    host.look(Device::READY);
    assert_eq!(host.told, guest.ring);
    // The next run counts on from there.
    let mut next = Guest { asked: guest.ring, heard: Vec::new(), ..guest };
    assert_eq!(next.read(&mut host, next.ring + next.period), Ok(()));
    assert_eq!(host.kept.len(), 1);
    host.trigger(Trigger::Start);
    // The first event says that the boundary is passed where the run begins.
    for answered in [vec![], vec![(next.ring + next.period, Ok(()))]] {
        host.now_ns = host.core.next_wake_ns().expect("running");
        host.look(Device::READY);
        assert_eq!(host.answered, answered);
    }
}
