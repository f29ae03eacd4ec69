//! Random descriptors, and lists of segments.

use hmmu_regs::CopyEntry;
use rand::Rng;

use super::bench::{AREA, Bench, CONTEXTS, LIST_BYTES, LISTS};
use super::plan::segment;
use crate::queue::chance;
use crate::queue::memory::{PAGE, VRAM};

impl Bench {
    /// A random descriptor for a channel: linear, with rows, or a list.
    pub fn random_entry(&mut self, chan: usize) -> CopyEntry {
        let [src_va, dst_va] = [50, 50].map(|p| chance(&mut self.rng, p));
        let list = chance(&mut self.rng, 25);
        let fill = chance(&mut self.rng, 15) && !list;
        let entry = CopyEntry::default()
            .with_version(1)
            .with_op(if list {
                3
            } else if fill {
                2
            } else {
                1
            })
            .with_irq(u64::from(chance(&mut self.rng, 50)))
            .with_src_va(u64::from(src_va))
            .with_dst_va(u64::from(dst_va))
            .with_ctx(CONTEXTS[self.rng.random_range(0..2)]);
        if list {
            let count = self.rng.random_range(0..12);
            let segments: Vec<[u64; 4]> = (0..count)
                .map(|_| {
                    let fill = chance(&mut self.rng, 20);
                    self.random_segment(chan, src_va, dst_va, fill, AREA * PAGE / 4)
                })
                .collect();
            return self.list(entry, &segments);
        }
        let words = self.random_segment(chan, src_va, dst_va, fill, AREA * PAGE);
        CopyEntry([
            entry.0[0],
            words[0],
            words[1],
            words[2] & !(1 << 63),
            words[3],
            0,
            0,
            0,
        ])
    }

    /// Puts segments into memory; the entry that does them.
    pub fn list(&mut self, entry: CopyEntry, segments: &[[u64; 4]]) -> CopyEntry {
        let vram = if chance(&mut self.rng, 30) { VRAM } else { 0 };
        let at = vram | (LISTS + LIST_BYTES * self.lists);
        self.lists += 1;
        for (n, words) in (0u64..).zip(segments) {
            self.space.memory.write_words(at + 32 * n, words);
        }
        entry
            .with_op(3)
            .with_src(at)
            .with_len(segments.len() as u64)
    }

    /// A random segment, of at most so many bytes.
    fn random_segment(
        &mut self,
        chan: usize,
        src_va: bool,
        dst_va: bool,
        fill: bool,
        most: u64,
    ) -> [u64; 4] {
        let rng = &mut self.rng;
        let rows = if chance(rng, 40) {
            rng.random_range(1..9)
        } else {
            1
        };
        let most = most / rows;
        let len: u64 = match rng.random_range(0..10) {
            0 => 0,
            1..4 => rng.random_range(1..48),
            4..6 => PAGE * rng.random_range(1..4),
            6..8 => rng.random_range(1..1200),
            _ => rng.random_range(1..most),
        };
        let len = len.min(most) & if fill { !7 } else { !0 };
        let span = AREA * PAGE / rows;
        let aligned = chance(rng, 30);
        // The pitch of rows that do not overlap and stay within the area; backwards now and then.
        let mut side = |odd: bool| {
            let pitch = rng.random_range(len..=span) & if odd { !0 } else { !7 };
            let pitch = pitch.max(len);
            let room = AREA * PAGE - (rows - 1) * pitch - len;
            let offset = rng.random_range(0..=room);
            let offset = match (aligned, odd) {
                (true, _) => offset & !(PAGE - 1),
                (_, false) => offset & !7,
                _ => offset,
            };
            if rows > 1 && chance(rng, 25) {
                (offset + (rows - 1) * pitch, 0u64.wrapping_sub(pitch + len))
            } else {
                (offset, pitch - len)
            }
        };
        let (from, src_gap) = side(true);
        let (to, dst_gap) = side(!fill);
        let [src_vram, dst_vram] = [50, 50].map(|p| chance(rng, p));
        let src = if fill {
            rng.random()
        } else {
            Self::address(false, src_va, src_vram, from)
        };
        let dst = Self::dest(chan, dst_va, dst_vram, to);
        segment(src, dst, len, rows, fill, src_gap, dst_gap)
    }
}
