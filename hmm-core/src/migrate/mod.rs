//! Moving pages between system and device memory (`migrate_vma_*`, `migrate_device_*`).
//!
//! A migration of a range goes [`migrate_vma_setup`] (collect, lock, unmap), the driver's allocation and
//! copy, [`migrate_vma_pages`] (switch), the driver's update of its own tables, [`migrate_vma_finalize`]
//! (map, unlock, free). Each page goes its own way: after each step a source without
//! [`MigratePfn::MIGRATE`] stays where it was, which is no error. Once setup succeeded, finalize must be called.

mod coherent;
mod collect;
mod compound;
mod device;
mod finalize;
mod lose;
mod pages;
mod types;
mod unmap;

pub use coherent::bring_coherent_home;
pub use collect::migrate_vma_setup;
pub use device::{
    MigrateDevice, migrate_device_finalize, migrate_device_pages, migrate_device_pfns,
    migrate_device_range, migrate_device_range_compound,
};
pub use finalize::migrate_vma_finalize;
pub use lose::lose_device_range;
pub use pages::migrate_vma_pages;
pub use types::{MigratePfn, MigrateSelect, MigrateVma};
