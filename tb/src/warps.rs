//! What the compute unit's warps do, for a job that does not end.

use hmmu_regs::{WarpState, reg};

use crate::machine::{Machine, hardware};

/// Hardware warps of the compute unit.
const WARPS: u64 = 8;

/// One line a warp of every device: what it does or waits for, where, for which context and job slot.
#[must_use]
pub fn report(machine: &std::sync::Arc<Machine>) -> String {
    let devices = machine.config().devices;
    let mut lines = Vec::new();
    for device in 0..devices {
        if devices > 1 {
            lines.push(format!("device {device}:"));
        }
        let bar = hardware(machine, device).bar;
        for warp in 0..WARPS {
            let line = match bar.read(reg::WARP_STATE + 8 * warp) {
                Err(error) => format!("warp {warp}: {error}"),
                Ok(word) => describe(warp, word),
            };
            lines.push(line);
        }
    }
    lines.join("\n")
}

fn describe(warp: u64, word: u64) -> String {
    let Some(state) = WarpState::from_raw(word >> 48 & 0xf) else {
        return format!("warp {warp}: unknown state {word:#x}");
    };
    let doing = match state {
        WarpState::Idle => return format!("warp {warp}: idle"),
        WarpState::Fetch => "waits for its turn or its instruction",
        WarpState::FetchMiss => "waits for the translation of its program counter",
        WarpState::Decode | WarpState::Execute => "runs",
        WarpState::Translate => "looks up a data address",
        WarpState::DataMiss => "waits for a data translation (a walk or a fault)",
        WarpState::Memory => "waits for its memory access",
        WarpState::Report => "reports its end",
        WarpState::Held => "is held: its job is suspended",
    };
    // Bit 47 of an address is its sign.
    let pc = ((word << 16) as i64 >> 16) as u64;
    let (ctx, slot) = (word >> 52 & 0xf, word >> 56 & 0xf);
    format!(
        "warp {warp}: {doing} at pc {pc:#x}, context {ctx}, job slot {slot} ({})",
        state.name()
    )
}
