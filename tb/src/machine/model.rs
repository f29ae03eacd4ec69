//! The functional model as a device of the machine.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hmmu_model::{BusAddr, DeviceConfig, HostMemory, Latency, LinkError, VramAddr};
use hmmu_regs::Counter;

use super::config::MachineConfig;
use super::device::{Device, DeviceFailure, HostMark};
use super::host::HostSide;
use super::memory::SystemMemory;
use crate::rc::{HostPort, HostRequest, LinkBytes, ReadError, ReadFailure, ReadFault, Window};
use crate::wave::Recording;

/// Up to this many cycles are drawn for each step of the device.
const JITTER: u64 = 6;

/// The functional model, with the host's requests on their way to it.
pub struct ModelDevice {
    device: hmmu_model::Device,
    config: DeviceConfig,
    memory: Arc<SystemMemory>,
    told: Arc<AtomicBool>,
    faults: Arc<Mutex<Vec<ReadFault>>>,
    /// Requests and when they arrive.
    arriving: VecDeque<(u64, HostRequest)>,
    /// Answers and when they arrive.
    answers: VecDeque<(u64, u64, Result<Vec<u8>, ReadError>)>,
    latency: u64,
    hung: bool,
    /// What went over the link before the last reset.
    before: LinkBytes,
}

/// System memory as the model reaches it.
struct Memory {
    memory: Arc<SystemMemory>,
    told: Arc<AtomicBool>,
    /// What the next reads meet.
    faults: Arc<Mutex<Vec<ReadFault>>>,
}

/// A device after reset.
fn make(
    config: DeviceConfig,
    memory: &Arc<SystemMemory>,
    told: &Arc<AtomicBool>,
    faults: &Arc<Mutex<Vec<ReadFault>>>,
) -> hmmu_model::Device {
    let host = Memory {
        memory: Arc::clone(memory),
        told: Arc::clone(told),
        faults: Arc::clone(faults),
    };
    hmmu_model::Device::new(config, Box::new(host))
}

impl ModelDevice {
    /// A model after reset, as this device of the machine.
    #[must_use]
    pub fn new(config: &MachineConfig, memory: &Arc<SystemMemory>, device: usize) -> Self {
        let told = Arc::new(AtomicBool::new(false));
        let faults = Arc::default();
        let one_way = config.cycles_of(config.link_latency_ns).max(1);
        let latency = Latency {
            link: 2 * one_way + config.cycles_of(config.memory_latency_ns),
            vram: config.vram_latency,
            jitter: JITTER,
            seed: config.device_seed(device),
            ..Latency::default()
        };
        let config = DeviceConfig {
            vram_bytes: config.vram,
            latency,
            ..DeviceConfig::default()
        };
        let device = make(config, memory, &told, &faults);
        Self {
            device,
            config,
            memory: Arc::clone(memory),
            told,
            faults,
            arriving: VecDeque::new(),
            answers: VecDeque::new(),
            latency: one_way,
            hung: false,
            before: LinkBytes::default(),
        }
    }

    /// Takes what the host asks now; it arrives later, in order.
    fn accept(&mut self, host: &mut HostSide) {
        while let Some(request) = host.next_request() {
            self.arriving
                .push_back((self.device.time() + self.latency, request));
        }
    }

    fn serve(&mut self, request: HostRequest) {
        match request {
            HostRequest::Write {
                window: Window::Registers,
                offset,
                data,
            } => {
                // At most one register: the driver writes whole words, and a word at once is one doorbell.
                let lane = offset % 8;
                let mut raw = [0; 8];
                for (to, from) in raw.iter_mut().skip(lane as usize).zip(&data) {
                    *to = *from;
                }
                let strobe = ((1_u16 << data.len().min(8)) - 1) << lane;
                self.device
                    .write_register_bytes(offset, u64::from_le_bytes(raw), strobe as u8);
            }
            HostRequest::Write {
                window: Window::Vram,
                offset,
                data,
            } => {
                // Beyond VRAM a posted write is lost, as on the bus.
                let _ = self.device.vram_write(VramAddr(offset), &data);
            }
            HostRequest::Read {
                id,
                window,
                offset,
                len,
            } => {
                let mut data = vec![0; len];
                let result = match window {
                    Window::Registers => {
                        for (offset, byte) in (offset..).zip(data.iter_mut()) {
                            *byte = self.device.read_register(offset).to_le_bytes()
                                [(offset % 8) as usize];
                        }
                        Ok(data)
                    }
                    Window::Vram => self
                        .device
                        .vram_read(VramAddr(offset), &mut data)
                        .map(|()| data)
                        .map_err(|_| ReadError::Unsupported),
                };
                self.answers
                    .push_back((self.device.time() + self.latency, id, result));
            }
        }
    }

    /// The next cycle in which something happens.
    fn next(&self) -> u64 {
        let arrival = self.arriving.front().map_or(u64::MAX, |(at, _)| *at);
        let answer = self.answers.front().map_or(u64::MAX, |(at, ..)| *at);
        self.device.next().min(arrival).min(answer)
    }
}

impl Device for ModelDevice {
    fn run(&mut self, cycles: u64, host: &mut HostSide) -> Result<u64, DeviceFailure> {
        let start = self.device.time();
        let end = start + cycles;
        self.accept(host);
        while self.device.time() < end {
            let now = self.device.time();
            let to = if self.hung {
                end
            } else {
                self.next().clamp(now + 1, end)
            };
            self.device.tick(to - now);
            if self.hung {
                continue;
            }
            let now = self.device.time();
            while self.arriving.front().is_some_and(|(at, _)| *at <= now) {
                if let Some((_, request)) = self.arriving.pop_front() {
                    self.serve(request);
                }
            }
            while self.answers.front().is_some_and(|(at, ..)| *at <= now) {
                if let Some((_, id, result)) = self.answers.pop_front() {
                    host.read_done(id, result);
                }
            }
            while let Some(message) = self.device.take_message() {
                host.interrupt((message.data & 0xffff) as u16);
            }
            if self.told.swap(false, Ordering::Relaxed) {
                host.notice();
            }
            if host.noticed() {
                break;
            }
        }
        Ok(self.device.time() - start)
    }

    fn peek(&mut self, at: u64, buf: &mut [u8]) {
        if self.device.vram_read(VramAddr(at), buf).is_err() {
            buf.fill(0);
        }
    }

    fn poke(&mut self, at: u64, data: &[u8]) {
        // Beyond VRAM it is lost, as promised.
        let _ = self.device.vram_write(VramAddr(at), data);
    }

    fn link_bytes(&self) -> LinkBytes {
        LinkBytes {
            to_device: self.before.to_device + self.device.counter(Counter::LinkRxBytes),
            to_host: self.before.to_host + self.device.counter(Counter::LinkTxBytes),
        }
    }

    fn fail_read(&mut self, fault: ReadFault) {
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(fault);
    }

    fn hang(&mut self) {
        self.hung = true;
    }

    fn reset(&mut self, host: &mut HostSide) -> Result<(), DeviceFailure> {
        self.arriving.clear();
        self.answers.clear();
        host.fail_all();
        self.before = self.link_bytes();
        let mut bytes = vec![0; self.config.vram_bytes as usize];
        self.peek(0, &mut bytes);
        self.device = make(self.config, &self.memory, &self.told, &self.faults);
        self.poke(0, &bytes);
        Ok(())
    }

    fn mark(&mut self, _mark: HostMark) {}

    fn open_wave(&mut self, _recording: &Recording) -> Result<(), DeviceFailure> {
        Err(DeviceFailure(
            "the functional model has no waves: use --backend rtl".into(),
        ))
    }

    fn close_wave(&mut self) -> Result<(), DeviceFailure> {
        Ok(())
    }
}

impl Memory {
    /// The failure of this read, if one is due.
    fn strike(&self, addr: BusAddr, len: usize) -> Result<(), LinkError> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(fault) = faults.iter().position(|fault| fault.strikes(addr.0, len)) else {
            return Ok(());
        };
        Err(match faults.remove(fault).failure {
            ReadFailure::Unsupported => LinkError::Unsupported,
            ReadFailure::Abort => LinkError::Abort,
            ReadFailure::Poisoned => LinkError::Poisoned,
            ReadFailure::Lost => LinkError::Timeout,
        })
    }

    fn plain_read(&self, addr: BusAddr, buf: &mut [u8]) -> Result<(), LinkError> {
        self.memory
            .bus_read(addr.0, buf)
            .map_err(|_| LinkError::Unsupported)
    }
}

impl HostMemory for Memory {
    fn read(&mut self, addr: BusAddr, buf: &mut [u8]) -> Result<(), LinkError> {
        self.strike(addr, buf.len())?;
        self.plain_read(addr, buf)
    }

    fn write(&mut self, addr: BusAddr, data: &[u8]) {
        if self.memory.is_dma(addr.0) {
            self.told.store(true, Ordering::Relaxed);
        }
        // A posted write that nobody takes is lost, as on the bus.
        let _ = self.memory.bus_write(addr.0, data);
    }

    fn cas64(&mut self, addr: BusAddr, expected: u64, new: u64) -> Result<u64, LinkError> {
        let mut raw = [0; 8];
        self.plain_read(addr, &mut raw)?;
        let old = u64::from_le_bytes(raw);
        if old == expected {
            self.write(addr, &new.to_le_bytes());
        }
        Ok(old)
    }

    fn cas32(&mut self, addr: BusAddr, expected: u32, new: u32) -> Result<u32, LinkError> {
        let mut raw = [0; 4];
        self.plain_read(addr, &mut raw)?;
        let old = u32::from_le_bytes(raw);
        if old == expected {
            self.write(addr, &new.to_le_bytes());
        }
        Ok(old)
    }
}
