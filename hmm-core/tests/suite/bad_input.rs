//! Arguments that do not fit: an error, and nothing has changed.

use std::sync::Arc;

use crate::common::device::Device;
use crate::common::*;
use hmm_core::{
    Errno, MigrateSelect, MigrateVma, Mm, MmuIntervalNotifier, MmuIntervalNotifierOps,
    MmuNotifierRange, Prot, Va, make_device_exclusive, migrate_vma_setup,
};

const DEV: u64 = 7;

struct Deaf;

impl MmuIntervalNotifierOps for Deaf {
    fn invalidate(&self, sub: &MmuIntervalNotifier, _: &MmuNotifierRange, seq: u64) -> bool {
        sub.set_seq(seq);
        true
    }
}

fn setup(mm: &Arc<Mm>, start: Va, end: Va) -> Result<u64, Errno> {
    let guard = mm.mmap_read_lock();
    let mut args = MigrateVma::new(start, end, MigrateSelect::SYSTEM, DEV);
    migrate_vma_setup(&guard, &mut args).map(|()| args.cpages)
}

#[test]
fn every_call_names_what_is_wrong() {
    kinds(|kind| {
        let sys = system(64);
        let device = Device::with_memory(&sys, kind, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 0);
        mirror.to_device(va, 2).unwrap();
        mm.mprotect(va + 3 * PAGE, PAGE, Prot::NONE).unwrap();
        let (hole, wild) = (va + 16 * PAGE, Va(u64::MAX - PAGE + 1));
        let end = va + 4 * PAGE;

        assert_eq!(setup(&mm, va + 1, end), Err(Errno::EINVAL));
        assert_eq!(setup(&mm, va, va), Err(Errno::EINVAL));
        assert_eq!(setup(&mm, end, va), Err(Errno::EINVAL));
        assert_eq!(setup(&mm, va, end), Err(Errno::EINVAL), "two mappings");
        assert_eq!(setup(&mm, va + 3 * PAGE, end), Err(Errno::EINVAL));
        assert_eq!(setup(&mm, hole, hole + PAGE), Err(Errno::EINVAL));
        assert_eq!(setup(&mm, wild, Va(u64::MAX)), Err(Errno::EINVAL));

        for (at, pages, errno) in [
            (va + 1, 1, Errno::EINVAL),
            (va, 0, Errno::EINVAL),
            (va, u64::MAX, Errno::EINVAL),
            (va, 1 << 51, Errno::EINVAL),
            (wild, 1, Errno::EINVAL),
            (hole, 1, Errno::EFAULT),
            (va, 4, Errno::EFAULT),
        ] {
            assert_eq!(mm.pin(at, pages).err(), Some(errno), "{at} {pages}");
            assert_eq!(
                mm.get_user_pages(at, pages).err(),
                Some(errno),
                "{at} {pages}"
            );
        }
        for at in [hole, wild, va + 3 * PAGE] {
            let guard = mm.mmap_read_lock();
            assert_eq!(make_device_exclusive(&guard, at, DEV), Err(Errno::EFAULT));
        }
        let subscribe = |at, len| MmuIntervalNotifier::insert(&mm, at, len, Arc::new(Deaf)).err();
        assert_eq!(subscribe(va, 0), Some(Errno::EOVERFLOW));
        assert_eq!(subscribe(va, u64::MAX), Some(Errno::EOVERFLOW));
        assert_eq!(subscribe(wild, PAGE), Some(Errno::EOVERFLOW));
        assert_eq!(mirror.fault(hole, hole + PAGE, false), Err(Errno::EFAULT));
        assert_eq!(mirror.fault(va + 3 * PAGE, end, true), Err(Errno::EFAULT));
        check_quiet(&sys);
        expect(&mm, va, 3, 0);

        mm.exit();
        assert_eq!(setup(&mm, va, va + PAGE), Err(Errno::EINVAL));
        assert_eq!(mm.pin(va, 1).err(), Some(Errno::ESRCH));
        assert_eq!(mm.get_user_pages(va, 1).err(), Some(Errno::ESRCH));
        assert_eq!(subscribe_dead(&mm, va), Some(Errno::ESRCH));
        assert_eq!(mirror.fault(va, va + PAGE, false), Err(Errno::EFAULT));
        assert_eq!(mm.clear_soft_dirty(), Err(Errno::ESRCH));
        assert!(!mm.soft_dirty(va));
        assert_eq!(device.used(), 0);
        mirror.close();
        check_quiet(&sys);
    });
}

fn subscribe_dead(mm: &Arc<Mm>, va: Va) -> Option<Errno> {
    MmuIntervalNotifier::insert(mm, va, PAGE, Arc::new(Deaf)).err()
}
