//! Several devices on one system.

use crate::common::device::Device;
use crate::common::*;
use hmm_core::{DeviceMemory, Errno, Prot};

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
