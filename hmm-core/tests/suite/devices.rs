//! Several devices on one system.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::device::Device;
use crate::common::*;
use hmm_core::sync::spawn;
use hmm_core::{DevFault, DevPagemap, DevPagemapOps, DeviceMemory, Errno, Pfn, Prot, VmFault};

const DEV: u64 = 7;

/// The kernel's `migrate_mixed`.
#[test]
fn ranges_with_all_sorts_of_pages() {
    kinds(|kind| {
        let sys = system(64);
        let dev0 = Device::with_memory(&sys, kind, 16, DEV);
        let dev1 = Device::with_memory(&sys, kind, 16, DEV + 1);
        let mm = sys.create_mm();
        let (m0, m1) = (dev0.open(&mm), dev1.open(&mm));
        let va = map(&mm, 6, Prot::NONE);
        assert_eq!(m1.to_device(va, 6), Err(Errno::EINVAL));
        mm.munmap(va + PAGE, PAGE).unwrap();
        assert_eq!(m1.to_device(va, 3), Err(Errno::EINVAL));
        mm.mprotect(va + 2 * PAGE, PAGE, Prot::READ).unwrap();
        assert_eq!(load64(&mm, va + 2 * PAGE), Ok(0));
        mm.mprotect(va + 3 * PAGE, 3 * PAGE, Prot::READ_WRITE)
            .unwrap();
        for page in 3..6 {
            store64(&mm, va + page * PAGE, page).unwrap();
        }
        mm.mprotect(va + 3 * PAGE, PAGE, Prot::READ).unwrap();
        assert_eq!(m1.to_device(va + 2 * PAGE, 4), Ok(()));
        assert_eq!(dev1.used(), 4);
        // A page of another device is not stolen.
        assert_eq!(m0.to_device(va + 5 * PAGE, 1), Err(Errno::ENOENT));
        assert_eq!((dev0.used(), dev1.used()), (0, 4));
        for page in 3..6 {
            assert_eq!(load64(&mm, va + page * PAGE), Ok(page));
        }
        check_quiet(&sys);
    });
}

/// The kernel's `migrate_multiple`.
#[test]
fn again_and_again() {
    kinds(|kind| {
        let sys = system(256);
        let device = Device::with_memory(&sys, kind, 130, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        for round in 0..10 {
            let va = map(&mm, 130, Prot::READ_WRITE);
            fill(&mm, va, 130, round);
            mirror.to_device(va, 130).unwrap();
            assert_eq!(mirror.read_pages(va, 130).unwrap().0, pattern(130, round));
            if kind == DeviceMemory::Coherent {
                assert_eq!(mirror.to_system(va, 130), Ok(130));
            }
            expect(&mm, va, 130, round);
            assert_eq!(device.used(), 0);
            mm.munmap(va, 130 * PAGE).unwrap();
        }
        check_quiet(&sys);
    });
}

/// The kernel's `snapshot`.
#[test]
fn a_snapshot_tells_pages_apart() {
    kinds(|kind| {
        let sys = system(64);
        let dev0 = Device::with_memory(&sys, kind, 16, DEV);
        let dev1 = Device::with_memory(&sys, kind, 16, DEV + 1);
        let mm = sys.create_mm();
        let (m0, m1) = (dev0.open(&mm), dev1.open(&mm));
        let va = map(&mm, 7, Prot::NONE);
        mm.munmap(va + PAGE, PAGE).unwrap();
        mm.mprotect(va + 2 * PAGE, PAGE, Prot::READ).unwrap();
        assert_eq!(load64(&mm, va + 2 * PAGE), Ok(0));
        mm.mprotect(va + 3 * PAGE, PAGE, Prot::READ_WRITE).unwrap();
        store64(&mm, va + 3 * PAGE, 1).unwrap();
        mm.mprotect(va + 3 * PAGE, PAGE, Prot::READ).unwrap();
        mm.mprotect(va + 4 * PAGE, 3 * PAGE, Prot::READ_WRITE)
            .unwrap();
        store64(&mm, va + 4 * PAGE, 1).unwrap();
        m0.to_device(va + 5 * PAGE, 1).unwrap();
        m1.to_device(va + 6 * PAGE, 1).unwrap();
        let devices = match kind {
            DeviceMemory::Coherent => [0x42, 0x52],
            _ => [0x22, 0x00],
        };
        let expected = [&[0xff, 0xff, 0x11, 0x01, 0x02], &devices[..]].concat();
        assert_eq!(m0.snapshot(va, 7), expected);
        assert_eq!((dev0.used(), dev1.used()), (1, 1));
        check_quiet(&sys);
    });
}

/// The kernel's `double_map`.
#[test]
fn two_devices_map_the_same_pages() {
    kinds(|kind| {
        let sys = system(64);
        let dev0 = Device::with_memory(&sys, kind, 16, DEV);
        let dev1 = Device::with_memory(&sys, kind, 16, DEV + 1);
        let mm = sys.create_mm();
        let (m0, m1) = (dev0.open(&mm), dev1.open(&mm));
        let va = map(&mm, 6, Prot::READ_WRITE);
        fill(&mm, va, 6, 0);
        mm.mprotect(va, 6 * PAGE, Prot::READ).unwrap();
        assert_eq!(m0.read_pages(va, 6), Ok((pattern(6, 0), 1)));
        assert_eq!(m1.read_pages(va, 6), Ok((pattern(6, 0), 1)));
        m1.to_device(va, 6).unwrap();
        assert_eq!(m0.read_pages(va, 6), Ok((pattern(6, 0), 1)));
        let stay = if kind == DeviceMemory::Coherent { 6 } else { 0 };
        assert_eq!(dev1.used(), stay);
        m0.check();
        m1.check();
        check_quiet(&sys);
    });
}

#[test]
fn one_device_goes_while_another_works() {
    seeds(60, || {
        let sys = system(128);
        let dev0 = Device::new(&sys, 8, DEV);
        let dev1 = Device::coherent(&sys, 8, DEV + 1);
        let mm = sys.create_mm();
        let (m0, m1) = (dev0.open(&mm), dev1.open(&mm));
        let va = map(&mm, 8, Prot::READ_WRITE);
        fill(&mm, va, 8, 0);
        m0.to_device(va, 4).unwrap();
        m1.to_device(va + 4 * PAGE, 4).unwrap();
        let theirs = Arc::clone(&dev0);
        let unplug = spawn(move || theirs.release());
        let theirs = Arc::clone(&m1);
        let worker = spawn(move || {
            for page in 0..8 {
                assert_eq!(
                    theirs.read_pages(va + page * PAGE, 1).unwrap().0[..8],
                    (page * 512).to_le_bytes()
                );
                theirs.write(va + page * PAGE + 8, &[9]).unwrap();
            }
        });
        check(&sys);
        store64(&mm, va + 16, 77).unwrap();
        unplug.join();
        worker.join();
        assert_eq!((dev0.used(), dev1.used()), (0, 4));
        m1.check();
        for page in 0..8 {
            assert_eq!(load64(&mm, va + page * PAGE + 8).unwrap() & 0xff, 9);
        }
        assert_eq!(load64(&mm, va + 16), Ok(77));
        // Again does nothing, and the other one can go too.
        dev0.pagemap().remove();
        dev1.release();
        mm.exit();
        check_quiet(&sys);
    });
}

struct Dropped(Arc<AtomicBool>);

impl DevPagemapOps for Dropped {
    fn migrate_to_ram(&self, _fault: &DevFault<'_>) -> Result<(), VmFault> {
        Err(VmFault::Sigbus)
    }

    fn folio_free(&self, _pfn: Pfn) {}
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_driver_that_fails_halfway_leaves_nothing() {
    single(|| {
        let sys = system(16);
        let gone = Arc::new(AtomicBool::new(false));
        let start = |pages, owner| {
            let ops = Arc::new(Dropped(Arc::clone(&gone)));
            DevPagemap::new(&sys, DeviceMemory::Private, pages, owner, ops)
        };
        assert_eq!(start(0, DEV).err(), Some(Errno::EINVAL));
        assert_eq!(start(1, 0).err(), Some(Errno::EINVAL));
        assert_eq!(start(u64::MAX, DEV).err(), Some(Errno::ENOMEM));
        assert_eq!(start(1 << 60, DEV).err(), Some(Errno::ENOMEM));
        // Never used.
        gone.store(false, Ordering::Relaxed);
        drop(start(4, DEV).unwrap());
        assert!(gone.load(Ordering::Relaxed));
        // Given up with a page in use.
        gone.store(false, Ordering::Relaxed);
        let pagemap = start(4, DEV).unwrap();
        let page = pagemap.base();
        pagemap.init_page(page);
        drop(pagemap);
        assert!(!gone.load(Ordering::Relaxed));
        sys.unlock_page(page);
        sys.put_page(page);
        assert!(gone.load(Ordering::Relaxed));
        check_quiet(&sys);
        // Its number is not given out again, and the page cannot be had by its number.
        let next = start(4, DEV).unwrap();
        assert_ne!(next.base(), page);
        assert_eq!(next.used(), 0);
    });
}
