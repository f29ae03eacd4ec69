//! `copy_regs` against a model of the channels' registers.

mod queue;

use hmmu_regs::reg;
use hmmu_vsim::Block;
use queue::layout::{copy_ctl, copy_rec, copy_sta, ring_cfg};
use queue::{chance, rng};
use rand::Rng;

const CHANNELS: usize = 4;
const STRIDE: u64 = 64;

struct Bench {
    block: Block,
}

impl Bench {
    fn new() -> Self {
        let mut block = Block::new("copy_regs").expect("block");
        block.reset();
        Self { block }
    }

    fn write(&mut self, addr: u64, value: u64, strobes: u64) {
        for (port, value) in [
            ("reg_valid_i", 1),
            ("reg_write_i", 1),
            ("reg_addr_i", addr),
            ("reg_wdata_i", value),
            ("reg_wstrb_i", strobes),
        ] {
            self.block.set(port, value);
        }
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
        self.block.clock();
        self.block.set("reg_valid_i", 0);
    }

    fn ring(&mut self, channel: usize, field: queue::layout::Field) -> u64 {
        field
            .of(channel, ring_cfg::BITS)
            .get(&mut self.block, "ring_o")
    }

    fn control(&mut self, channel: usize, field: queue::layout::Field) -> u64 {
        field
            .of(channel, copy_ctl::BITS)
            .get(&mut self.block, "ctl_o")
    }

    /// Shows an error of a channel in the next cycle.
    fn error(&mut self, channel: usize, status: u64, addr: u64, index: u64) {
        let of = |field: queue::layout::Field| field.of(channel, copy_rec::BITS);
        of(copy_rec::STATUS).set(&mut self.block, "rec_i", status);
        of(copy_rec::ADDR).set(&mut self.block, "rec_i", addr);
        of(copy_rec::VALID).set(&mut self.block, "rec_i", 1);
        self.block
            .set_bits("cons_i", 32 * channel as u32, 32, index);
    }

    fn quiet(&mut self, channel: usize) {
        copy_rec::VALID
            .of(channel, copy_rec::BITS)
            .set(&mut self.block, "rec_i", 0);
    }
}

fn merge(old: u64, new: u64, strobes: u64) -> u64 {
    let mask = (0..8).fold(0, |mask, byte| {
        mask | if strobes >> byte & 1 == 1 {
            0xff << (8 * byte)
        } else {
            0
        }
    });
    old & !mask | new & mask
}

#[test]
fn rings_and_control_are_each_channel_s_own() {
    for seed in 0..6 {
        let mut bench = Bench::new();
        let mut rng = rng(seed);
        let mut base = [0u64; CHANNELS];
        let mut index = [0u64; CHANNELS];
        let mut size = [0u64; CHANNELS];
        let mut control = [0u64; CHANNELS];
        for _ in 0..400 {
            let channel = rng.random_range(0..CHANNELS);
            let (value, strobes): (u64, u64) = (rng.random(), rng.random_range(0..256));
            let word = [
                reg::COPY_BASE,
                reg::COPY_SIZE,
                reg::COPY_PROD,
                reg::COPY_CONS,
                reg::COPY_CONTROL,
            ];
            let word = word[rng.random_range(0..word.len())];
            bench.write(word + STRIDE * channel as u64, value, strobes);
            let reset = word == reg::COPY_SIZE && strobes & 1 == 1;
            let abort = word == reg::COPY_CONTROL && strobes & 1 == 1 && value & 2 != 0;
            match word {
                reg::COPY_BASE => base[channel] = merge(base[channel], value, strobes),
                reg::COPY_PROD => {
                    index[channel] = merge(index[channel], value, strobes) & 0xffff_ffff
                }
                _ if reset => (size[channel], index[channel]) = (value & 15, 0),
                reg::COPY_CONTROL if strobes & 1 == 1 => control[channel] = value & 0x35,
                _ => {}
            }
            for c in 0..CHANNELS {
                let is = [
                    ring_cfg::BASE,
                    ring_cfg::SIZE_LOG2,
                    ring_cfg::INDEX,
                    ring_cfg::RESET,
                ]
                .map(|field| bench.ring(c, field));
                let pulse = u64::from(reset && c == channel);
                assert_eq!(
                    is,
                    [base[c], size[c], index[c], pulse],
                    "seed {seed}, channel {c}"
                );
                let is = [
                    copy_ctl::SUSPEND,
                    copy_ctl::HALT,
                    copy_ctl::PRIO,
                    copy_ctl::CANCEL,
                ]
                .map(|field| bench.control(c, field));
                let must = [control[c] & 1, control[c] >> 2 & 1, control[c] >> 4];
                assert_eq!(is[..3], must, "seed {seed}, channel {c}");
                assert_eq!(
                    is[3],
                    u64::from(abort && c == channel),
                    "seed {seed}, channel {c}"
                );
            }
            let at = STRIDE * channel as u64;
            let is = [
                reg::COPY_BASE,
                reg::COPY_SIZE,
                reg::COPY_PROD,
                reg::COPY_CONTROL,
            ]
            .map(|word| bench.read(word + at));
            let must = [
                base[channel],
                size[channel],
                index[channel],
                control[channel],
            ];
            assert_eq!(is, must, "seed {seed}");
            assert_eq!(bench.ring(channel, ring_cfg::RESET), 0, "one cycle only");
            assert_eq!(
                bench.control(channel, copy_ctl::CANCEL),
                0,
                "one cycle only"
            );
        }
    }
}

#[test]
fn status_and_index_are_read_where_they_belong() {
    let mut bench = Bench::new();
    let mut rng = rng(1);
    let fields = [
        copy_sta::IDLE,
        copy_sta::STOPPED,
        copy_sta::QUIET,
        copy_sta::PARKS,
        copy_sta::POLLS,
    ];
    for _ in 0..100 {
        let bits: [[bool; 5]; CHANNELS] =
            std::array::from_fn(|_| std::array::from_fn(|_| chance(&mut rng, 50)));
        let index: [u32; CHANNELS] = rng.random();
        for c in 0..CHANNELS {
            for (field, bit) in fields.iter().zip(bits[c]) {
                let field = field.of(c, copy_sta::BITS);
                field.set(&mut bench.block, "sta_i", u64::from(bit));
            }
            bench
                .block
                .set_bits("cons_i", 32 * c as u32, 32, u64::from(index[c]));
        }
        for c in 0..CHANNELS {
            let at = STRIDE * c as u64;
            let must = (0..)
                .zip(bits[c])
                .fold(0, |all, (n, bit)| all | u64::from(bit) << n);
            assert_eq!(bench.read(reg::COPY_STATUS + at), must);
            assert_eq!(bench.read(reg::COPY_CONS + at), u64::from(index[c]));
        }
        assert_eq!(
            bench.block.get("idle_o"),
            u64::from(bits.iter().all(|b| b[0]))
        );
        assert_eq!(
            bench.block.get("stopped_o"),
            u64::from(bits.iter().any(|b| b[1]))
        );
    }
    for beyond in [
        reg::COPY_BASE + STRIDE * CHANNELS as u64,
        reg::COPY_BASE - 8,
        reg::CTRL_BASE,
    ] {
        assert_eq!(bench.read(beyond), 0);
    }
}

#[test]
fn the_first_error_stays_until_it_is_cleared() {
    for clear in [reg::COPY_ERROR, reg::COPY_SIZE] {
        let mut bench = Bench::new();
        let at = 2 * STRIDE;
        bench.error(2, 5, 0x80_1234_5678_9abc, 7);
        bench.clock();
        bench.error(2, 6, 0x1000, 8);
        bench.clock();
        bench.quiet(2);
        assert_eq!(bench.read(reg::COPY_ERROR + at), 7 << 32 | 1 << 8 | 5);
        assert_eq!(bench.read(reg::COPY_ERROR_ADDR + at), 0x80_1234_5678_9abc);
        assert_eq!(bench.read(reg::COPY_ERROR), 0, "of another channel");
        bench.write(clear + at, 4, 1);
        assert_eq!(bench.read(reg::COPY_ERROR + at), 0);
        assert_eq!(bench.read(reg::COPY_ERROR_ADDR + at), 0);
    }
    // One that comes while an older one is cleared is kept.
    let mut bench = Bench::new();
    bench.error(1, 5, 0x1000, 1);
    bench.clock();
    bench.error(1, 17, 0x2000, 2);
    bench.write(reg::COPY_ERROR + STRIDE, 0, 0xff);
    bench.quiet(1);
    assert_eq!(bench.read(reg::COPY_ERROR + STRIDE), 2 << 32 | 1 << 8 | 17);
    assert_eq!(bench.read(reg::COPY_ERROR_ADDR + STRIDE), 0x2000);
}
