//! Script calls on a process.

use std::sync::Arc;

use hmm_core::Va;
use rhai::{Engine, Map};

use super::args::{difference, size, words};
use super::device::Dev;
use super::error::{self, FAILED, ORACLE, Result, errno, throw};
use super::step::{Handle, calls};
use crate::oracle::{Data, Outcome};
use crate::world::World;

/// Bytes of a page.
pub(super) const PAGE: u64 = 4096;

/// A process, as scripts hold it.
#[derive(Clone)]
pub struct Process {
    pub(super) world: Arc<World>,
    pub(super) mm: Arc<hmm_core::Mm>,
}

impl Handle for Process {
    fn world(&self) -> &Arc<World> {
        &self.world
    }
}

impl Process {
    /// The oracle's name for it.
    pub(super) fn id(&self) -> u64 {
        self.mm.id()
    }

    /// A CPU's read, checked.
    pub(super) fn read(&self, call: &str, addr: u64, len: usize) -> Result<Vec<u8>> {
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

    fn exit(&mut self) -> Result<()> {
        let ticket = self
            .world
            .oracle
            .begin_unmap(self.id(), 0, hmm_core::addr::TASK_SIZE);
        self.mm.exit();
        self.world.oracle.end_unmap(ticket, true);
        self.world.oracle.exit(self.id());
        Ok(())
    }

    fn rss(&mut self) -> Result<Map> {
        let rss = self.mm.rss();
        let mut map = Map::new();
        for (name, pages) in [("anon", rss.anon), ("file", rss.file), ("shmem", rss.shmem)] {
            map.insert(name.into(), (pages as i64).into());
        }
        Ok(map)
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

/// Registers the calls of processes.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Process>("Process");
    calls!(engine, Process, "p":
        "load"(a: i64) => |p: &mut Process, a| p.load(a, 8);
        "load"(a: i64, bytes: i64) => Process::load;
        "store"(a: i64, v: i64) => |p: &mut Process, a, v| p.store(a, v, 8);
        "store"(a: i64, v: i64, bytes: i64) => Process::store;
        "fill"(a: i64, len: i64, first: i64) => Process::fill;
        "check"(a: i64, len: i64, first: i64) => Process::check;
        "fork"() => Process::fork;
        "exit"() => Process::exit;
        "rss"() => Process::rss;
        "open"(index: i64) => Process::open;
    );
    super::mapping::register(engine);
    super::memory::register(engine);
    super::userfault::register(engine);
}
