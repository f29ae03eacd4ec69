//! Jobs that a script started.

use std::sync::{Arc, Mutex, PoisonError};

use hmm_core::Mm;
use hmmu_driver::{Context, Job, JobError, Program};
use rhai::Engine;

use super::error::{self, ORACLE, Result, throw};
use super::step::{Handle, calls};
use crate::kernels::Effect;
use crate::oracle::{Data, Mismatch, Outcome, Ticket, Wild};
use crate::world::World;

/// A job, as scripts hold it.
#[derive(Clone)]
pub struct JobHandle(Arc<Running>);

impl Handle for JobHandle {
    fn world(&self) -> &Arc<World> {
        &self.0.world
    }
}

struct Running {
    world: Arc<World>,
    job: Job,
    /// What the oracle waits for.
    open: Mutex<Option<Open>>,
}

/// What the oracle was told of a job.
enum Open {
    /// An access.
    Access(Ticket, Effect),
    /// It may write anything.
    Wild(Wild),
}

/// What to run.
pub struct Task<'a> {
    /// The program.
    pub program: &'a Program,
    /// Its arguments.
    pub args: &'a [u64],
    /// Its threads.
    pub threads: u32,
    /// What it does to memory; `None` when nobody knows.
    pub effect: Option<Effect>,
}

impl JobHandle {
    /// Starts a program, and tells the oracle what it does.
    pub fn start(
        world: &Arc<World>,
        mm: &Arc<Mm>,
        context: &Arc<Context>,
        task: &Task<'_>,
    ) -> Result<Self> {
        let open = open(world, mm.id(), task.effect);
        match context.launch(task.program, task.args, task.threads) {
            Ok(job) => Ok(Self(Arc::new(Running {
                world: Arc::clone(world),
                job,
                open: Mutex::new(open),
            }))),
            Err(e) => {
                match open {
                    Some(Open::Access(ticket, Effect::Load(..))) => world.oracle.abandon(ticket),
                    Some(Open::Access(ticket, _)) => {
                        world.oracle.end_write(ticket, Outcome::Nothing);
                    }
                    Some(Open::Wild(wild)) => world.oracle.end_wild(wild),
                    None => {}
                }
                Err(error::driver("d.launch", &e))
            }
        }
    }

    fn wait(&mut self) -> Result<i64> {
        let call = "job.wait";
        let ended = self.0.job.wait();
        self.0
            .settle(&ended)
            .map_err(|mismatch| throw(call, ORACLE, self.0.world.fail(&mismatch)))?;
        ended
            .map(|result| result as i64)
            .map_err(|e| error::job(call, &e))
    }

    fn suspend(&mut self) -> Result<()> {
        let held = self.0.job.suspend();
        held.map_err(|e| error::driver("job.suspend", &e))
    }

    fn resume(&mut self) -> Result<()> {
        let runs = self.0.job.resume();
        runs.map_err(|e| error::driver("job.resume", &e))
    }

    fn done(&mut self) -> Result<bool> {
        Ok(self.0.job.done())
    }

    fn kill(&mut self) -> Result<()> {
        self.0.job.kill().map_err(|e| error::driver("job.kill", &e))
    }
}

/// Tells the oracle what a program is going to do.
fn open(world: &World, id: u64, effect: Option<Effect>) -> Option<Open> {
    let oracle = &world.oracle;
    let Some(effect) = effect else {
        return Some(Open::Wild(oracle.begin_wild(id)));
    };
    let ticket = match effect {
        Effect::None => return None,
        Effect::Load(addr, len) => oracle.begin_read(id, addr, len),
        Effect::Store(addr, len, value) => {
            let bytes = value.to_le_bytes()[..len as usize].to_vec();
            oracle.begin_write(id, addr, len, Data::Bytes(bytes))
        }
        Effect::Fill(addr, len, first) => {
            oracle.begin_write(id, addr, len, Data::pattern(len, first))
        }
        Effect::Writes(addr, len) => oracle.begin_write(id, addr, len, Data::Unknown),
        Effect::FetchAdd(addr, _) => oracle.begin_write(id, addr, 8, Data::Unknown),
    };
    Some(Open::Access(ticket, effect))
}

impl Running {
    fn settle(
        &self,
        ended: &std::result::Result<u64, JobError>,
    ) -> std::result::Result<(), Mismatch> {
        let open = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let oracle = &self.world.oracle;
        let (ticket, effect) = match open {
            None => return Ok(()),
            Some(Open::Wild(wild)) => {
                oracle.end_wild(wild);
                return Ok(());
            }
            Some(Open::Access(ticket, effect)) => (ticket, effect),
        };
        match (effect, ended) {
            (Effect::Load(..), Err(_)) => oracle.abandon(ticket),
            (_, Err(_)) => oracle.end_write(ticket, Outcome::Partial),
            (Effect::Load(_, len), Ok(value)) => {
                return oracle.end_read(ticket, &value.to_le_bytes()[..len as usize]);
            }
            (Effect::FetchAdd(_, value), Ok(old)) => {
                return oracle.end_update(
                    ticket,
                    &old.to_le_bytes(),
                    &old.wrapping_add(value).to_le_bytes(),
                );
            }
            (_, Ok(_)) => oracle.end_write(ticket, Outcome::Done),
        }
        Ok(())
    }
}

/// Registers the calls of jobs.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<JobHandle>("Job");
    calls!(engine, JobHandle, "job":
        "wait"() => JobHandle::wait;
        "done"() => JobHandle::done;
        "kill"() => JobHandle::kill;
        "suspend"() => JobHandle::suspend;
        "resume"() => JobHandle::resume;
    );
}
