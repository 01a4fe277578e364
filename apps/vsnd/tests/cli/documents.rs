//! The documents: blocks that are run as they stand; pages, links and items of our crates that exist.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{eventually, program, stderr};
use crate::controlled::Controlled;

/// The line before a block that is run.
const MARK: &str = "<!-- A test runs this block. -->";
/// The line before a block of commands for the guest `studio`.
const COMMANDS: &str = "<!-- A test runs each of these commands while a guest `studio` plays. -->";

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages of a directory of the project.
fn pages_in(directory: &str) -> impl Iterator<Item = PathBuf> {
    let paths = std::fs::read_dir(project().join(directory)).expect("there").flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "md"))
}

/// README, its sisters and everything in docs.
fn pages() -> Vec<PathBuf> {
    [".", "docs", "docs/decisions"].into_iter().flat_map(pages_in).collect()
}

/// The indented blocks behind marks.
fn marked(page: &str, mark: &str) -> Vec<String> {
    let behind = page.split(mark).skip(1);
    let block = |text: &str| {
        let lines = text.lines().skip_while(|line| line.is_empty());
        let lines = lines.map_while(|line| if line.is_empty() { Some("") } else { line.strip_prefix("    ") });
        lines.collect::<Vec<_>>().join("\n")
    };
    behind.map(block).collect()
}

/// A search path with our programs.
fn path() -> String {
    format!("{}:{}", program("vsnd").parent().expect("directory").display(), env!("PATH"))
}

#[test]
fn blocks_of_the_documents_run_as_they_stand() {
    let mut count = 0;
    for page in pages() {
        for block in marked(&std::fs::read_to_string(&page).expect("text"), MARK) {
            count += 1;
            // Programs that the block started in the background end with it.
            let script = format!("trap 'kill $(jobs -p); wait' EXIT\nset -e\n{block}\n");
            let mut command = Command::new("bash");
            command.args(["-c", &script]).env("PATH", path()).env_remove("VSND_XEN").env_remove("VSND_SOCKET");
            let output = command.stdin(Stdio::null()).output().expect("bash runs");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{}:\n{block}\n{said}{}", page.display(), stderr(&output));
        }
    }
    assert!(count > 0, "no block is marked");
}

#[test]
fn commands_of_the_documents_work_while_a_guest_plays() {
    let controlled = Controlled::new("sink = \"null\"\n");
    let _player = controlled.player();
    controlled.name(1, "studio");
    eventually("the guest has its name", || controlled.must(&["list"]).contains("studio, domain 1"));
    let mut pages_with_commands = 0;
    for page in pages() {
        let blocks = marked(&std::fs::read_to_string(&page).expect("text"), COMMANDS);
        pages_with_commands += blocks.len();
        for line in blocks.iter().flat_map(|block| block.lines()).filter(|line| !line.is_empty()) {
            let (command, _) = line.split_once(" #").unwrap_or((line, ""));
            // The commands `top` and `events --follow` do not end by themselves.
            let endless = command.starts_with("vsnd top") || command.contains("--follow");
            let command = if endless { format!("{command} --help") } else { command.to_owned() };
            let mut shell = Command::new("bash");
            shell.args(["-c", &command]).env("PATH", path()).env_remove("VSND_SOCKET");
            let output =
                shell.env("VSND_XEN", controlled.world.spec()).stdin(Stdio::null()).output().expect("bash runs");
            // A machine may lack the device to which streams are moved.
            let moved = command.starts_with("vsnd move") && output.status.code() == Some(8);
            assert!(output.status.success() || moved, "{}: {command}: {}", page.display(), stderr(&output));
        }
    }
    assert_eq!(pages_with_commands, 2, "README and docs/control.md");
}

#[test]
fn every_page_of_docs_is_in_an_index() {
    for directory in ["docs", "docs/decisions"] {
        let index = std::fs::read_to_string(project().join(directory).join("README.md")).expect("an index");
        let pages: Vec<_> = pages_in(directory).filter(|page| !page.ends_with("README.md")).collect();
        assert!(pages.len() > 4, "{pages:?}");
        for page in pages {
            let name = page.file_name().expect("a name").to_string_lossy();
            assert!(index.contains(&format!("]({name})")), "{directory}/README.md does not name {name}");
        }
    }
}

#[test]
fn links_and_pictures_of_the_documents_are_there() {
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("text");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains(':')) {
            count += 1;
            let path = page.parent().expect("directory").join(link);
            assert!(path.exists(), "{}: {link} is not there", page.display());
        }
    }
    assert!(count > 0, "no page has a link");
}

/// Everything that a crate of the project has in its sources, as one text; `None` for other crates.
fn sources(name: &str) -> Option<String> {
    fn read(directory: &Path, all: &mut String) {
        for entry in std::fs::read_dir(directory).expect("directory").flatten() {
            let path = entry.path();
            match path.extension().and_then(|end| end.to_str()) {
                _ if path.is_dir() => read(&path, all),
                Some("rs") => all.push_str(&std::fs::read_to_string(&path).expect("text")),
                _ => {}
            }
        }
    }
    let places = ["apps", "crates"].map(|place| project().join(place).join(name.replace('_', "-")).join("src"));
    let directory = places.into_iter().find(|place| place.is_dir())?;
    let mut all = String::new();
    read(&directory, &mut all);
    Some(all)
}

#[test]
fn items_of_our_crates_that_the_documents_name_exist() {
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("text");
        for named in text.split('`').filter(|code| code.contains("::")) {
            let mut parts = named.split("::");
            let Some(sources) = parts.next().and_then(sources) else { continue };
            count += 1;
            for part in parts {
                let is_there = |kind: &&str| sources.contains(&format!("{kind} {part}"));
                let found = ["mod", "fn", "struct", "enum", "trait", "type"].iter().any(is_there);
                assert!(found, "{}: `{named}`: there is no `{part}`", page.display());
            }
        }
    }
    assert!(count > 20, "{count} items");
}

/// The names of an enumeration's variants.
fn variants<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let (_, body) = source.split_once(&format!("enum {name} {{\n")).expect("the enumeration");
    let (body, _) = body.split_once("\n}").expect("its end");
    let lines = body.lines().map(str::trim).filter(|line| line.starts_with(char::is_uppercase));
    lines.map(|line| line.trim_end_matches(|c: char| !c.is_alphanumeric())).collect()
}

#[test]
fn state_machines_of_sndif_are_drawn_beside_their_code_with_its_clause() {
    // The backend has some of the states of XenBus, and no enumeration of its own.
    let backend = ["InitWait", "Connected", "Closing", "Closed"];
    for (file, states) in [
        ("backend/src/handshake.rs", Err(backend)),
        ("backend/src/frames.rs", Ok("Run")),
        ("frontend/src/handshake.rs", Ok("Phase")),
        ("frontend/src/stream.rs", Ok("Phase")),
    ] {
        let source = std::fs::read_to_string(project().join("crates").join(file)).expect("text");
        let (before, rest) = source.split_once("```text\n").unwrap_or_else(|| panic!("{file} has no diagram"));
        let (diagram, _) = rest.split_once("```").expect("its end");
        assert!(before.contains("sndif.h"), "{file} does not say what it fulfils");
        let states = states.map_or_else(|states| states.to_vec(), |name| variants(&source, name));
        assert!(states.len() >= 4, "{file}: {states:?}");
        let words: Vec<&str> = diagram.split(|c: char| !c.is_alphanumeric()).collect();
        for state in states {
            assert!(words.contains(&state), "{file}: {state} is not in the diagram");
        }
    }
}
