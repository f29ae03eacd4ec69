//! The byte oracle on its own: what it lets pass and what it does not.

use hmmu::oracle::{Data, Mismatch, Oracle, Outcome};

const A: u64 = 0x7000_0000;

fn oracle() -> Oracle {
    let oracle = Oracle::default();
    oracle.process(1);
    oracle.map(1, A, 2 * 4096, false);
    oracle
}

fn fork(oracle: &Oracle) {
    let ticket = oracle.begin_fork(1);
    oracle.end_fork(ticket, Some(2));
}

fn write(oracle: &Oracle, mm: u64, addr: u64, bytes: &[u8]) {
    let ticket = oracle.begin_write(mm, addr, bytes.len() as u64, Data::Bytes(bytes.to_vec()));
    oracle.end_write(ticket, Outcome::Done);
}

fn read(oracle: &Oracle, mm: u64, addr: u64, bytes: &[u8]) -> Result<(), Mismatch> {
    let ticket = oracle.begin_read(mm, addr, bytes.len() as u64);
    oracle.end_read(ticket, bytes)
}

#[test]
fn a_read_must_bring_what_was_written_last() {
    let oracle = oracle();
    assert_eq!(read(&oracle, 1, A, &[0; 8]), Ok(()));
    write(&oracle, 1, A + 4094, &[1, 2, 3, 4]);
    assert_eq!(read(&oracle, 1, A + 4094, &[1, 2, 3, 4]), Ok(()));
    let error = read(&oracle, 1, A + 4094, &[1, 2, 9, 4]);
    assert_eq!(
        error,
        Err(Mismatch::Byte {
            mm: 1,
            addr: A + 4096,
            got: 9,
            allowed: vec![3]
        })
    );
}

#[test]
fn a_fork_is_a_copy() {
    let oracle = oracle();
    write(&oracle, 1, A, &[5]);
    fork(&oracle);
    write(&oracle, 1, A, &[6]);
    assert_eq!(read(&oracle, 2, A, &[5]), Ok(()));
    assert_eq!(read(&oracle, 1, A, &[6]), Ok(()));
    write(&oracle, 2, A, &[7]);
    assert_eq!(read(&oracle, 1, A, &[6]), Ok(()));
    assert!(read(&oracle, 2, A, &[5]).is_err());
}

#[test]
fn shared_pages_stay_shared_over_fork() {
    let oracle = oracle();
    oracle.map(1, A + 0x10_0000, 4096, true);
    fork(&oracle);
    write(&oracle, 1, A + 0x10_0000, &[6]);
    assert_eq!(read(&oracle, 2, A + 0x10_0000, &[6]), Ok(()));
}

#[test]
fn unmapped_memory_reads_nothing() {
    let oracle = oracle();
    write(&oracle, 1, A, &[5]);
    let ticket = oracle.begin_unmap(1, A, 4096);
    oracle.end_unmap(ticket, true);
    assert_eq!(
        read(&oracle, 1, A, &[5]),
        Err(Mismatch::Unmapped { mm: 1, addr: A })
    );
    oracle.map(1, A, 4096, false);
    assert_eq!(read(&oracle, 1, A, &[0]), Ok(()));
    // A refused munmap changes nothing.
    write(&oracle, 1, A, &[8]);
    let ticket = oracle.begin_unmap(1, A, 4096);
    oracle.end_unmap(ticket, false);
    assert_eq!(read(&oracle, 1, A, &[8]), Ok(()));
}

#[test]
fn a_read_beside_a_write_sees_either_value() {
    for seen in [1_u8, 2] {
        let oracle = oracle();
        write(&oracle, 1, A, &[1]);
        let reader = oracle.begin_read(1, A, 1);
        let writer = oracle.begin_write(1, A, 1, Data::Bytes(vec![2]));
        oracle.end_write(writer, Outcome::Done);
        assert_eq!(oracle.end_read(reader, &[seen]), Ok(()));
        // What comes after both sees the new value only.
        assert!(read(&oracle, 1, A, &[1]).is_err());
        assert_eq!(read(&oracle, 1, A, &[2]), Ok(()));
    }
    let oracle = oracle();
    let reader = oracle.begin_read(1, A, 1);
    write(&oracle, 1, A, &[2]);
    write(&oracle, 1, A, &[3]);
    assert!(oracle.end_read(reader, &[4]).is_err());
}

#[test]
fn two_writes_at_once_leave_either_until_a_read_settles_it() {
    let oracle = oracle();
    let one = oracle.begin_write(1, A, 2, Data::Bytes(vec![1, 1]));
    let two = oracle.begin_write(1, A + 1, 1, Data::Bytes(vec![2]));
    oracle.end_write(one, Outcome::Done);
    oracle.end_write(two, Outcome::Done);
    assert_eq!(
        read(&oracle, 1, A, &[1]),
        Ok(()),
        "only one write touched it"
    );
    assert!(read(&oracle, 1, A + 1, &[9]).is_err());
    assert_eq!(read(&oracle, 1, A + 1, &[2]), Ok(()));
    assert!(
        read(&oracle, 1, A + 1, &[1]).is_err(),
        "settled by the read before"
    );
}

#[test]
fn a_failed_write_changes_nothing_and_a_partial_one_some() {
    let oracle = oracle();
    let ticket = oracle.begin_write(1, A, 1, Data::Bytes(vec![7]));
    oracle.end_write(ticket, Outcome::Nothing);
    assert!(read(&oracle, 1, A, &[7]).is_err());
    let ticket = oracle.begin_write(1, A, 8, Data::Bytes(vec![7; 8]));
    oracle.end_write(ticket, Outcome::Partial);
    assert_eq!(read(&oracle, 1, A, &[7, 0, 7, 0, 7, 7, 0, 0]), Ok(()));
    assert!(read(&oracle, 1, A, &[0]).is_err(), "settled");
}

#[test]
fn unknown_bytes_settle_by_the_first_read() {
    let oracle = oracle();
    let ticket = oracle.begin_write(1, A, 4096, Data::Unknown);
    oracle.end_write(ticket, Outcome::Done);
    assert_eq!(read(&oracle, 1, A + 8, &[42]), Ok(()));
    assert!(read(&oracle, 1, A + 8, &[43]).is_err());
    assert_eq!(oracle.known(1, A + 8, 1), Some(vec![42]));
    assert_eq!(oracle.known(1, A, 16), None);
}

#[test]
fn a_write_beside_a_fork_may_be_in_the_child() {
    for seen in [1_u8, 2] {
        let oracle = oracle();
        write(&oracle, 1, A, &[1]);
        let ticket = oracle.begin_fork(1);
        write(&oracle, 1, A, &[2]);
        oracle.end_fork(ticket, Some(2));
        assert_eq!(read(&oracle, 2, A, &[seen]), Ok(()));
        assert!(
            read(&oracle, 2, A, &[3 - seen]).is_err(),
            "settled by the read"
        );
        assert!(read(&oracle, 1, A, &[1]).is_err());
    }
}

#[test]
fn updates_and_copies_are_checked() {
    let oracle = oracle();
    write(&oracle, 1, A, &[1, 2]);
    let ticket = oracle.begin_write(1, A, 1, Data::Unknown);
    assert_eq!(oracle.end_update(ticket, &[1], &[5]), Ok(()));
    assert_eq!(oracle.known(1, A, 2), Some(vec![5, 2]));
    let ticket = oracle.begin_write(1, A, 1, Data::Unknown);
    assert!(oracle.end_update(ticket, &[1], &[6]).is_err());

    let from = oracle.begin_read(1, A, 2);
    let to = oracle.begin_write(1, A + 100, 2, Data::Unknown);
    oracle.end_copy(from, to);
    assert_eq!(oracle.known(1, A + 100, 2), Some(vec![6, 2]));
    let from = oracle.begin_read(1, A, 2);
    let to = oracle.begin_write(1, A + 100, 2, Data::Unknown);
    write(&oracle, 1, A, &[9]);
    oracle.end_copy(from, to);
    assert_eq!(
        oracle.known(1, A + 100, 2),
        None,
        "the source changed meanwhile"
    );
}
