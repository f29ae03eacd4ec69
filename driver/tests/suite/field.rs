//! What went wrong in other drivers in the field, each forced here.

use crate::common::programs::{check, count, fill, store};
use crate::common::{Machine, PAGE, Process, Setup, for_seeds, run};
use hmm_core::{Advice, Errno, Va, sync};
use hmmu_driver::hw::{Bar, Clock, HwError, VramAddr};
use hmmu_driver::{Device, Hardware, MigrateOnFault};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Little device memory, and a policy that wants everything there.
fn crowded(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    setup.vram_pages = 40;
    setup.config.policy = Arc::new(MigrateOnFault { block_pages: 8 });
    setup
}

/// More memory in use than the device has, from two processes and the CPU at once: everybody gets on, because what
/// finds no room is used where it is.
#[test]
fn oversubscription_makes_progress() {
    for seed in 0..8 {
        run(crowded(seed), |m| {
            let (p, q) = (m.process(), m.process());
            let (a, b) = (p.map(96), q.map(96));
            p.cpu_fill(a, 96, 10);
            q.cpu_fill(b, 96, 10);
            let jobs: Vec<_> = [(&p, a), (&q, b)]
                .into_iter()
                .map(|(p, buf)| p.start(&fill(), &[buf.0, 96, 500], 4).expect("launch"))
                .collect();
            let r = p.clone();
            let cpu = sync::spawn(move || (0..96).map(|i| r.cpu_load(a + i * PAGE)).max());
            for job in jobs {
                assert_eq!(job.wait(), Ok(u64::MAX));
            }
            assert!(cpu.join() >= Some(10));
            // No fault was served again and again.
            let (records, rounds) = (m.stat("driver_fault_records"), m.device.rounds());
            assert!(records <= 3 * 192 && rounds <= records, "{records} records");
            p.cpu_check(a, 96, 500);
            q.cpu_check(b, 96, 500);
            p.end();
            q.end();
        });
    }
}

/// Registers that fail from the `left`th access on.
struct Failing {
    board: Arc<dyn Bar>,
    left: AtomicU64,
}

impl Failing {
    fn pass(&self) -> Result<(), HwError> {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left > 0 {
            return Ok(());
        }
        Err(HwError::Timeout {
            what: "a register".to_owned(),
            cycles: 1,
        })
    }
}

impl Bar for Failing {
    fn read(&self, offset: u64) -> Result<u64, HwError> {
        self.pass().and_then(|()| self.board.read(offset))
    }
    fn write(&self, offset: u64, value: u64) -> Result<(), HwError> {
        self.pass().and_then(|()| self.board.write(offset, value))
    }
    fn vram_read(&self, addr: VramAddr, buf: &mut [u8]) -> Result<(), HwError> {
        self.pass().and_then(|()| self.board.vram_read(addr, buf))
    }
    fn vram_write(&self, addr: VramAddr, data: &[u8]) -> Result<(), HwError> {
        self.pass().and_then(|()| self.board.vram_write(addr, data))
    }
}

/// Probe, open and first launch fail at each access in turn: what was begun is taken back, and the device can be
/// probed again.
#[test]
fn a_half_finished_start_can_be_torn_down() {
    run(Setup::new(1), |m| {
        let mut setup = Setup::new(2);
        setup.config.owner = 2;
        let mut completed = false;
        for left in 0..200 {
            let hw = m.bare_board(setup.clone());
            let bar = Arc::new(Failing {
                board: Arc::clone(&hw.bar),
                left: AtomicU64::new(left),
            });
            let hw = Hardware {
                bar: bar.clone(),
                ..hw
            };
            let mm = m.sys.create_mm();
            match Device::probe(hw, Arc::clone(&m.sys), setup.config.clone()) {
                Err(error) => assert_eq!(error.errno(), Errno::EIO),
                Ok(device) => {
                    let opened = device.open(&mm);
                    completed |= opened.is_ok();
                    bar.left.store(0, Ordering::Relaxed);
                    if let Ok(context) = opened {
                        let _ = context.close();
                    }
                    device.shutdown();
                    device.shutdown();
                    assert_eq!(device.unplug(), Ok(0));
                }
            }
            mm.exit();
            m.sys.check_invariants().expect("invariants");
            if completed {
                break;
            }
        }
        assert!(completed, "no start was let through");
    });
}

/// Memory that was unmapped while the device wrote it belongs to somebody else now.
#[test]
fn no_write_of_the_device_lands_in_freed_memory() {
    for_seeds(0..16, |m| {
        let p = m.process();
        let buf = p.map(8);
        p.cpu_fill(buf, 8, 1);
        let job = p.start(&count(), &[buf.0, 8, 400], 4).expect("launch");
        m.pause(5 + m.seed_steps());
        let free = m.sys.free_pages();
        p.mm.munmap(buf, 8 * PAGE).expect("munmap");
        assert!(m.sys.free_pages() > free);
        let q = m.process();
        let other = q.map(16);
        q.cpu_fill(other, 16, 77);
        assert_eq!(job.wait().expect_err("unmapped").errno, Errno::EFAULT);
        q.cpu_check(other, 16, 77);
        p.end();
        q.end();
    });
}

/// Another thread never stops changing the address space: each look-up begins again with a new sequence, so a
/// collision costs one look-up.
#[test]
fn collisions_cost_one_look_up_each() {
    for_seeds(0..10, |m| {
        let p = m.process();
        let (buf, other) = (p.map(64), p.map(4));
        p.cpu_fill(buf, 64, 10);
        let q = p.clone();
        let storm = sync::spawn(move || {
            for i in 0..200 {
                q.cpu_store(other, i);
                q.mm.madvise(other, 4 * PAGE, Advice::DontNeed)
                    .expect("madvise");
            }
        });
        p.check(buf, 64, 10);
        storm.join();
        let (retries, ranges) = (
            m.stat("driver_range_retries"),
            m.stat("driver_fault_ranges"),
        );
        assert!(retries <= 200 * 2, "{retries} retries for {ranges} ranges");
        p.end();
    });
}

/// The copy channel reads pages while they are unmapped, and its reads fail on the link: the copies that were hit end
/// with an error, and nothing is left behind in the tables.
#[test]
fn one_failed_copy_spoils_nothing() {
    for_seeds(0..24, |m| {
        let p = m.process();
        let (src, dst) = (p.map(16), p.map(16));
        p.cpu_fill(src, 16, 10);
        p.cpu_fill(dst, 16, 0);
        let q = p.clone();
        let copies = sync::spawn(move || q.context.copy(dst, src, 16 * PAGE));
        m.pause(m.seed_steps() % 30);
        if m.seed_steps() % 2 == 0 {
            m.ram.fail_read(3);
        } else {
            p.mm.madvise(src + 8 * PAGE, 8 * PAGE, Advice::DontNeed)
                .expect("madvise");
        }
        if let Err(error) = copies.join() {
            assert_eq!(error.errno(), Errno::EIO);
        }
        assert_eq!(m.device.lost(), None);
        p.cpu_fill(src, 16, 30);
        p.context.copy(dst, src, 16 * PAGE).expect("copy");
        p.check(dst, 16, 30);
        p.end();
    });
}

/// Many CPU threads touch the same device pages: each page comes home once, and everybody gets it.
#[test]
fn many_cpu_threads_fault_the_same_device_pages() {
    for_seeds(0..10, |m| {
        let p = m.process();
        let buf = p.map(8);
        p.cpu_fill(buf, 8, 10);
        p.to_device(buf, 8);
        let threads: Vec<_> = (0..8)
            .map(|first| {
                let p = p.clone();
                sync::spawn(move || {
                    (0..8).for_each(|i| {
                        let page = (first + i) % 8;
                        assert_eq!(p.cpu_load(buf + page * PAGE), 10 + page);
                    });
                })
            })
            .collect();
        threads.into_iter().for_each(sync::JoinHandle::join);
        assert_eq!(m.stat("driver_pages_to_system"), 8);
        p.end();
    });
}

/// CPU faults, migrations both ways and a release meet on the same pages: nobody spins on a lock of another one.
#[test]
fn faults_migrations_and_a_release_meet() {
    for_seeds(0..16, |m| {
        let p = m.process();
        let buf = p.map(8);
        p.cpu_fill(buf, 8, 10);
        let (a, b) = (p.clone(), p.clone());
        let there = sync::spawn(move || {
            (0..6).for_each(|_| drop(a.context.migrate_to_device(buf, 8 * PAGE)));
        });
        let back = sync::spawn(move || {
            (0..6).for_each(|_| drop(b.context.migrate_to_system(buf, 8 * PAGE)));
        });
        let device = Arc::clone(&m.device);
        let release = sync::spawn(move || device.release());
        for round in 0..24 {
            assert_eq!(p.cpu_load(buf + round % 8 * PAGE), 10 + round % 8);
        }
        there.join();
        back.join();
        if let Err(error) = release.join() {
            assert_eq!(error.errno(), Errno::EBUSY, "{error}");
        }
        p.check(buf, 8, 10);
        p.end();
    });
}

/// A read and a write in one batch: the page that is only read does not become writable with the other one.
#[test]
fn one_faults_request_does_not_leak_to_its_neighbours() {
    for_seeds(0..6, |m| {
        let p = m.process();
        // Read-only pages, one that is writable, untouched pages, as one range of faults.
        let buf = p.map(16);
        let child = p.mm.fork().expect("fork");
        p.cpu_fill(buf, 1, 10);
        m.board.quiet.store(true, Ordering::Relaxed);
        let jobs = [
            p.start(&check(), &[buf.0, 1, 10], 1).expect("launch"),
            p.start(&store(), &[buf.0 + 2 * PAGE, 5], 1)
                .expect("launch"),
            p.start(&crate::common::programs::load(), &[buf.0 + PAGE], 1)
                .expect("launch"),
            p.start(&crate::common::programs::load(), &[buf.0 + 3 * PAGE], 1)
                .expect("launch"),
        ];
        // All park before the worker hears of one.
        m.pause(100);
        m.board.quiet.store(false, Ordering::Relaxed);
        let results: Vec<_> = jobs.into_iter().map(|job| job.wait()).collect();
        assert_eq!(results, [Ok(u64::MAX), Ok(0), Ok(0), Ok(0)]);
        assert_eq!(m.device.rounds(), 1);
        assert_eq!(p.words(buf, 5), ["rw", "r zero", "rw", "r zero", "none"]);
        child.exit();
        p.end();
    });
}

/// Four places for fault records and many more faults: none is lost.
#[test]
fn a_full_fault_ring_loses_nothing() {
    for seed in 0..6 {
        let mut setup = Setup::new(seed);
        setup.config.ring_log2 = 2;
        setup.config.policy = Arc::new(hmmu_driver::MapRemote { around_pages: 1 });
        run(setup, |m| {
            let (p, q) = (m.process(), m.process());
            let (a, b) = (p.map(60), q.map(60));
            q.cpu_fill(b, 60, 30);
            let one = p.start(&fill(), &[a.0, 60, 7], 8).expect("launch");
            let two = q.start(&check(), &[b.0, 60, 30], 8).expect("launch");
            assert_eq!(one.wait(), Ok(u64::MAX));
            assert_eq!(two.wait(), Ok(u64::MAX));
            assert!(m.stat("driver_fault_records") >= 120);
            p.cpu_check(a, 60, 7);
            p.end();
            q.end();
        });
    }
}

/// A batch of copies that is larger than the ring, from several threads.
#[test]
fn migrations_larger_than_the_copy_ring_share_it() {
    for seed in 0..4 {
        let mut setup = Setup::new(seed);
        setup.config.ring_log2 = 2;
        setup.config.migrate_batch = 64;
        run(setup, |m| {
            let processes: Vec<Process> = (0..3).map(|_| m.process()).collect();
            // Pages that lie apart, so that each needs a descriptor of its own.
            let bufs: Vec<Va> = processes.iter().map(|p| p.map(32)).collect();
            for page in 0..32 {
                for (p, buf) in processes.iter().zip(&bufs) {
                    p.cpu_fill(*buf + page * PAGE, 1, 10 + page);
                }
            }
            let threads: Vec<_> = processes
                .iter()
                .zip(&bufs)
                .map(|(p, buf)| {
                    let (p, buf) = (p.clone(), *buf);
                    sync::spawn(move || p.to_device(buf, 32))
                })
                .collect();
            for thread in threads {
                assert_eq!(thread.join(), 32);
            }
            assert_eq!(m.device.lost(), None);
            for (p, buf) in processes.into_iter().zip(bufs) {
                p.check(buf, 32, 10);
                p.end();
            }
        });
    }
}

/// Everything that waits for the device ends when it hangs in the middle of a job.
#[test]
fn nothing_waits_for_ever_for_a_hung_device() {
    for step in 0..6 {
        let result = sync::run(step, move || {
            let m = Machine::new(Setup::new(step));
            let p = m.process();
            let (buf, home) = (p.map(8), p.map(4));
            p.cpu_fill(home, 4, 10);
            p.to_device(home, 4);
            let job = p.start(&count(), &[buf.0, 8, 500], 4).expect("launch");
            m.pause(10 * step as usize);
            m.board.hung.store(true, Ordering::Relaxed);
            let start = m.board.now();
            match step {
                0 => drop(p.context.migrate_to_system(home, 4 * PAGE)),
                1 => drop(m.device.release()),
                2 => drop(p.context.exclusive(buf, 4 * PAGE)),
                3 => drop(p.context.copy(buf, home, 4 * PAGE)),
                4 => drop(p.context.close()),
                _ => drop(job.kill()),
            }
            p.mm.exit();
            assert!(job.wait().is_err() && job.done());
            m.device.shutdown();
            let waited = m.board.now() - start;
            assert!(waited < 3_000_000, "{waited} cycles in step {step}");
        });
        result.expect("the run");
    }
}
