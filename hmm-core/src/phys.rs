//! The bytes of system memory.

use crate::addr::Pfn;

/// Contents of system memory, page by page. The machine gives it; hmm-core decides what each page is for.
/// Implementations must not take a lock that is held while hmm-core is called.
pub trait PhysMem: Send + Sync {
    /// Copies bytes of one page, from byte `offset` on; `offset + buf.len()` is at most a page.
    fn read(&self, pfn: Pfn, offset: usize, buf: &mut [u8]);
    /// Overwrites bytes of one page, from byte `offset` on; `offset + data.len()` is at most a page.
    fn write(&self, pfn: Pfn, offset: usize, data: &[u8]);
    /// Clears a page.
    fn zero_page(&self, pfn: Pfn);
    /// Copies a whole page.
    fn copy_page(&self, dst: Pfn, src: Pfn);
}
