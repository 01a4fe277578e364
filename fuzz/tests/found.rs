//! Tests that each shortened input in `found/`, which failed once, passes now; and tests of the minimisation.

use std::fs;
use std::path::Path;

use vsnd_fuzz::runs::{Inputs, fails, minimised};
use vsnd_fuzz::{OPERATION_BYTES, TARGETS};

#[test]
fn what_failed_once_passes() {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    for directory in fs::read_dir(&found).into_iter().flatten().flatten() {
        let name = directory.file_name().into_string().expect("a plain name");
        let target = TARGETS.iter().find(|target| target.name == name);
        let target = target.unwrap_or_else(|| panic!("{name} is no target"));
        for input in fs::read_dir(directory.path()).expect("a directory").flatten() {
            let bytes = fs::read(input.path()).expect("a file");
            assert!(!fails(target, &bytes), "{} fails again", input.path().display());
        }
    }
}

#[test]
fn operations_that_a_failure_does_not_need_are_dropped() {
    let input: Vec<u8> = (0..200).flat_map(|number| [number; OPERATION_BYTES]).collect();
    let fails = |input: &[u8]| input.contains(&17) && input.contains(&150);
    let short = minimised(fails, &input, OPERATION_BYTES);
    assert_eq!(short, [[17; OPERATION_BYTES], [150; OPERATION_BYTES]].concat());
}

#[test]
fn an_input_follows_from_its_number() {
    for target in &TARGETS {
        let inputs = Inputs::of(target, 100);
        for number in [0, 1, 2, 50, 51, 1 << 40] {
            let input = inputs.get(number);
            assert_eq!(input, Inputs::of(target, 100).get(number));
            assert!(
                target.step == 1
                    || number < 50
                    || input.len() <= 100 * target.step && input.len().is_multiple_of(target.step)
            );
        }
    }
}
