//! The host's memory manager as far as HMM needs it.
#![forbid(unsafe_code)]

pub mod addr;
pub mod config;
pub mod errno;
pub mod hmm;
pub mod memremap;
pub mod migrate;
pub mod mm;
pub mod notifier;
pub mod phys;
pub mod sync;
pub mod system;
pub mod trace;
pub mod vma;

pub use addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, Va};
pub use config::SystemConfig;
pub use errno::Errno;
pub use hmm::{HmmPfn, HmmRange, hmm_range_fault};
pub use memremap::{DevFault, DevPagemap, DevPagemapOps, DeviceMemory, VmFault};
pub use migrate::{
    MigrateDevice, MigratePfn, MigrateSelect, MigrateVma, migrate_device_finalize, migrate_device_pages,
    migrate_device_pfns, migrate_device_range, migrate_vma_finalize, migrate_vma_pages, migrate_vma_setup,
};
pub use mm::{Mm, MmapReadGuard, PagemapEntry, PinnedPages, Rss};
pub use notifier::{MmuIntervalNotifier, MmuIntervalNotifierOps, MmuNotifierRange, MmuNotifyEvent};
pub use phys::PhysMem;
pub use system::System;
pub use trace::{NoTrace, Tracer};
pub use vma::{Advice, MmapOptions, MremapOptions, Prot, VmaInfo};
