//! Files, as far as mappings of them go.

use std::sync::Arc;

use crate::page_cache::PageCache;
use crate::system::System;

/// A file that processes map with [`crate::Mm::mmap_file`]. Its disk is apart from its pages in memory, so
/// a change that is not written back before its page is dropped is lost.
pub struct File {
    pub(crate) cache: Arc<PageCache>,
}

impl File {
    /// The greatest length in bytes (Linux: the greatest `off_t`).
    pub const MAX_LEN: u64 = i64::MAX as u64;

    /// A file of `len` bytes, all zero. It lives as long as this handle and the mappings of it.
    pub fn new(sys: &Arc<System>, len: u64) -> Arc<File> {
        Arc::new(File {
            cache: PageCache::file(sys, len),
        })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.cache.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
