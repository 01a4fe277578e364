//! Runs of a target: the inputs of bounded and endless runs, and the minimisation of a failing input.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::noise::{Noise, damaged};
use crate::{Target, seeds};

/// Inputs of a target, each made from its number alone.
#[derive(Debug)]
pub struct Inputs {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    step: usize,
    operations: usize,
}

impl Inputs {
    /// The inputs of `target`. Programs have up to `operations` operations.
    #[must_use]
    pub fn of(target: &Target, operations: usize) -> Self {
        let seeds = seeds::of(target.name).into_iter().map(|(_, bytes)| bytes).chain([Vec::new()]).collect();
        Self { name: target.name, seeds, step: target.step, operations }
    }

    /// The input with this number: a seed, a damaged seed or noise; for programs, several seeds with much noise between
    /// them.
    #[must_use]
    pub fn get(&self, number: u64) -> Vec<u8> {
        if let Some(seed) = usize::try_from(number).ok().and_then(|number| self.seeds.get(number)) {
            return seed.clone();
        }
        let mut noise = Noise::named(self.name, number);
        if self.step == 1 {
            let length = noise.below(600);
            return if number.is_multiple_of(4) { noise.bytes(length) } else { damaged(&mut noise, &self.seeds, 1) };
        }
        let length = (1 + noise.below(self.operations)) * self.step;
        let mut program = damaged(&mut noise, &self.seeds, self.step);
        while program.len() < length {
            if noise.below(3) == 0 {
                let more = damaged(&mut noise, &self.seeds, self.step);
                program.extend(more.into_iter().skip(self.step));
            } else {
                let more = (1 + noise.below(160)) * self.step;
                program.extend(noise.bytes(more));
            }
        }
        program.truncate(length);
        program
    }

    /// Number of operations in an input; 1 for an input that is no program.
    #[must_use]
    pub fn operations(&self, input: &[u8]) -> u64 {
        if self.step == 1 { 1 } else { (input.len() / self.step) as u64 }
    }
}

/// Returns true if the target fails on this input.
#[must_use]
pub fn fails(target: &Target, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.body)(input))).is_err()
}

/// A shorter input that fails too: parts that the failure does not need are removed, in ever smaller sizes.
#[must_use]
pub fn minimised(fails: impl Fn(&[u8]) -> bool, input: &[u8], step: usize) -> Vec<u8> {
    let mut left = input.to_vec();
    let mut part = (left.len() / 2).next_multiple_of(step);
    while part >= step && !left.is_empty() {
        let mut at = 0;
        let before = left.len();
        while at < left.len() {
            let mut without = left.clone();
            without.drain(at..(at + part).min(left.len()));
            if fails(&without) {
                left = without;
            } else {
                at += part;
            }
        }
        // Repeat with the smallest part while that still removes something.
        part = match part {
            _ if part > step => (part / 2).next_multiple_of(step),
            _ if left.len() < before => step,
            _ => 0,
        };
    }
    left
}
