//! What it costs to harvest the accessed bits of a table.

use hmmu_regs::{CtrlEntry, CtrlOp, Pte};

use super::host::{BareHost, BenchError};
use super::measure::VRAM_BYTES;
use super::tables::VRAM;
use crate::machine::MachineConfig;

/// Entries of a table.
const ENTRIES: u64 = 512;
/// Where the table and the result are in device memory.
const TABLE: u64 = 0x1_0000;
const RESULT: u64 = 0x2_0000;
/// Bit of HarvestBits' arg1.
const CLEAR: u64 = 1 << 16;
/// No harvest takes longer.
const PATIENCE: u64 = 1_000_000;

/// Cycles of the command for each page of 4 KiB of a table in device memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HarvestFigures {
    /// No page was accessed.
    pub none: f64,
    /// All were.
    pub all: f64,
}

impl HarvestFigures {
    /// Measures.
    ///
    /// # Errors
    /// No device, or a result that is wrong.
    pub fn measure(config: &MachineConfig) -> Result<Self, BenchError> {
        let config = MachineConfig {
            vram: VRAM_BYTES,
            ..config.clone()
        };
        Ok(Self {
            none: per_page(&config, false)?,
            all: per_page(&config, true)?,
        })
    }
}

fn per_page(config: &MachineConfig, accessed: bool) -> Result<f64, BenchError> {
    let mut host = BareHost::new(config)?;
    let entry = |i: u64| {
        let leaf = Pte::default().with_v(1).with_u(1).with_r(1).with_ppn(i);
        leaf.with_a(u64::from(accessed)).to_bytes()
    };
    let table: Vec<u8> = (0..ENTRIES).flat_map(entry).collect();
    host.poke(TABLE, &table);
    let command = CtrlEntry::default()
        .with_arg0(VRAM | TABLE)
        .with_arg2(VRAM | RESULT);
    // While the first one looks only, the second is fetched: from one end to the other is what the second takes.
    let look = command.with_arg1(ENTRIES);
    let clear = command.with_arg1(ENTRIES | CLEAR);
    let first = host.command(look, CtrlOp::HarvestBits)?;
    let second = host.command(clear, CtrlOp::HarvestBits)?;
    host.wait(second, PATIENCE)?;
    let cycles = host.stamp(second) - host.stamp(first);
    let mut map = [0; 64];
    host.peek(RESULT, &mut map);
    let mut left = vec![0; table.len()];
    host.peek(TABLE, &mut left);
    let cleared = left
        .chunks_exact(8)
        .all(|raw| raw.first().is_some_and(|byte| byte >> 6 & 1 == 0));
    if map != [if accessed { 0xff } else { 0 }; 64] || !cleared {
        return Err(BenchError::Failed(
            "the harvest's result is wrong".to_string(),
        ));
    }
    Ok(cycles as f64 / ENTRIES as f64)
}
