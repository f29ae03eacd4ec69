//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::{Shell, generate};

use crate::complain;
use crate::machine::{Backend, MAX_CYCLES, MachineConfig};
use crate::wave::WaveArgs;
use crate::{
    bench_cmd, compare_cmd, doctor_cmd, examples, explain_cmd, explore_cmd, fuzz_cmd, graph_cmd,
    kernel_cmd, list_cmd, run_cmd,
};

/// Exit status of a failed check.
pub const FAILED: u8 = 1;
/// Exit status of input that cannot be used.
pub const UNUSABLE: u8 = 2;

/// A heterogeneous-memory device, its driver and its host, simulated.
#[derive(Parser, Debug)]
#[command(name = "hmmu", version, about, after_help = examples::HMMU)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs scenario scripts (files, or all *.rhai files of folders).
    #[command(after_help = examples::RUN)]
    Run(run_cmd::RunArgs),
    /// Runs scenario scripts under many schedules, until one fails; shrinks its schedule.
    #[command(after_help = examples::EXPLORE)]
    Explore(explore_cmd::ExploreArgs),
    /// Walks a graph on the device: BFS over linked heap nodes, checked against a CPU's.
    #[command(after_help = examples::GRAPH)]
    Graph(graph_cmd::GraphArgs),
    /// Runs a program out of an ELF file on the device.
    Kernel(kernel_cmd::KernelArgs),
    /// Runs random programs of process and device operations and compares every byte with plain memory.
    #[command(after_help = examples::FUZZ)]
    Fuzz(fuzz_cmd::FuzzArgs),
    /// Measures parts of the device.
    #[command(after_help = examples::BENCH)]
    Bench(bench_cmd::BenchArgs),
    /// Tells what an event log says: faults by stage, the slowest, invalidations, pages that go to and fro.
    #[command(after_help = examples::EXPLAIN)]
    Explain(explain_cmd::ExplainArgs),
    /// Sets the figures of two runs side by side (files that --json wrote).
    #[command(after_help = examples::COMPARE)]
    Compare(compare_cmd::CompareArgs),
    /// Lists scenarios, device programs, workloads and benches.
    #[command(after_help = examples::LIST)]
    List(list_cmd::ListArgs),
    /// Looks for everything that building and using hmmu takes, and says how to mend what is missing.
    #[command(after_help = examples::DOCTOR)]
    Doctor(doctor_cmd::DoctorArgs),
    /// Writes a completion script for a shell to standard output.
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// Options of every command that runs a machine.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// The device: the verilated design or the functional model.
    #[arg(long, value_enum, default_value = "rtl")]
    pub backend: Backend,
    /// Seed of the interleaving of host threads and of all latencies.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Writes every figure to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes the event log to this file.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Writes a timeline to this file, a trace for ui.perfetto.dev: host threads, faults with their stages, walks.
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Writes a report to this file, one page of HTML for a browser or paper: faults by stage, where pages lived over
    /// time, how busy the link was, hit rates, the machine. `--report run.html`
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Ends the run with an error after this many device cycles.
    #[arg(long, value_name = "N", default_value_t = MAX_CYCLES)]
    pub max_cycles: u64,
    /// Waves.
    #[command(flatten)]
    pub waves: WaveArgs,
}

impl Common {
    /// The machine that these options ask for.
    #[must_use]
    pub fn machine(&self) -> MachineConfig {
        MachineConfig {
            max_cycles: self.max_cycles,
            ..MachineConfig::new(self.backend, self.seed)
        }
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    // Clap's own errors end with status 2, its help with 0.
    let cli = Cli::parse();
    let status = match cli.command {
        Command::Run(args) => run_cmd::run(&args),
        Command::Explore(args) => explore_cmd::run(&args),
        Command::Graph(args) => graph_cmd::run(&args),
        Command::Kernel(args) => kernel_cmd::run(&args),
        Command::Fuzz(args) => fuzz_cmd::run(&args),
        Command::Bench(args) => bench_cmd::run(&args),
        Command::Explain(args) => explain_cmd::run(&args),
        Command::Compare(args) => compare_cmd::run(&args),
        Command::List(args) => list_cmd::run(&args),
        Command::Doctor(args) => doctor_cmd::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            generate(shell, &mut Cli::command(), "hmmu", &mut script);
            crate::out::line(String::from_utf8_lossy(&script).trim_end());
            0
        }
    };
    ExitCode::from(status)
}

/// Says why input cannot be used; the exit status.
pub fn unusable(text: &str) -> u8 {
    complain!("hmmu: {text}");
    UNUSABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_examples_that_parse() {
        let mut command = Cli::command();
        command.build();
        let mut helps = vec![command.clone().render_long_help().to_string()];
        for sub in command.get_subcommands_mut() {
            let help = sub.render_long_help().to_string();
            assert!(
                help.contains("Examples:\n") || sub.get_name() == "help",
                "hmmu {} has no examples",
                sub.get_name()
            );
            helps.push(help);
        }
        let examples = helps
            .iter()
            .flat_map(|help| help.lines())
            .filter_map(|line| line.strip_prefix("  hmmu "));
        let mut count = 0;
        for example in examples {
            // What an example is for stands behind some spaces.
            let words = example.split("  ").next().unwrap_or_default();
            let parsed = Cli::try_parse_from(["hmmu"].into_iter().chain(words.split(' ')));
            assert!(parsed.is_ok(), "hmmu {words}: {}", parsed.unwrap_err());
            count += 1;
        }
        assert!(count > 20, "{count} examples");
    }
}
