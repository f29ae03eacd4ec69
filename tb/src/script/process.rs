//! Script calls on a process.

use std::sync::{Arc, Mutex, PoisonError};

use hmm_core::{Advice, MmapOptions, MremapOptions, PagemapEntry, PinnedPages, Prot, Va};
use rhai::{Dynamic, Engine, Map};

use super::device::Dev;
use super::error::{self, FAILED, ORACLE, Result, errno, invalid, missing, throw};
use crate::oracle::{Data, Moved, Outcome};
use crate::world::World;

const PAGE: u64 = 4096;

/// A process, as scripts hold it.
#[derive(Clone)]
pub struct Process {
    pub(super) world: Arc<World>,
    pub(super) mm: Arc<hmm_core::Mm>,
}

/// A pin, as scripts hold it.
#[derive(Clone)]
pub struct Pin(Arc<Mutex<Option<PinnedPages>>>);

/// An access size that scripts may give.
pub(super) fn size(call: &str, size: i64) -> Result<usize> {
    match size {
        1 | 2 | 4 | 8 => Ok(size as usize),
        _ => Err(invalid(call, format!("size {size}: expected 1, 2, 4 or 8"))),
    }
}

/// Most bytes that one call of a script takes: what it writes is kept in memory.
const MOST: u64 = 1 << 30;

/// A length in bytes.
pub(super) fn length(call: &str, len: i64) -> Result<u64> {
    u64::try_from(len)
        .ok()
        .filter(|len| *len <= MOST)
        .ok_or_else(|| invalid(call, format!("length {len}: expected 0..={MOST}")))
}

/// A range of whole 64-bit words.
pub(super) fn words(call: &str, a: i64, len: i64) -> Result<(u64, u64)> {
    let len = length(call, len)?;
    if !(a as u64).is_multiple_of(8) || !len.is_multiple_of(8) {
        return Err(invalid(
            call,
            format!("{len} bytes at {a:#x}: expected multiples of 8"),
        ));
    }
    Ok((a as u64, len))
}

/// The first byte that differs, as text.
pub(super) fn difference(addr: u64, want: &[u8], got: &[u8]) -> Option<String> {
    let word = want
        .chunks(8)
        .zip(got.chunks(8))
        .position(|(want, got)| want != got)?;
    let at = word * 8;
    let value = |bytes: &[u8]| {
        let mut raw = [0; 8];
        let part = &bytes[at..bytes.len().min(at + 8)];
        raw[..part.len()].copy_from_slice(part);
        u64::from_le_bytes(raw)
    };
    Some(format!(
        "word at {:#x} is {}, expected {}",
        addr + at as u64,
        value(got),
        value(want)
    ))
}

impl Process {
    fn id(&self) -> u64 {
        self.mm.id()
    }

    fn mmap(&mut self, len: i64, prot: &str, options: &Map) -> Result<i64> {
        let call = "p.mmap";
        let len = length(call, len)?;
        let prot = protection(call, prot)?;
        let mut wanted = MmapOptions::default();
        for (key, value) in options {
            match key.as_str() {
                "at" => wanted.at = Some(Va(int(call, "at", value)? as u64)),
                "share" => wanted.share = flag(call, "share", value)?,
                "huge" => wanted.huge = flag(call, "huge", value)?,
                "file" | "offset" | "hugetlb" => {
                    return Err(missing(call, &format!("option {key}")));
                }
                other => return Err(invalid(call, format!("unknown option {other}"))),
            }
        }
        let replaced = wanted
            .at
            .map(|at| self.world.oracle.begin_unmap(self.id(), at.0, len));
        let mapped = self.mm.mmap(len, prot, wanted);
        if let Some(ticket) = replaced {
            self.world.oracle.end_unmap(ticket, mapped.is_ok());
        }
        let start = mapped.map_err(|e| errno(call, e))?;
        self.world.oracle.map(self.id(), start.0, len, wanted.share);
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
        let wanted = match advice {
            "dontneed" => Advice::DontNeed,
            "free" | "hugepage" | "nohugepage" | "collapse" | "mergeable" => {
                return Err(missing(call, &format!("advice {advice:?}")));
            }
            _ => return Err(invalid(call, format!("unknown advice {advice:?}"))),
        };
        // Private memory reads as zero afterwards; shared memory keeps its contents.
        let ticket = (!self.world.oracle.is_shared(self.id(), a as u64)).then(|| {
            let zeros = Data::Bytes(vec![0; len as usize]);
            self.world
                .oracle
                .begin_write(self.id(), a as u64, len, zeros)
        });
        let done = self.mm.madvise(Va(a as u64), len, wanted);
        if let Some(ticket) = ticket {
            let outcome = if done.is_ok() {
                Outcome::Done
            } else {
                Outcome::Partial
            };
            self.world.oracle.end_write(ticket, outcome);
        }
        done.map_err(|e| errno(call, e))
    }

    fn read(&self, call: &str, addr: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let ticket = self.world.oracle.begin_read(self.id(), addr, len as u64);
        if let Err(e) = self.mm.load(Va(addr), &mut bytes) {
            self.world.oracle.abandon(ticket);
            return Err(errno(call, e));
        }
        match self.world.oracle.end_read(ticket, &bytes) {
            Ok(()) => Ok(bytes),
            Err(mismatch) => Err(throw(call, ORACLE, self.world.fail(&mismatch))),
        }
    }

    fn write(&self, call: &str, addr: u64, bytes: Vec<u8>) -> Result<()> {
        let single = bytes.len() <= 8 && addr % PAGE + bytes.len() as u64 <= PAGE;
        let ticket = self.world.oracle.begin_write(
            self.id(),
            addr,
            bytes.len() as u64,
            Data::Bytes(bytes.clone()),
        );
        let done = self.mm.store(Va(addr), &bytes);
        let outcome = match done {
            Ok(()) => Outcome::Done,
            Err(_) if single => Outcome::Nothing,
            Err(_) => Outcome::Partial,
        };
        self.world.oracle.end_write(ticket, outcome);
        done.map_err(|e| errno(call, e))
    }

    fn load(&mut self, a: i64, bytes: i64) -> Result<i64> {
        let call = "p.load";
        let bytes = self.read(call, a as u64, size(call, bytes)?)?;
        let mut raw = [0; 8];
        raw[..bytes.len()].copy_from_slice(&bytes);
        Ok(i64::from_le_bytes(raw))
    }

    fn store(&mut self, a: i64, value: i64, bytes: i64) -> Result<()> {
        let call = "p.store";
        self.write(
            call,
            a as u64,
            value.to_le_bytes()[..size(call, bytes)?].to_vec(),
        )
    }

    fn fill(&mut self, a: i64, len: i64, first: i64) -> Result<()> {
        let call = "p.fill";
        let (addr, len) = words(call, a, len)?;
        let Data::Bytes(bytes) = Data::pattern(len, first as u64) else {
            return Ok(());
        };
        // One access a page, as a program's loop would be interrupted anywhere.
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + (PAGE - (addr + at as u64) % PAGE) as usize).min(bytes.len());
            self.write(call, addr + at as u64, bytes[at..end].to_vec())?;
            at = end;
        }
        Ok(())
    }

    fn check(&mut self, a: i64, len: i64, first: i64) -> Result<()> {
        let call = "p.check";
        let (addr, len) = words(call, a, len)?;
        let Data::Bytes(want) = Data::pattern(len, first as u64) else {
            return Ok(());
        };
        let mut at = 0;
        while at < want.len() {
            let end = (at + (PAGE - (addr + at as u64) % PAGE) as usize).min(want.len());
            let got = self.read(call, addr + at as u64, end - at)?;
            if let Some(text) = difference(addr + at as u64, &want[at..end], &got) {
                return Err(throw(call, FAILED, text));
            }
            at = end;
        }
        Ok(())
    }

    fn pin(&mut self, a: i64, len: i64) -> Result<Pin> {
        let call = "p.pin";
        let len = length(call, len)?;
        let pages = (a as u64 % PAGE + len).div_ceil(PAGE);
        let pinned = self
            .mm
            .pin(Va(a as u64), pages)
            .map_err(|e| errno(call, e))?;
        Ok(Pin(Arc::new(Mutex::new(Some(pinned)))))
    }

    fn fork(&mut self) -> Result<Self> {
        let ticket = self.world.oracle.begin_fork(self.id());
        let child = self.mm.fork();
        self.world
            .oracle
            .end_fork(ticket, child.as_ref().ok().map(|mm| mm.id()));
        let mm = child.map_err(|e| errno("p.fork", e))?;
        self.world.adopt(&mm);
        Ok(Self {
            world: Arc::clone(&self.world),
            mm,
        })
    }

    fn exit(&mut self) {
        let ticket = self
            .world
            .oracle
            .begin_unmap(self.id(), 0, hmm_core::addr::TASK_SIZE);
        self.mm.exit();
        self.world.oracle.end_unmap(ticket, true);
        self.world.oracle.exit(self.id());
    }

    fn rss(&mut self) -> Map {
        let rss = self.mm.rss();
        let mut map = Map::new();
        for (name, pages) in [("anon", rss.anon), ("file", rss.file), ("shmem", rss.shmem)] {
            map.insert(name.into(), (pages as i64).into());
        }
        map
    }

    fn pagemap(&mut self, a: i64) -> &'static str {
        match self.mm.pagemap(Va(a as u64)) {
            PagemapEntry::None => "none",
            PagemapEntry::Present => "present",
            PagemapEntry::Swap => "swap",
        }
    }

    fn open(&mut self, index: i64) -> Result<Dev> {
        let call = "p.open";
        let number = usize::try_from(index)
            .ok()
            .filter(|number| *number < self.world.devices.len())
            .ok_or_else(|| {
                let count = self.world.devices.len();
                throw(call, "ENODEV", format!("device {index}: there are {count}"))
            })?;
        Dev::open(&self.world, &self.mm, number).map_err(|e| error::driver(call, &e))
    }
}

fn protection(call: &str, prot: &str) -> Result<Prot> {
    match prot {
        "none" => Ok(Prot::NONE),
        "r" => Ok(Prot::READ),
        "rw" => Ok(Prot::READ_WRITE),
        _ => Err(invalid(
            call,
            format!("protection {prot:?}: expected \"none\", \"r\" or \"rw\""),
        )),
    }
}

pub(super) fn int(call: &str, name: &str, value: &Dynamic) -> Result<i64> {
    value
        .as_int()
        .map_err(|kind| invalid(call, format!("{name}: expected an integer, got {kind}")))
}

pub(super) fn flag(call: &str, name: &str, value: &Dynamic) -> Result<bool> {
    value
        .as_bool()
        .map_err(|kind| invalid(call, format!("{name}: expected true or false, got {kind}")))
}

/// Registers the calls of processes and pins.
pub fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Process>("Process")
        .register_type_with_name::<Pin>("Pin");
    engine.register_fn("mmap", |p: &mut Process, len: i64, prot: &str| {
        p.mmap(len, prot, &Map::new())
    });
    engine.register_fn(
        "mmap",
        |p: &mut Process, len: i64, prot: &str, options: Map| p.mmap(len, prot, &options),
    );
    engine.register_fn("munmap", Process::munmap);
    engine.register_fn("mprotect", Process::mprotect);
    engine.register_fn("madvise", Process::madvise);
    engine.register_fn("mremap", |p: &mut Process, a: i64, old: i64, new: i64| {
        p.mremap(a, old, new, &Map::new())
    });
    engine.register_fn(
        "mremap",
        |p: &mut Process, a: i64, old: i64, new: i64, options: Map| p.mremap(a, old, new, &options),
    );
    engine.register_fn("load", |p: &mut Process, a: i64| p.load(a, 8));
    engine.register_fn("load", Process::load);
    engine.register_fn("store", |p: &mut Process, a: i64, v: i64| p.store(a, v, 8));
    engine.register_fn("store", Process::store);
    engine.register_fn("fill", Process::fill);
    engine.register_fn("check", Process::check);
    engine.register_fn("pin", Process::pin);
    engine.register_fn("release", |pin: &mut Pin| {
        // Taken out first: unpinning may let other threads run.
        let pinned = pin.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(pinned);
    });
    engine.register_fn("fork", Process::fork);
    engine.register_fn("exit", Process::exit);
    engine.register_fn("rss", Process::rss);
    engine.register_fn("pagemap", Process::pagemap);
    engine.register_fn("open", Process::open);
    engine.register_fn(
        "swap_out",
        |_: &mut Process, _: i64, _: i64| -> Result<i64> { Err(missing("p.swap_out", "swap")) },
    );
    engine.register_fn("poison", |_: &mut Process, _: i64| -> Result<()> {
        Err(missing("p.poison", "memory failure"))
    });
}
