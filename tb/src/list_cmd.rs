//! `hmmu list`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::bench::WORKLOADS;
use crate::cli::unusable;
use crate::kernels::BUILTINS;
use crate::say;

/// Arguments of `hmmu list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Where scenarios are looked for, with all folders below.
    #[arg(value_name = "DIR", default_value = "tb/scenarios")]
    scenarios: PathBuf,
}

/// Lists what can be run; the exit status.
#[must_use]
pub fn run(args: &ListArgs) -> u8 {
    let mut scripts = Vec::new();
    if let Err(text) = collect(&args.scenarios, &mut scripts) {
        return unusable(&text);
    }
    say!("scenarios (hmmu run SCRIPT)");
    for script in &scripts {
        let about = std::fs::read_to_string(script).unwrap_or_default();
        say!(
            "  {:<52} {}",
            script.display().to_string(),
            about_of(&about)
        );
    }
    say!("programs that scenarios start by name (d.launch)");
    for kernel in BUILTINS {
        say!("  {:<14} {}", kernel.name, kernel.args.join(", "));
    }
    say!("workloads (hmmu bench mmu --workload NAME)");
    for workload in WORKLOADS {
        say!("  {:<14} {}", workload.name, workload.about);
    }
    say!("benches (hmmu bench NAME)");
    say!("  {:<14} address translation against an ideal MMU", "mmu");
    say!("  {:<14} copy channels against the link", "copy");
    0
}

fn collect(folder: &Path, scripts: &mut Vec<PathBuf>) -> Result<(), String> {
    let error = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
    let mut inside = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(error)? {
        inside.push(entry.map_err(error)?.path());
    }
    inside.sort();
    for path in inside {
        if path.is_dir() {
            collect(&path, scripts)?;
        } else if path.extension().is_some_and(|ending| ending == "rhai") {
            scripts.push(path);
        }
    }
    Ok(())
}

/// The first sentence of a script's first comment.
fn about_of(text: &str) -> &str {
    let comment = text
        .lines()
        .filter_map(|line| line.strip_prefix("//"))
        .find(|line| !line.starts_with('!'))
        .unwrap_or_default()
        .trim();
    comment.split_once(". ").map_or(comment, |(first, _)| first)
}
