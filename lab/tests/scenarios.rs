//! Tests that the list of the lab's scenarios matches the existing scenarios.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Scenarios that run only by name: measurements, and scenarios that take hours.
const BY_NAME: [&str; 5] = ["bench", "bench_race", "bench_start", "bench_dmix", "formats_all"];

fn lab() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The functions called `scenario_…` in dom0's scripts.
fn written() -> BTreeSet<String> {
    let scripts = fs::read_dir(lab().join("dom0/scenarios")).unwrap();
    let names = scripts.flat_map(|script| {
        let text = fs::read_to_string(script.unwrap().path()).unwrap();
        let name = |line: &str| Some(line.strip_prefix("scenario_")?.strip_suffix("() {")?.to_owned());
        text.lines().filter_map(name).collect::<Vec<_>>()
    });
    names.collect()
}

/// Scenarios of each row, from `share-out.awk`.
fn rows(platforms: &str, shared: bool) -> BTreeMap<String, Vec<String>> {
    rows_with(platforms, if shared { "shared=1" } else { "shared=0" })
}

fn rows_with(platforms: &str, variable: &str) -> BTreeMap<String, Vec<String>> {
    let set = [format!("platforms={platforms}"), "drivers=stock vsnd".into(), variable.to_owned()];
    let mut awk = Command::new("awk");
    awk.args(set.iter().flat_map(|variable| ["-v", variable.as_str()]));
    let lists = [lab().join("platforms.list"), lab().join("scenarios.list")];
    let output = awk.arg("-f").arg(lab().join("share-out.awk")).args(lists).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().unwrap(), words.skip(1).collect())
    };
    text.lines().map(row).collect()
}

#[test]
fn every_scenario_runs_somewhere_and_every_name_is_one() {
    let expected: BTreeSet<_> = written().into_iter().filter(|name| !BY_NAME.contains(&name.as_str())).collect();
    assert!(expected.len() > 50, "{expected:?}");
    for platforms in ["6.1 debug", "6.1 6.12 debug"] {
        for shared in [false, true] {
            let run: BTreeSet<_> = rows(platforms, shared).into_values().flatten().collect();
            assert_eq!(run, expected, "{platforms}, shared: {shared}");
        }
    }
}

#[test]
fn what_is_shared_out_runs_once_with_each_driver_and_on_different_kernels() {
    let rows = rows("6.1 6.12", true);
    let on = |name: &str| {
        let has = |(row, names): (&String, &Vec<String>)| names.iter().any(|other| other == name).then(|| row.clone());
        rows.iter().filter_map(has).collect::<Vec<_>>()
    };
    assert_eq!(on("playback").len(), 4, "it tells platforms apart");
    assert_eq!(on("mmap"), ["6.1-vsnd", "6.12-vsnd"]);
    for (name, count) in [("destroy", 2), ("formats", 1), ("hostile", 1), ("liar", 1)] {
        assert_eq!(on(name).len(), count, "{name}: {:?}", on(name));
    }
    assert_eq!(on("sox"), on("gst"), "they share a guest");
    let kernels: BTreeSet<_> = on("destroy").iter().map(|row| row.split_once('-').unwrap().0.to_owned()).collect();
    assert_eq!(kernels.len(), 2, "{:?}", on("destroy"));
}

/// The lines of the platforms, word by word.
fn platforms() -> Vec<Vec<String>> {
    let text = fs::read_to_string(lab().join("platforms.list")).unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    text.lines().filter(|line| !line.starts_with('#')).map(words).collect()
}

#[test]
fn a_platform_that_names_scenarios_runs_those_and_no_others() {
    let written = written();
    let platforms = platforms();
    assert!(platforms.len() > 2, "{platforms:?}");
    for line in platforms {
        let (platform, named) = (&line[0], line[9..].iter().cloned().collect::<BTreeSet<_>>());
        assert!(named.is_subset(&written), "{platform}: {:?}", named.difference(&written));
        let run: BTreeSet<_> = rows(platform, false).into_values().flatten().collect();
        if named.is_empty() {
            assert!(run.len() > 50 && !run.contains("leaks"), "{platform}: {run:?}");
        } else {
            assert_eq!(run, named, "{platform}");
        }
    }
}

#[test]
fn a_platform_that_runs_once_does_so_with_one_driver() {
    let platforms = platforms();
    let all = platforms.iter().map(|line| line[0].as_str()).collect::<Vec<_>>().join(" ");
    let rows = rows_with(&all, "short=1");
    let expected = platforms.iter().filter(|line| line[8] != "no").map(|line| format!("{}-{}", line[0], line[8]));
    assert_eq!(rows.keys().cloned().collect::<BTreeSet<_>>(), expected.collect());
    for (row, names) in rows {
        assert!(names.iter().any(|name| name == "playback"), "{row}: {names:?}");
        assert!(!names.iter().any(|name| name == "formats"), "{row}: {names:?}");
    }
}

#[test]
fn a_guest_that_is_not_linux_runs_once_on_each_architecture() {
    let platforms = platforms();
    let all = platforms.iter().map(|line| line[0].as_str()).collect::<Vec<_>>().join(" ");
    let rows = rows_with(&all, "short=1");
    let has_it = |line: &&Vec<String>| {
        let row = rows.get(&format!("{}-{}", line[0], line[8]));
        row.is_some_and(|names| names.iter().any(|name| name == "beep"))
    };
    let architectures: Vec<_> = platforms.iter().filter(has_it).map(|line| line[1].as_str()).collect();
    assert_eq!(architectures, ["amd64", "arm64"]);
}
