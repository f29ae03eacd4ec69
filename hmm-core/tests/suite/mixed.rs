//! Mappings of a driver's own pages.

use crate::common::device::Device;
use crate::common::*;
use hmm_core::{Errno, Prot};

/// A snapshot's byte for a page that can be read.
const READ: u8 = 0x01;

#[test]
fn a_drivers_pages_are_there_at_once_and_never_migrate() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 16, 7);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = mm.mmap_mixed(2 * PAGE, Prot::READ_WRITE).unwrap();
        assert_eq!(mirror.snapshot(va, 2), [READ, READ]);
        assert_eq!(mirror.to_device(va, 2), Err(Errno::EINVAL));

        // A store makes a copy of the process's own, which does not migrate either.
        store64(&mm, va, 5).unwrap();
        assert_eq!((load64(&mm, va), load64(&mm, va + PAGE)), (Ok(5), Ok(0)));
        assert_eq!(mirror.to_device(va, 1), Err(Errno::EINVAL));

        let child = mm.fork().unwrap();
        assert_eq!(load64(&child, va), Ok(5));
        child.exit();
        assert_eq!(mm.mmap_mixed(0, Prot::READ), Err(Errno::EINVAL));
        mm.exit();
        check_quiet(&sys);
    });
}

#[test]
fn without_memory_for_the_pages_nothing_is_mapped() {
    single(|| {
        let sys = system(8);
        let mm = sys.create_mm();
        assert_eq!(mm.mmap_mixed(16 * PAGE, Prot::READ), Err(Errno::ENOMEM));
        assert_eq!(sys.free_pages(), 7);
        mm.exit();
        check_quiet(&sys);
    });
}
