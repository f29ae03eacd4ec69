//! Programs that build hmmu or show what it writes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Check;

/// The device is verilated in this build, so whoever changes it builds it again.
const RTL: bool = cfg!(feature = "rtl");
const LEAST_PYTHON: &str = "3.11";

/// Looks for all of them.
pub fn checks() -> Vec<Check> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let rust = env!("CARGO_PKG_RUST_VERSION");
    vec![
        Check {
            name: "Rust",
            purpose: "builds hmmu",
            needed: true,
            found: version("cargo").and_then(|found| at_least(&found, rust)),
            mend: format!("install Rust {rust} or later (https://rustup.rs)"),
        },
        Check {
            name: "C++ compiler",
            purpose: "compiles the verilated device",
            needed: RTL,
            found: version(&compiler),
            mend: "install g++ (Debian: apt-get install g++), or name a compiler in CXX".into(),
        },
        Check {
            name: "Python",
            purpose: "sets up the tools and writes what is generated",
            needed: RTL,
            found: version("python3").and_then(|found| at_least(&found, LEAST_PYTHON)),
            mend: format!(
                "install Python {LEAST_PYTHON} or later with venv (Debian: apt-get install python3-venv)"
            ),
        },
        Check {
            name: "Verilator",
            purpose: "turns the RTL into C++",
            needed: RTL,
            found: verilator(),
            mend: "run `make setup`, or let VERILATOR_ROOT name an installation of yours".into(),
        },
        viewer("GTKWave", &["gtkwave"], "Debian: apt-get install gtkwave"),
        viewer(
            "Surfer",
            &["surfer"],
            "cargo install surfer, or https://surfer-project.org",
        ),
        Check {
            name: "Chromium",
            purpose: "opens timelines and reports; any browser does",
            needed: false,
            found: on_path(&["chromium", "chromium-browser", "google-chrome", "firefox"]),
            mend: "Debian: apt-get install chromium".into(),
        },
    ]
}

fn viewer(name: &'static str, programs: &[&str], mend: &str) -> Check {
    Check {
        name,
        purpose: "shows waves (--wave FILE); one viewer is enough",
        needed: false,
        found: on_path(programs),
        mend: mend.into(),
    }
}

/// The first of these programs that is on the PATH.
fn on_path(programs: &[&str]) -> Result<String, String> {
    let found = programs.iter().find_map(|program| find(program));
    found
        .map(|path| path.display().to_string())
        .ok_or_else(|| format!("no {} on the PATH", programs.join(", no ")))
}

/// The program of this name, or at this path.
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// What a program says of its version.
fn version(program: &str) -> Result<String, String> {
    let path = find(program).ok_or_else(|| format!("no {program} on the PATH"))?;
    said(Command::new(&path).arg("--version"), &path)
}

/// The first line that a program writes.
fn said(command: &mut Command, path: &Path) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{} does not run: {error}", path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().unwrap_or_default().trim();
    if !output.status.success() || first.is_empty() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let why = complaint.lines().next().unwrap_or("it says nothing");
        return Err(format!(
            "{} does not run ({}): {why}",
            path.display(),
            output.status
        ));
    }
    Ok(first.to_string())
}

/// Checks the version in the second word of a program's first line, `python3` 3.11.2 or `cargo` 1.95.0.
fn at_least(found: &str, least: &str) -> Result<String, String> {
    let number = |text: &str| -> Option<(u32, u32)> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    };
    match (found.split(' ').nth(1).and_then(number), number(least)) {
        (Some(have), Some(want)) if have >= want => Ok(found.to_string()),
        (Some(_), _) => Err(format!("{found}: {least} or later is needed")),
        (None, _) => Err(format!("{found:?} names no version")),
    }
}

/// The Verilator that a build takes.
fn verilator() -> Result<String, String> {
    let verilator = hmmu_verilate::locate(&checkout())?;
    let mut command = Command::new(&verilator.program);
    command
        .arg("--version")
        .env("VERILATOR_ROOT", &verilator.root);
    let version = said(&mut command, &verilator.program)?;
    Ok(format!("{version} in {}", verilator.root.display()))
}

/// The checkout that the working folder is in, else the one that this program was built from.
fn checkout() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_checkout = |folder: &&Path| folder.join("regs/hmmu.toml").is_file();
    here.ancestors()
        .find(is_checkout)
        .or_else(|| built.ancestors().find(is_checkout))
        .unwrap_or(&here)
        .to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(at_least("Python 3.11.2", "3.11").is_ok());
        assert!(at_least("cargo 1.100.0 (f2d3ce0bd 2026-03-21)", "1.90").is_ok());
        assert!(at_least("Python 4.0", "3.11").is_ok());
        for (found, part) in [
            ("Python 3.9.2", "3.11 or later is needed"),
            ("Python", "names no version"),
            ("Python three", "names no version"),
        ] {
            let refused = at_least(found, "3.11");
            assert!(
                refused.as_ref().is_err_and(|text| text.contains(part)),
                "{refused:?}"
            );
        }
    }
}
