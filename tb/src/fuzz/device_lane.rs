//! Operations on a device, on the machine and on plain memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use hmm_core::{Errno, Mm, Va};
use hmmu_driver::{Atomics, Context, PagePlace, PageState, Program};

use super::kernel;
use super::lane::{Got, Lane, compare, same, show};
use super::maps::pages_of;
use super::op::{Op, PAGE};
use super::plain::{Behind, Slot};
use super::predict::{self, Expect};
use crate::kernels::{self, BULK_THREADS, KernelError};

/// A device opened by a process of the lane.
struct On {
    p: usize,
    context: Arc<Context>,
    closed: bool,
}

fn run(
    context: &Arc<Context>,
    program: Result<Program, KernelError>,
    args: &[u64],
    threads: u32,
) -> Got {
    let program = program.map_err(|_| Errno::EINVAL)?;
    let job = context
        .launch(&program, args, threads)
        .map_err(|e| e.errno())?;
    job.wait().map_err(|e| e.errno)
}

/// Is it a file's page still, as far as stores tell? (A pin makes a copy too.)
fn of_file(slot: &Slot) -> bool {
    matches!(slot.behind, Behind::Copy { bytes: None, .. })
}

impl Lane {
    pub(super) fn open(&mut self, p: usize, mm: &Arc<Mm>, d: usize) -> Result<String, String> {
        let Some(process) = self.processes.get(&p) else {
            return Ok("-".into());
        };
        let open = process
            .contexts
            .get(&d)
            .is_some_and(|context| !context.is_closed());
        if open || d >= self.shape.devices {
            return Ok("-".into());
        }
        let got = self.world.open(d, mm);
        let want = match self.plain.living(p) {
            Some(_) => Ok(()),
            None => Err(Errno::ESRCH),
        };
        let text = same(got.as_ref().map(|_| ()).map_err(|e| e.errno()), want)?;
        if let (Ok(context), Some(process)) = (got, self.processes.get_mut(&p)) {
            process.contexts.insert(d, context);
        }
        Ok(text)
    }

    /// The device that an operation is for, if it was opened.
    fn opened(&self, p: usize, d: usize) -> Option<On> {
        let context = Arc::clone(self.processes.get(&p)?.contexts.get(&d)?);
        let closed = context.is_closed();
        Some(On { p, context, closed })
    }

    pub(super) fn on_device(&mut self, op: &Op) -> Result<String, String> {
        let (p, d) = match *op {
            Op::Release { d } => return self.release(d),
            Op::FailAlloc { d, n } => {
                if let Some(device) = self.world.devices.get(d) {
                    device.inject_alloc_failures(n);
                    self.may_refuse = true;
                }
                return Ok(String::new());
            }
            Op::Close { p, d }
            | Op::DevLoad { p, d, .. }
            | Op::DevStore { p, d, .. }
            | Op::DevAdd { p, d, .. }
            | Op::DevFill { p, d, .. }
            | Op::DevCheck { p, d, .. }
            | Op::DevSum { p, d, .. }
            | Op::Copy { p, d, .. }
            | Op::ToDevice { p, d, .. }
            | Op::ToSystem { p, d, .. }
            | Op::Snapshot { p, d, .. }
            | Op::Exclusive { p, d, .. } => (p, d),
            _ => return Ok("-".into()),
        };
        let Some(on) = self.opened(p, d) else {
            return Ok("-".into());
        };
        match *op {
            Op::Close { .. } => same(on.context.close().map_err(|e| e.errno()), Ok(())),
            Op::ToDevice { at, len, .. } => self.migrate_away(&on, at, len),
            Op::ToSystem { at, len, .. } => self.migrate_home(&on, at, len),
            Op::Snapshot { at, len, .. } => self.snapshot(&on, at, len),
            Op::Exclusive { at, len, .. } => self.exclusive(&on, at, len),
            _ => self.access(&on, op),
        }
    }

    /// Loads, stores and copies by the device.
    fn access(&mut self, on: &On, op: &Op) -> Result<String, String> {
        let p = on.p;
        if let Op::Copy { to, from, len, .. } = *op
            && self.plain.overlap(p, to, from, len)
        {
            // What comes out depends on the size of the pieces that the engine works in.
            return Ok("-".into());
        }
        let context = &on.context;
        let got = match *op {
            Op::DevLoad { at, size, .. } => run(context, kernels::load(size as u64), &[at], 1),
            Op::DevStore {
                at, size, value, ..
            } => run(context, kernels::store(size as u64), &[at, value], 1),
            Op::DevAdd {
                at, size, value, ..
            } => run(context, kernels::fetch_add(size as u64), &[at, value], 1),
            Op::DevFill { at, len, first, .. } => {
                run(context, kernels::fill(), &[at, len, first], BULK_THREADS)
            }
            Op::DevCheck { at, len, first, .. } => {
                run(context, kernels::check(), &[at, len, first], BULK_THREADS)
            }
            Op::DevSum {
                at, words, stride, ..
            } => run(context, kernel::sum(), &[at, words, stride], 1),
            Op::Copy { to, from, len, .. } => context
                .copy(Va(to), Va(from), len)
                .map(|()| 0)
                .map_err(|e| e.errno()),
            _ => return Ok("-".into()),
        };
        // Which pages can take atomics is the choice of who set the device up.
        if let Op::DevAdd { .. } = *op
            && self.shape.atomics != Atomics::Link
            && got == Err(Errno::EOPNOTSUPP)
        {
            return Ok(show(&got));
        }
        let expect = if on.closed {
            Expect::error(Errno::EBADF)
        } else {
            self.predict(p, op)
        };
        compare(&got, &expect)?;
        if got.is_ok()
            && let Op::DevStore { at, .. } | Op::DevAdd { at, .. } = *op
        {
            self.written(on, at)?;
        }
        // Which of several errors comes first is the device's choice.
        Ok(match expect {
            Expect::Errors(errors) if errors.len() > 1 => "one of several errors".into(),
            _ => show(&got),
        })
    }

    fn predict(&mut self, p: usize, op: &Op) -> Expect {
        match *op {
            Op::DevLoad { at, size, .. } => {
                match predict::access(&self.plain, p, at, size, false) {
                    Some(errors) => Expect::Errors(errors),
                    None => Expect::Value(self.plain.number(p, at, size)),
                }
            }
            Op::DevStore {
                at, size, value, ..
            } => match predict::access(&self.plain, p, at, size, true) {
                Some(errors) => Expect::Errors(errors),
                None => {
                    self.plain.write(p, at, &value.to_le_bytes()[..size]);
                    Expect::Value(0)
                }
            },
            Op::DevAdd {
                at, size, value, ..
            } => match predict::access(&self.plain, p, at, size, true) {
                Some(errors) => Expect::Errors(errors),
                None => {
                    let old = self.plain.number(p, at, size);
                    let new = old.wrapping_add(value).to_le_bytes();
                    self.plain.write(p, at, &new[..size]);
                    Expect::Value(old)
                }
            },
            Op::DevFill { at, len, first, .. } => predict::fill(&mut self.plain, p, at, len, first),
            Op::DevCheck { at, len, first, .. } => predict::check(&self.plain, p, at, len, first),
            Op::DevSum {
                at, words, stride, ..
            } => predict::sum(&self.plain, p, at, words, stride),
            Op::Copy { to, from, len, .. } => {
                let user = |at: u64| {
                    at.checked_add(len)
                        .is_some_and(|end| end <= hmm_core::addr::TASK_SIZE)
                };
                if user(to) && user(from) {
                    predict::copy(&mut self.plain, p, to, from, len)
                } else {
                    Expect::error(Errno::EFAULT)
                }
            }
            _ => Expect::Value(0),
        }
    }

    /// The device has just written there: the page is dirty.
    fn written(&self, on: &On, at: u64) -> Result<(), String> {
        let page = at / PAGE * PAGE;
        match on.context.dirty(Va(page), PAGE) {
            Ok(dirty) if dirty == [true] || self.shape.lanes > 1 => Ok(()),
            Ok(_) => Err(format!("the page at {page:#x} is not dirty afterwards")),
            Err(error) => Err(format!("dirty failed afterwards: {error}")),
        }
    }

    /// What a migration must answer before it looks at any page.
    fn range_error(&self, on: &On, at: u64, len: u64) -> Option<Errno> {
        let bad = pages_of(at, len).is_err() || !len.is_multiple_of(PAGE);
        if bad {
            return Some(Errno::EINVAL);
        }
        on.closed.then_some(Errno::EBADF)
    }

    fn readable(&self, p: usize, at: u64, len: u64) -> bool {
        self.mapped_readable(p, at, len)
    }

    fn mapped_readable(&self, p: usize, at: u64, len: u64) -> bool {
        (at / PAGE..(at + len) / PAGE)
            .all(|page| self.plain.slot(p, page).is_some_and(|slot| slot.prot.read))
    }

    fn migrate_away(&mut self, on: &On, at: u64, len: u64) -> Result<String, String> {
        let moved = on.context.migrate_to_device(Va(at), len);
        let got = moved.map(|pages| pages as u64).map_err(|e| e.errno());
        let expect = if let Some(errno) = self.range_error(on, at, len) {
            Expect::error(errno)
        } else if !self.mapped_readable(on.p, at, len) {
            Expect::error(Errno::EINVAL)
        } else if self.must_stay(on, at, len) || (got.is_err() && self.may_stay(on, at, len)) {
            Expect::error(Errno::ENOENT)
        } else {
            Expect::Value(len / PAGE)
        };
        compare(&got, &expect)?;
        if got.is_ok() && self.shape.lanes == 1 {
            self.all_there(on, at, len)?;
        }
        Ok(show(&got))
    }

    /// Shared memory does not migrate.
    fn must_stay(&self, on: &On, at: u64, len: u64) -> bool {
        self.any_page(on.p, at, len, |slot| !slot.is_private())
    }

    /// Is there a reason that plain memory knows of for a page not to migrate?
    fn may_stay(&self, on: &On, at: u64, len: u64) -> bool {
        self.may_refuse
            || self.hidden
            || !self.pins.is_empty()
            || self.shape.devices > 1
            || self.any_page(on.p, at, len, of_file)
    }

    fn any_page(&self, p: usize, at: u64, len: u64, is: impl Fn(&Slot) -> bool) -> bool {
        (at / PAGE..(at + len) / PAGE).any(|page| self.plain.slot(p, page).is_some_and(&is))
    }

    fn exclusive(&mut self, on: &On, at: u64, len: u64) -> Result<String, String> {
        self.hidden = true;
        let made = on.context.exclusive(Va(at), len);
        let got = made.map(|pages| pages as u64).map_err(|e| e.errno());
        let expect = match self.range_error(on, at, len) {
            Some(errno) => Expect::error(errno),
            None => {
                let wrong = (at / PAGE..(at + len) / PAGE).find_map(|page| {
                    let slot = self.plain.slot(on.p, page);
                    match slot.filter(|slot| slot.prot.write) {
                        None => Some(Errno::EFAULT),
                        Some(slot) if !slot.is_private() => Some(Errno::EOPNOTSUPP),
                        // Behind the end of its file.
                        Some(_) => self
                            .plain
                            .page_allows(on.p, page, true)
                            .err()
                            .map(|_| Errno::EFAULT),
                    }
                });
                wrong.map_or(Expect::Value(len / PAGE), Expect::error)
            }
        };
        match (&got, &expect) {
            // Another process may have touched a page that they share.
            (Ok(pages), Expect::Value(most)) if self.shape.lanes > 1 && pages <= most => {}
            _ => compare(&got, &expect)?,
        }
        Ok(show(&got))
    }

    fn all_there(&self, on: &On, at: u64, len: u64) -> Result<(), String> {
        let states = on
            .context
            .snapshot(Va(at), len)
            .map_err(|e| format!("the snapshot afterwards failed: {e}"))?;
        let there = |state: &PageState| {
            matches!(
                state,
                PageState::Page {
                    place: PagePlace::Device,
                    ..
                }
            )
        };
        match states.iter().position(|state| !there(state)) {
            Some(i) => Err(format!(
                "page {i} of the range is {:?} afterwards",
                states[i].to_string()
            )),
            None => Ok(()),
        }
    }

    fn migrate_home(&mut self, on: &On, at: u64, len: u64) -> Result<String, String> {
        let moved = on.context.migrate_to_system(Va(at), len);
        let got = moved.map(|pages| pages as u64).map_err(|e| e.errno());
        let error = match self.range_error(on, at, len) {
            None if !self.mapped_readable(on.p, at, len) => Some(Errno::EINVAL),
            error => error,
        };
        match (&got, error) {
            (Ok(pages), None) if *pages <= len / PAGE => {}
            (Ok(pages), None) => return Err(format!("moved {pages} pages of {}", len / PAGE)),
            (_, error) => compare(&got, &Expect::Errors(error.into_iter().collect()))?,
        }
        Ok(show(&got))
    }

    fn snapshot(&mut self, on: &On, at: u64, len: u64) -> Result<String, String> {
        let got = on.context.snapshot(Va(at), len);
        let error = self.range_error(on, at, len);
        let states = match (got, error) {
            (Ok(states), None) => states,
            (got, error) => {
                let got = got.map(|_| 0).map_err(|e| e.errno());
                let errors: BTreeSet<Errno> = error.into_iter().collect();
                compare(&got, &Expect::Errors(errors))?;
                return Ok(show(&got));
            }
        };
        if states.len() as u64 != len / PAGE {
            return Err(format!("{} states for {} pages", states.len(), len / PAGE));
        }
        for (i, state) in states.iter().enumerate() {
            let page = at / PAGE + i as u64;
            self.state_fits(on.p, page, state).map_err(|why| {
                format!("page {i} of the range is {:?}: {why}", state.to_string())
            })?;
        }
        let words: Vec<String> = states.iter().map(ToString::to_string).collect();
        Ok(words.join(","))
    }

    /// Can plain memory look like that to a device?
    fn state_fits(&self, p: usize, page: u64, state: &PageState) -> Result<(), &'static str> {
        let slot = self.plain.slot(p, page).filter(|slot| slot.prot.read);
        let Some(slot) = slot else {
            return match state {
                PageState::Error => Ok(()),
                _ => Err("nothing readable is mapped there"),
            };
        };
        let contents = self.plain.contents(slot);
        let zero = contents
            .as_ref()
            .is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0));
        match state {
            PageState::Error => Err("it is mapped and readable"),
            PageState::None => {
                let settled = self.shape.devices == 1 && self.shape.lanes == 1 && !self.hidden;
                if settled && !zero && matches!(slot.behind, Behind::Own(_)) {
                    Err("it has contents")
                } else {
                    Ok(())
                }
            }
            PageState::Page { write: true, .. } if !slot.prot.write => Err("it may not be written"),
            PageState::Page {
                place: PagePlace::Zero,
                write,
                ..
            } if *write || !zero => Err("it is not zero, or writable"),
            PageState::Page { .. } => Ok(()),
        }
    }

    fn release(&mut self, d: usize) -> Result<String, String> {
        let Some(device) = self.world.devices.get(d) else {
            return Ok("-".into());
        };
        match device.release() {
            Ok(pages) => Ok(pages.to_string()),
            Err(error) if self.shape.lanes > 1 && error.errno() == Errno::EBUSY => {
                Ok("EBUSY".into())
            }
            Err(error) => Err(format!("failed: {error}")),
        }
    }

    /// Pages that each opened device has written, as far as its bits tell, for comparing two devices.
    pub fn dirty_pages(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (p, process) in &self.processes {
            for (d, context) in process.contexts.iter().filter(|(_, c)| !c.is_closed()) {
                for (at, len) in self.plain.runs(*p) {
                    if !self.readable(*p, at, len) {
                        continue;
                    }
                    let text = match context.dirty(Va(at), len) {
                        Ok(bits) => bits.iter().map(|b| if *b { '1' } else { '0' }).collect(),
                        Err(error) => error.errno().name().to_string(),
                    };
                    lines.push(format!("p{p}d{d} {at:#x} {text}"));
                }
            }
        }
        lines
    }
}
