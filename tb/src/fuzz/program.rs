//! Programs: made from a seed, run on a machine.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hmm_core::sync;
use hmmu_driver::{DeviceConfig, MapRemote};
use rand::SeedableRng;
use rand_pcg::Pcg32;

use super::generate;
use super::lane::Lane;
use super::op::Op;
use super::shape::Shape;
use crate::machine::Backend;
use crate::world::{Outputs, World};

/// Operations for one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// What it was made from; also seeds the interleaving and the latencies.
    pub seed: u64,
    /// What it runs on.
    pub shape: Shape,
    /// Operations, by thread.
    pub lanes: Vec<Vec<Op>>,
}

/// What went wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Thread and number of the operation; none: at the end, or outside of any.
    pub at: Option<(usize, usize)>,
    /// What is wrong.
    pub text: String,
}

/// What a program left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What each operation of the first thread gave.
    pub outcomes: Vec<String>,
    /// Fault records that the driver saw during each of these: sorted, each one once.
    pub faults: Vec<Vec<FaultSeen>>,
    /// Pages that each device has written.
    pub dirty: Vec<String>,
    /// Device cycles.
    pub cycles: u64,
}

/// A fault record, without what depends on time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultSeen {
    /// Context.
    pub ctx: u64,
    /// Page.
    pub addr: u64,
    /// Access kind (enum `Access` of the registers).
    pub access: u64,
    /// Reason (enum `FaultReason`).
    pub reason: u64,
}

impl Program {
    /// The program of a seed, with about `ops` operations.
    #[must_use]
    pub fn generate(seed: u64, ops: usize) -> Self {
        Self::of(seed, ops, Shape::random)
    }

    /// As [`Program::generate`], of a shape for [`super::compare`].
    #[must_use]
    pub fn comparable(seed: u64, ops: usize) -> Self {
        Self::of(seed, ops, Shape::comparable)
    }

    fn of(seed: u64, ops: usize, shape: impl FnOnce(&mut Pcg32) -> Shape) -> Self {
        let mut rng = Pcg32::seed_from_u64(seed);
        let shape = shape(&mut rng);
        let each = ops.div_ceil(shape.lanes).max(1);
        let lanes = (0..shape.lanes)
            .map(|lane| generate::lane(&mut rng, &shape, lane, each))
            .collect();
        Self { seed, shape, lanes }
    }

    /// Operations in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.iter().map(Vec::len).sum()
    }

    /// Has it none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs it, comparing with plain memory all along.
    ///
    /// # Errors
    /// The first difference or broken rule.
    pub fn run(&self, backend: Backend) -> Result<Record, Failure> {
        let program = Arc::new(self.clone());
        let at = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&at);
        let ended = sync::run(self.seed, move || execute(&program, backend, &seen));
        match ended {
            Ok(result) => result,
            Err(text) => Err(Failure {
                at: *at.lock().unwrap_or_else(PoisonError::into_inner),
                text,
            }),
        }
    }
}

type Place = Arc<Mutex<Option<(usize, usize)>>>;

fn execute(program: &Arc<Program>, backend: Backend, place: &Place) -> Result<Record, Failure> {
    let outside = |text: String| Failure { at: None, text };
    let shape = &program.shape;
    let driver = DeviceConfig {
        policy: Arc::new(MapRemote {
            around_pages: shape.around,
        }),
        atomics: shape.atomics,
        ..DeviceConfig::default()
    };
    let config = shape.machine(backend, program.seed);
    let world = World::new(config, &Outputs::default(), driver).map_err(outside)?;
    let faults = listen(&world);
    let threads: Vec<_> = (1..program.lanes.len())
        .map(|lane| {
            let (world, program, place) =
                (Arc::clone(&world), Arc::clone(program), Arc::clone(place));
            sync::spawn(move || run_lane(&world, &program, lane, &place, &Arc::default()))
        })
        .collect();
    let mut first = run_lane(&world, program, 0, place, &faults);
    for thread in threads {
        let other = thread.join();
        if first.is_ok()
            && let Err(failure) = other
        {
            first = Err(failure);
        }
    }
    let cycles = world.machine.now();
    // After a failure the end would only report its consequences; but the threads of the driver must end.
    let ended = world.end();
    let record = first?;
    ended.map_err(outside)?;
    Ok(Record { cycles, ..record })
}

type Faults = Arc<Mutex<Vec<FaultSeen>>>;

/// Notes the fault records that the driver sees.
fn listen(world: &World) -> Faults {
    let faults = Faults::default();
    let sink = Arc::clone(&faults);
    world.machine.log().listen(Box::new(move |name, fields| {
        if name != "fault" {
            return;
        }
        let field = |wanted: &str| fields.iter().find(|(name, _)| *name == wanted);
        // The memory manager's own faults have the same name and other fields.
        let (Some(ctx), Some(addr), Some(access), Some(reason)) = (
            field("ctx"),
            field("addr"),
            field("access"),
            field("reason"),
        ) else {
            return;
        };
        let fault = FaultSeen {
            ctx: ctx.1,
            addr: addr.1,
            access: access.1,
            reason: reason.1,
        };
        sink.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(fault);
    }));
    faults
}

fn run_lane(
    world: &Arc<World>,
    program: &Program,
    number: usize,
    place: &Place,
    faults: &Faults,
) -> Result<Record, Failure> {
    let mut lane = Lane::new(world, &program.shape);
    let mut record = Record::default();
    let mut result = Ok(());
    for (i, op) in program.lanes[number].iter().enumerate() {
        let at = Some((number, i));
        *place.lock().unwrap_or_else(PoisonError::into_inner) = at;
        result = lane.step(op).map_err(|text| Failure { at, text });
        let mut seen = std::mem::take(&mut *faults.lock().unwrap_or_else(PoisonError::into_inner));
        seen.sort_unstable();
        seen.dedup();
        record.faults.push(seen);
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() {
        record.dirty = lane.dirty_pages();
        result = lane.sweep().map_err(|text| Failure { at: None, text });
    }
    record.outcomes = std::mem::take(&mut lane.outcomes);
    // Dropped before the machine ends: pins go, and then all pages must come back.
    drop(lane);
    result.map(|()| record)
}

impl fmt::Display for Program {
    /// One line for what it runs on, then a line for each operation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = &self.shape;
        writeln!(
            f,
            "seed {}: {} device(s) of {} KiB, {} KiB of memory, atomics by {:?}, {} pages mapped around a fault; B = {:#x}",
            self.seed,
            shape.devices,
            shape.vram >> 10,
            shape.ram >> 10,
            shape.atomics,
            shape.around,
            super::op::BASE
        )?;
        for (lane, ops) in self.lanes.iter().enumerate() {
            for (i, op) in ops.iter().enumerate() {
                if self.lanes.len() > 1 {
                    write!(f, "  thread {lane}")?;
                }
                writeln!(f, "  {i:3}  {op}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((lane, op)) => write!(f, "operation {op} of thread {lane}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}
