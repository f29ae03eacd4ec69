//! Tests of the memory manager through its public interface, with a device in software.

mod common;

mod address_space;
mod advice;
mod bad_input;
mod coherent;
mod device_races;
mod devices;
mod exclusive;
mod files;
mod huge_abort;
mod huge_collapse;
mod huge_migrate;
mod huge_pages;
mod huge_races;
mod hugetlb;
mod ksm;
mod migrate_corners;
mod mirror_anon;
mod mirror_migrate;
mod mixed;
mod plain_memory;
mod poison;
mod races;

mod schedules;
mod soft_dirty;
mod swap;
mod threads;
mod userfault;
