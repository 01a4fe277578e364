//! Every target on a bounded number of inputs: its seeds, its seeds damaged, and noise. The same inputs every
//! time; a failure says which, and leaves it in a file.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use vsnd_fuzz::{TARGETS, seeds};

/// xorshift64*, seeded by a name.
struct Noise(u64);

impl Noise {
    fn named(name: &str) -> Self {
        Self(
            name.bytes()
                .fold(0x9e37_79b9_7f4a_7c15, |state, octet| (state ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound.max(1)
    }

    fn octets(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

/// Octets that parsers tend to trip over.
const AWKWARD: [u8; 10] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'\'', b'"', b'[', b'\n'];

fn damage(noise: &mut Noise, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = seeds[noise.below(seeds.len())].clone();
    for _ in 0..=noise.below(6) {
        let at = noise.below(octets.len() + 1);
        match noise.below(7) {
            0 if at < octets.len() => octets[at] ^= 1 << noise.below(8),
            1 if at < octets.len() => octets[at] = AWKWARD[noise.below(AWKWARD.len())],
            2 => octets.truncate(at),
            3 => {
                let length = noise.below(9);
                let more = noise.octets(length);
                octets.splice(at..at, more);
            }
            4 => {
                let other = &seeds[noise.below(seeds.len())];
                octets.truncate(at);
                octets.extend(&other[noise.below(other.len() + 1)..]);
            }
            5 => {
                let end = (at + noise.below(40)).min(octets.len());
                let part = octets[at..end].to_vec();
                octets.splice(at..at, part);
            }
            _ => {
                let end = (at + noise.below(9)).min(octets.len());
                octets.drain(at..end);
            }
        }
    }
    octets
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let seeds: Vec<_> = seeds::of(name).into_iter().map(|(_, octets)| octets).collect();
    let mut noise = Noise::named(name);
    let mut inputs = seeds.clone();
    inputs.push(Vec::new());
    for run in 0..target.bounded_runs {
        let input = match inputs.pop() {
            Some(seed) => seed,
            None if run % 4 == 0 => {
                let length = noise.below(600);
                noise.octets(length)
            }
            None => damage(&mut noise, &seeds),
        };
        if catch_unwind(AssertUnwindSafe(|| (target.body)(&input))).is_err() {
            let path = std::env::temp_dir().join(format!("vsnd-fuzz-{name}-{run}"));
            let saved = fs::write(&path, &input);
            panic!("{name}: input {run} fails; {} {:?}", path.display(), saved);
        }
    }
}

macro_rules! bounded {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn no_target_is_left_out() {
            assert_eq!(TARGETS.map(|target| target.name), [$(stringify!($name)),*]);
        }
    };
}

bounded! {
    packets backend_stream frontend_stream v0_packets v0_backend_stream v0_frontend_stream store_messages store_nodes store_server store_client config xl_cfg wav
}
