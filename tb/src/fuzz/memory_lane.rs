//! Operations on memory as a whole and on files, on the machine and on plain memory.

use std::sync::Arc;

use hmm_core::{Mm, PagemapEntry, Va};

use super::lane::{Lane, same, show};
use super::maps::pages_of;
use super::op::{Op, PAGE};
use super::plain::Behind;
use super::predict::Expect;

impl Lane {
    pub(super) fn on_memory(&mut self, op: &Op) -> Result<String, String> {
        match *op {
            Op::Reclaim { pages } => {
                let gone = self.world.system.reclaim(pages);
                if gone > pages {
                    return Err(format!("took {gone} pages"));
                }
                self.hidden = true;
                self.settle_lazy();
                Ok(gone.to_string())
            }
            Op::Merge => Ok(self.world.system.ksm_scan().to_string()),
            Op::FileWrite { f, at, len, first } => self.file_write(f, at, len, first),
            Op::FileRead { f, at, len } => self.file_read(f, at, len),
            Op::Truncate { f, len } => {
                let Some(file) = self.files.get(&f) else {
                    return Ok("-".into());
                };
                let text = same(file.truncate(len), Ok(()))?;
                self.plain.truncate(f, len / PAGE);
                Ok(text)
            }
            _ => Ok("-".into()),
        }
    }

    fn file_write(&mut self, f: usize, at: u64, len: u64, first: u64) -> Result<String, String> {
        let Some(file) = self.files.get(&f) else {
            return Ok("-".into());
        };
        let words = (0..len / 8).flat_map(|k| first.wrapping_add(k).to_le_bytes());
        let data: Vec<u8> = words.collect();
        let text = same(file.write(at, &data), Ok(()))?;
        self.plain.file_write(f, at, &data);
        Ok(text)
    }

    fn file_read(&mut self, f: usize, at: u64, len: u64) -> Result<String, String> {
        let Some(file) = self.files.get(&f) else {
            return Ok("-".into());
        };
        let mut bytes = vec![0; len as usize];
        let got = file
            .read(at, &mut bytes)
            .map_err(|error| format!("failed: {error}"))?;
        let wanted = self.plain.file_read(f, at, len);
        if got != wanted.len() {
            return Err(format!(
                "gave {got} bytes, plain memory has {}",
                wanted.len()
            ));
        }
        match (0..got).find(|&i| bytes[i] != wanted[i]) {
            Some(i) => Err(format!(
                "byte {} of the file is {:#04x}, plain memory has {:#04x}",
                at + i as u64,
                bytes[i],
                wanted[i]
            )),
            None => Ok(got.to_string()),
        }
    }

    pub(super) fn swap_out(
        &mut self,
        p: usize,
        mm: &Arc<Mm>,
        at: u64,
        len: u64,
    ) -> Result<String, String> {
        let got = mm.swap_out(Va(at), len);
        let pages = pages_of(at, len);
        let want = pages.clone().and_then(|pages| {
            let count = pages.end - pages.start;
            if self.plain.living(p).is_none() {
                return Err(hmm_core::Errno::ESRCH);
            }
            let mut mapped = pages.map(|page| self.plain.slot(p, page).is_some());
            mapped
                .all(|there| there)
                .then_some(count)
                .ok_or(hmm_core::Errno::ENOMEM)
        });
        match (&got, want) {
            (Ok(gone), Ok(most)) if *gone <= most => {}
            (_, Ok(most)) => {
                return Err(format!("gave {}, up to {most} pages can go", show(&got)));
            }
            (_, Err(errno)) => super::lane::compare(&got, &Expect::error(errno))?,
        }
        self.hidden = true;
        self.settle_lazy();
        Ok(show(&got))
    }

    /// Finds out which of the pages whose contents may be thrown away have been.
    pub(super) fn settle_lazy(&mut self) {
        for (p, space) in &mut self.plain.spaces {
            let Some(process) = self.processes.get(p) else {
                continue;
            };
            for (page, slot) in space.pages.iter_mut().filter(|(_, slot)| slot.lazy) {
                if process.mm.pagemap(Va(page * PAGE)) == PagemapEntry::None {
                    slot.lazy = false;
                    slot.behind = Behind::Own(None);
                    space.written.remove(page);
                }
            }
        }
    }
}
