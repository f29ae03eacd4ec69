//! A process with huge pages, and a device that migrates 2 MiB at once.

use std::sync::Arc;

use hmm_core::{DeviceMemory, HUGE_PAGES, Mm, Rss, System, Va};

use super::device::Device;
use super::mirror::Mirror;
use super::*;

pub const DEV: u64 = 7;

pub struct World {
    pub sys: Arc<System>,
    pub device: Arc<Device>,
    pub mm: Arc<Mm>,
    pub mirror: Arc<Mirror>,
}

pub fn world_of(kind: DeviceMemory) -> World {
    let sys = system(4096);
    let device = Device::with_memory(&sys, kind, 2048, DEV);
    device.set_huge();
    let mm = sys.create_mm();
    let mirror = device.open(&mm);
    World {
        sys,
        device,
        mm,
        mirror,
    }
}

pub fn world() -> World {
    world_of(DeviceMemory::Private)
}

impl World {
    /// One written huge page.
    pub fn written(&self) -> Va {
        let va = map_huge(&self.mm, 1);
        fill(&self.mm, va, HUGE_PAGES, 1);
        va
    }

    pub fn to_device(&self, va: Va) {
        assert_eq!(self.mirror.to_device(va, HUGE_PAGES), Ok(()));
        check_quiet(&self.sys);
    }

    pub fn is_huge(&self, va: Va) -> bool {
        let codes = self.mirror.snapshot(va, HUGE_PAGES);
        let huge = codes[0] & 4 != 0;
        assert!(codes.iter().all(|code| (code & 4 != 0) == huge));
        huge
    }

    /// Ends the process; everything must be where it began.
    pub fn end(self) {
        self.mirror.check();
        self.mm.exit();
        assert_eq!(self.mm.rss(), Rss::default());
        assert_eq!(self.mm.memcg().charged(), 0);
        assert_eq!((self.device.used(), self.sys.free_pages()), (0, 4095));
        check_quiet(&self.sys);
    }
}
