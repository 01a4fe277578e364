//! `make release`: trees and builds that are not released; each refusal says what to do. The build is a stand-in of one
//! line.

use std::path::Path;
use std::process::{Command, Output};

/// A project with the files that the script reads before it builds: version, list of changes, the module's version.
struct Project(tempfile::TempDir);

impl Project {
    fn new(changes: &str) -> Self {
        let project = Self(tempfile::tempdir().expect("directory"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/release.sh");
        std::fs::create_dir(project.path().join("scripts")).expect("made");
        std::fs::create_dir(project.path().join("linux")).expect("made");
        std::fs::copy(script, project.path().join("scripts/release.sh")).expect("copied");
        project.write("Cargo.toml", "[workspace.package]\nversion = \"1.2.3\"\n");
        project.write("linux/dkms.conf", "PACKAGE_VERSION=\"1.2.3\"\n");
        project.write("CHANGELOG.md", changes);
        project.git(&["init", "-q"]);
        project.commit();
        project
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("written");
    }

    fn git(&self, arguments: &[&str]) {
        let who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@localhost"];
        let output = Command::new("git").current_dir(self.path()).args(who).args(arguments).output().expect("git runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "a state of the project"]);
    }

    /// Text of the refusal.
    fn refused(&self) -> String {
        let output = self.release();
        assert_eq!(output.status.code(), Some(1));
        assert!(!self.path().join("target").exists(), "something was built");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A release with this as the command that makes a package, whose path is `$@`.
    fn released_with(command: &str) -> (Self, Output) {
        let project = Self::new(CHANGES);
        project.write(".gitignore", "/target\n");
        let copied = "\n\tmkdir -p target/dist; cp $< target/dist/vsnd.tar.gz\n";
        project.write(
            "Makefile",
            &format!("deb: target/deb/vsnd.deb{copied}target/deb/vsnd.deb:\n\tmkdir -p target/deb; {command}\n"),
        );
        project.commit();
        let output = project.release();
        (project, output)
    }

    fn release(&self) -> Output {
        let mut command = Command::new(self.path().join("scripts/release.sh"));
        for (name, value) in [("NAME", "Somebody"), ("EMAIL", "somebody@localhost")] {
            command.env(format!("GIT_COMMITTER_{name}"), value);
        }
        command.env("CARGO_TARGET_DIR", "/tmp/shared").output().expect("bash runs")
    }
}

const CHANGES: &str = "# Changes\n\n## 1.2.3\n\n* A change.\n";

#[test]
fn a_release_has_only_what_is_committed() {
    let project = Project::new(CHANGES);
    project.write("new.rs", "");
    assert!(project.refused().contains("not committed"), "{}", project.refused());
}

#[test]
fn a_release_says_its_changes() {
    let refused = Project::new("# Changes\n\n## Not released\n\n* A change.\n").refused();
    assert!(refused.contains("no section '## 1.2.3'"), "{refused}");
    let refused = Project::new(&format!("{CHANGES}\n## Not released\n\n* Another.\n")).refused();
    assert!(refused.contains("changes that are not released"), "{refused}");
}

#[test]
fn a_version_is_released_once() {
    let project = Project::new(CHANGES);
    project.git(&["tag", "v1.2.3"]);
    project.write("CHANGELOG.md", &format!("{CHANGES}* One that came too late.\n"));
    project.commit();
    let refused = project.refused();
    assert!(refused.contains("v1.2.3 is commit") && refused.contains("raise the version"), "{refused}");
}

#[test]
fn the_module_has_the_version_of_the_programs() {
    let project = Project::new(CHANGES);
    project.write("linux/dkms.conf", "PACKAGE_VERSION=\"1.2.2\"\n");
    project.commit();
    assert!(project.refused().contains("linux/dkms.conf another"), "{}", project.refused());
}

#[test]
fn what_is_built_twice_alike_is_released_with_its_sums_and_its_tag() {
    let (project, output) = Project::released_with("echo a package > $@");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sums = std::fs::read_to_string(project.path().join("target/release-1.2.3/SHA256SUMS")).expect("there");
    let names: Vec<&str> = sums.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    assert_eq!(names, ["vsnd-1.2.3.tar.gz", "vsnd.deb", "vsnd.tar.gz"]);
    project.git(&["rev-parse", "refs/tags/v1.2.3"]);
}

#[test]
fn each_build_has_a_directory_of_its_own_whatever_the_environment_says() {
    let (project, _) = Project::released_with("echo $${CARGO_TARGET_DIR:-its own} > $@");
    let built = std::fs::read_to_string(project.path().join("target/release-1.2.3/vsnd.deb")).expect("there");
    assert_eq!(built, "its own\n");
}

#[test]
fn what_differs_when_it_is_built_twice_is_not_released() {
    let (project, output) = Project::released_with("pwd > $@");
    let refused = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(refused.contains("these are not the same: vsnd.deb vsnd.tar.gz"), "{refused}");
    assert!(!project.path().join("target/release-1.2.3/SHA256SUMS").exists());
}

#[test]
fn a_build_that_fails_is_not_released() {
    let (project, output) = Project::released_with("echo half > $@; false");
    let refused = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(refused.contains("the build failed"), "{refused}");
    assert!(!project.path().join("target/release-1.2.3/SHA256SUMS").exists());
}
