//! `hmmu kernel`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use hmm_core::sync;
use serde_json::{Value, json};

use crate::cli::{Common, FAILED, unusable};
use crate::elf;
use crate::kernel::{KernelArg, KernelFigures, KernelPlan, SaveArg, run as run_plan};
use crate::machine_args::MachineArgs;
use crate::outputs::{self, writable, write_run};
use crate::schema::{Schema, command};
use crate::session::RunError;
use crate::summary::{link_line, machine_line, stats_json, translation_line};
use crate::trail::{Told, Trail};
use crate::wave::WaveFile;
use crate::world::Outputs;
use crate::{complain, say};

/// Most system memory for arguments, bytes.
const MOST_MEMORY: u64 = 1 << 32;

/// Arguments of `hmmu kernel`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  hmmu kernel sum.elf zero:64K 8192 --threads 32
  hmmu kernel blur.elf file:in.raw zero:1M 1024 --save 1=out.raw

A thread starts at the file's entry point with a0 = address of the arguments (64-bit words), a1 = its index,
a2 = threads and a stack; it ends with ECALL, its result in a0. Build with, for instance,
  clang --target=riscv64 -march=rv64ima -mabi=lp64 -O2 -fpie -fuse-ld=lld -nostdlib -static \\
    -Wl,-pie,--no-dynamic-linker -o kernel.elf kernel.c
  riscv64-linux-gnu-gcc -march=rv64ima -mabi=lp64 -O2 -fpie -nostdlib -static \\
    -Wl,-pie,--no-dynamic-linker -o kernel.elf kernel.c")]
pub struct KernelArgs {
    /// A static position-independent RV64IMA executable.
    #[arg(value_name = "FILE.elf")]
    file: PathBuf,
    /// Its arguments: a number, zero:SIZE (the address of zeroed memory), file:PATH (of a file's bytes).
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    args: Vec<KernelArg>,
    /// Threads of the job.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    threads: u32,
    /// Writes the memory of argument N (from 0) to a file after the run.
    #[arg(long, value_name = "N=FILE")]
    save: Vec<SaveArg>,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    common: Common,
}

/// Runs a program; the exit status.
#[must_use]
pub fn run(args: &KernelArgs) -> u8 {
    let (mut plan, wave) = match plan(args) {
        Ok(plan) => plan,
        Err(text) => return unusable(&text),
    };
    let seed = plan.machine.seed;
    let run = |outputs: &Outputs| {
        let job = KernelPlan {
            outputs: outputs.clone(),
            ..plan.clone()
        };
        sync::run(seed, move || run_plan(&job)).unwrap_or_else(|text| Err(RunError::Failed(text)))
    };
    let mut outputs = plan.outputs.clone();
    args.common.waves.aim(wave.as_ref(), &mut outputs, |first| {
        // How it ends, the second run tells.
        let _ = run(first);
    });
    let start = Instant::now();
    let result = run(&outputs);
    plan.outputs = outputs;
    let wall = start.elapsed().as_secs_f64();
    // The wave is worth most when the run failed.
    let recording = plan.outputs.wave.as_ref();
    let waved = wave.as_ref().map_or(Ok(()), |wave| wave.finish(recording));
    let figures = match result {
        Ok(figures) => figures,
        Err(RunError::Unusable(text)) => return unusable(&text),
        Err(RunError::Failed(text)) => {
            complain!("hmmu: {}: {text} (seed {seed})", args.file.display());
            return FAILED;
        }
    };
    print(args, &plan, &figures, wall);
    match waved.and_then(|()| write(args, &plan, &figures, wall)) {
        Ok(()) => 0,
        Err(text) => unusable(&text),
    }
}

fn plan(args: &KernelArgs) -> Result<(KernelPlan, Option<WaveFile>), String> {
    let program =
        elf::load(&read(&args.file)?).map_err(|e| format!("{}: {e}", args.file.display()))?;
    for save in &args.save {
        if matches!(
            args.args.get(save.number),
            None | Some(KernelArg::Number(_))
        ) {
            let (number, file) = (save.number, save.file.display());
            return Err(format!(
                "--save {number}={file}: argument {number} (from 0) has no memory"
            ));
        }
    }
    let mut files = Vec::new();
    for (number, path) in KernelPlan::named_files(&args.args) {
        files.push((number, read(&path)?));
    }
    let bytes = KernelPlan::bytes(&args.args, &files);
    if bytes > MOST_MEMORY {
        return Err(format!(
            "{bytes} bytes of memory for arguments: at most {MOST_MEMORY}"
        ));
    }
    // As much again to spare.
    let machine = args.machine.machine(&args.common, 2 * bytes)?;
    for save in &args.save {
        writable(&save.file)?;
    }
    let (outputs, wave) = outputs::outputs(&args.common)?;
    let plan = KernelPlan {
        machine,
        outputs,
        placement: args.machine.policy,
        program,
        threads: args.threads,
        args: args.args.clone(),
        files,
        read_back: args.save.iter().map(|save| save.number).collect(),
    };
    Ok((plan, wave))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn print(args: &KernelArgs, plan: &KernelPlan, figures: &KernelFigures, wall: f64) {
    let (machine, stats) = (&plan.machine, &figures.stats);
    let words: Vec<String> = figures.words.iter().map(|w| format!("{w:#x}")).collect();
    say!(
        "kernel       {}: {} bytes, {} threads, arguments [{}]",
        args.file.display(),
        plan.program.code.len(),
        plan.threads,
        words.join(", ")
    );
    machine_line(machine, plan.placement);
    say!(
        "cycles       {} ({:.1} us at {} MHz), {} instructions",
        figures.cycles,
        figures.cycles as f64 * 1e6 / machine.clock_hz as f64,
        machine.clock_hz / 1_000_000,
        stats.get("instructions")
    );
    say!(
        "faults       {} by the device, served in {} rounds; {} pages migrated to it",
        stats.get("faults"),
        stats.get("driver_rounds"),
        stats.get("driver_pages_to_device")
    );
    link_line(figures.link);
    translation_line(stats);
    for (save, bytes) in args.save.iter().zip(&figures.memory) {
        say!(
            "saved        argument {}: {} bytes to {}",
            save.number,
            bytes.len(),
            save.file.display()
        );
    }
    say!(
        "simulated    {} cycles in {wall:.2} s of wall time",
        figures.total_cycles
    );
    say!("result       {} ({:#x})", figures.result, figures.result);
}

fn write(
    args: &KernelArgs,
    plan: &KernelPlan,
    figures: &KernelFigures,
    wall: f64,
) -> Result<(), String> {
    for (save, bytes) in args.save.iter().zip(&figures.memory) {
        outputs::write(&save.file, bytes)?;
    }
    let told = plan.outputs.trail.as_ref().map(Trail::take);
    let told = told.map(Told::from).unwrap_or_default();
    let mut all = json(args, plan, figures, wall);
    all["config"] = told.config;
    all["explained"] = told.explained;
    let title = args.file.display().to_string();
    write_run(
        &args.common,
        Schema::KERNEL,
        all,
        (&title, "", &told.events),
    )
}

fn json(args: &KernelArgs, plan: &KernelPlan, figures: &KernelFigures, wall: f64) -> Value {
    let machine = &plan.machine;
    json!({
        "kernel": args.file.display().to_string(),
        "threads": plan.threads,
        "arguments": figures.words,
        "result": figures.result,
        "backend": machine.backend.name(),
        "link": machine.link.to_string(),
        "vram_bytes": machine.vram,
        "policy": plan.placement.name(),
        "seed": machine.seed,
        "cycles": figures.cycles,
        "total_cycles": figures.total_cycles,
        "clock_hz": machine.clock_hz,
        "link_bytes_to_device": figures.link.to_device,
        "link_bytes_to_host": figures.link.to_host,
        "events": figures.events,
        "log_hash": format!("{:016x}", figures.log_hash),
        "stats": stats_json(&figures.stats),
        "command": command(machine.seed),
        "wall_seconds": wall,
    })
}
