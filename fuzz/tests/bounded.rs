//! Tests of every target on a bounded number of inputs: seeds, damaged seeds, and noise. The inputs are the same every
//! time; a failure names the input and saves it in a file.

use std::fs;

use vsnd_fuzz::TARGETS;
use vsnd_fuzz::runs::{Inputs, fails};

/// Maximum number of operations of a program.
const OPERATIONS: usize = 200;

fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let inputs = Inputs::of(target, OPERATIONS);
    for run in 0..target.bounded_runs {
        let input = inputs.get(run.into());
        if fails(target, &input) {
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
    backend_program frontend_program packets backend_stream frontend_stream v0_packets v0_backend_stream v0_frontend_stream
    store_messages store_nodes store_server store_client config xl_cfg wav
}
