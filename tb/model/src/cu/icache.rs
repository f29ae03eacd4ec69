//! The instruction cache: direct mapped, tagged with context and virtual address. It is modelled so that a program
//! that writes code without FENCE.I, or a host that replaces code without an invalidation, runs the old code here
//! as it does on the RTL.

/// Bytes of a line.
pub(crate) const LINE_BYTES: usize = 16;
const LINES: usize = 128;

#[derive(Clone, Copy)]
struct Line {
    ctx: u8,
    /// Virtual address of its first byte.
    addr: u64,
    data: [u8; LINE_BYTES],
}

pub(crate) struct ICache {
    lines: Vec<Option<Line>>,
}

fn index(addr: u64) -> usize {
    (addr as usize / LINE_BYTES) % LINES
}

impl ICache {
    pub(crate) fn new() -> Self {
        Self {
            lines: vec![None; LINES],
        }
    }

    /// The instruction at `addr` (a multiple of 4), if it is held.
    pub(crate) fn find(&self, ctx: u8, addr: u64) -> Option<u32> {
        let first = addr & !(LINE_BYTES as u64 - 1);
        let line = self.lines[index(addr)].as_ref()?;
        if line.ctx != ctx || line.addr != first {
            return None;
        }
        let at = (addr - first) as usize;
        let mut word = [0; 4];
        word.copy_from_slice(&line.data[at..at + 4]);
        Some(u32::from_le_bytes(word))
    }

    /// Holds the line at `addr`, a multiple of its size.
    pub(crate) fn fill(&mut self, ctx: u8, addr: u64, data: [u8; LINE_BYTES]) {
        self.lines[index(addr)] = Some(Line { ctx, addr, data });
    }

    /// FENCE.I.
    pub(crate) fn flush(&mut self) {
        self.lines.fill(None);
    }

    /// Translations of the pages lo..=hi of a context were dropped.
    pub(crate) fn drop_range(&mut self, ctx: u8, lo: u64, hi: u64) {
        for line in &mut self.lines {
            if line.is_some_and(|l| l.ctx == ctx && (lo..=hi).contains(&crate::addr::vpn(l.addr))) {
                *line = None;
            }
        }
    }
}
