//! Runs fuzz targets on stable Rust. Each input is made from its number, so a run continues where the last one stopped.
//!
//! `vsnd-fuzz [--programs N] [--seconds S] [--operations N] [--state FILE] [--found DIRECTORY] [TARGET...]` runs N more
//! inputs of each target, or as many as S seconds allow. An input that fails is shortened as far as possible and saved
//! in DIRECTORY, whose files a test replays.

#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vsnd_fuzz::runs::{Inputs, fails, minimised};
use vsnd_fuzz::{TARGETS, Target};

/// Number of inputs between two readings of the clock.
const BATCH: u64 = 200;

/// Time between two writes of the state.
const SAVE: Duration = Duration::from_secs(5);

struct Options {
    programs: u64,
    seconds: u64,
    operations: usize,
    state: PathBuf,
    found: PathBuf,
    targets: Vec<&'static Target>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            programs: u64::MAX,
            seconds: u64::MAX,
            operations: 2000,
            state: "target/fuzz/state".into(),
            found: "fuzz/found".into(),
            targets: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            let number = |value: String| value.parse::<u64>().map_err(|error| format!("{value}: {error}"));
            match argument.as_str() {
                "--programs" => options.programs = number(value()?)?,
                "--seconds" => options.seconds = number(value()?)?,
                "--operations" => options.operations = usize::try_from(number(value()?)?).unwrap_or(usize::MAX).max(1),
                "--state" => options.state = value()?.into(),
                "--found" => options.found = value()?.into(),
                name => match TARGETS.iter().find(|target| target.name == name) {
                    Some(target) => options.targets.push(target),
                    None => return Err(format!("{name} is neither an option nor a target")),
                },
            }
        }
        if options.targets.is_empty() {
            options.targets = TARGETS.iter().collect();
        }
        if options.programs == u64::MAX && options.seconds == u64::MAX {
            options.seconds = 60;
        }
        Ok(options)
    }
}

/// Progress of each target: inputs (the number of the next one) and operations.
#[derive(Default)]
struct State(BTreeMap<String, (u64, u64)>);

impl State {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let name = words.next()?.to_owned();
            Some((name, (words.next()?.parse().ok()?, words.next()?.parse().ok()?)))
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let lines = self.0.iter().map(|(name, (inputs, operations))| format!("{name} {inputs} {operations}\n"));
        let new = path.with_extension("new");
        fs::write(&new, lines.collect::<String>())?;
        fs::rename(new, path)
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            println!("vsnd-fuzz: {error}");
            return ExitCode::from(2);
        }
    };
    let mut state = State::read(&options.state);
    let share = Duration::from_secs(options.seconds) / u32::try_from(options.targets.len()).unwrap_or(1);
    let mut failed = false;
    for target in &options.targets {
        let before = state.0.get(target.name).copied().unwrap_or_default();
        let began = Instant::now();
        let found = run(target, &options, &mut state, share);
        let (inputs, operations) = state.0.get(target.name).copied().unwrap_or_default();
        let done = inputs - before.0;
        println!(
            "{:<20} {done:>10} programs {:>13} operations in {:>6.1} s; in all {inputs} and {operations}",
            target.name,
            operations - before.1,
            began.elapsed().as_secs_f64()
        );
        if let Some(path) = found {
            println!("{}: FAILED, see {}", target.name, path.display());
            failed = true;
        }
    }
    let (inputs, operations) =
        state.0.values().fold((0, 0), |(inputs, operations), (more, done)| (inputs + more, operations + done));
    println!("all runs with {}: {inputs} programs, {operations} operations", options.state.display());
    ExitCode::from(u8::from(failed))
}

/// Continues with a target; returns the path of a failing input.
fn run(target: &Target, options: &Options, state: &mut State, share: Duration) -> Option<PathBuf> {
    let inputs = Inputs::of(target, options.operations);
    let began = Instant::now();
    let mut saved = began;
    let (mut next, mut operations) = state.0.get(target.name).copied().unwrap_or_default();
    let end = next.saturating_add(options.programs);
    let mut found = None;
    while next < end && found.is_none() && began.elapsed() < share {
        let batch = next.saturating_add(BATCH).min(end);
        while next < batch {
            let (number, input) = (next, inputs.get(next));
            operations += inputs.operations(&input);
            next += 1;
            if fails(target, &input) {
                println!("{}: input {number} fails; it is made shorter", target.name);
                found = Some(leave(target, &input, number, &options.found));
                break;
            }
        }
        state.0.insert(target.name.to_owned(), (next, operations));
        if saved.elapsed() > SAVE {
            saved = Instant::now();
            save(state, &options.state);
        }
    }
    save(state, &options.state);
    found
}

fn save(state: &State, path: &Path) {
    if let Err(error) = state.write(path) {
        println!("vsnd-fuzz: {}: {error}", path.display());
    }
}

/// Saves the shortest found input that still fails, and returns its path.
fn leave(target: &Target, input: &[u8], number: u64, found: &Path) -> PathBuf {
    std::panic::set_hook(Box::new(|_| {}));
    let short = minimised(|input| fails(target, input), input, target.step);
    let _ = std::panic::take_hook();
    // Run it once more, for the message.
    let _ = fails(target, &short);
    let path = found.join(target.name).join(format!("{number}"));
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, &short));
    if let Err(error) = written {
        println!("vsnd-fuzz: {}: {error}", path.display());
    }
    path
}
