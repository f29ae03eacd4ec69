//! The end of a process.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::addr::{TASK_SIZE, Va};
use crate::mm::Mm;

impl Mm {
    /// Ends the process: every subscriber gets a release, then all mappings go and their pages are freed.
    /// Waits for operations on the address space that are under way. A second call does nothing.
    pub fn exit(self: &Arc<Mm>) {
        if !self.alive.swap(false, Ordering::Relaxed) {
            return;
        }
        self.sys.event("exit", &[("mm", self.id)]);
        self.subs.release(&self.sys);
        // Whoever faults in pages between the release and here holds the lock for reading; unmapping
        // notifies once more, so what it installed goes too.
        let mut vmas = self.vmas.write();
        let handlers: Vec<_> = vmas.iter().filter_map(|v| v.userfault.clone()).collect();
        self.unmap_locked(&mut vmas, Va(0), Va(TASK_SIZE));
        handlers.iter().for_each(|queue| queue.end());
        self.drop_huge_zero_page();
    }
}
