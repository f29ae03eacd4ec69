//! Device accesses meet the rest of memory management: files, swap, merged and lost pages, soft-dirty bits.

use crate::common::{PAGE, Process, Setup, for_seeds, run};
use hmm_core::{Advice, Errno, File, MmapOptions, Prot, Va};

fn protect(p: &Process, va: Va, prot: Prot) {
    p.mm.mprotect(va, PAGE, prot).expect("mprotect");
}

/// The process holds a page read-only where its mapping allows stores: the device's store makes it writable, in
/// system memory and in the device's.
#[test]
fn pages_held_read_only_take_device_stores() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(4);
        p.cpu_fill(buf, 4, 10);
        p.to_device(buf + 2 * PAGE, 2);
        for page in [0, 2] {
            let at = buf + page * PAGE;
            protect(&p, at, Prot::READ);
            assert_eq!(p.load(at), Ok(10 + page));
            protect(&p, at, Prot::READ_WRITE);
            assert_eq!(p.store(at, 5), Ok(0));
            p.mirrors();
            assert_eq!(p.cpu_load(at), 5);
        }
        // After a fork, with the child alive and after its end.
        let child = m.attach(p.mm.fork().expect("fork"));
        for page in [1, 3] {
            let at = buf + page * PAGE;
            assert_eq!(p.store(at, 7), Ok(0));
            assert_eq!(child.cpu_load(at), 10 + page);
            assert_eq!(p.cpu_load(at), 7);
        }
        child.end();
        p.fill(buf, 4, 80).expect("fill");
        p.cpu_check(buf, 4, 80);
        p.end();
    });
}

#[test]
fn a_device_store_to_a_merged_page_breaks_it_off() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(4);
        for page in 0..4 {
            p.cpu_store(buf + page * PAGE, 77);
        }
        assert_eq!(p.store(buf, 77), Ok(0));
        p.mm.madvise(buf, 4 * PAGE, Advice::Mergeable)
            .expect("madvise");
        assert!(m.sys.ksm_scan() >= 3);
        p.mirrors();
        assert_eq!(p.words(buf, 4), ["r"; 4]);
        assert_eq!(p.load(buf + PAGE), Ok(77));
        assert_eq!(p.store(buf + PAGE, 8), Ok(0));
        assert_eq!(p.fetch_add(buf + 2 * PAGE, 1), Ok(77));
        let seen: Vec<u64> = (0..4).map(|page| p.cpu_load(buf + page * PAGE)).collect();
        assert_eq!(seen, [77, 8, 78, 77]);
        p.end();
    });
}

#[test]
fn swapped_pages_come_back_for_the_device() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(6);
        p.cpu_fill(buf, 6, 10);
        // The device's writes count: what it wrote is what comes back.
        p.fill(buf, 3, 40).expect("fill");
        p.to_device(buf + 5 * PAGE, 1);
        assert_eq!(p.mm.swap_out(buf, 6 * PAGE), Ok(5));
        p.mirrors();
        assert_eq!(
            p.words(buf, 6),
            ["none", "none", "none", "none", "none", "rw dev"]
        );
        p.check(buf, 3, 40);
        p.check(buf + 3 * PAGE, 3, 13);
        p.cpu_check(buf, 3, 40);
        p.end();
    });
}

#[test]
fn device_stores_reach_the_file_and_its_end_is_an_error() {
    for_seeds(0..3, |m| {
        let p = m.process();
        let file = File::new(&m.sys, 4 * PAGE);
        let shared = MmapOptions {
            share: true,
            ..MmapOptions::default()
        };
        let buf =
            p.mm.mmap_file(4 * PAGE, Prot::READ_WRITE, shared, &file, 0)
                .expect("mmap_file");
        file.write(PAGE, &[3; 8]).expect("write");
        assert_eq!(p.load(buf + PAGE), Ok(0x0303_0303_0303_0303));
        p.fill(buf, 4, 60).expect("fill");
        // Written back and dropped: only a dirty page keeps what the device wrote.
        assert_eq!(p.mm.swap_out(buf, 4 * PAGE), Ok(4));
        p.mirrors();
        let mut word = [0; 8];
        file.read(2 * PAGE, &mut word).expect("read");
        assert_eq!(u64::from_le_bytes(word), 62);
        p.check(buf, 4, 60);
        let error = p.context.migrate_to_device(buf, 4 * PAGE);
        assert_eq!(error.expect_err("a file's pages").errno(), Errno::ENOENT);
        file.truncate(2 * PAGE).expect("truncate");
        p.mirrors();
        assert_eq!(p.words(buf + PAGE, 2), ["rw", "none"]);
        let error = p.load(buf + 2 * PAGE).expect_err("beyond the end");
        assert_eq!(error.errno, Errno::EFAULT);
        p.check(buf, 2, 60);
        p.end();
    });
}

#[test]
fn a_lost_page_fails_its_accesses_only() {
    run(Setup::new(1), |m| {
        let p = m.process();
        let buf = p.map(3);
        p.cpu_fill(buf, 3, 10);
        p.check(buf, 3, 10);
        p.mm.poison(buf + PAGE).expect("poison");
        p.mirrors();
        assert_eq!(p.words(buf, 3), ["rw", "none", "rw"]);
        let error = p.load(buf + PAGE).expect_err("lost");
        assert_eq!(error.errno, Errno::EFAULT);
        let error = p.context.migrate_to_device(buf, 3 * PAGE);
        assert_eq!(error.expect_err("one is lost").errno(), Errno::ENOENT);
        p.check(buf, 1, 10);
        p.check(buf + 2 * PAGE, 1, 12);
        p.end();
    });
}

#[test]
fn device_stores_are_seen_by_soft_dirty_tracking() {
    for_seeds(0..3, |m| {
        let p = m.process();
        let buf = p.map(4);
        p.cpu_fill(buf, 4, 10);
        p.to_device(buf + 2 * PAGE, 2);
        p.fill(buf, 4, 20).expect("the device maps them writable");
        p.mm.clear_soft_dirty().expect("clear");
        p.mirrors();
        p.check(buf, 4, 20);
        let dirty = || [0, 1, 2, 3].map(|page| p.mm.soft_dirty(buf + page * PAGE));
        assert_eq!(dirty(), [false; 4]);
        for page in [1, 2] {
            p.store(buf + page * PAGE + 8, 1).expect("store");
        }
        assert_eq!(dirty(), [false, true, true, false]);
        p.end();
    });
}

/// The device wrote, the page was only marked afterwards as free to drop: MADV_FREE takes what is there then, and a
/// later store of the device keeps the page.
#[test]
fn a_device_store_after_madv_free_keeps_the_page() {
    for_seeds(0..3, |m| {
        let p = m.process();
        let buf = p.map(2);
        p.fill(buf, 2, 20).expect("fill");
        p.mm.madvise(buf, 2 * PAGE, Advice::Free).expect("madvise");
        p.store(buf, 9).expect("store");
        let _ = p.mm.swap_out(buf, 2 * PAGE);
        assert_eq!(p.cpu_load(buf), 9);
        assert_eq!(p.cpu_load(buf + PAGE), 0);
        p.end();
    });
}
