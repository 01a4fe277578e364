//! The header, parsed: it is ours, and written in a small part of C.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use header_check::run_c;

use crate::{Field, Function};

/// The half in which a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    C,
    Rust,
}

/// Everything that `vsnd.h` declares.
#[derive(Default)]
pub(crate) struct Header {
    pub(crate) functions: BTreeMap<String, (Side, Function)>,
    pub(crate) structures: BTreeMap<String, Vec<Field>>,
    /// Names of all enumerations' members.
    enumerators: Vec<String>,
}

/// The kernel's types, for a compiler that knows only those of user space.
const TYPES: &str = "#include <stdint.h>\n#include <stdbool.h>\n#include <stddef.h>\n#include <stdio.h>\n#include <sys/types.h>\n\
    typedef uint8_t u8; typedef uint32_t u32; typedef uint64_t u64; typedef int32_t s32;\n";

impl Header {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("vsnd.h");
        let mut header = Self::default();
        // Each section says whose functions it has: "/* ---- Rust, called by C (…) ---- */".
        for section in text.split("/* ---- ").skip(1) {
            let (title, text) = section.split_once(" ---- */").expect("the end of a title");
            let side = if title.starts_with("Rust, called by C") {
                Side::Rust
            } else if title.ends_with(", called by Rust") {
                Side::C
            } else {
                panic!("vsnd.h: section {title:?} does not say who calls whom")
            };
            for declaration in declarations(text) {
                header.declaration(side, &declaration);
            }
        }
        header
    }

    fn declaration(&mut self, side: Side, text: &str) {
        if let Some((head, body)) = text.split_once('{') {
            let body = body.trim().strip_suffix('}').expect("the end of a body");
            match head.split_whitespace().collect::<Vec<_>>()[..] {
                ["struct", name] => {
                    let fields = body.split(';').filter(|line| !line.trim().is_empty()).flat_map(fields).collect();
                    self.structures.insert(name.into(), fields);
                }
                ["enum", _] => self.enumerators.extend(body.split(',').map(|name| name.trim().to_owned())),
                _ => panic!("vsnd.h: {text:?}"),
            }
        } else {
            let (head, arguments) = text.split_once('(').unwrap_or_else(|| panic!("vsnd.h: {text:?}"));
            let arguments = arguments.trim().strip_suffix(')').expect("the end of the arguments");
            let Field { name, kind } = declared(head);
            let arguments = arguments
                .split(',')
                .filter(|argument| argument.trim() != "void")
                .map(|one| declared(one).kind)
                .collect();
            let function = Function { arguments, returns: kind };
            assert!(self.functions.insert(name.clone(), (side, function)).is_none(), "vsnd.h: {name} twice");
        }
    }
}

/// Returns the declarations of a header: the texts between semicolons outside of braces, without comments and directives.
fn declarations(text: &str) -> Vec<String> {
    let mut plain = String::new();
    for (index, part) in text.split("/*").enumerate() {
        let code = if index == 0 { part } else { part.split_once("*/").expect("the end of a comment").1 };
        plain.extend(code.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]));
    }
    let (mut all, mut one, mut depth) = (Vec::new(), String::new(), 0);
    for letter in plain.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => {
                all.push(std::mem::take(&mut one));
                continue;
            }
            _ => {}
        }
        one.push(letter);
    }
    assert!(one.trim().is_empty(), "vsnd.h: {one:?} does not end");
    all
}

/// The members of a line like `u32 rate_min, rate_max`.
fn fields(line: &str) -> Vec<Field> {
    let (first, others) = line.split_once(',').map_or((line, None), |(first, others)| (first, Some(others)));
    let first = declared(first);
    let others = others.into_iter().flat_map(|names| names.split(','));
    let others: Vec<_> = others.map(|name| Field { name: name.trim().to_owned(), kind: first.kind.clone() }).collect();
    assert!(
        others.iter().all(|field| field.name.chars().all(|letter| letter.is_alphanumeric() || letter == '_')),
        "{line}"
    );
    [first].into_iter().chain(others).collect()
}

/// A type with a name behind it, as `const struct vsnd_node *node`.
fn declared(text: &str) -> Field {
    let text = text.replace('*', " * ");
    let mut words: Vec<_> = text.split_whitespace().collect();
    let name = words.pop().unwrap_or_else(|| panic!("vsnd.h: {text:?} has no name"));
    let (name, array) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
    let stars = words.iter().rev().take_while(|word| **word == "*").count();
    words.truncate(words.len() - stars);
    let constant = words.first() == Some(&"const");
    let base = match words[usize::from(constant)..] {
        ["char"] => "u8",
        ["int"] => "i32",
        ["unsigned", "int"] => "u32",
        ["s32"] => "i32",
        ["size_t"] => "usize",
        ["ssize_t"] => "isize",
        [same @ ("void" | "bool" | "long" | "u8" | "u32" | "u64")] => same,
        ["struct", name] => &format!("struct {name}"),
        _ => panic!("vsnd.h: the type of {text:?} is not known here"),
    };
    let kind = (0..stars).fold(base.to_owned(), |kind, star| {
        if star == 0 && constant { format!("*const {kind}") } else { format!("*mut {kind}") }
    });
    Field { name: name.to_owned(), kind: if array { format!("[{kind}; 0]") } else { kind } }
}

/// A member in C.
fn in_c(Field { name, kind }: &Field) -> String {
    let (kind, array) =
        kind.strip_prefix('[').map_or((kind.as_str(), ""), |kind| (kind.trim_end_matches("; 0]"), "[]"));
    let (mut base, mut stars) = (kind.to_owned(), String::new());
    while let Some((constant, to)) = base.split_once(' ').filter(|(star, _)| star.starts_with('*')) {
        stars.push_str(if constant == "*const" { "const *" } else { "*" });
        base = to.to_owned();
    }
    let base = match base.as_str() {
        "usize" => "size_t",
        "isize" => "ssize_t",
        "i32" => "s32",
        same => same,
    };
    format!("{base} {stars}{name}{array};")
}

/// Builds each structure once more from what Rust says, and lets the compiler compare sizes and offsets.
pub(crate) fn confirm_layouts(path: &Path, header: &Header, rust: &BTreeMap<String, Vec<Field>>) {
    let mut program = format!("{TYPES}#include \"{}\"\n", path.display());
    // A member which is a structure counts as one of C, which is compared by itself.
    for (name, fields) in rust {
        let members: String = header.structures[name]
            .iter()
            .zip(fields)
            .map(|(c, rust)| in_c(&Field { name: c.name.clone(), kind: rust.kind.clone() }))
            .collect();
        let _ = writeln!(program, "struct rust_{name} {{ {members} }};");
        let _ = writeln!(
            program,
            "_Static_assert(sizeof(struct rust_{name}) == sizeof(struct {name}), \"size of {name}\");"
        );
        for Field { name: field, .. } in &header.structures[name] {
            let _ = writeln!(
                program,
                "_Static_assert(offsetof(struct rust_{name}, {field}) == offsetof(struct {name}, {field}), \"{name}.{field}\");"
            );
        }
    }
    assert_eq!(run_c(&format!("{program}int main(void) {{ return 0; }}\n")), "");
}

/// The values of all constants, from the compiler.
pub(crate) fn values(path: &Path, header: &Header) -> BTreeMap<String, u64> {
    let say: String =
        header.enumerators.iter().map(|name| format!("printf(\"{name} %lld\\n\", (long long){name});\n")).collect();
    let answer = run_c(&format!("{TYPES}#include \"{}\"\nint main(void) {{ {say} return 0; }}\n", path.display()));
    let lines = answer.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}
