//! The device of this build: what it holds, and whether it answers.

use hmm_core::sync;

use super::Check;
use crate::bench::{BareHost, BenchError};
use crate::kernel::{KernelArg, KernelPlan, run};
use crate::kernels;
use crate::machine::{Backend, MachineConfig};
use crate::placement::Placement;
use crate::session::RunError;
use crate::world::Outputs;

/// Device cycles that the program below takes at most; some thousands are usual.
const LIMIT: u64 = 1_000_000;

/// What the register CAPS says, and a program that runs.
pub fn checks(backend: Backend) -> [Check; 2] {
    let machine = MachineConfig {
        max_cycles: LIMIT,
        ..MachineConfig::new(backend, 1)
    };
    let mend =
        "build hmmu again (cargo build --release -p hmmu); a device that was changed: make test";
    [
        Check {
            name: "device",
            purpose: "what this build simulates",
            needed: true,
            found: holds(&machine),
            mend: mend.into(),
        },
        Check {
            name: "run",
            purpose: "a program on the device adds to a page of a process, through driver and link",
            needed: true,
            found: adds(&machine),
            mend: mend.into(),
        },
    ]
}

fn holds(machine: &MachineConfig) -> Result<String, String> {
    let host = BareHost::new(machine).map_err(|error| match error {
        BenchError::Unusable(text) | BenchError::Failed(text) => text,
    })?;
    let caps = host.caps();
    Ok(format!(
        "{}: {} compute units of {} warps, {} walks and {} faults at once, {} copy channels, L2 TLB of {} sets; link \
         {}, {} MiB of device memory",
        machine.backend.name(),
        caps.units,
        caps.warps,
        caps.walkers,
        caps.faults,
        caps.channels,
        caps.l2_sets,
        machine.link,
        machine.vram >> 20
    ))
}

fn adds(machine: &MachineConfig) -> Result<String, String> {
    let plan = KernelPlan {
        machine: machine.clone(),
        outputs: Outputs::default(),
        placement: Placement::Migrate,
        program: kernels::fetch_add(8).map_err(|error| error.to_string())?,
        threads: 1,
        args: vec![KernelArg::Zero(8), KernelArg::Number(42)],
        files: Vec::new(),
        read_back: vec![0],
    };
    let ran = sync::run(machine.seed, move || run(&plan));
    let figures = match ran {
        Ok(Ok(figures)) => figures,
        Ok(Err(RunError::Unusable(text) | RunError::Failed(text))) | Err(text) => return Err(text),
    };
    let word = figures.memory.first().map(Vec::as_slice);
    if figures.result != 0 || word != Some(&42_u64.to_le_bytes()[..]) {
        return Err(format!(
            "0 + 42 in a page of a process gave {word:?}, the old value as {}",
            figures.result
        ));
    }
    Ok(format!(
        "0 + 42 is right; {} cycles, {} faults, {} page migrated",
        figures.cycles,
        figures.stats.get("faults"),
        figures.stats.get("driver_pages_to_device")
    ))
}
