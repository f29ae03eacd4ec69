//! Script calls on a process's mappings.

use hmm_core::{Advice, MmapOptions, MremapOptions, Va};
use rhai::{Engine, Map};

use super::args::{flag, int, length, protection};
use super::error::{Result, errno, invalid};
use super::file::File;
use super::process::Process;
use super::step::calls;
use crate::oracle::Moved;

/// Bytes of a hugetlb page: such mappings have whole ones.
const HUGE_PAGE: u64 = 2 << 20;

impl Process {
    fn mmap(&mut self, len: i64, prot: &str, options: &Map) -> Result<i64> {
        let call = "p.mmap";
        let len = length(call, len)?;
        let prot = protection(call, prot)?;
        let mut wanted = MmapOptions::default();
        let mut file: Option<File> = None;
        let mut offset = None;
        for (key, value) in options {
            match key.as_str() {
                "at" => wanted.at = Some(Va(int(call, "at", value)? as u64)),
                "share" => wanted.share = flag(call, "share", value)?,
                "huge" => wanted.huge = flag(call, "huge", value)?,
                "file" => file = Some(File::of(call, value)?),
                "offset" => offset = Some(length(call, int(call, "offset", value)?)?),
                "hugetlb" => wanted.hugetlb = flag(call, "hugetlb", value)?,
                other => return Err(invalid(call, format!("unknown option {other}"))),
            }
        }
        if file.is_none() && offset.is_some() {
            return Err(invalid(call, "option offset without a file"));
        }
        let offset = offset.unwrap_or(0);
        let len = if wanted.hugetlb {
            len.next_multiple_of(HUGE_PAGE)
        } else {
            len
        };
        let oracle = &self.world.oracle;
        let replaced = wanted.at.map(|at| oracle.begin_unmap(self.id(), at.0, len));
        let mapped = match &file {
            Some(file) => self.mm.mmap_file(len, prot, wanted, file.inner(), offset),
            None => self.mm.mmap(len, prot, wanted),
        };
        if let Some(ticket) = replaced {
            oracle.end_unmap(ticket, mapped.is_ok());
        }
        let start = mapped.map_err(|e| errno(call, e))?;
        match &file {
            Some(file) => {
                let place = (file.id(), offset);
                oracle.map_file(self.id(), start.0, len, wanted.share, place);
            }
            None => oracle.map(self.id(), start.0, len, wanted.share),
        }
        Ok(start.0 as i64)
    }

    fn munmap(&mut self, a: i64, len: i64) -> Result<()> {
        let call = "p.munmap";
        let len = length(call, len)?;
        let ticket = self.world.oracle.begin_unmap(self.id(), a as u64, len);
        let done = self.mm.munmap(Va(a as u64), len);
        self.world.oracle.end_unmap(ticket, done.is_ok());
        done.map_err(|e| errno(call, e))
    }

    fn mremap(&mut self, a: i64, old_len: i64, new_len: i64, options: &Map) -> Result<i64> {
        let call = "p.mremap";
        let (old_len, new_len) = (length(call, old_len)?, length(call, new_len)?);
        let mut wanted = MremapOptions::default();
        for (key, value) in options {
            match key.as_str() {
                "at" => wanted.at = Some(Va(int(call, "at", value)? as u64)),
                "dontunmap" => wanted.dontunmap = flag(call, "dontunmap", value)?,
                other => return Err(invalid(call, format!("unknown option {other}"))),
            }
        }
        let oracle = &self.world.oracle;
        let replaced = wanted
            .at
            .map(|at| oracle.begin_unmap(self.id(), at.0, new_len));
        let old = oracle.begin_unmap(self.id(), a as u64, old_len);
        let moved = self.mm.mremap(Va(a as u64), old_len, new_len, wanted);
        if let Some(ticket) = replaced {
            oracle.end_unmap(ticket, moved.is_ok());
        }
        match moved {
            Ok(to) => {
                let stays = wanted.dontunmap;
                oracle.end_remap(
                    old,
                    Moved {
                        to: to.0,
                        len: new_len,
                        stays,
                    },
                );
                Ok(to.0 as i64)
            }
            Err(e) => {
                oracle.end_unmap(old, false);
                Err(errno(call, e))
            }
        }
    }

    fn mprotect(&mut self, a: i64, len: i64, prot: &str) -> Result<()> {
        let call = "p.mprotect";
        let prot = protection(call, prot)?;
        self.mm
            .mprotect(Va(a as u64), length(call, len)?, prot)
            .map_err(|e| errno(call, e))
    }

    fn madvise(&mut self, a: i64, len: i64, advice: &str) -> Result<()> {
        let call = "p.madvise";
        let len = length(call, len)?;
        let wanted = Advice::from_name(advice)
            .ok_or_else(|| invalid(call, format!("unknown advice {advice:?}")))?;
        let oracle = &self.world.oracle;
        let (id, addr) = (self.id(), a as u64);
        let discard = (wanted == Advice::DontNeed).then(|| oracle.begin_discard(id, addr, len));
        if wanted == Advice::Free {
            oracle.free(id, addr, len);
        }
        let done = self.mm.madvise(Va(addr), len, wanted);
        if wanted == Advice::Free {
            // What was written meanwhile may have been freed too.
            oracle.free(id, addr, len);
        }
        if let Some(discard) = discard {
            oracle.end_discard(discard, done.is_ok());
        }
        done.map_err(|e| errno(call, e))
    }
}

/// Registers the calls on mappings.
pub fn register(engine: &mut Engine) {
    calls!(engine, Process, "p":
        "mmap"(len: i64, prot: &str) => |p: &mut Process, len, prot| p.mmap(len, prot, &Map::new());
        "mmap"(len: i64, prot: &str, options: Map) => |p: &mut Process, len, prot, options: Map| p.mmap(len, prot, &options);
        "munmap"(a: i64, len: i64) => Process::munmap;
        "mprotect"(a: i64, len: i64, prot: &str) => Process::mprotect;
        "madvise"(a: i64, len: i64, advice: &str) => Process::madvise;
        "mremap"(a: i64, old: i64, new: i64) => |p: &mut Process, a, old, new| p.mremap(a, old, new, &Map::new());
        "mremap"(a: i64, old: i64, new: i64, options: Map) => |p: &mut Process, a, old, new, options: Map| p.mremap(a, old, new, &options);
    );
}
