//! Delay of new connections of a card that fails, or connects again and again: from 0.2 s, doubling to 10 s.

/// Delay of the next offer after the first failed connection: a frontend that fails each time would otherwise keep both
/// ends busy. Linux waits a second for the offer when its driver is removed.
pub(crate) const MIN_NS: u64 = 200_000_000;
const MAX_NS: u64 = 10_000_000_000;

/// Time without a fault after which the next fault counts as the first.
const CALM_NS: u64 = 10_000_000_000;

/// Number of connections that may follow each other immediately, and the time after which each of them is forgotten.
const BURST: u64 = 16;
const CONNECTION_NS: u64 = 1_000_000_000;

/// Recent faults and connections of a card.
#[derive(Debug, Default)]
pub(crate) struct HoldOff {
    /// Faults in a row.
    level: u32,
    until_ns: u64,
    /// Time when all connections are forgotten.
    connections_until_ns: u64,
}

impl HoldOff {
    /// Notes a failure of the card, and returns the time until which it is held off.
    pub(crate) fn fault(&mut self, now_ns: u64) -> u64 {
        if now_ns > self.until_ns.saturating_add(CALM_NS) {
            self.level = 0;
        }
        let length_ns = MIN_NS.saturating_mul(1_u64.checked_shl(self.level).unwrap_or(u64::MAX)).min(MAX_NS);
        self.level = self.level.saturating_add(1);
        self.until_ns = now_ns.saturating_add(length_ns);
        self.until_ns
    }

    /// Notes a connection of the card. If that was one too many, returns the time until which the card is held off once
    /// it leaves.
    pub(crate) fn connection(&mut self, now_ns: u64) -> Option<u64> {
        self.connections_until_ns = self.connections_until_ns.max(now_ns).saturating_add(CONNECTION_NS);
        let too_many = self.connections_until_ns > now_ns.saturating_add(BURST.saturating_mul(CONNECTION_NS));
        too_many.then(|| self.fault(now_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn faults_in_a_row_are_held_off_for_twice_as_long_each_time_up_to_ten_seconds() {
        let mut hold_off = HoldOff::default();
        let mut now_ns = 5;
        for tenths in [2, 4, 8, 16, 32, 64, 100, 100] {
            let until_ns = hold_off.fault(now_ns);
            assert_eq!(until_ns - now_ns, tenths * SECOND / 10);
            now_ns = until_ns;
        }
        for _ in 0..100 {
            hold_off.fault(now_ns);
        }
        assert_eq!(hold_off.fault(now_ns), now_ns + MAX_NS);
        now_ns += MAX_NS + CALM_NS + 1;
        assert_eq!(hold_off.fault(now_ns), now_ns + MIN_NS);
    }

    #[test]
    fn connections_one_after_the_other_are_held_off_and_a_few_are_not() {
        let mut hold_off = HoldOff::default();
        for _ in 0..BURST {
            assert_eq!(hold_off.connection(0), None);
        }
        assert_eq!(hold_off.connection(0), Some(MIN_NS));
        assert_eq!(hold_off.connection(0), Some(2 * MIN_NS));
        // One connection per second is no storm.
        let mut now_ns = 100 * SECOND;
        for _ in 0..100 {
            now_ns += SECOND;
            assert_eq!(hold_off.connection(now_ns), None);
        }
    }
}
