//! Sources and destinations that stand for 512 pages.

use crate::addr::{HUGE_PAGES, Pfn};
use crate::migrate::types::MigratePfn;

/// How many entries of the array belong to this one, itself included.
pub(super) fn span(entry: MigratePfn) -> usize {
    if entry.is_compound() {
        HUGE_PAGES as usize
    } else {
        1
    }
}

/// All pages of an entry that names one or 512.
pub(super) fn pages(first: Pfn, entry: MigratePfn) -> impl Iterator<Item = Pfn> {
    (0..span(entry) as u64).map(move |n| first + n)
}

/// The compound source at `i` becomes 512 single ones.
pub(super) fn split(src: &mut [MigratePfn], i: usize) {
    let whole = src[i];
    let flags = whole.0 & (MigratePfn::MIGRATE | MigratePfn::WRITE);
    for (n, entry) in (0..HUGE_PAGES).zip(&mut src[i..]) {
        let page = whole.pfn().map_or(0, |first| MigratePfn::page(first + n).0);
        *entry = MigratePfn(page | flags);
    }
}
