//! A bare board: the verilated device, a root complex, and memories that the test reaches directly.

use std::collections::VecDeque;

use hmmu::rc::{
    Beat, BusError, CompleterConfig, HostPort, HostRequest, LinkSpec, RcConfig, ReadError,
    ReadFailure, RootComplex, Window,
};
use hmmu_regs::{CtrlEntry, CtrlOp, FORMAT_VERSION, LaunchEntry, reg};
use hmmu_rtl::{Config, In, Sim};

use super::monitor::{Monitor, Page};

/// One-way latency of the link, and latencies of the two memories, in cycles.
pub const LINK_LATENCY: u64 = 20;
pub const HOST_LATENCY: u64 = 12;
pub const VRAM_LATENCY: u64 = 15;

const HOST_BYTES: usize = 1 << 20;
const VRAM_BYTES: usize = 1 << 20;
const BAR0: u64 = 0xf000_0000;
const BAR2: u64 = 0x40_0000_0000;

const CTRL_RING: u64 = 0x1_0000;
const LAUNCH_RING: u64 = 0x1_1000;
pub const FAULT_RING: u64 = 0x1_2000;
/// Fences are 32 bytes apart from here.
const FENCES: u64 = 0x1_3000;
const RING_LOG2: u64 = 4;
const RING_ENTRIES: u64 = 1 << RING_LOG2;

/// System memory, and what the host wants of the device.
pub struct Host {
    pub ram: Vec<u8>,
    requests: VecDeque<HostRequest>,
}

impl HostPort for Host {
    fn next_request(&mut self) -> Option<HostRequest> {
        self.requests.pop_front()
    }

    fn read_done(&mut self, _id: u64, result: Result<Vec<u8>, ReadError>) {
        panic!("the board asks for no reads: {result:?}");
    }

    fn mem_read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), ReadFailure> {
        let at = addr as usize;
        buf.copy_from_slice(self.ram.get(at..at + buf.len()).ok_or(BusError(addr))?);
        Ok(())
    }

    fn mem_write(&mut self, addr: u64, data: &[u8]) -> Result<(), BusError> {
        let at = addr as usize;
        self.ram
            .get_mut(at..at + data.len())
            .ok_or(BusError(addr))?
            .copy_from_slice(data);
        Ok(())
    }

    fn interrupt(&mut self, _vector: u16) {}
}

pub struct Board {
    sim: Sim,
    complex: RootComplex,
    pub host: Host,
    pub vram: Vec<u8>,
    reads: VecDeque<(u64, u128, Page)>,
    pub monitor: Monitor,
    pub now: u64,
    ctrl: u64,
    launches: u64,
    fences: u64,
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
            vram_size: VRAM_BYTES as u64,
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
            },
            bar0: BAR0,
            bar2: BAR2,
            bdf: 0x100,
            seed: 1,
        });
        let mut board = Self {
            sim,
            complex,
            host: Host {
                ram: vec![0; HOST_BYTES],
                requests: VecDeque::new(),
            },
            vram: vec![0; VRAM_BYTES],
            reads: VecDeque::new(),
            monitor: Monitor::default(),
            now: 0,
            ctrl: 0,
            launches: 0,
            fences: 0,
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

    /// Gives a control command; where its fence comes, and its value.
    pub fn command(&mut self, entry: CtrlEntry, op: CtrlOp) -> (u64, u64) {
        let fence = self.fence();
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
        fence
    }

    /// Starts a job; where its completion comes, and its value.
    pub fn launch(&mut self, entry: LaunchEntry) -> (u64, u64) {
        let fence = self.fence();
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

    fn fence(&mut self) -> (u64, u64) {
        self.fences += 1;
        (FENCES + 32 * (self.fences % 64), self.fences)
    }

    /// Has this fence been written?
    pub fn reached(&self, fence: (u64, u64)) -> bool {
        self.host_word(fence.0) == fence.1
    }

    pub fn host_word(&self, at: u64) -> u64 {
        word(&self.host.ram, at)
    }

    pub fn vram_word(&self, at: u64) -> u64 {
        word(&self.vram, at)
    }

    pub fn host_write(&mut self, at: u64, data: &[u8]) {
        self.host.ram[at as usize..at as usize + data.len()].copy_from_slice(data);
    }

    pub fn vram_write(&mut self, at: u64, data: &[u8]) {
        self.vram[at as usize..at as usize + data.len()].copy_from_slice(data);
    }

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
        if let Some((.., page)) = data.filter(|_| out.vram_rsp_ready) {
            self.reads.pop_front();
            self.monitor.vram_answered(page);
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
    }

    fn vram_request(&mut self, addr: u64, write: bool, data: u128, strobes: u16) {
        let page = Page::Vram(addr >> 12);
        self.monitor.vram_asked(page, write, self.now);
        let at = addr as usize & !15;
        let beat = &mut self.vram[at..at + 16];
        if write {
            for (lane, byte) in data.to_le_bytes().into_iter().enumerate() {
                if strobes >> lane & 1 == 1 {
                    beat[lane] = byte;
                }
            }
        } else {
            let mut raw = [0; 16];
            raw.copy_from_slice(beat);
            self.reads
                .push_back((self.now + VRAM_LATENCY, u128::from_le_bytes(raw), page));
        }
    }
}

fn word(memory: &[u8], at: u64) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&memory[at as usize..at as usize + 8]);
    u64::from_le_bytes(raw)
}

fn split(value: u128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}

fn join(words: [u64; 2]) -> u128 {
    u128::from(words[0]) | u128::from(words[1]) << 64
}
