//! Any sequence of operations leaves each process with what plain memory would hold.

use std::sync::Arc;

use crate::common::device::Device;
use crate::common::mirror::Mirror;
use crate::common::*;
use hmm_core::sync::{Schedule, run_with};
use hmm_core::{Advice, Errno, Mm, MmapOptions, MremapOptions, PinnedPages, Prot, System, Va};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const PAGES: u64 = 12;
const BASE: Va = Va(0x1000_0000);
const MAX_PROCESSES: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Span {
    Map(Prot),
    Unmap,
    Protect(Prot),
    DontNeed,
    SwapOut,
    Mergeable,
    Move(u64),
    ToDevice(usize),
    ToSystem(usize),
    Pin,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// On `len` pages from `first` on.
    Span {
        process: usize,
        first: u64,
        len: u64,
        what: Span,
    },
    CpuStore {
        process: usize,
        at: u64,
        value: u64,
    },
    CpuLoad {
        process: usize,
        at: u64,
    },
    DeviceStore {
        process: usize,
        device: usize,
        at: u64,
        value: u64,
    },
    DeviceLoad {
        process: usize,
        device: usize,
        at: u64,
    },
    Fork {
        process: usize,
    },
    Exit {
        process: usize,
    },
    Unpin,
    /// The system takes pages out of memory.
    Reclaim,
    /// It looks for equal pages.
    Merge,
}

fn prot() -> impl Strategy<Value = Prot> {
    prop_oneof![1 => Just(Prot::NONE), 2 => Just(Prot::READ), 4 => Just(Prot::READ_WRITE)]
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        3 => prot().prop_map(Span::Map),
        1 => Just(Span::Unmap),
        2 => prot().prop_map(Span::Protect),
        1 => Just(Span::DontNeed),
        2 => Just(Span::SwapOut),
        1 => Just(Span::Mergeable),
        1 => (0..PAGES).prop_map(Span::Move),
        6 => (0..2usize).prop_map(Span::ToDevice),
        2 => (0..2usize).prop_map(Span::ToSystem),
        1 => Just(Span::Pin),
    ]
}

/// A word anywhere, over a page's end too.
fn place() -> impl Strategy<Value = u64> {
    (
        0..PAGES,
        prop_oneof![Just(0u64), Just(2000), Just(PAGE - 8), Just(PAGE - 3)],
    )
        .prop_map(|(p, o)| p * PAGE + o)
}

fn op() -> impl Strategy<Value = Op> {
    let process = 0..MAX_PROCESSES;
    let device = 0..2usize;
    prop_oneof![
        8 => (process.clone(), 0..PAGES, 1..5u64, span())
            .prop_map(|(process, first, len, what)| Op::Span { process, first, len: len.min(PAGES - first), what }),
        5 => (process.clone(), place(), any::<u64>()).prop_map(|(process, at, value)| Op::CpuStore { process, at, value }),
        4 => (process.clone(), place()).prop_map(|(process, at)| Op::CpuLoad { process, at }),
        4 => (process.clone(), device.clone(), place(), any::<u64>())
            .prop_map(|(process, device, at, value)| Op::DeviceStore { process, device, at, value }),
        3 => (process.clone(), device, place()).prop_map(|(process, device, at)| Op::DeviceLoad { process, device, at }),
        1 => process.clone().prop_map(|process| Op::Fork { process }),
        1 => process.prop_map(|process| Op::Exit { process }),
        1 => Just(Op::Unpin),
        1 => Just(Op::Reclaim),
        2 => Just(Op::Merge),
    ]
}

/// What a process should see of one page.
#[derive(Clone)]
struct Page {
    prot: Prot,
    /// Of the mapping: what differs in it is not one mapping.
    mergeable: bool,
    bytes: Vec<u8>,
}

struct Process {
    mm: Arc<Mm>,
    mirrors: Vec<Arc<Mirror>>,
    pages: Vec<Option<Page>>,
}

struct World {
    sys: Arc<System>,
    devices: Vec<Arc<Device>>,
    processes: Vec<Option<Process>>,
    pins: Vec<PinnedPages>,
}

fn zero(prot: Prot) -> Page {
    Page {
        prot,
        mergeable: false,
        bytes: vec![0; PAGE as usize],
    }
}

impl Process {
    fn new(mm: Arc<Mm>, devices: &[Arc<Device>], pages: Vec<Option<Page>>) -> Process {
        let mirrors = devices.iter().map(|device| device.open(&mm)).collect();
        Process { mm, mirrors, pages }
    }

    fn range(&self, first: u64, len: u64) -> &[Option<Page>] {
        &self.pages[first as usize..(first + len) as usize]
    }

    /// The bytes that an access may reach before it fails, and whether it gets to the end.
    fn reach(&self, at: u64, write: bool) -> Result<(), bool> {
        for page in [at / PAGE, (at + 7) / PAGE] {
            match self.pages.get(page as usize).and_then(Option::as_ref) {
                Some(page) if page.prot.write || (page.prot.read && !write) => {}
                Some(page) => return Err(page.prot.read),
                None => return Err(false),
            }
        }
        Ok(())
    }

    fn word(&self, at: u64) -> u64 {
        let byte =
            |a: u64| self.pages[(a / PAGE) as usize].as_ref().unwrap().bytes[(a % PAGE) as usize];
        u64::from_le_bytes(std::array::from_fn(|i| byte(at + i as u64)))
    }

    /// Writes up to the first page that refuses, as the hardware would.
    fn set_word(&mut self, at: u64, value: u64) {
        for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
            let a = at + i as u64;
            match self.pages.get_mut((a / PAGE) as usize) {
                Some(Some(page)) if page.prot.write => page.bytes[(a % PAGE) as usize] = byte,
                _ => return,
            }
        }
    }
}

impl World {
    fn new() -> World {
        let sys = system(160);
        let devices = vec![Device::new(&sys, 24, 1), Device::new(&sys, 24, 2)];
        let mm = sys.create_mm();
        let all = MmapOptions {
            at: Some(BASE),
            ..MmapOptions::default()
        };
        mm.mmap(PAGES * PAGE, Prot::READ_WRITE, all).unwrap();
        let first = Process::new(
            mm,
            &devices,
            vec![Some(zero(Prot::READ_WRITE)); PAGES as usize],
        );
        World {
            sys,
            devices,
            processes: vec![Some(first), None, None],
            pins: Vec::new(),
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Span {
                process,
                first,
                len,
                what,
            } => self.span(process, first, len, what),
            Op::CpuStore { process, at, value } => {
                let Some(p) = &mut self.processes[process] else {
                    return;
                };
                let expected = p.reach(at, true).map_err(|_| Errno::SIGSEGV);
                assert_eq!(store64(&p.mm, BASE + at, value), expected);
                p.set_word(at, value);
            }
            Op::CpuLoad { process, at } => {
                let Some(p) = &self.processes[process] else {
                    return;
                };
                let expected = p
                    .reach(at, false)
                    .map(|()| p.word(at))
                    .map_err(|_| Errno::SIGSEGV);
                assert_eq!(load64(&p.mm, BASE + at), expected);
            }
            Op::DeviceStore {
                process,
                device,
                at,
                value,
            } => {
                let Some(p) = &mut self.processes[process] else {
                    return;
                };
                let result = p.mirrors[device].write(BASE + at, &value.to_le_bytes());
                match p.reach(at, true) {
                    Ok(()) => {
                        result.unwrap();
                        p.set_word(at, value);
                    }
                    Err(readable) => {
                        let error = if readable {
                            Errno::EPERM
                        } else {
                            Errno::EFAULT
                        };
                        assert_eq!(result, Err(error));
                        // The device may have got as far as the page before, if it had that one already.
                        self.resync(process, at);
                    }
                }
            }
            Op::DeviceLoad {
                process,
                device,
                at,
            } => {
                let Some(p) = &self.processes[process] else {
                    return;
                };
                let mut buf = [0; 8];
                let result = p.mirrors[device].read(BASE + at, &mut buf);
                match p.reach(at, false) {
                    Ok(()) => {
                        result.unwrap();
                        assert_eq!(u64::from_le_bytes(buf), p.word(at));
                    }
                    Err(_) => assert_eq!(result, Err(Errno::EFAULT)),
                }
            }
            Op::Fork { process } => {
                let Some(free) = self.processes.iter().position(Option::is_none) else {
                    return;
                };
                let Some(p) = &self.processes[process] else {
                    return;
                };
                let child = Process::new(p.mm.fork().unwrap(), &self.devices, p.pages.clone());
                self.processes[free] = Some(child);
            }
            Op::Exit { process } => {
                if self.processes.iter().flatten().count() > 1
                    && let Some(p) = self.processes[process].take()
                {
                    p.mm.exit();
                    assert!(
                        p.mirrors
                            .iter()
                            .all(|mirror| (0..PAGES)
                                .all(|i| mirror.entry(BASE + i * PAGE).is_none()))
                    );
                }
            }
            Op::Unpin => drop(self.pins.pop()),
            Op::Reclaim => drop(self.sys.reclaim(7)),
            Op::Merge => drop(self.sys.ksm_scan()),
        }
    }

    /// A store over a page's end that failed on the second page: takes the first page's bytes as they are.
    fn resync(&mut self, process: usize, at: u64) {
        let Some(p) = &mut self.processes[process] else {
            return;
        };
        let page = (at / PAGE) as usize;
        if let Some(Some(model)) = p.pages.get_mut(page).filter(|_| at % PAGE > PAGE - 8)
            && model.prot.read
        {
            let from = (at % PAGE) as usize;
            p.mm.load(BASE + at, &mut model.bytes[from..]).unwrap();
        }
    }

    fn span(&mut self, process: usize, first: u64, len: u64, what: Span) {
        let Some(p) = &mut self.processes[process] else {
            return;
        };
        let (start, bytes) = (BASE + first * PAGE, len * PAGE);
        let range = first as usize..(first + len) as usize;
        let covered = p.range(first, len).iter().all(Option::is_some);
        let readable = p
            .range(first, len)
            .iter()
            .all(|page| page.as_ref().is_some_and(|page| page.prot.read));
        match what {
            Span::Map(prot) => {
                let options = MmapOptions {
                    at: Some(start),
                    ..MmapOptions::default()
                };
                assert_eq!(p.mm.mmap(bytes, prot, options), Ok(start));
                p.pages[range].fill(Some(zero(prot)));
            }
            Span::Unmap => {
                p.mm.munmap(start, bytes).unwrap();
                p.pages[range].fill(None);
            }
            Span::Protect(prot) => {
                let expected = if covered { Ok(()) } else { Err(Errno::ENOMEM) };
                assert_eq!(p.mm.mprotect(start, bytes, prot), expected);
                if covered {
                    p.pages[range]
                        .iter_mut()
                        .flatten()
                        .for_each(|page| page.prot = prot);
                }
            }
            Span::DontNeed => {
                let expected = if covered { Ok(()) } else { Err(Errno::ENOMEM) };
                assert_eq!(p.mm.madvise(start, bytes, Advice::DontNeed), expected);
                p.pages[range]
                    .iter_mut()
                    .flatten()
                    .for_each(|page| page.bytes.fill(0));
            }
            Span::SwapOut => {
                let expected = if covered { None } else { Some(Errno::ENOMEM) };
                assert_eq!(p.mm.swap_out(start, bytes).err(), expected);
            }
            Span::Mergeable => {
                let expected = if covered { Ok(()) } else { Err(Errno::ENOMEM) };
                assert_eq!(p.mm.madvise(start, bytes, Advice::Mergeable), expected);
                p.pages[range]
                    .iter_mut()
                    .flatten()
                    .for_each(|page| page.mergeable = true);
            }
            Span::Move(to) => {
                let to = to.min(PAGES - len);
                let target = BASE + to * PAGE;
                let options = MremapOptions {
                    at: Some(target),
                    dontunmap: false,
                };
                let result = p.mm.mremap(start, bytes, bytes, options);
                let old = p.range(first, len).to_vec();
                let kinds: Vec<_> = old
                    .iter()
                    .map(|page| page.as_ref().map(|page| (page.prot, page.mergeable)))
                    .collect();
                if kinds[0].is_none() || kinds.iter().any(|&kind| kind != kinds[0]) {
                    assert_eq!(result, Err(Errno::EFAULT));
                } else if first.abs_diff(to) < len {
                    assert_eq!(result, Err(Errno::EINVAL));
                } else {
                    assert_eq!(result, Ok(target));
                    p.pages[range].fill(None);
                    p.pages[to as usize..(to + len) as usize].clone_from_slice(&old);
                }
            }
            Span::ToDevice(device) => {
                let result = p.mirrors[device].to_device(start, len);
                if readable {
                    assert!(matches!(result, Ok(()) | Err(Errno::ENOENT)));
                } else {
                    assert_eq!(result, Err(Errno::EINVAL));
                }
            }
            Span::ToSystem(device) => {
                let result = p.mirrors[device].to_system(start, len);
                assert_eq!(
                    result.err(),
                    if readable { None } else { Some(Errno::EINVAL) }
                );
            }
            Span::Pin => match p.mm.pin(start, len) {
                Ok(pins) => {
                    assert!(readable);
                    self.pins.push(pins);
                }
                Err(error) => assert!(!readable && error == Errno::EFAULT),
            },
        }
    }

    fn check(&self) {
        check_quiet(&self.sys);
        for mirror in self.processes.iter().flatten().flat_map(|p| &p.mirrors) {
            mirror.check();
        }
    }

    fn end(mut self) {
        for p in self.processes.iter().flatten() {
            for (i, page) in p.pages.iter().enumerate() {
                let Some(page) = page.as_ref().filter(|page| page.prot.read) else {
                    continue;
                };
                assert!(
                    contents(&p.mm, BASE + i as u64 * PAGE, 1) == page.bytes,
                    "page {i}"
                );
            }
        }
        self.check();
        for p in self.processes.drain(..).flatten() {
            p.mm.exit();
        }
        self.pins.clear();
        assert!(self.devices.iter().all(|device| device.used() == 0));
        assert_eq!((self.sys.free_pages(), self.sys.swapped_pages()), (159, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, rng_seed: RngSeed::Fixed(2017), ..ProptestConfig::default() })]

    #[test]
    fn processes_see_plain_memory(ops in vec(op(), 1..80), seed: u64) {
        let schedule = Schedule::seeded(seed).most_points(MOST_POINTS);
        let result = run_with(schedule, move || {
            let mut world = World::new();
            for op in ops {
                world.apply(op);
                world.check();
            }
            world.end();
        });
        prop_assert_eq!(result, Ok(()));
    }
}
