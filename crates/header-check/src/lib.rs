//! Compares the crates' constants and layouts with the C headers.
//!
//! The headers are compiled, not copied: small C programs (`c/*.c`) include them, are compiled when a test runs, and
//! print the compiler's values on their standard output. The tests need a C compiler (`cc`, or the value of `CC`) and
//! Debian's packages `libxen-dev` and `libc6-dev`; without them they fail with a message.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// Compiles a C program.
fn compile(source: &Path, program: &Path) {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| OsString::from("cc"));
    let compiled = Command::new(&compiler)
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-sign-compare", "-O1", "-o"])
        .arg(program)
        .arg(source)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}: install gcc, or set CC", compiler.display()));
    let messages = String::from_utf8_lossy(&compiled.stderr);
    assert!(!messages.contains("No such file or directory"), "install libxen-dev (Xen's public headers):\n{messages}");
    assert!(compiled.status.success(), "{messages}");
}

/// Compiles and runs a C program that was made just now; returns what it prints.
///
/// # Panics
///
/// The same panics as those of [`Program::start`].
#[must_use]
pub fn run_c(text: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (source, program) = (dir.path().join("made.c"), dir.path().join("made"));
    std::fs::write(&source, text).expect("a file in a directory of our own");
    compile(&source, &program);
    let output = Command::new(&program).output().expect("the compiled program");
    assert!(output.status.success(), "a C program ended with {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// A running C program of this crate.
pub struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _dir: TempDir,
}

impl Program {
    /// Compiles `c/NAME.c` and starts it.
    ///
    /// # Panics
    ///
    /// If there is no compiler, no headers, or the program is wrong, since there is nothing to compare then.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("c").join(name).with_extension("c");
        let program = dir.path().join(name);
        compile(&source, &program);
        let mut child =
            Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the compiled program");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, input, output, _dir: dir }
    }

    /// Sends bytes.
    ///
    /// # Panics
    ///
    /// If the program has ended.
    pub fn send(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).expect("the C program lives");
    }

    /// Receives exactly `bytes.len()` bytes.
    ///
    /// # Panics
    ///
    /// If the program has ended.
    pub fn receive(&mut self, bytes: &mut [u8]) {
        self.output.read_exact(bytes).expect("the C program lives");
    }

    /// Receives a line of numbers.
    ///
    /// # Panics
    ///
    /// If the line is anything else.
    pub fn numbers(&mut self) -> Vec<u64> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the C program lives");
        line.split_whitespace().map(|word| word.parse().unwrap_or_else(|_| panic!("no number in {line:?}"))).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _: std::io::Result<()> = self.child.kill();
        let _: std::io::Result<_> = self.child.wait();
    }
}

/// Definitions of a header, by name.
pub struct Constants(HashMap<String, String>);

impl Constants {
    /// Runs the C program `c/NAME.c`, which prints `name=value` lines.
    ///
    /// # Panics
    ///
    /// Like [`Program::start`].
    #[must_use]
    pub fn of(name: &str) -> Self {
        let mut program = Program::start(name);
        let mut text = String::new();
        program.output.read_to_string(&mut text).expect("text");
        Self(text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect())
    }

    /// Returns the value of a name as text.
    ///
    /// # Panics
    ///
    /// If the program prints no such name.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("the C program tells nothing of {name}"))
    }

    /// Returns the value of a name as a number.
    ///
    /// # Panics
    ///
    /// If the program prints no such name, or no number.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("{name} is {}", self.text(name)))
    }

    /// Iterates over all names that start with a prefix, without it.
    pub fn starting_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }
}
