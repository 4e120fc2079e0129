//! Which binary is tested, and where it is.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Names the binary to test, in place of the one that is built.
const VARIABLE: &str = "NOVA_AGENT";

/// Names the directory with the binaries of all runtimes, in place of those that are built.
const DIRECTORY_VARIABLE: &str = "NOVA_AGENT_DIR";

/// A runtime of the agent, by the name of its package, which is that of its binary, or by that of an example.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Runtime {
    package: &'static str,
    example: Option<&'static str>,
}

impl Runtime {
    /// Blocking threads.
    pub const BLOCKING: Self = Self::new("nova-agent-blocking");
    /// One thread and a poller.
    pub const MIO: Self = Self::new("nova-agent-mio");
    /// A task of async-std.
    pub const ASYNC: Self = Self::new("nova-agent-async");
    /// The example of a runtime, `system/examples/minimal.rs`.
    pub const MINIMAL: Self = Self {
        package: "nova-agent-system",
        example: Some("minimal"),
    };
    /// All packages of this workspace.
    pub const ALL: [Self; 3] = [Self::BLOCKING, Self::MIO, Self::ASYNC];

    /// The runtime that a package of this workspace builds.
    #[must_use]
    pub const fn new(package: &'static str) -> Self {
        Self {
            package,
            example: None,
        }
    }

    /// The name of the package and its binary.
    #[must_use]
    pub const fn package(self) -> &'static str {
        self.package
    }

    /// The binary: what `NOVA_AGENT` names, or its own one in `NOVA_AGENT_DIR`, else the package's, which is built once in
    /// a test process, with the profile of the test and beside it. An example is built in any case.
    #[must_use]
    pub fn binary(self) -> PathBuf {
        static BUILT: Mutex<BTreeMap<(&str, Option<&str>), PathBuf>> = Mutex::new(BTreeMap::new());

        if let Some(binary) = env::var_os(VARIABLE) {
            return binary.into();
        }
        if let Some(directory) = env::var_os(DIRECTORY_VARIABLE)
            && self.example.is_none()
        {
            return Path::new(&directory).join(self.package);
        }
        // Whoever comes second waits for the one that builds.
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        built
            .entry((self.package, self.example))
            .or_insert_with(|| build(self))
            .clone()
    }
}

fn build(Runtime { package, example }: Runtime) -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    // target/[triple/]profile/deps/test
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("a test lies in the target directory");
    let above = profile
        .parent()
        .expect("a test lies in the target directory");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--quiet",
        "--package",
        package,
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    if let Some(example) = example {
        cargo.args(["--example", example]);
    }
    // Cargo marks its target directory.
    if above.join("CACHEDIR.TAG").exists() {
        cargo.arg("--target-dir").arg(above);
    } else {
        cargo.arg("--target-dir").arg(
            above
                .parent()
                .expect("a triple lies in the target directory"),
        );
        cargo
            .arg("--target")
            .arg(above.file_name().expect("a triple has a name"));
    }
    let profile_name = profile.file_name().expect("a profile has a name");
    // The profile whose directory has another name than itself.
    cargo.arg("--profile").arg(if profile_name == "debug" {
        "dev".as_ref()
    } else {
        profile_name
    });
    let status = cargo.status().expect("cargo is needed to build the agent");
    assert!(status.success(), "{package} cannot be built: {status}");
    match example {
        Some(example) => profile.join("examples").join(example),
        None => profile.join(package),
    }
}
