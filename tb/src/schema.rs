//! The forms of the files that `--json` writes. docs/results.md has their keys.

use serde_json::{Value, json};

use crate::machine::MachineConfig;

/// Name and version of a form. Another key leaves the version as it is; a key that goes, or that means something else,
/// makes a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Whose figures they are.
    pub name: &'static str,
    /// Which form of them.
    pub version: u32,
}

impl Schema {
    /// `hmmu run`.
    pub const RUN: Self = Self::first("hmmu-run");
    /// `hmmu graph`.
    pub const GRAPH: Self = Self::first("hmmu-graph");
    /// `hmmu kernel`.
    pub const KERNEL: Self = Self::first("hmmu-kernel");
    /// `hmmu explore`.
    pub const EXPLORE: Self = Self::first("hmmu-explore");
    /// `hmmu fuzz`.
    pub const FUZZ: Self = Self::first("hmmu-fuzz");
    /// `hmmu bench mmu`.
    pub const BENCH_MMU: Self = Self::first("hmmu-bench-mmu");
    /// `hmmu bench copy`.
    pub const BENCH_COPY: Self = Self::first("hmmu-bench-copy");

    const fn first(name: &'static str) -> Self {
        Self { name, version: 1 }
    }

    /// These figures, with the key `schema` that says what they are.
    #[must_use]
    pub fn mark(self, mut figures: Value) -> Value {
        figures["schema"] = json!({ "name": self.name, "version": self.version });
        figures
    }
}

/// Name and version of the form that figures say they have.
#[must_use]
pub fn told(figures: &Value) -> Option<(&str, u64)> {
    let schema = &figures["schema"];
    schema["name"].as_str().zip(schema["version"].as_u64())
}

/// A machine's choices.
#[must_use]
pub fn machine(machine: &MachineConfig) -> Value {
    json!({
        "backend": machine.backend.name(),
        "devices": machine.devices,
        "coherent": machine.coherent,
        "vram_bytes": machine.vram,
        "ram_bytes": machine.ram,
        "clock_hz": machine.clock_hz,
        "link": machine.link.to_string(),
        "link_bytes_per_cycle": link_rate(machine),
        "link_latency_ns": machine.link_latency_ns,
        "mps_bytes": machine.pcie.mps,
        "mrrs_bytes": machine.pcie.mrrs,
        "memory_latency_ns": machine.memory_latency_ns,
        "vram_latency_cycles": machine.vram_latency,
        "slice_cycles": machine.slice,
    })
}

/// Bytes a cycle that one direction of all its links carries.
#[must_use]
pub fn link_rate(machine: &MachineConfig) -> f64 {
    machine.link.bytes_per_second() as f64 * machine.devices as f64 / machine.clock_hz as f64
}

/// The command line of this process, for a shell, with the seed in it.
#[must_use]
pub fn command(seed: u64) -> String {
    let mut words: Vec<String> = std::env::args().skip(1).map(|word| quoted(&word)).collect();
    if !words.iter().any(|word| word.starts_with("--seed")) {
        words.extend(["--seed".to_string(), seed.to_string()]);
    }
    format!("hmmu {}", words.join(" "))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("--json=a/b.json"), "--json=a/b.json");
        assert_eq!(quoted("my script.rhai"), "'my script.rhai'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn figures_say_what_they_are() {
        let marked = Schema::RUN.mark(json!({ "cycles": 1 }));
        assert_eq!(
            marked["schema"],
            json!({ "name": "hmmu-run", "version": 1 })
        );
        assert_eq!(marked["cycles"], 1);
        assert_eq!(told(&marked), Some(("hmmu-run", 1)));
        assert_eq!(told(&json!({ "cycles": 1 })), None);
    }
}
