//! Seeds of the programs: operations of well-behaved guests and backends, which are then damaged.

use super::Step;
use crate::seeds::{Seeds, named};

const fn step(what: u8, who: u8, a: u8, b: u8, value: u32) -> Step {
    Step { what, who, a, b, value }
}

fn bytes(steps: impl IntoIterator<Item = Step>) -> Vec<u8> {
    steps.into_iter().flat_map(Step::emit).collect()
}

/// Seeds of [`backend_program`](super::backend_program).
pub(crate) fn backend() -> Seeds {
    let shape = step(0, 0, 1, 1, 4);
    let connect = |who| step(25, who, 255, 255, 0);
    let pass = |milliseconds: u32| step(19, 0, 0, 255, milliseconds * 1_000_000);
    let ask = |who, a, value| step(0, who, a, 255, value);
    // A buffer of 240 frames of 4 bytes in four periods, and the span of each period.
    let open = (238 << 16) | 0x20 | 3;
    let period = |at: u32| (60 << 16) | (at % 4 * 60);
    let look = |who| step(22, who, 0, 0, 0);
    let mut play = vec![shape, connect(0), ask(0, 0, open), ask(0, 3, 0)];
    let mut record = vec![shape, connect(0), ask(2, 0, open), ask(2, 3, 0)];
    for at in 0..12 {
        play.extend([ask(0, 15, period(at)), pass(5), look(0), step(16, 0, 0, 0, 0)]);
        record.extend([pass(5), look(2), ask(2, 15, period(at)), step(16, 2, 0, 0, 0)]);
    }
    play.extend([ask(0, 5, 0), look(0), ask(0, 3, 0), ask(0, 15, 60), ask(0, 2, 0)]);
    let both = play.iter().zip(&record).flat_map(|(one, other)| [*one, *other]).collect::<Vec<_>>();
    let mut old = vec![shape, connect(1), ask(1, 0, 2)];
    for _ in 0..8 {
        old.extend([ask(1, 15, 0x1000 << 16), pass(4), look(1)]);
    }
    old.extend([ask(1, 3, 50), ask(1, 4, 0), ask(1, 2, 0), pass(5), look(1), step(31, 1, 0, 0, 0)]);
    let again = (0..24).flat_map(|_| [connect(0), ask(0, 0, open), connect(1), pass(5)]);
    let again = [shape].into_iter().chain(again).collect::<Vec<_>>();
    let broken = [
        shape,
        connect(0),
        ask(0, 0, open),
        step(15, 0, 0, 0, 77),
        connect(0),
        step(19, 0, 0, 0, 300_000_000),
        connect(0),
        ask(0, 0, open),
    ];
    vec![
        named("play", bytes(play)),
        named("record", bytes(record)),
        named("both", bytes(both)),
        named("v0", bytes(old)),
        named("again", bytes(again)),
        named("broken", bytes(broken)),
    ]
}

/// Seeds of [`frontend_program`](super::frontend_program).
pub(crate) fn frontend() -> Seeds {
    let shape = step(0, 0, 1, 0, 0);
    let connect = |who| step(0, who, 9, 0, 0);
    let submit = |who, a, value| step(18, who, a, 99, value);
    let answer = |who| step(6, who, 9, 0, 0);
    let wake = |who| step(27, who, 255, 0, 0);
    let told = |who, moved| step(12, who, 0, 0, moved);
    let mut play = vec![shape, connect(0), submit(0, 0, 4), answer(0), wake(0), submit(0, 4, 0), answer(0), wake(0)];
    for _ in 0..10 {
        play.extend([submit(0, 15, 400), answer(0), told(0, 400), wake(0)]);
    }
    play.extend([submit(0, 5, 0), answer(0), wake(0), submit(0, 3, 0), answer(0), wake(0)]);
    let mut old = vec![shape, connect(1), submit(1, 0, 0), answer(1), wake(1)];
    for _ in 0..10 {
        old.extend([submit(1, 7, 4096), answer(1), wake(1)]);
    }
    let again = (0..12).flat_map(|_| [connect(0), submit(0, 0, 4), step(0, 0, 255, 6, 0), step(1, 0, 255, 0, 0)]);
    let storm = [shape, connect(0), submit(0, 0, 4), step(24, 0, 0, 0, 0), connect(0), step(1, 0, 0, 0, 0)];
    let asked = (0..12).map(|a| step(2, 0, a * 5, 2, 0x0400_0100 + u32::from(a)));
    vec![
        named("play", bytes(play)),
        named("v0", bytes(old)),
        named("again", bytes([shape].into_iter().chain(again))),
        named("storm", bytes(storm)),
        named("negotiate", bytes([shape].into_iter().chain(asked))),
    ]
}
