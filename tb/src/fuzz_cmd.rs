//! `hmmu fuzz`.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::{FAILED, unusable};
use crate::fuzz::{Difference, Failure, Program, Shrunk, compare, script, shrink};
use crate::machine::Backend;
use crate::outputs::{writable, write, write_figures};
use crate::schema::Schema;
use crate::{complain, say};

/// Programs that shrinking tries at most.
const SHRINK_TRIES: usize = 3000;

/// Arguments of `hmmu fuzz`.
#[derive(Args, Debug)]
pub struct FuzzArgs {
    /// Operations in all.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    ops: u64,
    /// Operations of one program, each on a machine of its own.
    #[arg(long, value_name = "N", default_value_t = 100)]
    length: u64,
    /// Seed of the first program; the next has the next number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The device: the verilated design or the functional model.
    #[arg(long, value_enum, default_value = "model")]
    backend: Backend,
    /// Programs that run at once; 0 takes all processors.
    #[arg(long, value_name = "N", default_value_t = 0)]
    jobs: usize,
    /// Runs each program on the model and on the verilated design and compares outcomes, faults and dirty pages.
    #[arg(long)]
    compare: bool,
    /// Prints the program of the seed instead of running it.
    #[arg(long)]
    show: bool,
    /// Writes a program that failed, shrunk, as a scenario script.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Writes the figures, and the failure if there is one, to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What all workers share.
struct Work {
    next: AtomicU64,
    done: AtomicU64,
    cycles: AtomicU64,
    failed: Mutex<Option<(u64, Failure)>>,
}

impl FuzzArgs {
    fn program(&self, seed: u64) -> Program {
        if self.compare {
            Program::comparable(seed, self.length as usize)
        } else {
            Program::generate(seed, self.length as usize)
        }
    }

    /// Runs one program; device cycles.
    fn try_one(&self, program: &Program) -> Result<u64, Failure> {
        if self.compare {
            let compared = compare(program, Backend::Model, Backend::Rtl);
            compared.map(|record| record.cycles).map_err(|difference| {
                let at = match &difference {
                    Difference::Failed(_, failure) => failure.at,
                    Difference::Outcome { at, .. } | Difference::Faults { at, .. } => {
                        Some((0, *at))
                    }
                    Difference::Dirty { .. } => None,
                };
                Failure {
                    at,
                    text: difference.to_string(),
                }
            })
        } else {
            program.run(self.backend).map(|record| record.cycles)
        }
    }

    fn jobs(&self) -> usize {
        match self.jobs {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            jobs => jobs,
        }
    }
}

/// Runs the command; the exit status.
#[must_use]
pub fn run(args: &FuzzArgs) -> u8 {
    if cfg!(not(feature = "rtl")) && (args.backend == Backend::Rtl || args.compare) {
        return unusable(crate::machine::NO_RTL);
    }
    if args.ops == 0 || args.length == 0 || args.length > 100_000 {
        return unusable("--ops takes 1 or more, --length 1..=100000");
    }
    for path in args.json.iter().chain(&args.script) {
        if let Err(text) = writable(path) {
            return unusable(&text);
        }
    }
    if args.show {
        say!("{}", args.program(args.seed).to_string().trim_end());
        return 0;
    }
    let programs = args.ops.div_ceil(args.length);
    let start = Instant::now();
    let work = Work {
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        cycles: AtomicU64::new(0),
        failed: Mutex::new(None),
    };
    let bar = progress(programs * args.length);
    std::thread::scope(|scope| {
        for _ in 0..args.jobs().min(programs as usize) {
            scope.spawn(|| worker(args, &work, programs, &bar));
        }
    });
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let failed = work
        .failed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let ops = work.done.load(Ordering::Relaxed);
    let what = if args.compare {
        "model and rtl"
    } else {
        args.backend.name()
    };
    say!(
        "{ops} operations on the {what} in {} programs of seeds {}..={}: {:.1} s, {:.0} operations/s",
        ops / args.length,
        args.seed,
        args.seed + programs - 1,
        seconds,
        ops as f64 / seconds.max(1e-9)
    );
    let shrunk = failed.map(|(seed, failure)| report_failure(args, seed, failure));
    if let Some(path) = &args.json {
        let value = figures(
            args,
            programs,
            ops,
            seconds,
            work.cycles.into_inner(),
            shrunk.as_ref(),
        );
        if let Err(text) = write_figures(Some(path), Schema::FUZZ, || value) {
            return unusable(&text);
        }
    }
    match shrunk {
        None => 0,
        Some(_) => FAILED,
    }
}

fn progress(ops: u64) -> ProgressBar {
    // Draws nothing when standard error is no terminal.
    let bar = ProgressBar::with_draw_target(Some(ops), ProgressDrawTarget::stderr());
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {pos}/{len} operations, {per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn worker(args: &FuzzArgs, work: &Work, programs: u64, bar: &ProgressBar) {
    loop {
        let number = work.next.fetch_add(1, Ordering::Relaxed);
        let stop = || {
            let failed = work.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed
                .as_ref()
                .is_some_and(|(seed, _)| *seed <= args.seed + number)
        };
        if number >= programs || stop() {
            return;
        }
        let seed = args.seed.wrapping_add(number);
        match args.try_one(&args.program(seed)) {
            Ok(cycles) => {
                work.cycles.fetch_add(cycles, Ordering::Relaxed);
                work.done.fetch_add(args.length, Ordering::Relaxed);
                bar.inc(args.length);
            }
            Err(failure) => {
                let mut failed = work.failed.lock().unwrap_or_else(PoisonError::into_inner);
                // The lowest seed counts, whichever worker was faster.
                if failed.as_ref().is_none_or(|(other, _)| seed < *other) {
                    *failed = Some((seed, failure));
                }
            }
        }
    }
}

fn report_failure(args: &FuzzArgs, seed: u64, failure: Failure) -> Shrunk {
    complain!("seed {seed}: {failure}");
    complain!("shrinking...");
    let shrunk = shrink(args.program(seed), failure, SHRINK_TRIES, |program| {
        args.try_one(program).err()
    });
    complain!(
        "{}{}\n({} operations left, {} programs tried; all of it again: hmmu fuzz --seed {seed} --ops {} --length {}{})",
        shrunk.program,
        shrunk.failure,
        shrunk.program.len(),
        shrunk.tried,
        args.length,
        args.length,
        if args.compare {
            " --compare".to_string()
        } else {
            format!(" --backend {}", args.backend.name())
        }
    );
    if let Some(path) = &args.script {
        match script(&shrunk.program) {
            Some(text) => {
                if let Err(text) = write(path, text) {
                    complain!("{text}");
                }
            }
            None => complain!("no script: the program has several threads"),
        }
    }
    shrunk
}

fn figures(
    args: &FuzzArgs,
    programs: u64,
    ops: u64,
    seconds: f64,
    cycles: u64,
    failed: Option<&Shrunk>,
) -> Value {
    json!({
        "backend": if args.compare { "compare" } else { args.backend.name() },
        "first_seed": args.seed,
        "programs": programs,
        "length": args.length,
        "operations": ops,
        "device_cycles": cycles,
        "wall_seconds": seconds,
        "operations_per_second": ops as f64 / seconds.max(1e-9),
        "passed": failed.is_none(),
        "failure": failed.map(|shrunk| json!({
            "seed": shrunk.program.seed,
            "text": shrunk.failure.to_string(),
            "program": shrunk.program.to_string().lines().collect::<Vec<_>>(),
        })),
    })
}
