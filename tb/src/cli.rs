//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::{Shell, generate};

use crate::complain;
use crate::machine::{Backend, MAX_CYCLES, MachineConfig};
use crate::{
    bench_cmd, compare_cmd, explain_cmd, explore_cmd, fuzz_cmd, graph_cmd, kernel_cmd, list_cmd,
    run_cmd,
};

/// Exit status of a failed check.
pub const FAILED: u8 = 1;
/// Exit status of input that cannot be used.
pub const UNUSABLE: u8 = 2;

/// A heterogeneous-memory device, its driver and its host, simulated.
#[derive(Parser, Debug)]
#[command(name = "hmmu", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs scenario scripts (files, or all *.rhai files of folders).
    Run(run_cmd::RunArgs),
    /// Runs scenario scripts under many schedules, until one fails; shrinks its schedule.
    Explore(explore_cmd::ExploreArgs),
    /// Walks a graph on the device: BFS over linked heap nodes, checked against a CPU's.
    Graph(graph_cmd::GraphArgs),
    /// Runs a program out of an ELF file on the device.
    Kernel(kernel_cmd::KernelArgs),
    /// Runs random programs of process and device operations and compares every byte with plain memory.
    Fuzz(fuzz_cmd::FuzzArgs),
    /// Measures parts of the device.
    Bench(bench_cmd::BenchArgs),
    /// Tells what an event log says: faults by stage, the slowest, invalidations, pages that go to and fro.
    Explain(explain_cmd::ExplainArgs),
    /// Sets the figures of two runs side by side (files that --json wrote).
    Compare(compare_cmd::CompareArgs),
    /// Lists scenarios, device programs, workloads and benches.
    List(list_cmd::ListArgs),
    /// Writes a completion script for a shell to standard output.
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
    /// Writes waves to this file, FILE.fst or FILE.vcd.
    #[arg(long, value_name = "FILE")]
    pub wave: Option<PathBuf>,
    /// Writes a timeline to this file, a trace for ui.perfetto.dev: host threads, faults with their stages, walks.
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Ends the run with an error after this many device cycles.
    #[arg(long, value_name = "N", default_value_t = MAX_CYCLES)]
    pub max_cycles: u64,
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
