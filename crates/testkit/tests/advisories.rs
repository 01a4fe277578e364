//! Tests that the table "Advisories and their tests" in docs/threat-model.md matches the tests in the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Prefixes of the names of tests for an advisory, or for a rule without one.
const CLASSES: [&str; 9] = [
    "xsa_",
    "cve_",
    "ring_overflow_",
    "page_directory_",
    "offsets_",
    "cur_pos_",
    "confused_deputy_",
    "store_values_",
    "no_privcmd_",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn is_of_a_class(name: &str) -> bool {
    CLASSES.iter().any(|class| name.starts_with(class))
}

/// Collects every Rust source below a directory.
fn sources(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory of sources").flatten() {
        let (path, name) = (entry.path(), entry.file_name().into_string().expect("a plain name"));
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(fs::read_to_string(path).expect("a source"));
        }
    }
}

/// Names of the functions in a source that an attribute marks as tests.
fn tests(source: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    source.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with("#[test]") {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            return std::mem::take(&mut marked).then(|| rest.split(['(', '<']).next().expect("a name"));
        }
        None
    })
}

fn in_the_sources() -> BTreeSet<String> {
    let mut all = Vec::new();
    for directory in ["apps", "bench", "crates", "fuzz", "lab", "linux"] {
        sources(&root().join(directory), &mut all);
    }
    let names = all.iter().flat_map(|source| tests(source)).filter(|name| is_of_a_class(name));
    names.map(str::to_owned).collect()
}

/// Names in backquotes in the rows of the table.
fn in_the_table() -> BTreeSet<String> {
    let document = fs::read_to_string(root().join("docs/threat-model.md")).expect("the document");
    let (_, section) = document.split_once("## Advisories and their tests").expect("the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    quoted.filter(|name| name.contains('_')).map(str::to_owned).collect()
}

#[test]
fn each_test_that_the_table_names_is_there_and_each_of_them_is_in_the_table() {
    let (sources, table) = (in_the_sources(), in_the_table());
    assert!(table.len() > 50, "the table was not found: {table:?}");
    let gone = table.difference(&sources).collect::<Vec<_>>();
    let missing = sources.difference(&table).collect::<Vec<_>>();
    assert!(gone.is_empty() && missing.is_empty(), "without a test: {gone:#?}; not in the table: {missing:#?}");
}

#[test]
fn each_class_has_a_test() {
    let sources = in_the_sources();
    for class in CLASSES {
        assert!(sources.iter().any(|name| name.starts_with(class)), "{class}");
    }
}

/// No other rule can restrict a process that has `privcmd`.
#[test]
fn no_privcmd_the_only_devices_of_xen_are_those_for_pages_events_and_the_store() {
    let mut all = Vec::new();
    for directory in ["apps/vsndd/src", "crates/xen/src", "crates/xenstore/src"] {
        sources(&root().join(directory), &mut all);
    }
    for file in ["packaging/vsndd.service", "packaging/vsndd.udev"] {
        all.push(fs::read_to_string(root().join(file)).expect("a file of the package"));
    }
    let mut devices = BTreeSet::new();
    let code = all.iter().flat_map(|source| source.lines()).filter(|line| !line.trim_start().starts_with("//"));
    for line in code {
        assert!(!line.contains("privcmd"), "{line}");
        for named in line.split("/dev/xen/").skip(1) {
            let end = named.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(named.len());
            devices.extend(Some(&named[..end]).filter(|name| !name.is_empty()));
        }
    }
    let known = ["evtchn", "gntalloc", "gntdev", "xenbus"];
    assert!(devices.contains("gntdev") && devices.iter().all(|device| known.contains(device)), "{devices:?}");
}
