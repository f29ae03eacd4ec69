//! A bare board: the verilated device, a root complex, and memories that the test reaches directly.

use std::collections::{BTreeMap, VecDeque};

use hmmu::rc::{
    AtomicOp, Beat, BusError, CompleterConfig, HostPort, HostRequest, LinkSpec, RcConfig,
    ReadError, ReadFailure, RootComplex, Window,
};
use hmmu_regs::{
    CtrlEntry, CtrlOp, DirtyRecord, FORMAT_VERSION, FaultRecord, LaunchEntry, Pte, reg,
};
use hmmu_rtl::{Config, In, Sim};

use super::memory::Memory;
use super::monitor::Monitor;

/// One-way latency of the link, and latencies of the two memories, in cycles: short, since every cycle is tried.
pub const LINK_LATENCY: u64 = 8;
pub const HOST_LATENCY: u64 = 6;
pub const VRAM_LATENCY: u64 = 10;

/// Bytes of each of the two memories: room for some pages of 1 GiB.
const MEMORY: u64 = 1 << 34;
/// Bit of a physical address: VRAM.
pub const VRAM: u64 = 1 << 55;
pub const BAR0: u64 = 0xf000_0000;
const BAR2: u64 = 0x40_0000_0000;

const CTRL_RING: u64 = 0x1_0000;
const LAUNCH_RING: u64 = 0x1_1000;
const FAULT_RING: u64 = 0x1_2000;
const DIRTY_LOG: u64 = 0x1_4000;
/// Fences are 32 bytes apart from here.
const FENCES: u64 = 0x1_3000;
/// Completions of jobs are 32 bytes apart from here.
const COMPLETIONS: u64 = 0x1_3800;
const RING_LOG2: u64 = 4;
const RING_ENTRIES: u64 = 1 << RING_LOG2;

/// The dirty log is small, to be full at times.
const LOG_LOG2: u64 = 2;
const LOG_ENTRIES: u64 = 1 << LOG_LOG2;

/// System memory, and what the host wants of the device.
pub struct Host {
    pub ram: Memory,
    requests: VecDeque<HostRequest>,
    answers: BTreeMap<u64, u64>,
    /// D bits that were set by AtomicOps since the last clock: the entry's address.
    dirtied: Vec<u64>,
}

impl HostPort for Host {
    fn next_request(&mut self) -> Option<HostRequest> {
        self.requests.pop_front()
    }

    fn read_done(&mut self, id: u64, result: Result<Vec<u8>, ReadError>) {
        let data = result.expect("a register");
        let value = u64::from_le_bytes(data.try_into().expect("eight bytes"));
        self.answers.insert(id, value);
    }

    fn mem_read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), ReadFailure> {
        Ok(self.ram.read(addr, buf).ok_or(BusError(addr))?)
    }

    fn mem_write(&mut self, addr: u64, data: &[u8]) -> Result<(), BusError> {
        self.ram.write(addr, data).ok_or(BusError(addr))
    }

    fn mem_atomic(
        &mut self,
        op: AtomicOp,
        addr: u64,
        size: usize,
        [expected, new]: [u64; 2],
    ) -> Result<u64, ReadFailure> {
        assert_eq!(op, AtomicOp::Cas, "the device swaps and nothing else");
        let mut raw = [0; 8];
        self.mem_read(addr, &mut raw[..size])?;
        let old = u64::from_le_bytes(raw);
        if old == expected {
            self.mem_write(addr, &new.to_le_bytes()[..size])?;
            if size == 8 && sets_dirty(old, new) {
                self.dirtied.push(addr);
            }
        }
        Ok(old)
    }

    fn interrupt(&mut self, _vector: u16) {}
}

/// A control command: its number, as the monitor counts them, and its fence.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    pub number: usize,
    fence: Fence,
}

/// Where a fence comes, and its value.
pub type Fence = (u64, u64);

pub struct Board {
    sim: Sim,
    complex: RootComplex,
    pub host: Host,
    pub vram: Memory,
    /// Reads of VRAM under way: when the answer comes, the data, and the address.
    reads: VecDeque<(u64, u128, u64)>,
    pub monitor: Monitor,
    pub now: u64,
    ctrl: u64,
    launches: u64,
    fences: u64,
    /// Fault records and dirty-log records taken.
    records: u64,
    fault_log2: u64,
    logged: u64,
}

impl Board {
    /// A board whose device has its rings set up and runs.
    pub fn new() -> Self {
        let sim = Sim::new(&Config {
            bdf: 0x100,
            mps: 1,
            mrrs: 2,
            rcb128: false,
            bar0: BAR0,
            bar2: BAR2,
            vram_size: MEMORY,
        })
        .expect("reset");
        let complex = RootComplex::new(&RcConfig {
            link: LinkSpec {
                generation: 3,
                lanes: 8,
            },
            clock_hz: 250_000_000,
            link_latency: LINK_LATENCY,
            completer: CompleterConfig {
                latency: HOST_LATENCY,
                jitter: 0,
                rcb: 64,
                mps: 256,
                ..CompleterConfig::default()
            },
            bar0: BAR0,
            bar2: BAR2,
            bdf: 0x100,
            seed: 1,
            ..RcConfig::default()
        });
        let mut board = Self {
            sim,
            complex,
            host: Host {
                ram: Memory::new(MEMORY),
                requests: VecDeque::new(),
                answers: BTreeMap::new(),
                dirtied: Vec::new(),
            },
            vram: Memory::new(MEMORY),
            reads: VecDeque::new(),
            monitor: Monitor::default(),
            now: 0,
            ctrl: 0,
            launches: 0,
            fences: 0,
            records: 0,
            fault_log2: RING_LOG2,
            logged: 0,
        };
        for (register, base) in [
            (reg::CTRL_BASE, CTRL_RING),
            (reg::LAUNCH_BASE, LAUNCH_RING),
            (reg::FAULT_BASE, FAULT_RING),
        ] {
            board.register(register, base);
            board.register(register + 8, RING_LOG2);
        }
        board.register(reg::CONTROL, 1);
        board
    }

    /// Posts a register write.
    pub fn register(&mut self, offset: u64, value: u64) {
        let data = value.to_le_bytes().to_vec();
        self.host.requests.push_back(HostRequest::Write {
            window: Window::Registers,
            offset,
            data,
        });
    }

    /// Posts a write to VRAM through BAR2.
    pub fn aperture(&mut self, offset: u64, data: &[u8]) {
        self.host.requests.push_back(HostRequest::Write {
            window: Window::Vram,
            offset,
            data: data.to_vec(),
        });
    }

    /// Reads registers; time passes.
    pub fn read_registers(&mut self, offsets: &[u64]) -> Vec<u64> {
        for &offset in offsets {
            self.host.requests.push_back(HostRequest::Read {
                id: offset,
                window: Window::Registers,
                offset,
                len: 8,
            });
        }
        while self.host.answers.len() < offsets.len() {
            self.clock();
        }
        let answers = std::mem::take(&mut self.host.answers);
        offsets.iter().map(|offset| answers[offset]).collect()
    }

    /// Hardware warps of all units.
    pub fn warps(&mut self) -> u64 {
        let caps = self.read_registers(&[reg::CAPS])[0].to_le_bytes();
        u64::from(caps[0]) * u64::from(caps[1])
    }

    /// Gives a control command; waits while the ring has no room.
    pub fn command(&mut self, entry: CtrlEntry, op: CtrlOp) -> Command {
        while self.monitor.pending() >= RING_ENTRIES as usize {
            self.clock();
        }
        let fence = self.fence();
        let number = self.monitor.issued(op, fence.0);
        let entry = entry
            .with_version(FORMAT_VERSION)
            .with_op(op as u64)
            .with_fence_addr(fence.0)
            .with_fence_value(fence.1);
        self.host_write(
            CTRL_RING + 64 * (self.ctrl % RING_ENTRIES),
            &entry.to_bytes(),
        );
        self.ctrl += 1;
        self.register(reg::CTRL_PROD, self.ctrl);
        Command { number, fence }
    }

    /// Has the host seen the fence of a command?
    pub fn ended(&self, command: Command) -> bool {
        self.reached(command.fence)
    }

    /// Gives a command and waits for its fence.
    pub fn wait_for(&mut self, entry: CtrlEntry, op: CtrlOp) -> Command {
        let command = self.command(entry, op);
        while !self.ended(command) {
            self.clock();
        }
        command
    }

    /// Starts a job; where its completion comes, and its value.
    pub fn launch(&mut self, entry: LaunchEntry) -> Fence {
        let fence = (
            COMPLETIONS + 32 * (self.launches % RING_ENTRIES),
            1 + self.launches,
        );
        let entry = entry
            .with_version(FORMAT_VERSION)
            .with_fence_addr(fence.0)
            .with_fence_value(fence.1);
        self.host_write(
            LAUNCH_RING + 64 * (self.launches % RING_ENTRIES),
            &entry.to_bytes(),
        );
        self.launches += 1;
        self.register(reg::LAUNCH_PROD, self.launches);
        fence
    }

    fn fence(&mut self) -> Fence {
        self.fences += 1;
        (FENCES + 32 * (self.fences % 64), self.fences)
    }

    /// Has this fence been written?
    pub fn reached(&self, fence: Fence) -> bool {
        self.host_word(fence.0) == fence.1
    }

    pub fn host_word(&self, at: u64) -> u64 {
        self.host.ram.word(at)
    }

    fn host_write(&mut self, at: u64, data: &[u8]) {
        self.host.ram.write(at, data).expect("in memory");
    }

    // ---------------------------------------------------------------- physical memory

    /// Reads either memory, as it is now.
    pub fn read(&self, at: u64, buf: &mut [u8]) {
        let memory = if at & VRAM == 0 {
            &self.host.ram
        } else {
            &self.vram
        };
        memory.read(at & !VRAM, buf).expect("in memory");
    }

    /// A word of either memory, as it is now.
    pub fn word(&self, at: u64) -> u64 {
        let mut raw = [0; 8];
        self.read(at, &mut raw);
        u64::from_le_bytes(raw)
    }

    fn memory(&mut self, at: u64) -> &mut Memory {
        if at & VRAM == 0 {
            &mut self.host.ram
        } else {
            &mut self.vram
        }
    }

    /// Changes either memory at once, behind the device's back.
    pub fn write(&mut self, at: u64, data: &[u8]) {
        self.memory(at).write(at & !VRAM, data).expect("in memory");
    }

    /// Writes as a driver does: into system memory, or through the aperture.
    pub fn put(&mut self, at: u64, data: &[u8]) {
        if at & VRAM == 0 {
            self.host_write(at, data);
        } else {
            self.aperture(at & !VRAM, data);
        }
    }

    /// Moves the content of `len` bytes, and leaves rubbish in the old place.
    pub fn relocate(&mut self, from: u64, to: u64, len: u64) {
        let (flag, first) = (from & VRAM, from & !VRAM);
        for at in self.memory(from).written(first..first + len) {
            let mut page = [0; 4096];
            self.read(flag | at, &mut page);
            self.write(to + (at - first), &page);
            self.write(flag | at, &[0xa5; 4096]);
        }
    }

    // ---------------------------------------------------------------- rings of the device

    /// Gives the fault ring another size. No fault may have come yet.
    pub fn resize_faults(&mut self, log2: u64) {
        self.fault_log2 = log2;
        self.register(reg::FAULT_SIZE, log2);
    }

    /// Takes the next fault record, if it is there, by its phase.
    pub fn take_fault(&mut self) -> Option<FaultRecord> {
        let entries = 1 << self.fault_log2;
        let at = FAULT_RING + 32 * (self.records % entries);
        let record = FaultRecord(std::array::from_fn(|k| self.host_word(at + 8 * k as u64)));
        let phase = 1 - (self.records / entries & 1);
        if record.version() != FORMAT_VERSION || record.phase() != phase {
            return None;
        }
        self.records += 1;
        self.register(reg::FAULT_CONS, self.records);
        Some(record)
    }

    /// Sets up the dirty log.
    pub fn start_log(&mut self) {
        self.register(reg::DIRTY_BASE, DIRTY_LOG);
        self.register(reg::DIRTY_SIZE, LOG_LOG2);
    }

    /// Takes the next record of the dirty log, if it is there, by its phase.
    pub fn take_dirty(&mut self) -> Option<DirtyRecord> {
        let at = DIRTY_LOG + 16 * (self.logged % LOG_ENTRIES);
        let record = DirtyRecord(std::array::from_fn(|k| self.host_word(at + 8 * k as u64)));
        let phase = 1 - (self.logged / LOG_ENTRIES & 1);
        if record.version() != FORMAT_VERSION || record.phase() != phase {
            return None;
        }
        self.logged += 1;
        self.register(reg::DIRTY_CONS, self.logged);
        Some(record)
    }

    // ---------------------------------------------------------------- time

    /// One clock, watched by the monitor at the device's ports.
    pub fn clock(&mut self) {
        let offer = self.complex.offer();
        let beat = offer.unwrap_or_default();
        let data = self
            .reads
            .front()
            .filter(|(at, ..)| *at <= self.now)
            .copied();
        let input = In {
            rx_valid: offer.is_some(),
            rx_sop: beat.sop,
            rx_eop: beat.eop,
            rx_hdr: split(beat.header),
            rx_data: split(beat.data),
            tx_ready: self.complex.ready(),
            vram_req_ready: true,
            vram_rsp_valid: data.is_some(),
            vram_rsp_rdata: split(data.map_or(0, |(_, data, _)| data)),
            ..In::default()
        };
        let out = self
            .sim
            .tick(&input)
            .unwrap_or_else(|error| panic!("{error}"));
        self.now += 1;
        let sent = (out.tx_valid && input.tx_ready).then(|| Beat {
            sop: out.tx_sop,
            eop: out.tx_eop,
            header: join(out.tx_hdr),
            data: join(out.tx_data),
        });
        if input.rx_valid && out.rx_ready && beat.sop {
            self.monitor.received(beat.header, self.now);
        }
        if let Some(beat) = sent.filter(|beat| beat.sop) {
            self.monitor.sent(beat.header, self.now);
        }
        if let Some((.., addr)) = data.filter(|_| out.vram_rsp_ready) {
            self.reads.pop_front();
            self.monitor.vram_answered(addr);
        }
        if out.vram_req_valid {
            self.vram_request(
                out.vram_req_addr,
                out.vram_req_write,
                join(out.vram_req_wdata),
                out.vram_req_wstrb,
            );
        }
        self.complex.clock(
            input.rx_valid && out.rx_ready,
            sent.as_ref(),
            &mut self.host,
        );
        for entry in std::mem::take(&mut self.host.dirtied) {
            if self.monitor.is_table(entry) {
                self.monitor.set_dirty(entry, self.now);
            }
        }
    }

    fn vram_request(&mut self, addr: u64, write: bool, data: u128, strobes: u16) {
        let at = addr & !15;
        self.monitor.vram_asked(VRAM | at, write, self.now);
        let mut raw = [0; 16];
        self.vram.read(at, &mut raw).expect("in memory");
        let old = u128::from_le_bytes(raw);
        if !write {
            self.reads
                .push_back((self.now + VRAM_LATENCY, old, VRAM | at));
            return;
        }
        for (lane, byte) in data.to_le_bytes().into_iter().enumerate() {
            if strobes >> lane & 1 == 1 {
                raw[lane] = byte;
            }
        }
        self.vram.write(at, &raw).expect("in memory");
        if self.monitor.is_table(VRAM | at) {
            let words = [old, u128::from_le_bytes(raw)].map(split);
            for (k, (old, new)) in words[0].into_iter().zip(words[1]).enumerate() {
                if sets_dirty(old, new) {
                    self.monitor.set_dirty(VRAM | (at + 8 * k as u64), self.now);
                }
            }
        }
    }
}

/// Does a change of an entry set its D bit, and nothing but A and D?
fn sets_dirty(old: u64, new: u64) -> bool {
    Pte([old]).d() == 0 && Pte([old]).with_a(1).with_d(1) == Pte([new])
}

fn split(value: u128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}

fn join(words: [u64; 2]) -> u128 {
    u128::from(words[0]) | u128::from(words[1]) << 64
}
