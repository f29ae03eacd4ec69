//! `dev_regs` against a model of the registers.

mod queue;

use hmmu_regs::reg;
use hmmu_vsim::Block;
use queue::layout::ring_cfg;
use queue::{TestRng, chance, rng};
use rand::Rng;

const COUNTERS: u64 = 37;
const INC_BITS: u32 = 13;
const INVALIDATE_CYCLES: u64 = 18;
const INVALIDATE_WORST: u64 = 19;
const RINGS: [(&str, u64); 4] = [
    ("ctrl_ring_o", reg::CTRL_BASE),
    ("launch_ring_o", reg::LAUNCH_BASE),
    ("fault_ring_o", reg::FAULT_BASE),
    ("dirty_ring_o", reg::DIRTY_BASE),
];
/// Of these the device is the producer: from here on.
const FROM_DEVICE: usize = 2;

struct Bench {
    block: Block,
}

impl Bench {
    fn new() -> Self {
        Self::of("dev_regs")
    }

    fn of(name: &str) -> Self {
        let mut block = Block::new(name).expect("block");
        block.reset();
        Self { block }
    }

    fn write(&mut self, addr: u64, value: u64, strobes: u64) {
        self.block.set("reg_valid_i", 1);
        self.block.set("reg_write_i", 1);
        self.block.set("reg_addr_i", addr);
        self.block.set("reg_wdata_i", value);
        self.block.set("reg_wstrb_i", strobes);
        self.clock();
    }

    fn read(&mut self, addr: u64) -> u64 {
        self.block.set("reg_valid_i", 1);
        self.block.set("reg_write_i", 0);
        self.block.set("reg_addr_i", addr);
        self.clock();
        self.block.get("reg_rdata_o")
    }

    fn clock(&mut self) {
        self.block.eval();
        assert_eq!(self.block.get("reg_ready_o"), 1);
        self.block.clock();
        self.block.set("reg_valid_i", 0);
    }
}

/// Bytes that strobes name.
fn merge(old: u64, new: u64, strobes: u64) -> u64 {
    (0..8).fold(old, |word, byte| {
        let mask = 0xff << (8 * byte);
        if strobes >> byte & 1 == 1 {
            word & !mask | new & mask
        } else {
            word
        }
    })
}

/// Strobes of a 4- or 8-byte access, or of any bytes.
fn strobes(rng: &mut TestRng) -> u64 {
    [0x0f, 0xf0, 0xff, rng.random_range(0..256)][rng.random_range(0..4)]
}

#[test]
fn identity_and_status_show_what_the_device_is_and_does() {
    let mut bench = Bench::new();
    assert_eq!(bench.read(reg::ID), hmmu_regs::ID);
    // 2 units, 16 warps, 16 contexts, 16 walkers, 64 faults, 1 channel, 2^8 sets, 4 job slots.
    assert_eq!(bench.read(reg::CAPS), 0x0408_0140_1010_1002);
    bench.block.set("vram_size_i", 16 << 20);
    assert_eq!(bench.read(reg::VRAM_SIZE), 16 << 20);
    assert_eq!(bench.read(reg::CPL_TIMEOUT), 50_000);
    let bits = [
        ("ctrl_idle_i", 0),
        ("copy_idle_i", 1),
        ("launch_idle_i", 2),
        ("fault_full_i", 3),
        ("dirty_full_i", 4),
        ("ctrl_stopped_i", 8),
        ("copy_stopped_i", 9),
        ("launch_stopped_i", 10),
    ];
    for (port, bit) in bits {
        bench.block.set(port, 1);
        assert_eq!(bench.read(reg::STATUS), 1 << bit, "{port}");
        bench.block.set(port, 0);
    }
    for warp in 0..32 {
        let value = 0x0123_4567_89ab_cdef_u64.rotate_left(8 * warp) ^ u64::from(warp);
        bench.block.set("warp_state_i", value);
        assert_eq!(bench.read(reg::WARP_STATE + 8 * u64::from(warp)), value);
        assert_eq!(bench.block.get("warp_sel_o"), u64::from(warp));
    }
    for slot in 0..4 {
        let value = 0xfedc_ba98_7654_3210_u64.rotate_left(8 * slot);
        bench.block.set_bits("job_state_i", 64 * slot, 64, value);
    }
    for slot in 0..4 {
        let value = 0xfedc_ba98_7654_3210_u64.rotate_left(8 * slot);
        assert_eq!(bench.read(reg::JOB_STATE + 8 * u64::from(slot)), value);
    }
    let first = bench.read(reg::TIME);
    assert_eq!(bench.read(reg::TIME), first + 1, "one a cycle");
    assert_eq!(bench.block.get("time_o"), first + 2);
}

#[test]
fn random_writes_change_only_their_bytes_of_their_register() {
    for seed in 0..8 {
        let mut bench = Bench::new();
        let mut rng = rng(seed);
        // Enable, timeout, then base, size and index of each ring.
        let (mut enable, mut timeout) = (0, 50_000);
        let mut rings = [(0u64, 0u64, 0u64); RINGS.len()];
        for _ in 0..600 {
            let (value, strb) = (rng.random::<u64>(), strobes(&mut rng));
            let ring = rng.random_range(0..RINGS.len());
            let base = RINGS[ring].1;
            let (_, index_at, other_at) = if ring >= FROM_DEVICE {
                (0, 0x18, 0x10)
            } else {
                (0, 0x10, 0x18)
            };
            let mut reset = false;
            match rng.random_range(0..8) {
                0 => {
                    bench.write(reg::CONTROL, value, strb);
                    enable = merge(enable, value, strb) & 1;
                }
                1 => {
                    bench.write(reg::CPL_TIMEOUT, value, strb);
                    timeout = merge(timeout, value, strb) & 0xffff_ffff;
                }
                2 => {
                    bench.write(base, value, strb);
                    rings[ring].0 = merge(rings[ring].0, value, strb);
                }
                3 => {
                    bench.write(base + 8, value, strb);
                    if strb & 1 == 1 {
                        rings[ring].1 = value & 15;
                        rings[ring].2 = 0;
                        reset = true;
                    }
                }
                4 => {
                    bench.write(base + index_at, value, strb);
                    rings[ring].2 = merge(rings[ring].2, value, strb) & 0xffff_ffff;
                }
                5 => bench.write(base + other_at, value, strb),
                // Nothing is here, or it is read-only.
                6 => bench.write([0x0c0, 0x140][ring % 2] + (value & 0x38), value, strb),
                _ => bench.write(
                    [reg::ID, reg::CAPS, reg::TIME, reg::STATUS][ring % 4],
                    value,
                    strb,
                ),
            }
            // Before any read: the pulse lasts one cycle.
            let outputs = RINGS.map(|(port, _)| {
                [
                    ring_cfg::BASE,
                    ring_cfg::SIZE_LOG2,
                    ring_cfg::INDEX,
                    ring_cfg::RESET,
                ]
                .map(|field| field.get(&mut bench.block, port))
            });
            for (at, (port, offset)) in RINGS.iter().enumerate() {
                let (base, size, index) = rings[at];
                let pulse = u64::from(reset && at == ring);
                assert_eq!(
                    outputs[at],
                    [base, size, index, pulse],
                    "seed {seed}, {port}"
                );
                let index_at = if at >= FROM_DEVICE { 0x18 } else { 0x10 };
                let read = [0, 8, index_at].map(|word| bench.read(offset + word));
                assert_eq!(read, [base, size, index], "seed {seed}, {port}");
            }
            assert_eq!(bench.block.get("enable_o"), enable, "seed {seed}");
            assert_eq!(bench.block.get("cpl_timeout_o"), timeout, "seed {seed}");
        }
    }
}

#[test]
fn the_device_s_indices_are_read_where_they_belong() {
    let mut bench = Bench::new();
    let places = [
        ("ctrl_cons_i", reg::CTRL_CONS),
        ("launch_cons_i", reg::LAUNCH_CONS),
        ("fault_prod_i", reg::FAULT_PROD),
        ("dirty_prod_i", reg::DIRTY_PROD),
        ("dirty_next_i", reg::DIRTY_NEXT),
    ];
    for (number, (port, _)) in (0xffff_0001_u64..).zip(places) {
        bench.block.set(port, number);
    }
    for (number, (port, addr)) in (0xffff_0001_u64..).zip(places) {
        assert_eq!(bench.read(addr), number, "{port}");
    }
}

/// What the counters should show.
struct Counts {
    counts: [u64; COUNTERS as usize],
    /// Counters whose increments have all their bits.
    wide: fn(u64) -> bool,
}

impl Counts {
    fn new(wide: fn(u64) -> bool) -> Self {
        let counts = [0; COUNTERS as usize];
        Self { counts, wide }
    }

    /// Increments of a cycle, at the ports and in the counts.
    fn step(&mut self, bench: &mut Bench, rng: &mut TestRng) {
        let done = u64::from(chance(rng, 30));
        let cycles = rng.random_range(0..100_000);
        bench.block.set("inv_done_i", done);
        bench.block.set("inv_cycles_i", cycles);
        for (n, count) in (0..COUNTERS).zip(&mut self.counts) {
            let most = if (self.wide)(n) { 1 << INC_BITS } else { 16 };
            let inc = match chance(rng, 40) {
                true => rng.random_range(0..most),
                false => 0,
            };
            let at = n as u32 * INC_BITS;
            bench.block.set_bits("inc_i", at, INC_BITS, inc);
            match n {
                INVALIDATE_CYCLES => *count += done * cycles,
                INVALIDATE_WORST => *count = (*count).max(done * cycles),
                _ => *count += inc,
            }
        }
    }
}

#[test]
fn counters_add_and_a_snapshot_is_of_one_cycle() {
    for seed in 0..6 {
        let mut bench = Bench::new();
        let mut rng = rng(seed);
        let mut counts = Counts::new(|_| true);
        let mut shadow = counts.counts;
        for _ in 0..300 {
            let before = counts.counts;
            counts.step(&mut bench, &mut rng);
            if chance(&mut rng, 10) {
                shadow = before;
                bench.write(reg::SNAPSHOT, 0, 0x0f);
            } else {
                bench.clock();
            }
        }
        // Time goes on while they are read, the shadows do not.
        for (n, &value) in (0..).zip(&shadow) {
            assert_eq!(
                bench.read(reg::COUNTER + 8 * n),
                value,
                "seed {seed}, counter {n}"
            );
        }
        assert_eq!(
            bench.read(reg::COUNTER + 8 * 63),
            0,
            "there is no counter 63"
        );
    }
}

/// The form for an FPGA: a snapshot waits, and so do the counters behind it; what it shows is of one cycle.
#[test]
fn compact_counters_show_the_same() {
    const MOST_WAIT: u32 = 40;
    for seed in 0..12 {
        let mut bench = Bench::of("dev_regs_compact");
        let mut rng = rng(seed);
        // Copied bytes, bytes on the link.
        let mut counts = Counts::new(|n| matches!(n, 26..=28));
        let mut shadow = counts.counts;
        // An access in the cycle that its inputs stand for; gives what it waited for.
        let mut access = |bench: &mut Bench, counts: &mut Counts, write: bool, addr: u64| {
            for _ in 0..=MOST_WAIT {
                let before = counts.counts;
                counts.step(bench, &mut rng);
                bench.block.set("reg_valid_i", 1);
                bench.block.set("reg_write_i", write.into());
                bench.block.set("reg_addr_i", addr);
                bench.block.set("reg_wstrb_i", 0x0f);
                bench.block.eval();
                let ready = bench.block.get("reg_ready_o") == 1;
                bench.block.clock();
                bench.block.set("reg_valid_i", 0);
                if ready {
                    let wait = rng.random_range(0..100);
                    for _ in 0..wait * u32::from(chance(&mut rng, 30)) {
                        counts.step(bench, &mut rng);
                        bench.block.clock();
                    }
                    return (before, bench.block.get("reg_rdata_o"));
                }
            }
            panic!("seed {seed}: an access to {addr:x} waits for more than {MOST_WAIT} cycles");
        };
        for _ in 0..30 {
            for n in (0..COUNTERS).chain([63]) {
                let (_, value) = access(&mut bench, &mut counts, false, reg::COUNTER + 8 * n);
                let expected = shadow.get(n as usize).copied().unwrap_or_default();
                assert_eq!(value, expected, "seed {seed}, counter {n}");
                // Other registers wait for nothing, and are not mixed up with counters.
                let (_, id) = access(&mut bench, &mut counts, false, reg::ID);
                assert_eq!(id, hmmu_regs::ID, "seed {seed}");
            }
            for _ in 0..1 + seed % 2 {
                shadow = access(&mut bench, &mut counts, true, reg::SNAPSHOT).0;
            }
        }
    }
}

#[test]
fn the_first_error_stays_until_it_is_cleared() {
    let mut bench = Bench::new();
    let report = |bench: &mut Bench, unit: u32, code: u64, addr: u64| {
        bench.block.set_bits("err_valid_i", unit, 1, 1);
        bench.block.set_bits("err_code_i", 8 * unit, 8, code);
        bench
            .block
            .set_bits("err_unit_i", 4 * unit, 4, u64::from(unit) + 2);
        bench.block.set_bits("err_addr_i", 56 * unit, 56, addr);
    };
    let addr = 0x80_1234_5678_9abc;
    report(&mut bench, 2, 6, addr);
    report(&mut bench, 1, 3, addr + 0x10000);
    bench.clock();
    bench.block.set("err_valid_i", 0);
    assert_eq!(bench.block.get("irq_error_o"), 1);
    // Of two in one cycle the lower number wins.
    let first = (addr + 0x10000) >> 16 << 16 | 3 << 8 | 3;
    assert_eq!(bench.read(reg::ERROR_INFO), first);
    assert_eq!(bench.block.get("irq_error_o"), 0, "a pulse");
    report(&mut bench, 0, 1, 0);
    bench.clock();
    bench.block.set("err_valid_i", 0);
    assert_eq!(bench.block.get("irq_error_o"), 0, "no news");
    assert_eq!(bench.read(reg::ERROR_INFO), first);
    bench.write(reg::ERROR_INFO, 0, 0xf0);
    assert_eq!(bench.read(reg::ERROR_INFO), 0);
    // An error in the cycle of the clearing write is not lost.
    report(&mut bench, 3, 7, addr);
    bench.clock();
    bench.write(reg::ERROR_INFO, 1, 0x0f);
    assert_eq!(bench.block.get("irq_error_o"), 1);
    bench.block.set("err_valid_i", 0);
    assert_eq!(bench.read(reg::ERROR_INFO), addr >> 16 << 16 | 5 << 8 | 7);
}
