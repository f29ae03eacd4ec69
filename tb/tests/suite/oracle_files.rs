//! The byte oracle on files, thrown-away memory and programs of which nothing is known.

use hmmu::oracle::{Data, Mismatch, Moved, Oracle, Outcome};

const A: u64 = 0x7000_0000;
const B: u64 = 0x7100_0000;
const PAGE: u64 = 4096;

fn write(oracle: &Oracle, mm: u64, addr: u64, byte: u8) {
    let ticket = oracle.begin_write(mm, addr, 1, Data::Bytes(vec![byte]));
    oracle.end_write(ticket, Outcome::Done);
}

fn read(oracle: &Oracle, mm: u64, addr: u64, byte: u8) -> Result<(), Mismatch> {
    let ticket = oracle.begin_read(mm, addr, 1);
    oracle.end_read(ticket, &[byte])
}

/// Process 1 maps the two pages of a file shared at A and privately at B; process 2 maps it shared at A.
fn mapped() -> (Oracle, u64) {
    let oracle = Oracle::default();
    let file = oracle.file(2 * PAGE);
    for mm in [1, 2] {
        oracle.process(mm);
        oracle.map_file(mm, A, 2 * PAGE, true, (file, 0));
    }
    oracle.map_file(1, B, 2 * PAGE, false, (file, 0));
    (oracle, file)
}

fn resize(oracle: &Oracle, file: u64, len: u64) {
    let resize = oracle.begin_resize(file, len);
    oracle.end_resize(resize);
}

#[test]
fn mappings_share_a_file() {
    let (oracle, file) = mapped();
    write(&oracle, 1, A, 5);
    assert_eq!(read(&oracle, 2, A, 5), Ok(()));
    assert_eq!(read(&oracle, file, 0, 5), Ok(()));
    write(&oracle, file, PAGE, 6);
    assert_eq!(read(&oracle, 2, A + PAGE, 6), Ok(()));
    assert!(read(&oracle, 2, A + PAGE, 5).is_err());
}

#[test]
fn a_private_copy_is_made_by_the_first_write() {
    let (oracle, file) = mapped();
    write(&oracle, file, 0, 5);
    assert_eq!(read(&oracle, 1, B, 5), Ok(()));
    write(&oracle, 1, B, 7);
    write(&oracle, file, 0, 6);
    assert_eq!(read(&oracle, 1, B, 7), Ok(()));
    assert_eq!(read(&oracle, 2, A, 6), Ok(()));
    // A store that was refused makes none.
    let ticket = oracle.begin_write(1, B + PAGE, 1, Data::Bytes(vec![9]));
    oracle.end_write(ticket, Outcome::Nothing);
    write(&oracle, file, PAGE, 8);
    assert_eq!(read(&oracle, 1, B + PAGE, 8), Ok(()));
    assert!(read(&oracle, 1, B + PAGE, 9).is_err());
}

#[test]
fn a_copy_under_way_may_have_either() {
    let (oracle, file) = mapped();
    let store = oracle.begin_write(1, B, 1, Data::Bytes(vec![7]));
    write(&oracle, file, 1, 3);
    oracle.end_write(store, Outcome::Done);
    assert_eq!(read(&oracle, 1, B, 7), Ok(()));
    assert_eq!(read(&oracle, 1, B + 1, 0), Ok(()), "and then it is known");
    assert!(read(&oracle, 1, B + 1, 3).is_err());
}

#[test]
fn truncation_takes_pages_and_copies_away() {
    let (oracle, file) = mapped();
    write(&oracle, 1, B + PAGE, 7);
    write(&oracle, file, PAGE, 5);
    write(&oracle, file, 100, 5);
    resize(&oracle, file, 100);
    let gone = |mm, addr| read(&oracle, mm, addr, 0) == Err(Mismatch::Unmapped { mm, addr });
    assert!(gone(1, A + PAGE) && gone(2, A + PAGE) && gone(1, B + PAGE));
    assert_eq!(
        read(&oracle, 1, A + 100, 0),
        Ok(()),
        "the rest of the last page is zero"
    );
    resize(&oracle, file, 2 * PAGE);
    assert_eq!(read(&oracle, 2, A + PAGE, 0), Ok(()));
    assert!(read(&oracle, 1, B + PAGE, 7).is_err());
}

#[test]
fn a_mapping_may_reach_beyond_the_end_until_the_file_grows() {
    let oracle = Oracle::default();
    oracle.process(1);
    let file = oracle.file(PAGE);
    oracle.map_file(1, A, 3 * PAGE, true, (file, 0));
    let far = A + 2 * PAGE;
    assert_eq!(
        read(&oracle, 1, far, 0),
        Err(Mismatch::Unmapped { mm: 1, addr: far })
    );
    resize(&oracle, file, 3 * PAGE);
    write(&oracle, file, 2 * PAGE, 4);
    assert_eq!(read(&oracle, 1, far, 4), Ok(()));
}

#[test]
fn a_mapping_that_grows_shows_more_of_its_file() {
    let (oracle, file) = mapped();
    resize(&oracle, file, 4 * PAGE);
    write(&oracle, file, 3 * PAGE, 9);
    let old = oracle.begin_unmap(1, A, 2 * PAGE);
    let moved = Moved {
        to: 0x7200_0000,
        len: 4 * PAGE,
        stays: false,
    };
    oracle.end_remap(old, moved);
    assert_eq!(read(&oracle, 1, 0x7200_0000 + 3 * PAGE, 9), Ok(()));
    write(&oracle, 1, 0x7200_0000, 1);
    assert_eq!(read(&oracle, 2, A, 1), Ok(()));
}

#[test]
fn a_fork_copies_only_what_is_the_process_s_own() {
    let (oracle, file) = mapped();
    write(&oracle, 1, B, 7);
    let fork = oracle.begin_fork(1);
    oracle.end_fork(fork, Some(3));
    write(&oracle, 1, B, 8);
    write(&oracle, file, PAGE, 5);
    assert_eq!(read(&oracle, 3, B, 7), Ok(()));
    assert_eq!(read(&oracle, 3, B + PAGE, 5), Ok(()));
    write(&oracle, 3, A, 2);
    assert_eq!(read(&oracle, 1, A, 2), Ok(()));
}

#[test]
fn discarded_memory_is_zero_or_the_file() {
    let (oracle, file) = mapped();
    oracle.map(1, B + 2 * PAGE, PAGE, false);
    write(&oracle, file, 0, 5);
    write(&oracle, 1, B, 7);
    write(&oracle, 1, A + PAGE, 3);
    write(&oracle, 1, B + 2 * PAGE, 7);
    for start in [A, B] {
        let discard = oracle.begin_discard(1, start, 3 * PAGE);
        oracle.end_discard(discard, true);
    }
    assert_eq!(read(&oracle, 1, B, 5), Ok(()));
    assert_eq!(read(&oracle, 1, B + 2 * PAGE, 0), Ok(()));
    assert_eq!(read(&oracle, 1, A + PAGE, 3), Ok(()), "shared memory stays");
    // One that failed leaves nobody sure.
    write(&oracle, 1, B, 7);
    let discard = oracle.begin_discard(1, B, PAGE);
    oracle.end_discard(discard, false);
    assert_eq!(read(&oracle, 1, B, 5), Ok(()));
    assert_eq!(read(&oracle, 1, B, 7), Ok(()));
}

#[test]
fn freed_memory_is_old_or_zero_until_it_is_written() {
    let oracle = Oracle::default();
    oracle.process(1);
    oracle.map(1, A, 2 * PAGE, false);
    write(&oracle, 1, A, 5);
    write(&oracle, 1, A + 1, 6);
    oracle.free(1, A, PAGE);
    for byte in [5, 0, 5] {
        assert_eq!(read(&oracle, 1, A, byte), Ok(()), "reading settles nothing");
    }
    assert!(read(&oracle, 1, A, 9).is_err());
    write(&oracle, 1, A, 7);
    assert_eq!(read(&oracle, 1, A, 7), Ok(()));
    assert!(read(&oracle, 1, A, 0).is_err());
    assert_eq!(
        read(&oracle, 1, A + 1, 0),
        Ok(()),
        "dropped before the write"
    );
    assert!(read(&oracle, 1, A + 1, 6).is_err(), "and settled now");
}

#[test]
fn a_pin_may_have_copied_a_private_page() {
    let (oracle, file) = mapped();
    write(&oracle, file, 0, 5);
    oracle.may_own(1, B, PAGE);
    write(&oracle, file, 0, 6);
    assert_eq!(read(&oracle, 1, B, 5), Ok(()));
    assert_eq!(read(&oracle, 1, B, 6), Ok(()));
    write(&oracle, 1, B, 7);
    assert_eq!(read(&oracle, 1, B, 7), Ok(()));
    assert!(read(&oracle, 1, B, 6).is_err());
}

#[test]
fn an_unknown_program_may_write_its_process_s_memory_only() {
    let (oracle, file) = mapped();
    oracle.map(2, B, PAGE, false);
    write(&oracle, 2, B, 4);
    let wild = oracle.begin_wild(1);
    assert_eq!(
        read(&oracle, 2, B, 1),
        Ok(()),
        "nothing is checked meanwhile"
    );
    oracle.end_wild(wild);
    assert!(read(&oracle, 2, B, 1).is_err());
    assert_eq!(read(&oracle, 2, B, 4), Ok(()));
    assert_eq!(read(&oracle, file, 0, 77), Ok(()), "the file it shares");
    assert!(read(&oracle, 2, A, 78).is_err(), "known again");
}

#[test]
fn parent_and_child_grow_shared_memory_together() {
    let oracle = Oracle::default();
    oracle.process(1);
    oracle.map(1, A, PAGE, true);
    let fork = oracle.begin_fork(1);
    oracle.end_fork(fork, Some(2));
    for mm in [1, 2] {
        let old = oracle.begin_unmap(mm, A, PAGE);
        let moved = Moved {
            to: B,
            len: 2 * PAGE,
            stays: false,
        };
        oracle.end_remap(old, moved);
    }
    write(&oracle, 1, B + PAGE, 3);
    assert_eq!(read(&oracle, 2, B + PAGE, 3), Ok(()));
}
