//! Mirroring of anonymous memory: the kernel's own tests (hmm-tests.c) whose subject exists here.

use crate::common::device::Device;
use crate::common::*;
use hmm_core::{Errno, Prot, Va};

const BIG: u64 = 1024;
const DEV: u64 = 7;

fn zeros(pages: u64) -> Vec<u8> {
    vec![0; (pages * PAGE) as usize]
}

#[test]
fn anon_read() {
    single(|| {
        let sys = system(2048);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let va = map(&mm, BIG, Prot::READ_WRITE);
        fill(&mm, va + 2 * PAGE, BIG - 2, 1000);
        mm.mprotect(va, BIG * PAGE, Prot::READ).unwrap();
        assert_eq!(load64(&mm, va + PAGE), Ok(0));
        let mirror = device.open(&mm);
        let (data, rounds) = mirror.read_pages(va, BIG).unwrap();
        assert_eq!(rounds, 1);
        assert!(data[..2 * PAGE as usize] == zeros(2));
        assert!(data[2 * PAGE as usize..] == pattern(BIG - 2, 1000));
        assert_eq!(mirror.snapshot(va, 3), [0x11, 0x11, 0x01]);
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn anon_read_prot() {
    single(|| {
        let sys = system(2048);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let va = map(&mm, BIG, Prot::READ_WRITE);
        fill(&mm, va, BIG, 5);
        let mirror = device.open(&mm);
        mm.mprotect(va, BIG * PAGE, Prot::NONE).unwrap();
        assert_eq!(mirror.read_pages(va, BIG).err(), Some(Errno::EFAULT));
        assert_eq!(load64(&mm, va), Err(Errno::SIGSEGV));
        mm.mprotect(va, BIG * PAGE, Prot::READ).unwrap();
        expect(&mm, va, BIG, 5);
        check_quiet(&sys);
    });
}

#[test]
fn anon_write() {
    single(|| {
        let sys = system(2048);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let va = map(&mm, BIG, Prot::READ_WRITE);
        let mirror = device.open(&mm);
        assert_eq!(mirror.write(va, &pattern(BIG, 9)), Ok(1));
        expect(&mm, va, BIG, 9);
        assert_eq!(mm.rss().anon, BIG);
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn anon_write_prot() {
    single(|| {
        let sys = system(2048);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let va = map(&mm, BIG, Prot::READ);
        let mirror = device.open(&mm);
        assert_eq!(mirror.read_pages(va, 1).unwrap().1, 1);
        assert_eq!(mirror.write(va, &pattern(BIG, 1)), Err(Errno::EPERM));
        assert!(contents(&mm, va, BIG) == zeros(BIG));
        mm.mprotect(va, BIG * PAGE, Prot::READ_WRITE).unwrap();
        assert_eq!(mirror.write(va, &pattern(BIG, 1)), Ok(1));
        expect(&mm, va, BIG, 1);
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn anon_write_child() {
    for migrate in [false, true] {
        single(move || {
            let sys = system(4096);
            let device = Device::new(&sys, BIG, DEV);
            let mm = sys.create_mm();
            let va = map(&mm, BIG, Prot::READ_WRITE);
            fill(&mm, va, BIG, 3);
            let mirror = device.open(&mm);
            if migrate {
                mirror.to_device(va, BIG).unwrap();
            }
            let child = mm.fork().unwrap();
            expect(&child, va, BIG, 3);
            let theirs = device.open(&child);
            assert_eq!(theirs.write(va, &pattern(BIG, 77)), Ok(1));
            expect(&child, va, BIG, 77);
            child.exit();
            check(&sys);
            expect(&mm, va, BIG, 3);
            assert_eq!(mirror.read_pages(va, BIG).unwrap().0, pattern(BIG, 3));
            mirror.check();
            check_quiet(&sys);
        });
    }
}

#[test]
fn anon_write_child_shared() {
    single(|| {
        let sys = system(2048);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let va = map_shared(&mm, BIG);
        fill(&mm, va, BIG, 3);
        let child = mm.fork().unwrap();
        expect(&child, va, BIG, 3);
        let theirs = device.open(&child);
        assert_eq!(theirs.write(va, &pattern(BIG, 77)), Ok(1));
        expect(&child, va, BIG, 77);
        child.exit();
        expect(&mm, va, BIG, 77);
        assert_eq!(mm.rss().shmem, BIG);
        check_quiet(&sys);
        let free = sys.free_pages();
        mm.exit();
        assert_eq!(sys.free_pages(), free + BIG);
    });
}

#[test]
fn anon_read_multiple() {
    single(|| {
        let sys = system(2048);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        for c in 0..10 {
            let va = map(&mm, BIG, Prot::READ_WRITE);
            fill(&mm, va, BIG, c);
            let (data, rounds) = mirror.read_pages(va, BIG).unwrap();
            assert_eq!(rounds, 1);
            assert!(data == pattern(BIG, c));
            mm.munmap(va, BIG * PAGE).unwrap();
            assert_eq!(mirror.entry(va), None);
        }
        check_quiet(&sys);
    });
}

#[test]
fn snapshot() {
    single(|| {
        let sys = system(256);
        let (dev0, dev1) = (Device::new(&sys, 16, 1), Device::new(&sys, 16, 2));
        let mm = sys.create_mm();
        let va = map(&mm, 7, Prot::NONE);
        let page = |i: u64| va + i * PAGE;
        mm.munmap(page(1), PAGE).unwrap();
        mm.mprotect(page(2), PAGE, Prot::READ).unwrap();
        assert_eq!(load64(&mm, page(2)), Ok(0));
        mm.mprotect(page(3), PAGE, Prot::READ_WRITE).unwrap();
        store64(&mm, page(3), 3).unwrap();
        mm.mprotect(page(3), PAGE, Prot::READ).unwrap();
        mm.mprotect(page(4), 3 * PAGE, Prot::READ_WRITE).unwrap();
        store64(&mm, page(4), 4).unwrap();
        let (m0, m1) = (dev0.open(&mm), dev1.open(&mm));
        m0.to_device(page(5), 1).unwrap();
        m1.to_device(page(6), 1).unwrap();
        assert_eq!(
            m0.snapshot(va, 7),
            [0xff, 0xff, 0x11, 0x01, 0x02, 0x22, 0x00]
        );
        assert_eq!(m1.snapshot(page(5), 2), [0x00, 0x22]);
        check_quiet(&sys);
    });
}

#[test]
fn arguments_are_checked() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let va = map(&mm, 4, Prot::READ_WRITE);
        let mirror = device.open(&mm);
        assert_eq!(mirror.read_pages(va, 5).err(), Some(Errno::EFAULT));
        assert_eq!(mirror.read_pages(Va(0), 1).err(), Some(Errno::EFAULT));
        assert_eq!(mirror.to_device(va, 5), Err(Errno::EINVAL));
        assert_eq!(mirror.to_device(va + 8, 1), Err(Errno::EINVAL));
        mm.exit();
        assert_eq!(mirror.read_pages(va, 1).err(), Some(Errno::EFAULT));
        assert_eq!(mirror.to_device(va, 1), Err(Errno::EINVAL));
        check_quiet(&sys);
    });
}
