//! The run of one program.

use std::path::PathBuf;
use std::sync::Arc;

use hmm_core::{Mm, MmapOptions, Prot, Va};
use hmmu_driver::{DeviceConfig, Program};

use super::KernelArg;
use crate::cpu_memory::{load_bytes, store_bytes};
use crate::machine::MachineConfig;
use crate::placement::Placement;
use crate::progress;
use crate::rc::LinkBytes;
use crate::session::{RunError, Stats, close, failed, measured};
use crate::world::{Outputs, World};

/// Everything that a run is made of.
#[derive(Clone, Debug)]
pub struct KernelPlan {
    /// The machine.
    pub machine: MachineConfig,
    /// Files to write.
    pub outputs: Outputs,
    /// The driver's policy.
    pub placement: Placement,
    /// What the device runs.
    pub program: Program,
    /// Its threads.
    pub threads: u32,
    /// Its arguments.
    pub args: Vec<KernelArg>,
    /// The bytes of those that are files, by their numbers.
    pub files: Vec<(usize, Vec<u8>)>,
    /// Arguments whose memory is read back, by their numbers.
    pub read_back: Vec<usize>,
}

/// What came of it. Times are device cycles.
#[derive(Clone, Debug, Default)]
pub struct KernelFigures {
    /// The arguments as the program saw them.
    pub words: Vec<u64>,
    /// The smallest result of its threads, unsigned.
    pub result: u64,
    /// From the launch to the end of the job.
    pub cycles: u64,
    /// From reset to the end.
    pub total_cycles: u64,
    /// Over the link while the job ran.
    pub link: LinkBytes,
    /// What the device and the driver counted while it ran.
    pub stats: Stats,
    /// The memory that was asked for, in that order, as the process's CPU reads it.
    pub memory: Vec<Vec<u8>>,
    /// Events in the log.
    pub events: u64,
    /// Their hash.
    pub log_hash: u64,
}

/// Runs a program as a process of its own would. Must be called in a run of hmm-core's scheduler.
///
/// # Errors
/// No machine; no memory; a job that failed.
pub fn run(plan: &KernelPlan) -> Result<KernelFigures, RunError> {
    let driver = DeviceConfig {
        policy: plan.placement.policy(),
        ..DeviceConfig::default()
    };
    let made = World::new(plan.machine.clone(), &plan.outputs, driver);
    let world = made.map_err(RunError::Unusable)?;
    let result = work(&world, plan);
    close(&world, result)
}

/// Memory of an argument.
struct Memory {
    number: usize,
    start: Va,
    bytes: u64,
}

fn work(world: &World, plan: &KernelPlan) -> Result<KernelFigures, RunError> {
    let mm = world.process();
    let (words, memory) = place(&mm, plan)?;
    let context = world
        .open(0, &mm)
        .map_err(|e| failed("opening the device")(&e))?;
    let (result, ran) = measured(world, || {
        let job = context
            .launch(&plan.program, &words, plan.threads)
            .map_err(|e| failed("the launch")(&e))?;
        progress::wait(world, &job, "kernel").map_err(|e| failed("the job")(&e))
    })?;
    let mut read = Vec::new();
    for &number in &plan.read_back {
        let found = memory.iter().find(|memory| memory.number == number);
        let found = found.ok_or_else(|| {
            RunError::Unusable(format!("argument {number} is a number, it has no memory"))
        })?;
        read.push(read_back(&mm, found)?);
    }
    world.system.check_invariants().map_err(RunError::Failed)?;
    Ok(KernelFigures {
        words,
        result,
        cycles: ran.cycles,
        total_cycles: world.machine.now(),
        link: ran.link,
        stats: ran.stats,
        memory: read,
        events: world.machine.log().events(),
        log_hash: world.machine.log().hash(),
    })
}

/// Maps and fills the arguments' memory; the words that the program gets.
fn place(mm: &Arc<Mm>, plan: &KernelPlan) -> Result<(Vec<u64>, Vec<Memory>), RunError> {
    let mut words = Vec::new();
    let mut memory = Vec::new();
    for (number, arg) in plan.args.iter().enumerate() {
        let file = plan.files.iter().find(|(of, _)| *of == number);
        let bytes = match arg {
            KernelArg::Number(word) => {
                words.push(*word);
                continue;
            }
            KernelArg::Zero(bytes) => *bytes,
            KernelArg::File(_) => file.map_or(0, |(_, bytes)| bytes.len() as u64),
        };
        let what = format!("memory for argument {number}");
        let start = mm
            .mmap(
                bytes.max(1).next_multiple_of(4096),
                Prot::READ_WRITE,
                MmapOptions::default(),
            )
            .map_err(|e| failed(&what)(&e))?;
        if let Some((_, data)) = file {
            store_bytes(mm, start, data).map_err(|e| failed(&what)(&e))?;
        }
        words.push(start.0);
        memory.push(Memory {
            number,
            start,
            bytes,
        });
    }
    Ok((words, memory))
}

fn read_back(mm: &Arc<Mm>, memory: &Memory) -> Result<Vec<u8>, RunError> {
    let what = format!("reading the memory of argument {}", memory.number);
    let mut bytes = vec![0; memory.bytes as usize];
    load_bytes(mm, memory.start, &mut bytes).map_err(|e| failed(&what)(&e))?;
    Ok(bytes)
}

impl KernelPlan {
    /// Bytes of system memory that the arguments take.
    #[must_use]
    pub fn bytes(args: &[KernelArg], files: &[(usize, Vec<u8>)]) -> u64 {
        let zero = args.iter().map(|arg| match arg {
            KernelArg::Zero(bytes) => *bytes,
            KernelArg::Number(_) | KernelArg::File(_) => 0,
        });
        let files = files.iter().map(|(_, bytes)| bytes.len() as u64);
        zero.chain(files).fold(0, |sum, bytes| {
            sum.saturating_add(bytes.saturating_add(4096))
        })
    }

    /// The files that are arguments.
    #[must_use]
    pub fn named_files(args: &[KernelArg]) -> Vec<(usize, PathBuf)> {
        let file = |(number, arg): (usize, &KernelArg)| match arg {
            KernelArg::File(path) => Some((number, path.clone())),
            KernelArg::Number(_) | KernelArg::Zero(_) => None,
        };
        args.iter().enumerate().filter_map(file).collect()
    }
}
