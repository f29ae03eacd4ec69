//! Preemption of the whole device: a page in use is taken away at every cycle offset of a short job.
//!
//! Each invalidation must be acknowledged within a stated bound, nothing may reach the old page after the
//! acknowledgement (watched at the device's ports), D must be in the table by then, and the job's result must
//! be right. The job loads from one page, stores to another, and waits for a third that is not there at first,
//! so that the offsets cover TLB hits, each level of walks, stores in flight and a pending fault.

mod board;
mod monitor;

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm, riscv::RiscvRelocation};
use hmmu_regs::{
    Access, Completion, CtrlEntry, CtrlOp, CtxMode, FaultRecord, JobStatus, LaunchEntry, Pte, reg,
};

use board::{Board, FAULT_RING, HOST_LATENCY, LINK_LATENCY, VRAM_LATENCY};
use monitor::Page;

const PAGE: u64 = 4096;
const WORDS: u64 = 4;
const CTX: u64 = 3;

/// Virtual addresses: source, destination, the page that is missing at first, the program.
const SOURCE: u64 = 0x7f00_0000_0000;
const DEST: u64 = SOURCE + PAGE;
const LATE: u64 = SOURCE + 2 * PAGE;
const CODE: u64 = 0xffff_8000_0000_0000;

/// Page tables in VRAM: the root, then three levels for the process and three for the program.
const ROOT: u64 = 0x1000;
const PROCESS_TABLES: [u64; 3] = [0x2000, 0x3000, 0x4000];
const CODE_TABLES: [u64; 3] = [0x5000, 0x6000, 0x7000];
const VRAM_FLAG: u64 = 1 << 55;

/// The host serves a fault after so many cycles.
const SERVICE: u64 = 60;
/// No run takes longer.
const PATIENCE: u64 = 50_000;

/// Most cycles from the doorbell's arrival to the acknowledgement's departure.
///
/// The ring entry comes over the link: one round trip. Then the MMU's bound (rtl/mmu.sv): the longest of the L2
/// sweep (a few cycles for one page), a walker operation on tables in VRAM, and a client's access in flight, which
/// is a read of system memory at worst: another round trip. The rest is arbitration and pipeline stages, and the
/// few packets that can stand before one of these on a link that is otherwise idle.
const ROUND_TRIP: u64 = 2 * LINK_LATENCY + HOST_LATENCY;
const BOUND: u64 = 2 * ROUND_TRIP + 2 * VRAM_LATENCY + 80;

/// Which page is taken away, where it lies before and after.
#[derive(Clone, Copy, Debug)]
struct Move {
    va: u64,
    from: u64,
    to: u64,
}

const SOURCE_MOVES: Move = Move {
    va: SOURCE,
    from: VRAM_FLAG | 0x1_0000,
    to: 0x3_0000,
};
const DEST_MOVES: Move = Move {
    va: DEST,
    from: 0x2_0000,
    to: VRAM_FLAG | 0x1_1000,
};
const CODE_MOVES: Move = Move {
    va: CODE,
    from: VRAM_FLAG | 0x8000,
    to: VRAM_FLAG | 0x9000,
};
const LATE_PAGE: u64 = 0x2_1000;

/// Sums the source's words into the destination, with an atomic on the destination's last word and a load of the
/// late page in the middle. The result is the sum.
fn program() -> Vec<u8> {
    let mut ops = dynasmrt::VecAssembler::<RiscvRelocation>::new(0);
    dynasm!(ops
        ; .arch riscv64 ; .feature ma
        ; addi t0, zero, WORDS as i32
        ; addi t1, zero, 0
        ; lui t4, PAGE as i32
        ; add t2, a0, t4
        ; add t5, t2, t4
        ; again:
        ; ld t3, [a0, 0]
        ; add t1, t1, t3
        ; sd t1, [t2, 0]
        ; amoadd.d t3, t0, [t2]
        ; addi a0, a0, 8
        ; addi t2, t2, 8
        ; addi t0, t0, -1
        ; bne t0, zero, <again
        ; ld t3, [t5, 0]
        ; add a0, t1, t3
        ; sd a0, [t2, 0]
        ; ecall
    );
    ops.finalize().expect("assembles")
}

fn source_word(k: u64) -> u64 {
    1000 + 7 * k
}
const LATE_WORD: u64 = 0x5000_0000;

/// The destination's words when the job has ended, and its result.
fn expected() -> (Vec<u64>, u64) {
    let mut sum = 0;
    let mut words: Vec<u64> = (0..WORDS)
        .map(|k| {
            sum += source_word(k);
            sum + (WORDS - k)
        })
        .collect();
    words.push(sum + LATE_WORD);
    (words, sum + LATE_WORD)
}

fn leaf(at: u64, code: bool) -> u64 {
    Pte::default()
        .with_v(1)
        .with_u(1)
        .with_r(1)
        .with_w(u64::from(!code))
        .with_x(u64::from(code))
        .with_atomic(1)
        .with_ppn(at >> 12)
        .0[0]
}

fn entry_of(va: u64) -> u64 {
    let tables = if va >= CODE {
        CODE_TABLES
    } else {
        PROCESS_TABLES
    };
    tables[2] + 8 * (va >> 12 & 511)
}

fn tables(board: &mut Board) {
    for (va, chain) in [(SOURCE, PROCESS_TABLES), (CODE, CODE_TABLES)] {
        let mut table = ROOT;
        for (level, next) in (1..=3).rev().zip(chain) {
            let pointer = Pte::default()
                .with_v(1)
                .with_ppn((VRAM_FLAG | next) >> 12)
                .0[0];
            board.vram_write(
                table + 8 * (va >> (12 + 9 * level) & 511),
                &pointer.to_le_bytes(),
            );
            table = next;
        }
    }
    for (page, code) in [
        (SOURCE_MOVES, false),
        (DEST_MOVES, false),
        (CODE_MOVES, true),
    ] {
        board.vram_write(entry_of(page.va), &leaf(page.from, code).to_le_bytes());
    }
}

fn read_page(board: &Board, at: u64) -> Vec<u8> {
    let memory = if at & VRAM_FLAG == 0 {
        &board.host.ram
    } else {
        &board.vram
    };
    let at = (at & !VRAM_FLAG) as usize;
    memory[at..at + PAGE as usize].to_vec()
}

fn write_page(board: &mut Board, at: u64, data: &[u8]) {
    if at & VRAM_FLAG == 0 {
        board.host_write(at, data)
    } else {
        board.vram_write(at & !VRAM_FLAG, data)
    }
}

fn monitored(at: u64) -> Page {
    if at & VRAM_FLAG == 0 {
        Page::System(at >> 12)
    } else {
        Page::Vram((at & !VRAM_FLAG) >> 12)
    }
}

/// What a run has shown.
struct Outcome {
    /// Cycles from the launch to the completion.
    cycles: u64,
    /// Cycles from the invalidation's doorbell to its acknowledgement.
    latency: u64,
}

/// Runs the job; at `offset` cycles after the launch `page` is invalidated, moved, mapped anew and replayed.
fn run(page: Move, offset: Option<u64>) -> Outcome {
    let label = format!("{page:x?}, offset {offset:?}");
    let mut board = Board::new();
    tables(&mut board);
    board.vram_write(CODE_MOVES.from & !VRAM_FLAG, &program());
    for k in 0..WORDS {
        board.vram_write(
            (SOURCE_MOVES.from & !VRAM_FLAG) + 8 * k,
            &source_word(k).to_le_bytes(),
        );
    }
    board.host_write(LATE_PAGE, &LATE_WORD.to_le_bytes());
    board.monitor.page(monitored(page.from));
    let set = board.command(
        CtrlEntry::default()
            .with_ctx(CTX)
            .with_arg0(VRAM_FLAG | ROOT)
            .with_arg1(CtxMode::Translate as u64),
        CtrlOp::CtxSet,
    );
    while !board.reached(set) {
        board.clock();
    }

    let start = board.now;
    let job = board.launch(
        LaunchEntry::default()
            .with_ctx(CTX)
            .with_threads(1)
            .with_entry(CODE)
            .with_arg(SOURCE),
    );
    let range = |va: u64| {
        CtrlEntry::default()
            .with_ctx(CTX)
            .with_addr(va)
            .with_len(PAGE)
    };
    let mut records = 0;
    let mut serve_at = None;
    let mut invalidation = None;
    let mut moved = None;
    while !board.reached(job)
        || offset.is_some() && !moved.is_some_and(|fence| board.reached(fence))
    {
        assert!(
            board.now - start < PATIENCE,
            "{label}: no end; violations {:?}",
            board.monitor.violations
        );
        board.clock();

        // Faults: the late page is served; one on the moving page waits for the replay after the move.
        let mut raw = [0; FaultRecord::BYTES];
        let slot = FAULT_RING + 32 * (records % 16);
        raw.copy_from_slice(&board.host.ram[slot as usize..slot as usize + 32]);
        let record = FaultRecord::from_bytes(&raw);
        if record.version() != 0 && record.phase() == 1 - ((records / 16) & 1) {
            records += 1;
            board.register(reg::FAULT_CONS, records);
            let at = record.addr();
            assert!(at == LATE || at == page.va, "{label}: fault at {at:#x}");
            if at == LATE {
                assert_eq!(record.access(), Access::Read as u64, "{label}");
                serve_at = Some(board.now + SERVICE);
            }
        }
        if serve_at == Some(board.now) {
            board.aperture(entry_of(LATE), &leaf(LATE_PAGE, false).to_le_bytes());
            board.command(range(LATE), CtrlOp::Replay);
        }

        if offset == Some(board.now - start) {
            // The revoke: one byte, which the walker's compare-and-swap cannot overwrite.
            board.aperture(entry_of(page.va) + 7, &[0x1f]);
            let fence = board.command(range(page.va), CtrlOp::Invalidate);
            board.monitor.expect(fence.0);
            invalidation = Some(fence);
        }
        if moved.is_none() && invalidation.is_some_and(|fence| board.reached(fence)) {
            let entry = Pte([board.vram_word(entry_of(page.va))]);
            assert!(
                entry.d() == 1 || !board.monitor.stored,
                "{label}: stored to, but D is not in the table"
            );
            let content = read_page(&board, page.from);
            write_page(&mut board, page.to, &content);
            write_page(&mut board, page.from, &[0xa5; PAGE as usize]);
            board.aperture(
                entry_of(page.va),
                &leaf(page.to, page.va == CODE).to_le_bytes(),
            );
            moved = Some(board.command(range(page.va), CtrlOp::Replay));
        }
    }
    let cycles = board.now - start;
    // What is still under way must not touch the old page either.
    for _ in 0..4 * ROUND_TRIP {
        board.clock();
    }

    let end = Completion(std::array::from_fn(|k| {
        board.host_word(job.0 + 8 * k as u64)
    }));
    let (words, result) = expected();
    assert_eq!(
        end.status(),
        JobStatus::Ok as u64,
        "{label}: info {:#x}",
        end.info()
    );
    assert_eq!(end.result(), result, "{label}");
    assert_eq!(board.monitor.violations, Vec::<String>::new(), "{label}");
    let dest = if page.va == DEST && offset.is_some() {
        DEST_MOVES.to
    } else {
        DEST_MOVES.from
    };
    let content = read_page(&board, dest);
    for (k, word) in words.iter().enumerate() {
        assert_eq!(
            content[8 * k..8 * k + 8],
            word.to_le_bytes(),
            "{label}: word {k}"
        );
    }
    if page.va != DEST {
        let entry = Pte([board.vram_word(entry_of(page.va))]);
        assert_eq!(entry.d(), 0, "{label}: a page that was only read is dirty");
    }
    let latency = match (board.monitor.rung, board.monitor.acknowledged) {
        (Some(rung), Some(acknowledged)) => acknowledged - rung,
        (None, None) if offset.is_none() => 0,
        seen => panic!("{label}: the doorbell or the acknowledgement was not seen: {seen:?}"),
    };
    assert!(
        latency <= BOUND,
        "{label}: acknowledged after {latency} cycles, the bound is {BOUND}"
    );
    Outcome { cycles, latency }
}

/// Takes the page away at every offset of the undisturbed job, and some beyond.
fn at_every_cycle(page: Move) {
    let undisturbed = run(page, None).cycles;
    let worst = (1..=undisturbed + 20)
        .map(|offset| run(page, Some(offset)).latency)
        .max();
    println!(
        "{page:x?}: {undisturbed} offsets, acknowledged within {worst:?} cycles (bound {BOUND})"
    );
}

#[test]
fn a_page_read_from_vram_is_taken_away_at_every_cycle() {
    at_every_cycle(SOURCE_MOVES);
}

#[test]
fn a_page_written_in_system_memory_is_taken_away_at_every_cycle() {
    at_every_cycle(DEST_MOVES);
}

#[test]
fn the_programs_own_page_is_taken_away_at_every_cycle() {
    at_every_cycle(CODE_MOVES);
}
