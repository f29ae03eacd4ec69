//! One thread's part of a program, carried out on the machine and on plain memory, and compared after every operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use hmm_core::{Advice, Errno, File, Mm, MmapOptions, MremapOptions, PinnedPages, Va};
use hmmu_driver::Context;

use super::maps::pages_of;
use super::op::{Kind, Op, PAGE, Tip};
use super::plain::{Plain, Slot};
use super::predict::Expect;
use super::shape::Shape;
use crate::world::World;

/// A call's outcome on the machine.
pub type Got = Result<u64, Errno>;

/// A process on the machine.
pub(super) struct Process {
    pub mm: Arc<Mm>,
    pub contexts: BTreeMap<usize, Arc<Context>>,
}

/// A thread's processes, on both sides.
pub struct Lane {
    pub(super) world: Arc<World>,
    pub(super) plain: Plain,
    pub(super) processes: BTreeMap<usize, Process>,
    pub(super) pins: Vec<PinnedPages>,
    pub(super) files: BTreeMap<usize, Arc<File>>,
    pub(super) shape: Shape,
    /// Migrations may be refused: device memory was made to fail, or pins are about.
    pub(super) may_refuse: bool,
    /// Pages were swapped out or made exclusive: a snapshot does not show them, and they do not migrate.
    pub(super) hidden: bool,
    /// What each operation gave, for comparing two devices.
    pub outcomes: Vec<String>,
}

pub(super) fn show(got: &Got) -> String {
    match got {
        Ok(value) => format!("{value:#x}"),
        Err(errno) => errno.name().to_string(),
    }
}

/// Compares an outcome with what must come out.
pub(super) fn compare(got: &Got, expect: &Expect) -> Result<(), String> {
    let right = match (got, expect) {
        (Ok(value), Expect::Value(wanted)) => value == wanted,
        (Err(errno), Expect::Errors(allowed)) => allowed.contains(errno),
        _ => false,
    };
    if right {
        return Ok(());
    }
    let wanted = match expect {
        Expect::Value(value) => format!("{value:#x}"),
        Expect::Errors(errors) => errors
            .iter()
            .map(|e| e.name())
            .collect::<Vec<_>>()
            .join(" or "),
    };
    Err(format!("gave {}, plain memory says {wanted}", show(got)))
}

pub(super) fn same(got: Result<(), Errno>, want: Result<(), Errno>) -> Result<String, String> {
    let got = got.map(|()| 0);
    let expect = match want {
        Ok(()) => Expect::Value(0),
        Err(errno) => Expect::error(errno),
    };
    compare(&got, &expect)?;
    Ok(show(&got))
}

impl Lane {
    /// A lane without processes.
    pub fn new(world: &Arc<World>, shape: &Shape) -> Self {
        Self {
            world: Arc::clone(world),
            plain: Plain::default(),
            processes: BTreeMap::new(),
            pins: Vec::new(),
            files: BTreeMap::new(),
            may_refuse: shape.lanes > 1 || shape.tight,
            hidden: shape.atomics == hmmu_driver::Atomics::Exclusive,
            shape: shape.clone(),
            outcomes: Vec::new(),
        }
    }

    /// Carries out one operation.
    ///
    /// # Errors
    /// What differs from plain memory, or which rule is broken.
    pub fn step(&mut self, op: &Op) -> Result<(), String> {
        let outcome = self.apply(op)?;
        self.outcomes.push(outcome);
        self.check()
    }

    /// The rules that always hold.
    fn check(&self) -> Result<(), String> {
        let system = &self.world.system;
        if self.shape.lanes > 1 {
            system.check_invariants()
        } else {
            system.check_quiescent(0)
        }
        .map_err(|text| format!("a rule is broken afterwards: {text}"))?;
        for (p, process) in &self.processes {
            for (d, context) in &process.contexts {
                context
                    .check_mirror()
                    .map_err(|text| format!("p{p} and device {d} differ afterwards: {text}"))?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, op: &Op) -> Result<String, String> {
        match *op {
            Op::Spawn { p } => Ok(self.spawn(p)),
            Op::File { f, len } => {
                if !self.files.contains_key(&f) {
                    self.files.insert(f, File::new(&self.world.system, len));
                    self.plain.file(f, len);
                }
                Ok(String::new())
            }
            Op::Fork { p, child } => self.fork(p, child),
            Op::Unpin { n } => {
                if !self.pins.is_empty() {
                    let pin = self.pins.swap_remove(n % self.pins.len());
                    drop(pin);
                }
                Ok(String::new())
            }
            Op::Reclaim { .. }
            | Op::Merge
            | Op::FileWrite { .. }
            | Op::FileRead { .. }
            | Op::Truncate { .. } => self.on_memory(op),
            Op::Exit { p }
            | Op::Mmap { p, .. }
            | Op::Munmap { p, .. }
            | Op::Protect { p, .. }
            | Op::Advise { p, .. }
            | Op::Remap { p, .. }
            | Op::Load { p, .. }
            | Op::Store { p, .. }
            | Op::Fill { p, .. }
            | Op::Read { p, .. }
            | Op::Pin { p, .. }
            | Op::Get { p, .. }
            | Op::ClearSoft { p }
            | Op::SwapOut { p, .. }
            | Op::Lock { p, .. }
            | Op::Unlock { p, .. }
            | Op::Open { p, .. } => match self.processes.get(&p) {
                Some(process) => {
                    let mm = Arc::clone(&process.mm);
                    self.on_process(op, p, &mm)
                }
                None => Ok("-".into()),
            },
            _ => self.on_device(op),
        }
    }

    fn spawn(&mut self, p: usize) -> String {
        if self.plain.living(p).is_some() {
            return "-".into();
        }
        let mm = self.world.process();
        self.settle(p, mm);
        self.plain.spawn(p);
        "new".into()
    }

    fn settle(&mut self, p: usize, mm: Arc<Mm>) {
        let contexts = BTreeMap::new();
        self.processes.insert(p, Process { mm, contexts });
    }

    fn fork(&mut self, p: usize, child: usize) -> Result<String, String> {
        let Some(process) = self.processes.get(&p) else {
            return Ok("-".into());
        };
        if p == child || self.plain.living(child).is_some() {
            return Ok("-".into());
        }
        let forked = process.mm.fork();
        let want = match self.plain.living(p) {
            Some(_) => Ok(()),
            None => Err(Errno::ESRCH),
        };
        let text = same(forked.as_ref().map(|_| ()).map_err(|e| *e), want)?;
        if let Ok(mm) = forked {
            self.world.adopt(&mm);
            self.settle(child, mm);
            self.plain.fork(p, child);
        }
        Ok(text)
    }

    fn on_process(&mut self, op: &Op, p: usize, mm: &Arc<Mm>) -> Result<String, String> {
        match *op {
            Op::Exit { .. } => {
                mm.exit();
                self.plain.exit(p);
                Ok(String::new())
            }
            Op::Mmap {
                at,
                len,
                prot,
                kind,
                huge,
                ..
            } => self.mmap(p, mm, (at, len), prot, kind, huge),
            Op::Munmap { at, len, .. } => {
                same(mm.munmap(Va(at), len), self.plain.unmap(p, at, len))
            }
            Op::Protect { at, len, prot, .. } => same(
                mm.mprotect(Va(at), len, prot),
                self.plain.protect(p, at, len, prot),
            ),
            Op::Advise { at, len, tip, .. } => {
                let advice = match tip {
                    Tip::DontNeed => Advice::DontNeed,
                    Tip::HugePage => Advice::HugePage,
                    Tip::NoHugePage => Advice::NoHugePage,
                    Tip::Free => Advice::Free,
                    Tip::Mergeable => Advice::Mergeable,
                    Tip::Unmergeable => Advice::Unmergeable,
                };
                let text = same(
                    mm.madvise(Va(at), len, advice),
                    self.plain.advise(p, at, len, tip),
                )?;
                // What was in swap space is gone at once.
                self.settle_lazy();
                Ok(text)
            }
            Op::Remap {
                at,
                len,
                new_len,
                to,
                keep,
                ..
            } => self.remap(p, mm, (at, len), new_len, to, keep),
            Op::Load { at, size, .. } => self.load(p, mm, at, size as u64),
            Op::Store {
                at, size, value, ..
            } => self.store(p, mm, at, &value.to_le_bytes()[..size]),
            Op::Fill { at, len, first, .. } => {
                let words = (0..len / 8).flat_map(|k| first.wrapping_add(k).to_le_bytes());
                let data: Vec<u8> = words.collect();
                self.store(p, mm, at, &data)
            }
            Op::Read { at, len, .. } => self.load(p, mm, at, len),
            Op::Pin { at, len, .. } => self.pin(p, mm, at, len, true),
            Op::Get { at, len, .. } => self.pin(p, mm, at, len, false),
            Op::ClearSoft { .. } => self.clear_soft(p, mm),
            Op::SwapOut { at, len, .. } => self.swap_out(p, mm, at, len),
            Op::Lock { at, len, .. } => {
                same(mm.mlock(Va(at), len), self.plain.lock(p, at, len, true))
            }
            Op::Unlock { at, len, .. } => {
                same(mm.munlock(Va(at), len), self.plain.lock(p, at, len, false))
            }
            Op::Open { d, .. } => self.open(p, mm, d),
            _ => Ok("-".into()),
        }
    }

    fn mmap(
        &mut self,
        p: usize,
        mm: &Arc<Mm>,
        (at, len): (Option<u64>, u64),
        prot: hmm_core::Prot,
        kind: Kind,
        huge: bool,
    ) -> Result<String, String> {
        let options = MmapOptions {
            at: at.map(Va),
            share: matches!(kind, Kind::Shared | Kind::File { .. }),
            huge,
            hugetlb: false,
        };
        let got = match kind {
            Kind::Private | Kind::Shared => mm.mmap(len, prot, options),
            Kind::File { f, page } | Kind::Copy { f, page } => match self.files.get(&f) {
                // A length that is no file position is another error than one that is no range.
                Some(_) if len > 1 << 60 => return Ok("-".into()),
                Some(file) => mm.mmap_file(len, prot, options, file, page * PAGE),
                None => return Ok("-".into()),
            },
        };
        let want = self.plain.can_map(p, at, len);
        let text = same(got.map(|_| ()), want)?;
        let Ok(start) = got else { return Ok(text) };
        if at.is_none() {
            self.free_at(p, start.0, len)?;
        } else if at != Some(start.0) {
            return Err(format!("mapped at {start} instead of the place asked for"));
        }
        self.plain.map(p, start.0, len, prot, (kind, huge));
        Ok(start.to_string())
    }

    /// A place chosen by the memory manager must be one, and free.
    fn free_at(&self, p: usize, at: u64, len: u64) -> Result<(), String> {
        let pages = pages_of(at, len).map_err(|e| format!("chose the address {at:#x}: {e}"))?;
        let taken = self
            .plain
            .living(p)
            .and_then(|space| space.pages.range(pages).next());
        match taken {
            Some((page, _)) => Err(format!(
                "chose {at:#x}, but the page at {:#x} is mapped",
                page * PAGE
            )),
            None => Ok(()),
        }
    }

    fn remap(
        &mut self,
        p: usize,
        mm: &Arc<Mm>,
        (at, len): (u64, u64),
        new_len: u64,
        to: Option<u64>,
        keep: bool,
    ) -> Result<String, String> {
        let options = MremapOptions {
            at: to.map(Va),
            dontunmap: keep,
        };
        let got = mm.mremap(Va(at), len, new_len, options);
        let want = self.plain.can_remap(p, at, len, new_len, to, keep);
        let text = same(got.map(|_| ()), want.map(|_| ()))?;
        let (Ok(place), Ok(stays)) = (got, want) else {
            return Ok(text);
        };
        match to {
            Some(to) if place.0 != to => {
                return Err(format!("moved to {place} instead of the place asked for"));
            }
            None if stays != (place.0 == at) => {
                return Err(format!(
                    "is at {place} now, and must {}",
                    if stays { "stay" } else { "move" }
                ));
            }
            None if !stays => self.free_at(p, place.0, new_len)?,
            _ => {}
        }
        self.plain.remap(p, at, len, new_len, place.0, keep);
        Ok(place.to_string())
    }

    /// What a CPU access of `len` bytes must give, and how far it gets.
    fn cpu(&self, p: usize, at: u64, len: u64, write: bool) -> (u64, Result<(), Errno>) {
        let outside = at
            .checked_add(len)
            .is_none_or(|end| end > hmm_core::addr::TASK_SIZE);
        if outside {
            return (0, Err(Errno::SIGSEGV));
        }
        if len == 0 {
            return (0, Ok(()));
        }
        if self.plain.living(p).is_none() {
            return (0, Err(Errno::ESRCH));
        }
        let (done, result) = self.plain.reach(p, at, len, write);
        (done, result.map_err(|denied| denied.of_cpu()))
    }

    fn load(&mut self, p: usize, mm: &Arc<Mm>, at: u64, len: u64) -> Result<String, String> {
        let mut bytes = vec![0; len as usize];
        let got = mm.load(Va(at), &mut bytes);
        let (done, want) = self.cpu(p, at, len, false);
        let text = same(got, want)?;
        let expected = self.plain.read(p, at, done);
        if let Some(i) = (0..done as usize).find(|&i| bytes[i] != expected[i]) {
            return Err(format!(
                "the byte at {:#x} is {:#04x}, plain memory has {:#04x}",
                at + i as u64,
                bytes[i],
                expected[i]
            ));
        }
        Ok(text)
    }

    fn store(&mut self, p: usize, mm: &Arc<Mm>, at: u64, data: &[u8]) -> Result<String, String> {
        let got = mm.store(Va(at), data);
        let (done, want) = self.cpu(p, at, data.len() as u64, true);
        let text = same(got, want)?;
        self.plain.write(p, at, &data[..done as usize]);
        Ok(text)
    }

    fn pin(
        &mut self,
        p: usize,
        mm: &Arc<Mm>,
        at: u64,
        len: u64,
        long: bool,
    ) -> Result<String, String> {
        let pages = len.div_ceil(PAGE);
        let got = match long {
            true => mm.pin(Va(at), pages),
            false => mm.get_user_pages(Va(at), pages),
        };
        let want = pages_of(at, pages * PAGE).and_then(|pages| {
            if self.plain.living(p).is_none() {
                return Err(Errno::ESRCH);
            }
            let (_, result) = self.plain.reach(
                p,
                pages.start * PAGE,
                len.max(1).next_multiple_of(PAGE),
                false,
            );
            result.map_err(|_| Errno::EFAULT)
        });
        let text = same(got.as_ref().map(|_| ()).map_err(|e| *e), want)?;
        if let Ok(pin) = got {
            self.pins.push(pin);
        }
        Ok(text)
    }

    fn clear_soft(&mut self, p: usize, mm: &Arc<Mm>) -> Result<String, String> {
        let written = match self.plain.living(p) {
            Some(space) => &space.written,
            None => return same(mm.clear_soft_dirty(), Err(Errno::ESRCH)),
        };
        // What is shared leaves memory without a trace in the process.
        let private = |page: &&u64| self.plain.slot(p, **page).is_some_and(Slot::is_private);
        let mut checked = written.iter().filter(private);
        if let Some(page) = checked.find(|page| !mm.soft_dirty(Va(**page * PAGE))) {
            let at = page * PAGE;
            return Err(format!(
                "the page at {at:#x} was written and is not soft-dirty"
            ));
        }
        let text = same(mm.clear_soft_dirty(), Ok(()))?;
        if let Some(space) = self.plain.spaces.get_mut(&p) {
            space.written.clear();
        }
        Ok(text)
    }

    /// Reads everything through the CPUs once more.
    ///
    /// # Errors
    /// What differs.
    pub fn sweep(&mut self) -> Result<(), String> {
        let slots: Vec<usize> = self.processes.keys().copied().collect();
        for p in slots {
            let mm = Arc::clone(&self.processes[&p].mm);
            for (at, len) in self.plain.runs(p) {
                for page in (at..at + len).step_by(PAGE as usize) {
                    self.load(p, &mm, page, PAGE)
                        .map_err(|text| format!("p{p} at the end: {text}"))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
