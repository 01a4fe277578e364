//! The boundary between the two halves of the kernel module: `linux/vsnd.h`, and the Rust that mirrors it by hand.
//!
//! Both are parsed, and every function, structure and constant is compared; the C compiler confirms sizes and offsets.

mod c;
mod rust;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use c::{Header, Side};
use rust::Half;

/// A function, both halves in the words of Rust.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Function {
    arguments: Vec<String>,
    returns: String,
}

/// A member of a structure.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    kind: String,
}

/// Called by the C half itself; the Rust half has no need of it.
const OF_C_ALONE: [&str; 1] = ["vsnd_kept_hand_over"];

fn linux() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../linux")
}

fn halves() -> (Header, Half) {
    (Header::read(&linux().join("vsnd.h")), Half::read(&linux().join("kmod/src")))
}

/// Returns true if a type of Rust is the same as C's, in an argument, a result or a member.
///
/// Structures that only one half can look into are `void` to the other, whose `const` says nothing then. Text is bytes.
fn agree(c: &str, rust: &str) -> bool {
    let pointer = |kind: &str| {
        let (constant, to) =
            kind.strip_prefix("*const ").map(|to| (true, to)).or_else(|| Some((false, kind.strip_prefix("*mut ")?)))?;
        Some((constant, to.to_owned()))
    };
    let (Some((c_constant, c_to)), Some((rust_constant, rust_to))) = (pointer(c), pointer(rust)) else {
        return c == rust;
    };
    let of_rust = ["struct vsnd_device", "struct vsnd_sound", "struct vsnd_stream"].contains(&c_to.as_str());
    if of_rust {
        return rust_to == "void" || rust_to == c_to;
    }
    let bytes = |kind: &str| kind == "u8" || kind == "void";
    c_constant == rust_constant && (agree(&c_to, &rust_to) || (bytes(&c_to) && bytes(&rust_to)))
}

#[test]
fn vsnd_h_has_the_functions_of_the_rust_half() {
    let (header, half) = halves();
    for (side, ours) in [(Side::C, &half.imported), (Side::Rust, &half.exported)] {
        let theirs: BTreeMap<_, _> = header.functions.iter().filter(|(_, (of, _))| *of == side).collect();
        let names: BTreeSet<_> =
            theirs.keys().map(|name| name.as_str()).filter(|name| !OF_C_ALONE.contains(name)).collect();
        let our_names: BTreeSet<_> = ours.keys().map(String::as_str).collect();
        assert_eq!(names, our_names, "functions of {side:?}: vsnd.h, and linux/kmod");
        assert!(names.len() > 20, "{side:?}: {names:?}");
        for (name, (_, c)) in theirs {
            let Some(rust) = ours.get(name) else { continue };
            let same = c.arguments.len() == rust.arguments.len()
                && c.arguments.iter().zip(&rust.arguments).all(|(c, rust)| agree(c, rust))
                && agree(&c.returns, &rust.returns);
            assert!(same, "{name}\n  vsnd.h: {c:?}\n  Rust:   {rust:?}");
        }
    }
}

#[test]
fn vsnd_h_has_the_structures_of_the_rust_half() {
    let (header, half) = halves();
    let (names, ours): (BTreeSet<_>, BTreeSet<_>) =
        (header.structures.keys().collect(), half.structures.keys().collect());
    assert_eq!(names, ours, "structures: vsnd.h, and linux/kmod");
    assert!(names.len() > 5, "{names:?}");
    for (name, c) in &header.structures {
        let rust = &half.structures[name];
        let same = c.len() == rust.len()
            && c.iter().zip(rust).all(|(c, rust)| c.name.starts_with(&rust.name) && agree(&c.kind, &rust.kind));
        assert!(same, "{name}\n  vsnd.h: {c:#?}\n  Rust:   {rust:#?}");
    }
    c::confirm_layouts(&linux().join("vsnd.h"), &header, &half.structures);
}

#[test]
fn vsnd_h_has_the_constants_of_the_rust_half() {
    let (header, half) = halves();
    assert_eq!(c::values(&linux().join("vsnd.h"), &header), half.constants, "vsnd.h, and linux/kmod");
    assert!(half.constants.len() > 5);
}
