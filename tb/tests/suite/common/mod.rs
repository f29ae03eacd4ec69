//! What several tests share.
#![allow(dead_code)] // each test uses its part

pub mod bench;
pub mod sizes;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hmmu::machine::Backend;

/// The backends of this build.
pub fn backends() -> Vec<Backend> {
    if cfg!(feature = "rtl") {
        vec![Backend::Model, Backend::Rtl]
    } else {
        vec![Backend::Model]
    }
}

/// The folder of the scenarios.
pub fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// A folder for the files of one test, empty.
pub fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the test's files");
    folder
}

/// Runs the command `hmmu` in a folder.
pub fn hmmu(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hmmu"))
        .current_dir(folder)
        .args(args)
        .output()
        .expect("hmmu runs")
}

/// Standard output and standard error, for messages.
pub fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
