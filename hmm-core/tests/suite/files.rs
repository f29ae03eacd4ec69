//! Files: mapped shared and private, on the device, truncated, and on disk.

use std::sync::Arc;

use crate::common::device::Device;
use crate::common::*;
use hmm_core::{
    Advice, Errno, File, Mm, MmapOptions, MremapOptions, PagemapEntry, Prot, Pte, System, Va,
};

const DEV: u64 = 7;
const BIG: u64 = 1024;

pub fn map_file(mm: &Mm, file: &Arc<File>, pages: u64, prot: Prot, share: bool) -> Va {
    let options = MmapOptions {
        share,
        ..MmapOptions::default()
    };
    mm.mmap_file(pages * PAGE, prot, options, file, 0).unwrap()
}

/// A file of `pages` pages with a pattern, all on disk.
pub fn file_with(sys: &Arc<System>, pages: u64, first: u64) -> Arc<File> {
    let file = File::new(sys, pages * PAGE);
    file.write(0, &pattern(pages, first)).unwrap();
    file
}

pub fn file_contents(file: &File, len: u64) -> Vec<u8> {
    let mut buf = vec![0x77; len as usize];
    assert_eq!(file.read(0, &mut buf), Ok(len as usize));
    buf
}

/// The kernel's test 10.
#[test]
fn file_read() {
    single(|| {
        let sys = system(2 * BIG);
        let device = Device::new(&sys, 16, DEV);
        let file = file_with(&sys, BIG, 1);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map_file(&mm, &file, BIG, Prot::READ, true);
        let (data, rounds) = mirror.read_pages(va, BIG).unwrap();
        assert!(data == pattern(BIG, 1) && rounds == 1);
        assert_eq!((mm.rss().file, mm.rss().anon), (BIG, 0));
        assert_eq!(mirror.write(va, &[1]), Err(Errno::EPERM));
        check_quiet(&sys);
    });
}

/// The kernel's test 11: what the device writes reaches the file, and the disk.
#[test]
fn file_write() {
    single(|| {
        let sys = system(2 * BIG);
        let device = Device::new(&sys, 16, DEV);
        let file = File::new(&sys, BIG * PAGE);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map_file(&mm, &file, BIG, Prot::READ_WRITE, true);
        mirror.write(va, &pattern(BIG, 5)).unwrap();
        expect(&mm, va, BIG, 5);
        assert!(file_contents(&file, BIG * PAGE) == pattern(BIG, 5));
        assert_eq!(file.cached_pages(), BIG);
        assert_eq!(mm.swap_out(va, BIG * PAGE), Ok(BIG));
        assert_eq!((file.cached_pages(), mm.rss().file), (0, 0));
        assert!(file_contents(&file, BIG * PAGE) == pattern(BIG, 5));
        check_quiet(&sys);
    });
}

/// The kernel's test 13: only the copies that a private mapping has made can migrate.
#[test]
fn migrate_file_private() {
    single(|| {
        let sys = system(4 * BIG);
        let device = Device::new(&sys, BIG, DEV);
        let file = file_with(&sys, BIG, 1);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map_file(&mm, &file, BIG, Prot::READ_WRITE, false);
        assert_eq!(mirror.to_device(va, 2), Err(Errno::ENOENT));
        assert_eq!(load64(&mm, va), Ok(1));
        assert_eq!(mirror.to_device(va, 2), Err(Errno::ENOENT));
        assert_eq!(device.used(), 0);
        fill(&mm, va, BIG, 9);
        assert_eq!((mm.rss().file, mm.rss().anon), (0, BIG));
        mirror.to_device(va, BIG).unwrap();
        assert!(mirror.read_pages(va, BIG).unwrap().0 == pattern(BIG, 9));
        assert!(file_contents(&file, BIG * PAGE) == pattern(BIG, 1));
        expect(&mm, va, BIG, 9);
        check_quiet(&sys);
    });
}

/// The kernel's test 16, for files too: shared pages do not move.
#[test]
fn migrate_shared() {
    single(|| {
        let sys = system(256);
        let device = Device::new(&sys, 64, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let file = file_with(&sys, 4, 1);
        for va in [
            map_shared(&mm, 4),
            map_file(&mm, &file, 4, Prot::READ_WRITE, true),
        ] {
            assert_eq!(mirror.to_device(va, 4), Err(Errno::ENOENT));
            fill(&mm, va, 4, 3);
            assert_eq!(mirror.to_device(va, 4), Err(Errno::ENOENT));
            assert_eq!(mirror.to_system(va, 4), Ok(0));
            expect(&mm, va, 4, 3);
        }
        assert_eq!(device.used(), 0);
        check_quiet(&sys);
    });
}

#[test]
fn a_private_mapping_sees_the_file_until_it_writes() {
    single(|| {
        let sys = system(256);
        let device = Device::new(&sys, 64, DEV);
        let file = file_with(&sys, 4, 1);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map_file(&mm, &file, 4, Prot::READ_WRITE, false);
        expect(&mm, va, 4, 1);
        assert!(matches!(mm.pte(va), Pte::Present(p) if !p.write));
        file.write(0, &7u64.to_le_bytes()).unwrap();
        assert_eq!(load64(&mm, va), Ok(7));
        // A store copies, of the CPU and of the device, with and without a page to copy from.
        store64(&mm, va, 8).unwrap();
        mirror.write(va + PAGE, &9u64.to_le_bytes()).unwrap();
        mm.madvise(va + 2 * PAGE, 2 * PAGE, Advice::DontNeed)
            .unwrap();
        store64(&mm, va + 2 * PAGE, 10).unwrap();
        mirror.write(va + 3 * PAGE, &11u64.to_le_bytes()).unwrap();
        assert_eq!(mm.rss().anon, 4);
        let child = mm.fork().unwrap();
        for (i, word) in [8, 9, 10, 11].into_iter().enumerate() {
            let at = va + i as u64 * PAGE;
            assert_eq!(load64(&child, at), Ok(word));
            assert_eq!(load64(&child, at + 8), Ok(2 + i as u64 * PAGE / 8));
        }
        let mut whole = pattern(4, 1);
        whole[..8].copy_from_slice(&7u64.to_le_bytes());
        assert!(file_contents(&file, 4 * PAGE) == whole);
        // Dropping the copy shows the file again.
        mm.madvise(va, PAGE, Advice::DontNeed).unwrap();
        assert_eq!(load64(&mm, va), Ok(7));
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn a_pin_of_a_private_mapping_has_a_copy() {
    single(|| {
        let sys = system(64);
        let file = file_with(&sys, 2, 1);
        let mm = sys.create_mm();
        let va = map_file(&mm, &file, 2, Prot::READ, false);
        assert_eq!(load64(&mm, va), Ok(1));
        let pins = mm.pin(va, 2).unwrap();
        assert_eq!(mm.rss().anon, 2);
        file.write(0, &9u64.to_le_bytes()).unwrap();
        assert_eq!(load64(&mm, va), Ok(1));
        drop(pins);
        let shared = map_file(&mm, &file, 2, Prot::READ_WRITE, true);
        let pins = mm.pin(shared, 2).unwrap();
        assert_eq!(mm.swap_out(shared, 2 * PAGE), Ok(0));
        file.truncate(0).unwrap();
        assert_eq!(load64(&mm, shared), Err(Errno::SIGBUS));
        check(&sys);
        drop(pins);
        check_quiet(&sys);
    });
}

#[test]
fn reads_and_writes_end_at_the_end() {
    single(|| {
        let sys = system(64);
        let file = File::new(&sys, 10);
        assert_eq!((file.len(), file.is_empty()), (10, false));
        let mut buf = [1; 20];
        assert_eq!(file.read(4, &mut buf), Ok(6));
        assert_eq!(buf[..7], [0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(file.read(10, &mut buf), Ok(0));
        assert_eq!(file.read(u64::MAX, &mut buf), Ok(0));
        file.write(3 * PAGE - 1, &[5, 6]).unwrap();
        assert_eq!(file.len(), 3 * PAGE + 1);
        assert_eq!(file.read(3 * PAGE - 2, &mut buf), Ok(3));
        assert_eq!(buf[..3], [0, 5, 6]);
        assert_eq!(file.write(File::MAX_LEN, &[1]), Err(Errno::EFBIG));
        assert_eq!(file.write(u64::MAX, &[1]), Err(Errno::EFBIG));
        assert_eq!(file.truncate(File::MAX_LEN + 1), Err(Errno::EFBIG));
        assert_eq!(file.write(File::MAX_LEN, &[]), Ok(()));
        assert_eq!(file.len(), 3 * PAGE + 1);
        check_quiet(&sys);
    });
}

#[test]
fn arguments_of_mmap_are_checked() {
    single(|| {
        let sys = system(64);
        let file = File::new(&sys, PAGE);
        let mm = sys.create_mm();
        let map =
            |len, offset| mm.mmap_file(len, Prot::READ, MmapOptions::default(), &file, offset);
        assert_eq!(map(PAGE, 1), Err(Errno::EINVAL));
        assert_eq!(map(0, 0), Err(Errno::EINVAL));
        assert_eq!(map(u64::MAX, 0), Err(Errno::EOVERFLOW));
        assert_eq!(
            map(2 * PAGE, 0u64.wrapping_sub(PAGE)),
            Err(Errno::EOVERFLOW)
        );
        assert_eq!(map(PAGE, 1 << 63), Err(Errno::EOVERFLOW));
        assert_eq!(map(1 << 50, 0), Err(Errno::ENOMEM));
        let beyond = map(PAGE, PAGE).unwrap();
        assert_eq!(load64(&mm, beyond), Err(Errno::SIGBUS));
        mm.exit();
        let dead = mm.mmap_file(PAGE, Prot::READ, MmapOptions::default(), &file, 0);
        assert_eq!(dead, Err(Errno::ESRCH));
        check_quiet(&sys);
    });
}

#[test]
fn beyond_the_end_is_a_bus_error() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 16, DEV);
        let file = File::new(&sys, PAGE + 10);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        for share in [true, false] {
            let va = map_file(&mm, &file, 4, Prot::READ_WRITE, share);
            assert_eq!(load64(&mm, va + PAGE + 64), Ok(0));
            assert_eq!(load64(&mm, va + 2 * PAGE), Err(Errno::SIGBUS));
            assert_eq!(store64(&mm, va + 2 * PAGE, 1), Err(Errno::SIGBUS));
            assert_eq!(mirror.read_pages(va, 4).unwrap_err(), Errno::EFAULT);
            assert_eq!(mirror.write(va + 3 * PAGE, &[1]), Err(Errno::EFAULT));
            assert_eq!(mm.pin(va, 4).err(), Some(Errno::EFAULT));
            assert_eq!(mirror.snapshot(va, 4)[2..], [0, 0]);
            assert_eq!(mm.pagemap(va + 2 * PAGE), PagemapEntry::None);
        }
        check_quiet(&sys);
    });
}

#[test]
fn truncate_unmaps_everywhere() {
    single(|| {
        let sys = system(256);
        let device = Device::new(&sys, 64, DEV);
        let file = file_with(&sys, 8, 1);
        let mm = sys.create_mm();
        let other = sys.create_mm();
        let mirror = device.open(&mm);
        let shared = map_file(&mm, &file, 8, Prot::READ_WRITE, true);
        let private = map_file(&mm, &file, 8, Prot::READ_WRITE, false);
        let theirs = map_file(&other, &file, 8, Prot::READ, true);
        let options = MmapOptions::default();
        let tail = other
            .mmap_file(4 * PAGE, Prot::READ, options, &file, 4 * PAGE)
            .unwrap();
        mirror.write(shared, &pattern(8, 1)).unwrap();
        expect(&other, theirs, 8, 1);
        assert_eq!(load64(&other, tail), Ok(1 + 4 * PAGE / 8));
        // Copies: in memory, on the device, in swap space.
        fill(&mm, private, 8, 100);
        mirror.to_device(private + 6 * PAGE, 1).unwrap();
        assert_eq!(mm.swap_out(private + 7 * PAGE, PAGE), Ok(1));
        let child = mm.fork().unwrap();

        file.truncate(3 * PAGE + 8).unwrap();
        assert_eq!(device.used(), 0);
        assert_eq!(sys.swapped_pages(), 0);
        for (mm, va) in [
            (&mm, shared),
            (&mm, private),
            (&other, theirs),
            (&child, private),
        ] {
            for page in 4..8 {
                assert_eq!(mm.pte(va + page * PAGE), Pte::None);
                assert_eq!(load64(mm, va + page * PAGE), Err(Errno::SIGBUS));
            }
        }
        assert_eq!(load64(&other, tail), Err(Errno::SIGBUS));
        assert_eq!(mirror.entry(shared + 4 * PAGE), None);
        assert!(mirror.entry(shared + 2 * PAGE).is_some());
        assert_eq!(mirror.read(shared + 4 * PAGE, &mut [0]), Err(Errno::EFAULT));
        assert_eq!((mm.rss().file, mm.rss().anon), (4, 4));
        // The last page keeps the bytes before the end; behind it are zeros, but not in copies.
        assert_eq!(load64(&mm, shared + 3 * PAGE), Ok(1 + 3 * PAGE / 8));
        assert_eq!(load64(&mm, shared + 3 * PAGE + 8), Ok(0));
        assert_eq!(load64(&mm, private + 3 * PAGE + 8), Ok(101 + 3 * PAGE / 8));
        assert_eq!(file.cached_pages(), 4);

        file.truncate(8 * PAGE).unwrap();
        assert_eq!(load64(&mm, shared + 5 * PAGE), Ok(0));
        assert_eq!(load64(&mm, private + 5 * PAGE), Ok(0));
        let mut expected = pattern(8, 1);
        expected[3 * PAGE as usize + 8..].fill(0);
        assert!(file_contents(&file, 8 * PAGE) == expected);
        mirror.check();
        check_quiet(&sys);
    });
}

/// Bytes that a process stores behind the end are never the file's.
#[test]
fn stores_behind_the_end_do_not_last() {
    single(|| {
        let sys = system(64);
        let file = File::new(&sys, 100);
        let mm = sys.create_mm();
        let va = map_file(&mm, &file, 1, Prot::READ_WRITE, true);
        store64(&mm, va + 92, u64::MAX).unwrap();
        store64(&mm, va + 200, 5).unwrap();
        assert_eq!(load64(&mm, va + 200), Ok(5));
        assert_eq!(mm.swap_out(va, PAGE), Ok(1));
        assert_eq!(load64(&mm, va + 200), Ok(0));
        assert_eq!(load64(&mm, va + 92), Ok(u64::MAX));
        store64(&mm, va + 200, 6).unwrap();
        file.truncate(PAGE).unwrap();
        assert_eq!(load64(&mm, va + 200), Ok(0));
        store64(&mm, va + 200, 7).unwrap();
        assert_eq!(mm.swap_out(va, PAGE), Ok(1));
        file.truncate(201).unwrap();
        file.write(PAGE, &[1]).unwrap();
        assert_eq!(load64(&mm, va + 200), Ok(7));
        store64(&mm, va + 200, 0x0101).unwrap();
        file.truncate(201).unwrap();
        assert_eq!(load64(&mm, va + 200), Ok(1));
        check_quiet(&sys);
    });
}

/// A clean page is dropped without a write, so a dirty bit that got lost would show as old contents.
#[test]
fn every_way_to_write_reaches_the_disk() {
    single(|| {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let file = file_with(&sys, 6, 1);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map_file(&mm, &file, 6, Prot::READ_WRITE, true);
        expect(&mm, va, 6, 1);
        let word = |page: u64| va + page * PAGE;
        assert_eq!((file.cached_pages(), sys.reclaim(u64::MAX)), (6, 6));
        expect(&mm, va, 6, 1);

        store64(&mm, word(0), 10).unwrap();
        // By the CPU, then mprotect, then zap: the entry's dirty bit must outlive the entry.
        store64(&mm, word(1), 11).unwrap();
        mm.mprotect(word(1), PAGE, Prot::READ).unwrap();
        mm.mprotect(word(1), PAGE, Prot::READ_WRITE).unwrap();
        mm.madvise(word(1), PAGE, Advice::DontNeed).unwrap();
        mirror.write(word(2), &12u64.to_le_bytes()).unwrap();
        file.write(3 * PAGE, &13u64.to_le_bytes()).unwrap();
        // Moved, and written by a child.
        store64(&mm, word(4), 14).unwrap();
        let moved = mm
            .mremap(
                word(4),
                PAGE,
                PAGE,
                MremapOptions {
                    at: Some(va + 64 * PAGE),
                    ..MremapOptions::default()
                },
            )
            .unwrap();
        let child = mm.fork().unwrap();
        store64(&child, word(5), 15).unwrap();
        child.exit();
        assert_eq!(sys.reclaim(4), 4);
        assert_eq!(sys.reclaim(u64::MAX), 2);
        assert_eq!(file.cached_pages(), 0);
        for page in 0..6u64 {
            let at = if page == 4 { moved } else { word(page) };
            assert_eq!(load64(&mm, at), Ok(10 + page));
        }
        check_quiet(&sys);
    });
}

#[test]
fn no_memory_for_a_page_of_a_file() {
    single(|| {
        let sys = system(8);
        let file = File::new(&sys, 16 * PAGE);
        let mm = sys.create_mm();
        let va = map_file(&mm, &file, 16, Prot::READ_WRITE, true);
        mm.memcg().set_limit(1);
        store64(&mm, va, 1).unwrap();
        assert_eq!(load64(&mm, va + PAGE), Err(Errno::ENOMEM));
        mm.memcg().set_limit(u64::MAX);
        let mut taken = Vec::new();
        while let Some(pfn) = sys.alloc_page() {
            taken.push(pfn);
        }
        assert_eq!(load64(&mm, va + PAGE), Err(Errno::ENOMEM));
        assert_eq!(file.read(PAGE, &mut [0]), Err(Errno::ENOMEM));
        assert_eq!(file.write(20 * PAGE, &[1]), Err(Errno::ENOMEM));
        assert_eq!(file.len(), 16 * PAGE);
        let private = map_file(&mm, &file, 1, Prot::READ_WRITE, false);
        assert_eq!(store64(&mm, private, 2), Err(Errno::ENOMEM));
        assert_eq!(load64(&mm, private), Ok(1));
        assert_eq!(store64(&mm, private, 2), Err(Errno::ENOMEM));
        for pfn in taken {
            sys.put_page(pfn);
        }
        assert_eq!(store64(&mm, private, 2), Ok(()));
        mm.exit();
        drop(file);
        assert_eq!(sys.free_pages(), 7);
        check_quiet(&sys);
    });
}

#[test]
fn truncate_against_accesses() {
    seeds(200, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let file = file_with(&sys, 4, 1);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let shared = map_file(&mm, &file, 4, Prot::READ_WRITE, true);
        let private = map_file(&mm, &file, 4, Prot::READ_WRITE, false);
        let theirs = Arc::clone(&file);
        let cutter = hmm_core::sync::spawn(move || {
            theirs.truncate(PAGE).unwrap();
            theirs.truncate(4 * PAGE).unwrap();
        });
        let theirs = Arc::clone(&mm);
        let cpu = hmm_core::sync::spawn(move || {
            for page in [3, 1] {
                let stored = store64(&theirs, private + page * PAGE, 5);
                assert!(matches!(stored, Ok(()) | Err(Errno::SIGBUS)));
                check(theirs.system());
            }
            let child = theirs.fork().unwrap();
            let seen = load64(&child, private + 3 * PAGE);
            assert!(matches!(seen, Ok(0 | 5) | Err(Errno::SIGBUS)) || seen == Ok(1 + 3 * PAGE / 8));
            child
        });
        match mirror.read_pages(shared, 4) {
            Ok((data, _)) => assert!(data[..PAGE as usize] == pattern(1, 1)),
            Err(error) => assert_eq!(error, Errno::EFAULT),
        }
        let wrote = mirror.write(shared + 2 * PAGE, &9u64.to_le_bytes());
        assert!(matches!(wrote, Ok(_) | Err(Errno::EFAULT)));
        cutter.join();
        let child = cpu.join();
        // What the mappings show is the file, or a copy that was made afterwards.
        let now = file_contents(&file, 4 * PAGE);
        assert!(contents(&mm, shared, 4) == now);
        assert!(mirror.read_pages(shared, 4).unwrap().0 == now);
        assert!(now[..PAGE as usize] == pattern(1, 1));
        assert!(now[3 * PAGE as usize..].iter().all(|&b| b == 0));
        for mm in [&mm, &child] {
            let copy = contents(mm, private + PAGE, 3);
            let fresh = |word: u64| word == 0 || word == 5 || word == 9;
            for page in 0..3 {
                let at = page * PAGE as usize;
                let first = u64::from_le_bytes(copy[at..at + 8].try_into().unwrap());
                assert!(fresh(first), "{first:#x} survived the truncation");
                assert!(copy[at + 8..at + 16].iter().all(|&b| b == 0));
            }
        }
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn reclaim_against_writes_to_a_file() {
    seeds(150, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let file = file_with(&sys, 2, 1);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map_file(&mm, &file, 2, Prot::READ_WRITE, true);
        let theirs = Arc::clone(&mm);
        let reclaimer = hmm_core::sync::spawn(move || {
            for _ in 0..3 {
                theirs.swap_out(va, 2 * PAGE).unwrap();
                check(theirs.system());
            }
        });
        let theirs = Arc::clone(&mm);
        let cpu = hmm_core::sync::spawn(move || {
            for n in 1..4 {
                store64(&theirs, va + n * 8, 100 + n).unwrap();
            }
        });
        let theirs = Arc::clone(&file);
        let writer = hmm_core::sync::spawn(move || {
            for n in 1..4 {
                theirs
                    .write(PAGE + n * 8, &(300 + n).to_le_bytes())
                    .unwrap();
            }
        });
        for n in 1..4u64 {
            mirror
                .write(va + 256 + n * 8, &(200 + n).to_le_bytes())
                .unwrap();
        }
        reclaimer.join();
        cpu.join();
        writer.join();
        let mapped = mm.rss().file;
        assert_eq!(mm.swap_out(va, 2 * PAGE), Ok(mapped));
        for n in 1..4 {
            assert_eq!(load64(&mm, va + n * 8), Ok(100 + n));
            assert_eq!(load64(&mm, va + 256 + n * 8), Ok(200 + n));
            assert_eq!(load64(&mm, va + PAGE + n * 8), Ok(300 + n));
        }
        check_quiet(&sys);
    });
}
