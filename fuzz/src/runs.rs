//! Runs of a target: the inputs of a bounded run, those without end, and what is left of one that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::noise::{Noise, damaged};
use crate::{Target, seeds};

/// Inputs of a target, each from its number alone.
#[derive(Debug)]
pub struct Inputs {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    step: usize,
    operations: usize,
}

impl Inputs {
    /// Of this target. Programs have up to `operations` of them.
    #[must_use]
    pub fn of(target: &Target, operations: usize) -> Self {
        let seeds = seeds::of(target.name).into_iter().map(|(_, bytes)| bytes).chain([Vec::new()]).collect();
        Self { name: target.name, seeds, step: target.step, operations }
    }

    /// The input with this number: seeds, damaged seeds and noise; and, of programs, seeds one after another with much noise
    /// between.
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

    /// Operations in an input: of anything but a program, one.
    #[must_use]
    pub fn operations(&self, input: &[u8]) -> u64 {
        if self.step == 1 { 1 } else { (input.len() / self.step) as u64 }
    }
}

/// Whether the target fails on this input.
#[must_use]
pub fn fails(target: &Target, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.body)(input))).is_err()
}

/// A shorter input that fails too: without the parts, ever smaller ones, that are not needed for that.
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
        // Once more with the smallest part, as long as that still finds something.
        part = match part {
            _ if part > step => (part / 2).next_multiple_of(step),
            _ if left.len() < before => step,
            _ => 0,
        };
    }
    left
}
