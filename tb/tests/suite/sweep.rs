//! Every error at every TLP: pages migrate to the device, a program works on them, and they come home. Whatever the
//! link does, the data is right or an error says so, the device can be used again or is known to be gone, and nothing
//! waits forever.
//!
//! In `make test` some of the cases, in `make inject` all of them, with `HMMU_STRIDE=N` every N-th. `make matrix` takes
//! some of the cases on links of every size.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};

use hmm_core::{MmapOptions, PAGE_SIZE, Prot, Va, sync};
use hmmu::kernels;
use hmmu::machine::{Backend, MachineConfig, PcieConfig};
use hmmu::oracle::{Data, Outcome};
use hmmu::rc::{Direction, Injection, LinkError, Position, TlpKind};
use hmmu::world::{Outputs, World};
use hmmu_driver::{Context, DeviceConfig, DriverError, Program, Timeouts};

use crate::common::sizes;

/// Pages that migrate.
const PAGES: u64 = 2;
/// Cycles for which errors last that do.
const LASTS: u64 = 1_500;
/// A case takes no longer.
const MAX_CYCLES: u64 = 3_000_000;
/// Of all cases, `make test` takes one of so many.
const SHORT_STRIDE: usize = 211;

fn timeouts() -> Timeouts {
    Timeouts {
        command: 100_000,
        copy: 100_000,
        ring: 100_000,
        job: Some(200_000),
        completion: 2_000,
        look: 4_000,
    }
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Every step succeeded.
    Unharmed,
    /// A step failed, and the device went on.
    Failed,
    /// The device was given up, and came back.
    Reset,
    /// The device was taken out.
    Gone,
}

/// A process on a machine with one device.
struct Case {
    world: Arc<World>,
    mm: Arc<hmm_core::Mm>,
    /// Pages that migrate, and one that stays.
    buf: Va,
    far: Va,
    errors: Vec<String>,
}

impl Case {
    fn new(pcie: PcieConfig) -> Self {
        let config = MachineConfig {
            ram: 1 << 20,
            vram: 256 << 10,
            read_timeout: 10_000,
            max_cycles: MAX_CYCLES,
            pcie,
            ..MachineConfig::new(Backend::Rtl, 3)
        };
        let driver = DeviceConfig {
            timeouts: timeouts(),
            ..DeviceConfig::default()
        };
        let world = World::new(config, &Outputs::default(), driver).expect("a machine");
        let mm = world.process();
        let map = |pages| {
            let bytes = pages * PAGE_SIZE;
            let va = mm.mmap(bytes, Prot::READ_WRITE, MmapOptions::default());
            let va = va.expect("memory");
            world.oracle.map(mm.id(), va.0, bytes, false);
            va
        };
        let (buf, far) = (map(PAGES), map(1));
        let case = Self {
            world: Arc::clone(&world),
            mm: Arc::clone(&mm),
            buf,
            far,
            errors: Vec::new(),
        };
        case.cpu_fill(buf, PAGES * PAGE_SIZE, 1000);
        case.cpu_fill(far, 64, 7000);
        case
    }

    fn cpu_fill(&self, va: Va, len: u64, first: u64) {
        let data = Data::pattern(len, first);
        let Data::Bytes(bytes) = &data else {
            panic!("a pattern has bytes")
        };
        let bytes = bytes.clone();
        let oracle = &self.world.oracle;
        let ticket = oracle.begin_write(self.mm.id(), va.0, len, data);
        self.mm.store(va, &bytes).expect("a store");
        oracle.end_write(ticket, Outcome::Done);
    }

    fn note<T>(&mut self, step: &str, result: Result<T, String>) -> Option<T> {
        result
            .map_err(|error| self.errors.push(format!("{step}: {error}")))
            .ok()
    }

    /// Runs a program that writes `len` bytes at `va`.
    fn job(
        &mut self,
        context: &Arc<Context>,
        program: &Program,
        args: &[u64],
        (va, len, data): (Va, u64, Data),
    ) -> bool {
        let world = Arc::clone(&self.world);
        let ticket = world.oracle.begin_write(self.mm.id(), va.0, len, data);
        let result = context
            .launch(program, args, 2)
            .map_err(|e| e.to_string())
            .and_then(|job| job.wait().map_err(|e| e.to_string()));
        let done = self.note("job", result).is_some();
        let outcome = if done {
            Outcome::Done
        } else {
            Outcome::Partial
        };
        world.oracle.end_write(ticket, outcome);
        done
    }

    /// Migrates, runs, migrates back.
    fn steps(&mut self, context: &Arc<Context>, first: u64) {
        let bytes = PAGES * PAGE_SIZE;
        let to = context.migrate_to_device(self.buf, bytes);
        self.note("to the device", to.map_err(|e| e.to_string()));
        // In device memory, by a program that faults, and then over the link.
        let fill = kernels::fill().expect("a program");
        let data = Data::pattern(256, first);
        self.job(
            context,
            &fill,
            &[self.buf.0, 256, first],
            (self.buf, 256, data),
        );
        let data = Data::pattern(64, first + 500);
        self.job(
            context,
            &fill,
            &[self.far.0, 64, first + 500],
            (self.far, 64, data),
        );
        let back = context.migrate_to_system(self.buf, bytes);
        self.note("home", back.map_err(|e| e.to_string()));
    }

    /// Reads everything and asks the oracle. What cannot be read must be on a device that is gone.
    fn check(&self) -> Result<(), String> {
        let gone = !self.world.machine.present(0);
        let oracle = &self.world.oracle;
        for (va, pages) in [(self.buf, PAGES), (self.far, 1)] {
            for page in 0..pages {
                let at = va + page * PAGE_SIZE;
                let ticket = oracle.begin_read(self.mm.id(), at.0, PAGE_SIZE);
                let mut bytes = vec![0; PAGE_SIZE as usize];
                match self.mm.load(at, &mut bytes) {
                    Ok(()) => oracle
                        .end_read(ticket, &bytes)
                        .map_err(|wrong| format!("after {:?}: {wrong}", self.errors))?,
                    Err(errno) if gone => {
                        assert_eq!(errno, hmm_core::Errno::SIGBUS);
                        oracle.abandon(ticket);
                    }
                    Err(errno) => {
                        return Err(format!("page {page} cannot be read: {errno}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// The device works: the same once more, without an error.
    fn works(&mut self, context: &Arc<Context>) -> Result<(), String> {
        let before = self.errors.len();
        self.steps(context, 9000);
        match self.errors.get(before) {
            None => self.check(),
            Some(error) => Err(format!("it does not work afterwards: {error}")),
        }
    }

    /// From the opening of the device to the end.
    fn run(mut self) -> Result<End, String> {
        let opened = self.world.open(0, &self.mm);
        let mut context = self.note("open", opened.map_err(|e| e.to_string()));
        if let Some(context) = &context {
            self.steps(&Arc::clone(context), 2000);
        }
        self.check()?;
        let harmed = !self.errors.is_empty();
        let device = Arc::clone(self.world.device());
        let gone = !self.world.machine.present(0);
        let lost = gone || device.lost().is_some();
        if lost {
            match device.reset() {
                Ok(()) if gone => return Err("a device that is gone was reset".into()),
                Ok(()) => context = None,
                Err(_) if gone => {
                    // What was only there is lost, and nothing else: it can be taken out of the system.
                    device
                        .release()
                        .map_err(|error| format!("it keeps its pages: {error}"))?;
                    self.check()?;
                    self.world.end()?;
                    device
                        .unplug()
                        .map_err(|error| format!("it cannot be unplugged: {error}"))?;
                    return Ok(End::Gone);
                }
                Err(error) => return Err(format!("no reset: {error}")),
            }
        }
        let context = match context {
            Some(context) => context,
            None => self
                .world
                .open(0, &self.mm)
                .map_err(|error: DriverError| format!("it does not open again: {error}"))?,
        };
        self.works(&context)?;
        if let Some((_, error)) = self.world.lost() {
            return Err(format!("lost afterwards: {error}"));
        }
        self.world.end()?;
        Ok(match (lost, harmed) {
            (true, _) => End::Reset,
            (false, true) => End::Failed,
            (false, false) => End::Unharmed,
        })
    }
}

/// Runs a case; what is wrong with it, if anything is.
fn run(pcie: PcieConfig, injection: Option<Injection>) -> Result<End, String> {
    let (send, receive) = mpsc::channel();
    sync::run(3, move || {
        let case = Case::new(pcie);
        let world = Arc::clone(&case.world);
        if let Some(injection) = injection {
            world.machine.tlps(0, |link| link.inject(&[injection]));
        }
        let end = case.run();
        if end.is_err() {
            // The workers must end.
            let _ = world.end();
        }
        let struck = world.machine.tlps(0, |link| link.struck());
        let _ = send.send((end, struck.unwrap_or_default()));
    })?;
    let (end, struck) = receive.recv().map_err(|e| e.to_string())?;
    if injection.is_some() && !struck.iter().any(|struck| struck.applied) {
        return Err("the error did not strike".into());
    }
    end
}

/// The TLPs of a run without errors, by direction: the number of the first, and their kinds.
fn positions(pcie: PcieConfig) -> [(u64, Vec<TlpKind>); 2] {
    let (send, receive) = mpsc::channel();
    sync::run(3, move || {
        let mut case = Case::new(pcie);
        let world = Arc::clone(&case.world);
        let start = world.machine.tlps(0, |link| {
            link.record();
            link.counts()
        });
        let start = start.expect("a link");
        let context = world.open(0, &case.mm).expect("a context");
        case.steps(&context, 2000);
        assert_eq!(case.errors, Vec::<String>::new());
        let of = |direction| {
            let kinds = world.machine.tlps(0, |link| link.recorded(direction));
            (start.get(direction, None), kinds.expect("a link"))
        };
        let _ = send.send(Direction::ALL.map(of));
        case.check().expect("the right data");
        world.end().expect("an end");
    })
    .expect("a run");
    receive.recv().expect("the TLPs")
}

/// All cases: each position, each kind of error that can happen there.
fn cases(pcie: PcieConfig) -> Vec<(TlpKind, Injection)> {
    let mut all = Vec::new();
    for (direction, (first, kinds)) in Direction::ALL.into_iter().zip(positions(pcie)) {
        for (n, kind) in (first..).zip(kinds) {
            let at = Position {
                direction,
                kind: None,
                n,
            };
            let errors = LinkError::kinds(LASTS).into_iter();
            let here = errors.filter(|error| error.applies(kind));
            all.extend(here.map(|error| (kind, Injection { at, error })));
        }
    }
    all
}

#[test]
fn every_error_at_every_tlp_ends_well() {
    let long = std::env::var("HMMU_STRIDE").ok();
    let stride = match &long {
        None => SHORT_STRIDE,
        Some(text) => text.parse().expect("HMMU_STRIDE: a number"),
    };
    sweep(PcieConfig::default(), 0, stride, long.is_some());
}

/// A few positions on each size of the link, others on each.
#[test]
fn errors_on_links_of_other_sizes_end_well() {
    let stride = if sizes::every() { 151 } else { 4001 };
    for (n, size) in sizes::chosen().into_iter().enumerate() {
        println!("{size}");
        sweep(size.pcie(), 13 * n, stride, sizes::every());
    }
}

/// Runs every `stride`-th case from the `first` on, and prints how they ended.
fn sweep(pcie: PcieConfig, first: usize, stride: usize, long: bool) {
    assert_eq!(run(pcie, None), Ok(End::Unharmed));
    let all = cases(pcie);
    let chosen = all.iter().copied().skip(first).step_by(stride.max(1));
    let chosen: Vec<_> = chosen.collect();
    let next = Mutex::new(chosen.iter());
    let ends = Mutex::new(BTreeMap::new());
    let failures = Mutex::new(Vec::new());
    let workers = if long {
        std::thread::available_parallelism().map_or(1, usize::from)
    } else {
        1
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let taken = next.lock().expect("no panic").next();
                    let Some((kind, injection)) = taken else {
                        break;
                    };
                    match run(pcie, Some(*injection)) {
                        Ok(end) => {
                            let key = (injection.error, end);
                            *ends.lock().expect("no panic").entry(key).or_insert(0) += 1;
                        }
                        Err(text) => {
                            let at = injection.at;
                            let case = format!(
                                "{:?} TLP {} ({kind:?}), {}: {text}",
                                at.direction, at.n, injection.error
                            );
                            println!("{case}");
                            failures.lock().expect("no panic").push(case);
                        }
                    }
                }
            });
        }
    });
    println!("{} of {} cases:", chosen.len(), all.len());
    for ((error, end), count) in ends.into_inner().expect("no panic") {
        println!("  {:<14} {end:?}: {count}", error.name());
    }
    let failures = failures.into_inner().expect("no panic");
    assert!(
        failures.is_empty(),
        "{} failed: {failures:#?}",
        failures.len()
    );
}
