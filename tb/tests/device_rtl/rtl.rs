//! The verilated device under test, behind a short link.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use hmmu::machine::{Backend, MachineConfig, PcieConfig, RtlDevice};
use hmmu::rc::{AtomicOp, BusError, HostPort, HostRequest, ReadError, ReadFailure, Window};
use hmmu_model::{DeviceConfig, LinkError, VramAddr};
use hmmu_regs::reg;

use crate::dut::{Dut, Message};
use crate::link_sizes::LinkSizes;
use crate::ram::SharedRam;
use crate::rig::MSI_ADDR;

/// Longest wait for an answer of the device, in cycles: on the slowest link one waits behind all writes that are under
/// way, which takes more than 20 000.
const PATIENCE: u64 = 400_000;

thread_local! {
    /// Sizes of the links of this test's devices, if they are not to be the default ones.
    static SIZES: Cell<Option<LinkSizes>> = const { Cell::new(None) };
}

/// Runs tests on links of these sizes.
pub fn with_sizes(sizes: LinkSizes, body: impl FnOnce()) {
    SIZES.set(Some(sizes));
    body();
    SIZES.set(None);
}

/// The device that the rig drives.
pub fn make(config: DeviceConfig, ram: &SharedRam) -> Box<dyn Dut> {
    // Latencies of the functional device are in cycles; a cycle is 4 ns.
    let config = MachineConfig {
        vram: config.vram_bytes,
        link_latency_ns: config.latency.link,
        memory_latency_ns: config.latency.link,
        vram_latency: config.latency.vram,
        seed: config.latency.seed,
        pcie: SIZES.get().map_or_else(PcieConfig::default, |s| s.pcie()),
        ..MachineConfig::new(Backend::Rtl, 0)
    };
    on_link(&config, ram, None)
}

/// The device of a machine. With somebody who watches, writes of the host are posted: they do not wait for an answer.
pub fn on_link(
    config: &MachineConfig,
    ram: &SharedRam,
    watch: Option<Rc<RefCell<dyn Watch>>>,
) -> Box<dyn Dut> {
    Box::new(Verilated {
        device: RtlDevice::new(config, 0).expect("reset"),
        host: Host {
            ram: ram.clone(),
            requests: VecDeque::new(),
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            messages: VecDeque::new(),
            watch,
        },
        time: 0,
        reads: 0,
    })
}

/// Sees what arrives at the host, TLP by TLP.
pub trait Watch {
    /// A write of the device is in memory.
    fn wrote(&mut self, addr: u64, len: usize);
    /// An interrupt message has come.
    fn raised(&mut self, vector: u16);
    /// A register has been read.
    fn answered(&mut self, offset: u64, value: u64);
}

struct Verilated {
    device: RtlDevice,
    host: Host,
    time: u64,
    reads: u64,
}

struct Host {
    ram: SharedRam,
    requests: VecDeque<HostRequest>,
    /// Registers that are being read, by the number of the read.
    asked: BTreeMap<u64, u64>,
    answers: BTreeMap<u64, Result<Vec<u8>, ReadError>>,
    messages: VecDeque<Message>,
    watch: Option<Rc<RefCell<dyn Watch>>>,
}

impl Verilated {
    fn read(&mut self, window: Window, offset: u64, len: usize) -> Vec<u8> {
        self.reads += 1;
        let id = self.reads;
        if window == Window::Registers {
            self.host.asked.insert(id, offset);
        }
        self.host.requests.push_back(HostRequest::Read {
            id,
            window,
            offset,
            len,
        });
        for _ in 0..PATIENCE {
            self.tick(1);
            if let Some(answer) = self.host.answers.remove(&id) {
                return answer.expect("an answer with data");
            }
        }
        panic!("no answer to a read of {window:?} {offset:#x} within {PATIENCE} cycles");
    }

    /// A posted write, followed by a read that shows that it has arrived if nobody watches.
    fn write(&mut self, window: Window, offset: u64, data: &[u8]) {
        self.host.requests.push_back(HostRequest::Write {
            window,
            offset,
            data: data.to_vec(),
        });
        if self.host.watch.is_none() {
            self.read(Window::Registers, reg::ID, 4);
        }
    }
}

impl Dut for Verilated {
    fn time(&self) -> u64 {
        self.time
    }

    fn tick(&mut self, cycles: u64) {
        for _ in 0..cycles {
            self.device.clock(&mut self.host).expect("no assertion");
        }
        self.time += cycles;
    }

    fn read_register(&mut self, offset: u64) -> u64 {
        let data = self.read(Window::Registers, offset, 8);
        u64::from_le_bytes(data.try_into().expect("eight bytes"))
    }

    fn write_register_bytes(&mut self, offset: u64, value: u64, strobe: u8) {
        let first = strobe.trailing_zeros() as usize;
        let count = strobe.count_ones() as usize;
        let bytes = &value.to_le_bytes()[first..first + count];
        self.write(Window::Registers, offset + first as u64, bytes);
    }

    fn vram_read(&mut self, addr: VramAddr, buf: &mut [u8]) {
        let data = self.read(Window::Vram, addr.0, buf.len());
        buf.copy_from_slice(&data);
    }

    fn vram_write(&mut self, addr: VramAddr, data: &[u8]) {
        self.write(Window::Vram, addr.0, data);
    }

    fn take_message(&mut self) -> Option<Message> {
        self.host.messages.pop_front()
    }
}

fn failure(error: LinkError) -> ReadFailure {
    match error {
        LinkError::Timeout => ReadFailure::Lost,
        LinkError::Unsupported => ReadFailure::Unsupported,
        LinkError::Abort => ReadFailure::Abort,
        LinkError::Poisoned => ReadFailure::Poisoned,
    }
}

impl HostPort for Host {
    fn next_request(&mut self) -> Option<HostRequest> {
        self.requests.pop_front()
    }

    fn read_done(&mut self, id: u64, result: Result<Vec<u8>, ReadError>) {
        let offset = self.asked.remove(&id);
        if let (Some(watch), Some(offset), Ok(data)) = (&self.watch, offset, &result) {
            let value = data.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b));
            watch.borrow_mut().answered(offset, value);
        }
        self.answers.insert(id, result);
    }

    fn mem_read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), ReadFailure> {
        self.ram.bus_read(addr, buf).map_err(failure)
    }

    fn mem_write(&mut self, addr: u64, data: &[u8]) -> Result<(), BusError> {
        self.ram.bus_write(addr, data);
        if let Some(watch) = &self.watch {
            watch.borrow_mut().wrote(addr, data.len());
        }
        Ok(())
    }

    fn interrupt(&mut self, vector: u16) {
        if let Some(watch) = &self.watch {
            watch.borrow_mut().raised(vector);
        }
        // The root complex keeps the message's data alone.
        self.messages.push_back((MSI_ADDR, u32::from(vector)));
    }

    fn mem_atomic(
        &mut self,
        op: AtomicOp,
        addr: u64,
        size: usize,
        [expected, new]: [u64; 2],
    ) -> Result<u64, ReadFailure> {
        assert_eq!(op, AtomicOp::Cas, "the device swaps and nothing else");
        self.ram.bus_cas(addr, size, expected, new).map_err(failure)
    }
}
