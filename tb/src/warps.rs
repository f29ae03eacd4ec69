//! What the compute units' warps do, for a job that does not end.

use hmmu_regs::{WarpState, reg};

use crate::machine::{Machine, hardware};

/// One line a warp of every device that is not idle: what it does or waits for, where, for which context and job slot.
#[must_use]
pub fn report(machine: &std::sync::Arc<Machine>) -> String {
    let devices = machine.config().devices;
    let mut lines = Vec::new();
    for device in 0..devices {
        if devices > 1 {
            lines.push(format!("device {device}:"));
        }
        let bar = hardware(machine, device).bar;
        let caps = match bar.read(reg::CAPS) {
            Err(error) => {
                lines.push(error.to_string());
                continue;
            }
            Ok(caps) => caps.to_le_bytes(),
        };
        let mut idle = 0;
        for warp in 0..u64::from(caps[0]) * u64::from(caps[1]) {
            match bar.read(reg::WARP_STATE + 8 * warp) {
                Err(error) => lines.push(format!("warp {warp}: {error}")),
                Ok(word) if word >> 48 & 0xf == WarpState::Idle as u64 => idle += 1,
                Ok(word) => lines.push(describe(warp, word)),
            }
        }
        if idle > 0 {
            lines.push(format!("{idle} warps are idle"));
        }
    }
    lines.join("\n")
}

fn describe(warp: u64, word: u64) -> String {
    let Some(state) = WarpState::from_raw(word >> 48 & 0xf) else {
        return format!("warp {warp}: unknown state {word:#x}");
    };
    let doing = match state {
        WarpState::Idle => "is idle",
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
