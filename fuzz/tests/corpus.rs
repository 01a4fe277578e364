//! Tests that the corpus on disk matches the seeds' code, and that every target has a libFuzzer binary.
//!
//! After a change: `UPDATE_CORPUS=1 cargo test -p vsnd-fuzz --test corpus`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use vsnd_fuzz::{TARGETS, Target, seeds};

fn directory(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

fn on_disk(target: &Target) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory(target)).unwrap_or_else(|error| panic!("{}: {error}", target.name));
    entries
        .map(|entry| {
            let entry = entry.expect("a readable directory");
            (entry.file_name().into_string().expect("a plain name"), fs::read(entry.path()).expect("a file"))
        })
        .collect()
}

#[test]
fn the_corpus_is_what_its_code_makes() {
    let update = std::env::var_os("UPDATE_CORPUS").is_some();
    for target in &TARGETS {
        let made: BTreeMap<_, _> = seeds::of(target.name).into_iter().collect();
        assert!(made.len() >= 3, "{} has few seeds", target.name);
        if update {
            let directory = directory(target);
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir_all(&directory).expect("a writable tree");
            for (name, bytes) in &made {
                fs::write(directory.join(name), bytes).expect("a writable tree");
            }
        }
        assert!(on_disk(target) == made, "{}: run with UPDATE_CORPUS=1", target.name);
    }
}

#[test]
fn each_target_has_a_libfuzzer_binary() {
    let manifest = include_str!("../libfuzzer/Cargo.toml");
    for target in &TARGETS {
        let path = format!("fuzz_targets/{}.rs", target.name);
        assert!(manifest.contains(&format!("path = \"{path}\"")), "{path} is not in the manifest");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer").join(path);
        let source = fs::read_to_string(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        assert!(source.contains(&format!("vsnd_fuzz::{}(data)", target.name)));
    }
}
