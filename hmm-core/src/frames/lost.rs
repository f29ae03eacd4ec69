//! Pages of devices that memory failures took.

use super::Frames;
use crate::addr::Pfn;

impl Frames {
    /// Pages of the device at `base` that are lost and that nobody has any more.
    pub fn device_lost(&self, base: Pfn) -> u64 {
        let mut inner = self.inner();
        let Some(range) = inner.device(base) else {
            return 0;
        };
        let lost = range.frames.iter().filter(|f| f.poisoned && f.refs == 0);
        lost.count() as u64
    }
}
