//! The host's memory manager as far as HMM needs it, with Linux's semantics.
//!
//! A [`System`] has system memory (its contents behind [`PhysMem`]), a table of all pages, and processes:
//! [`Mm`]s with mappings, page tables, fork and copy-on-write, and CPU loads and stores. A device adds
//! memory of its own with [`DevPagemap`], follows an address space with [`MmuIntervalNotifier`], looks at
//! it with [`hmm_range_fault`], moves pages with `migrate_vma_*` and uses a page alone with
//! [`make_device_exclusive`]. Device memory is private (a CPU access brings the page home) or coherent (the CPU
//! uses it where it is). Missing pages can be left to a handler of the program ([`userfault`]). Nothing here knows any device.
//!
//! Threads are ordinary blocking code over [`sync`], which interleaves them by a seed.
//!
//! # What always holds
//! - A page of a process is in one place. Its CPU entry names a new page only after the subscribers of
//!   the range have given up the old one.
//! - Device-private memory is never mapped by the CPU and never pinned, and can always come home.
//! - A pinned page never moves.
//! - What may be written is soft-dirty.
//! - rss and control-group charge do not change when a page migrates.
//!
//! [`System::check_invariants`] checks what of this can be seen from here.
//!
//! # Order of locks
//! From the outermost to the innermost:
//! 1. `mmap_lock` of an address space ([`Mm::mmap_read_lock`]; for writing inside of mmap, munmap, mprotect,
//!    mremap, fork, exit). A fork takes the new child's after the parent's. A thread takes it once.
//! 2. Page locks. Waited for only with nothing but `mmap_lock` held; a thread that has one may only try
//!    to get others.
//! 3. Locks of drivers that their notifier callbacks take. A driver must not hold one while it calls
//!    anything here except `read_retry`, `set_seq` and `set_page_dirty`.
//! 4. The page table's lock, parent's before child's; several at once only in order of [`Mm::id`].
//!    Just before it the state of a user-fault registration.
//! 5. The subscriptions' lock, and a driver's lock of its free list (taken by `folio_free`).
//! 6. The locks of `std` inside the table of all pages, page caches, swap space and control groups. They stand
//!    for atomic operations: nothing is called and no thread switches while one is held.
#![forbid(unsafe_code)]

pub mod addr;
mod check;
pub mod config;
mod contents;
pub mod errno;
pub mod exclusive;
mod fault;
pub mod file;
mod frame;
mod frames;
mod free_pages;
pub mod hmm;
mod huge_zero;
mod hugetlb;
mod ksm;
pub mod memcg;
pub mod memremap;
pub mod migrate;
pub mod mm;
pub mod notifier;
mod page_cache;
mod pagetable;
pub mod phys;
pub mod pte;
mod reclaim;
mod rmap;
pub mod swap;
pub mod sync;
pub mod system;
#[cfg(test)]
mod testing;
pub mod trace;
pub mod userfault;
pub mod vma;
mod vma_tree;

pub use addr::{HUGE_ORDER, HUGE_PAGES, HUGE_SIZE, PAGE_SHIFT, PAGE_SIZE, Pfn, Va};
pub use config::SystemConfig;
pub use errno::Errno;
pub use exclusive::make_device_exclusive;
pub use file::File;
pub use hmm::{HmmPfn, HmmRange, hmm_range_fault, hmm_range_fault_unlocked};
pub use memcg::Memcg;
pub use memremap::{DevFault, DevPagemap, DevPagemapOps, DeviceMemory, VmFault};
pub use migrate::{
    MigrateDevice, MigratePfn, MigrateSelect, MigrateVma, bring_coherent_home, lose_device_range,
    migrate_device_finalize, migrate_device_pages, migrate_device_pfns, migrate_device_range,
    migrate_device_range_compound, migrate_vma_finalize, migrate_vma_pages, migrate_vma_setup,
};
pub use mm::{Mm, MmapReadGuard, PagemapBits, PagemapEntry, PinnedPages, Rss};
pub use notifier::{MmuIntervalNotifier, MmuIntervalNotifierOps, MmuNotifierRange, MmuNotifyEvent};
pub use phys::PhysMem;
pub use pte::Pte;
pub use swap::SwapSlot;
pub use system::System;
pub use trace::{NoTrace, Tracer};
pub use userfault::{UserFault, UserFaultEvent};
pub use vma::{Advice, MmapOptions, MremapOptions, Prot, VmaInfo};
