//! Tests that the table "Advisories and their tests" in docs/threat-model.md matches the tests in the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Sides of the protocol: the columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Protocol,
    Host,
    Guest,
    Driver,
}

use Side::{Driver, Guest, Host, Protocol};

/// Classes of faults: the prefix of the names of their tests, and the sides that each class concerns.
const CLASSES: [(&str, &[Side]); 20] = [
    ("xsa_155_", &[Protocol, Host]),
    ("ring_overflow_", &[Protocol, Host, Guest, Driver]),
    ("xsa_216_", &[Protocol, Host, Guest]),
    ("xsa_361_362_365_", &[Host]),
    ("xsa_331_332_391_", &[Host, Guest, Driver]),
    ("xsa_349_", &[Host]),
    ("xsa_392_", &[Host, Guest]),
    ("xsa_465_", &[Host, Guest, Driver]),
    ("cve_2026_72085_", &[Host, Guest, Driver]),
    ("page_directory_", &[Protocol, Host]),
    ("offsets_", &[Host, Guest]),
    ("xsa_403_", &[Guest, Driver]),
    ("xsa_396_", &[Host, Guest, Driver]),
    ("cve_2026_72380_", &[Guest, Driver]),
    ("cur_pos_", &[Guest, Driver]),
    ("confused_deputy_", &[Host]),
    ("store_values_", &[Protocol, Host, Driver]),
    ("no_privcmd_", &[Host]),
    ("xsa_326_", &[Host]),
    ("xsa_416_", &[Host]),
];

/// Directories of sources; `None` where no test of a class belongs.
const DIRECTORIES: [(&str, Option<Side>); 14] = [
    ("crates/sndif", Some(Protocol)),
    ("crates/backend", Some(Host)),
    ("crates/xen", Some(Host)),
    ("crates/xenstore", Some(Host)),
    ("crates/testkit", Some(Host)),
    ("apps/vsndd", Some(Host)),
    ("crates/frontend", Some(Guest)),
    ("crates/guest", Some(Guest)),
    ("linux", Some(Driver)),
    ("apps/vsnd", None),
    ("bench", None),
    ("crates/host-audio", None),
    ("fuzz", None),
    ("lab", None),
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The class of a test, by its name.
fn class_of(name: &str) -> Option<&'static str> {
    CLASSES.iter().map(|(class, _)| *class).find(|class| name.starts_with(class))
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

/// Tests that are named after a class, or after any advisory, with their sides.
fn in_the_sources() -> BTreeSet<(Option<Side>, String)> {
    let mut found = BTreeSet::new();
    for (directory, side) in DIRECTORIES {
        let mut all = Vec::new();
        sources(&root().join(directory), &mut all);
        let names = all.iter().flat_map(|source| tests(source));
        let named =
            names.filter(|name| class_of(name).is_some() || name.starts_with("xsa_") || name.starts_with("cve_"));
        found.extend(named.map(|name| (side, name.to_owned())));
    }
    found
}

/// Rows of the table: the names in backquotes, with the sides of their columns.
fn rows_of_the_table() -> Vec<BTreeSet<(Option<Side>, String)>> {
    let document = fs::read_to_string(root().join("docs/threat-model.md")).expect("the document");
    let (_, section) = document.split_once("## Advisories and their tests").expect("the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    rows.map(|row| {
        let cells = row.split('|').skip(1).zip([Protocol, Host, Guest, Driver]);
        let names = cells.flat_map(|(cell, side)| cell.split('`').skip(1).step_by(2).map(move |name| (side, name)));
        names.map(|(side, name)| (Some(side), name.to_owned())).collect()
    })
    .collect()
}

#[test]
fn each_test_that_the_table_names_is_there_and_each_of_them_is_in_its_column() {
    let (sources, table) = (in_the_sources(), rows_of_the_table().into_iter().flatten().collect::<BTreeSet<_>>());
    assert!(table.len() > 50, "the table was not found: {table:?}");
    let gone = table.difference(&sources).collect::<Vec<_>>();
    let missing = sources.difference(&table).collect::<Vec<_>>();
    assert!(gone.is_empty() && missing.is_empty(), "without a test: {gone:#?}; not in the table: {missing:#?}");
}

#[test]
fn each_class_has_a_row_and_a_test_on_each_side_that_it_concerns() {
    let rows: Vec<_> = rows_of_the_table().into_iter().filter(|row| !row.is_empty()).collect();
    assert_eq!(rows.len(), CLASSES.len());
    for ((class, sides), row) in CLASSES.iter().zip(rows) {
        assert!(row.iter().all(|(_, name)| class_of(name) == Some(class)), "{class}: {row:#?}");
        let tested: BTreeSet<Side> = row.iter().filter_map(|(side, _)| *side).collect();
        assert_eq!(tested, sides.iter().copied().collect(), "{class}");
    }
}

/// No other rule can restrict a process that has `privcmd`.
#[test]
fn no_privcmd_the_only_devices_of_xen_are_those_for_pages_events_and_the_store() {
    let mut all = Vec::new();
    for directory in ["apps/vsndd/src", "crates/config/src", "crates/xen/src", "crates/xenstore/src"] {
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
