//! Device-exclusive pages.

use crate::common::device::Device;
use crate::common::*;
use hmm_core::{Errno, PagemapEntry, Prot, Pte, make_device_exclusive};

const DEV: u64 = 7;

#[test]
fn the_cpu_takes_an_exclusive_page_back() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 1, 7);
        for page in 0..2 {
            let guard = mm.mmap_read_lock();
            let pfn = make_device_exclusive(&guard, va + page * PAGE, DEV).unwrap();
            assert!(!sys.try_lock_page(pfn), "it comes locked");
            sys.unlock_page(pfn);
            sys.put_page(pfn);
            assert_eq!(mm.pagemap(va + page * PAGE), PagemapEntry::Swap);
        }
        assert_eq!(mm.rss().anon, 2);
        check_quiet(&sys);
        expect(&mm, va, 1, 7);
        assert!(matches!(mm.pte(va), Pte::Present(pte) if pte.write && pte.dirty));
        let child = mm.fork().unwrap();
        assert!(matches!(mm.pte(va + PAGE), Pte::Present(pte) if !pte.write));
        store64(&mm, va, 1).unwrap();
        expect(&child, va, 1, 7);
        check_quiet(&sys);
        drop(Device::new(&sys, 1, DEV));
    });
}

#[test]
fn what_cannot_be_exclusive() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let guarded = |va, owner| make_device_exclusive(&mm.mmap_read_lock(), va, owner);
        let va = map(&mm, 2, Prot::READ);
        assert_eq!(guarded(va, DEV), Err(Errno::EFAULT));
        assert_eq!(guarded(va + 8, DEV), Err(Errno::EINVAL));
        assert_eq!(guarded(va, 0), Err(Errno::EINVAL));
        assert_eq!(guarded(va + 2 * PAGE, DEV), Err(Errno::EFAULT));
        let shared = map_shared(&mm, 1);
        assert_eq!(guarded(shared, DEV), Err(Errno::EOPNOTSUPP));
        mm.exit();
        assert_eq!(guarded(va, DEV), Err(Errno::EFAULT));
        check_quiet(&sys);
    });
}
