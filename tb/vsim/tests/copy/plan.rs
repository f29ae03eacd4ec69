//! What a descriptor asks for, row by row.

use hmmu_regs::CopyEntry;

use crate::queue::memory::Memory;

/// Bytes that follow each other on both sides.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Where they come from, or the pattern.
    pub src: u64,
    /// Where they go.
    pub dst: u64,
    /// How many.
    pub len: u64,
    /// A fill.
    pub fill: bool,
}

/// The words of a segment.
pub fn segment(
    src: u64,
    dst: u64,
    len: u64,
    rows: u64,
    fill: bool,
    src_gap: u64,
    dst_gap: u64,
) -> [u64; 4] {
    let gaps = src_gap & 0xffff_ffff | dst_gap << 32;
    [src, dst, len | rows << 48 | u64::from(fill) << 63, gaps]
}

/// The pieces of a descriptor, in order.
pub fn pieces(entry: &CopyEntry, memory: &Memory) -> Vec<Piece> {
    let words =
        |at: u64| -> [u64; 4] { std::array::from_fn(|n| memory.read_u64(at + 8 * n as u64)) };
    let own = [entry.0[1], entry.0[2], entry.0[3], entry.0[4]];
    match entry.op() {
        1 | 2 => rows(own, entry.op() == 2),
        3 => (0..entry.len())
            .map(|n| words(entry.src() + 32 * n))
            .flat_map(|words| rows(words, words[2] >> 63 == 1))
            .collect(),
        5 => vec![Piece {
            src: entry.src(),
            dst: entry.dst(),
            len: 8,
            fill: true,
        }],
        _ => Vec::new(),
    }
}

fn rows(words: [u64; 4], fill: bool) -> Vec<Piece> {
    let [src, dst, shape, gaps] = words;
    let len = shape & 0xffff_ffff_ffff;
    let pitch = |gap: u64| len.wrapping_add(gap as u32 as i32 as u64);
    (0..(shape >> 48 & 0x7fff).max(1))
        .map(|row| Piece {
            src: if fill {
                src
            } else {
                src.wrapping_add(row.wrapping_mul(pitch(gaps)))
            },
            dst: dst.wrapping_add(row.wrapping_mul(pitch(gaps >> 32))),
            len,
            fill,
        })
        .collect()
}
