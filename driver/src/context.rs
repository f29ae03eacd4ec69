//! A process's view of the device.

use crate::arena::{Arena, JobMemory};
use crate::commands::CtxId;
use crate::core::{Core, Slot};
use crate::counters::Tick;
use crate::dirty_log::Written;
use crate::error::DriverError;
use crate::hw::DmaAddr;
use crate::job::{Job, JobState, status_errno};
use crate::launcher::Launcher;
use crate::notifier::Mirror;
use crate::program::Program;
use crate::table::PageTable;
use hmm_core::addr::TASK_SIZE;
use hmm_core::sync::{Condvar, Mutex};
use hmm_core::{Errno, Mm, MmuIntervalNotifier, Va};
use hmmu_regs::{FORMAT_VERSION, JobStatus, LaunchEntry};
use std::sync::{Arc, OnceLock, Weak};

/// Bytes of one translated copy descriptor. While one is in the channel, pages can only be moved by the CPU.
const COPY_PIECE: u64 = 64 << 10;

/// Tables and the driver's memory of a context; `None` once it has ended. Its lock is the one that an invalidation
/// takes, so nobody holds it while waiting for the device.
pub(crate) struct Space {
    /// Page tables.
    pub table: Option<PageTable>,
    arena: Option<Arena>,
    /// No new jobs, copies and mappings any more.
    pub closing: bool,
    /// All is freed and the device has forgotten the context.
    ended: bool,
    /// Translated copies in the channel.
    copies: u64,
}

/// A device opened for one process: its address space, mirrored.
pub struct Context {
    pub(crate) core: Arc<Core>,
    pub(crate) id: CtxId,
    pub(crate) mm: Arc<Mm>,
    pub(crate) space: Mutex<Space>,
    pub(crate) written: Written,
    /// Signalled when `ended` becomes true.
    ended: Condvar,
    notifier: OnceLock<Arc<MmuIntervalNotifier>>,
}

impl Context {
    /// Sets a context up on the device.
    pub(crate) fn open(core: &Arc<Core>, mm: &Arc<Mm>) -> Result<Arc<Self>, DriverError> {
        core.health.check()?;
        if !mm.is_alive() {
            return Err(DriverError::errno_of(
                Errno::ESRCH,
                "open by a process that has ended",
            ));
        }
        let id = core.reserve_slot()?;
        let opened = Self::set_up(core, mm, id);
        match &opened {
            Ok(context) => core.set_slot(id, Slot::Open(Arc::clone(context))),
            Err(_) => core.set_slot(id, Slot::Free),
        }
        opened
    }

    fn set_up(core: &Arc<Core>, mm: &Arc<Mm>, id: CtxId) -> Result<Arc<Self>, DriverError> {
        let revived = core.health.revived();
        let table = PageTable::new(Arc::clone(&core.mem), core.config.tables)?;
        let logged = core.dirty_log.get();
        if let Some(log) = logged {
            // What is left of the number's last holder goes to nobody.
            log.collect(core)?;
        }
        let logged = logged.is_some();
        let mut set = core.commands.ctx_set(id, table.root(), logged);
        if set.is_ok() && core.health.revived() != revived {
            set = Err(DriverError::Lost("it was reset meanwhile".to_owned()));
        }
        if let Err(error) = set {
            table.free();
            return Err(error);
        }
        let arena = Some(Arena::new(Arc::clone(&core.mem)));
        let space = Mutex::new(Space {
            table: Some(table),
            arena,
            closing: false,
            ended: false,
            copies: 0,
        });
        let context = Arc::new(Self {
            core: Arc::clone(core),
            id,
            mm: Arc::clone(mm),
            space,
            written: Written::default(),
            ended: Condvar::new(),
            notifier: OnceLock::new(),
        });
        let mirror = Arc::new(Mirror {
            context: Mutex::new(Weak::new()),
        });
        *mirror.context.lock() = Arc::downgrade(&context);
        match MmuIntervalNotifier::insert(mm, Va(0), TASK_SIZE, mirror) {
            Ok(notifier) => {
                let _ = context.notifier.set(notifier);
            }
            Err(errno) => {
                let _ = core.commands.stop(id);
                context.free();
                return Err(DriverError::errno_of(errno, "subscribing to invalidations"));
            }
        }
        core.trace("open", &[("ctx", u64::from(id)), ("mm", mm.id())]);
        Ok(context)
    }

    /// The subscription.
    pub(crate) fn notifier(&self) -> Option<&Arc<MmuIntervalNotifier>> {
        self.notifier.get()
    }

    /// Starts `threads` threads (at least 1) of a program. `args` is copied to device memory; `a0` points to it.
    pub fn launch(
        self: &Arc<Self>,
        program: &Program,
        args: &[u64],
        threads: u32,
    ) -> Result<Job, DriverError> {
        self.core.health.check()?;
        if threads == 0 || !program.is_usable() {
            return Err(DriverError::errno_of(
                Errno::EINVAL,
                "launch of an unusable program or no threads",
            ));
        }
        let (completion, fence) = Launcher::completion(&self.core)?;
        let state = match self.enqueue(program, args, threads, completion, fence) {
            Ok(state) => state,
            Err(error) => {
                Launcher::free_completion(&self.core, completion);
                return Err(error);
            }
        };
        self.core.launcher.pump(&self.core);
        Ok(Job::new(Arc::clone(&self.core), state))
    }

    /// Prepares a job and queues it, in one step against the context's end.
    fn enqueue(
        self: &Arc<Self>,
        program: &Program,
        args: &[u64],
        threads: u32,
        completion: DmaAddr,
        fence: u64,
    ) -> Result<Arc<JobState>, DriverError> {
        let stack = self.core.config.stack_bytes;
        let mut space = self.space.lock();
        if space.closing {
            return Err(DriverError::Closed);
        }
        let Space {
            table: Some(table),
            arena: Some(arena),
            ..
        } = &mut *space
        else {
            return Err(DriverError::Closed);
        };
        // Jobs of one context run side by side, and each hands out its places from 0 on.
        let places = self.core.warps.min(u64::from(threads));
        let memory = arena.job(table, program, args, places * stack)?;
        let id = self.core.launcher.next_id();
        let entry = LaunchEntry::default()
            .with_version(FORMAT_VERSION)
            .with_ctx(u64::from(self.id))
            .with_threads(u64::from(threads))
            .with_entry(memory.image().0 + program.entry)
            .with_arg(memory.args().0)
            .with_stack_base(memory.stacks().0)
            .with_stack_size(stack)
            .with_fence_addr(completion.0)
            .with_fence_value(fence)
            .with_job(u64::from(id));
        let state = Arc::new(JobState {
            id,
            ctx: self.id,
            entry,
            completion,
            memory,
            context: Arc::clone(self),
            places,
            end: Mutex::new(None),
            hold: Mutex::default(),
            areas: Mutex::default(),
        });
        let fields = [
            ("job", u64::from(id)),
            ("ctx", u64::from(self.id)),
            ("threads", u64::from(threads)),
        ];
        self.core.trace("launch", &fields);
        self.core.launcher.enqueue(&self.core, Arc::clone(&state));
        Ok(state)
    }

    /// Takes a job's memory back.
    pub(crate) fn recycle(&self, memory: JobMemory) {
        if let Some(arena) = self.space.lock().arena.as_mut() {
            arena.recycle(memory);
        }
    }

    /// Copies `len` bytes from `src` to `dst`, both addresses of the process, with the copy engine.
    ///
    /// # Errors
    /// The errno of a page fault that could not be served (EFAULT, EPERM, ...); the bytes before it may have been
    /// copied. EBADF when the context is closed, ESRCH when it was closed meanwhile.
    pub fn copy(&self, dst: Va, src: Va, len: u64) -> Result<(), DriverError> {
        let in_user = |va: Va| va.0.checked_add(len).is_some_and(|end| end <= TASK_SIZE);
        if !in_user(dst) || !in_user(src) {
            return Err(DriverError::errno_of(
                Errno::EFAULT,
                "copy outside of the process's addresses",
            ));
        }
        self.core.counters.add(Tick::Copies, 1);
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(COPY_PIECE);
            let enter = || {
                let mut space = self.space.lock();
                space.copies += u64::from(!space.closing);
                !space.closing
            };
            let excused = || self.core.waiters.has(self);
            let (to, from) = (dst + done, src + done);
            let end = self
                .core
                .copier
                .translated(self.id, to, from, piece, enter, excused);
            if !matches!(end, Err(DriverError::Closed)) {
                let mut space = self.space.lock();
                space.copies = space.copies.saturating_sub(1);
            }
            let end = end?;
            if end.status != JobStatus::Ok as u8 {
                let what = format!("copy to {dst} from {src}, at {:#x}", end.info);
                return Err(DriverError::errno_of(status_errno(end.status), what));
            }
            done += piece;
        }
        Ok(())
    }

    /// The device's counters, and the driver's.
    pub fn stats(&self) -> Result<Vec<(&'static str, u64)>, DriverError> {
        crate::stats::read(&self.core)
    }

    /// The context's number on the device (PASID).
    pub fn id(&self) -> u8 {
        self.id
    }

    /// The process.
    pub fn mm(&self) -> &Arc<Mm> {
        &self.mm
    }

    /// True once it was closed or its process has ended.
    pub fn is_closed(&self) -> bool {
        self.space.lock().closing
    }

    /// Ends the context: its jobs are stopped, its tables and programs freed. Pages in device memory stay there
    /// until the CPU touches them. Closing twice does nothing.
    ///
    /// # Errors
    /// When the device does not answer. The context is closed even so.
    pub fn close(&self) -> Result<(), DriverError> {
        self.end();
        // Waits for callbacks under way, so it cannot be part of what a callback does.
        if let Some(notifier) = self.notifier.get() {
            notifier.remove();
        }
        Ok(())
    }

    /// Stops everything and frees what the context holds. The first caller does it; others wait until it is done.
    pub(crate) fn end(&self) {
        {
            let mut space = self.space.lock();
            if space.closing {
                drop(self.ended.wait_while(space, |space| !space.ended));
                return;
            }
            space.closing = true;
        }
        let core = &self.core;
        core.trace("close", &[("ctx", u64::from(self.id))]);
        core.launcher.drop_waiting(core, self.id);
        // Errors of these mark the device lost; the context ends all the same.
        let _ = core.commands.stop(self.id);
        let _ = core.launcher.drain(core, self.id);
        // A descriptor that was still in the ring must not run in the context's successor.
        let _ = core.health.wait(
            || format!("the copies of context {}, which was stopped,", self.id),
            core.config.timeouts.copy,
            || self.space.lock().copies == 0,
        );
        if let Some((span, epoch)) = self.revoke_all() {
            self.harvest(span, epoch);
        }
        self.free();
        core.set_slot(self.id, Slot::Free);
        self.space.lock().ended = true;
        self.ended.notify_all();
    }

    fn free(&self) {
        let (table, arena) = {
            let mut space = self.space.lock();
            space.closing = true;
            (space.table.take(), space.arena.take())
        };
        if let Some(arena) = arena {
            arena.free();
        }
        if let Some(table) = table {
            table.free();
        }
    }
}
