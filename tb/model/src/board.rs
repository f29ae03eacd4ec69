//! What all units of the device share: time, memories, counters, the error record and interrupts.

use crate::addr::{PAGE_BYTES, PhysAddr, Place};
use crate::config::DeviceConfig;
use crate::counters::Counters;
use crate::host::{HostMemory, LinkError};
use crate::jitter::Jitter;
use crate::msix::Msix;
use hmmu_regs::{Client, Counter, ErrorCode, Vector};

/// Bytes of a completion's header.
const COMPLETION_HEADER: u64 = 12;

/// Bytes of a memory request's header: 3 or 4 double words, by its address.
fn request_header(addr: u64) -> u64 {
    if addr >> 32 == 0 { 12 } else { 16 }
}

/// Bytes of a TLP's payload: whole double words.
fn payload(addr: u64, len: u64) -> u64 {
    (addr % 4 + len).next_multiple_of(4)
}

/// A read or atomic failed; it is in ERROR_INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AccessFailed;

pub(crate) struct Board {
    pub(crate) time: u64,
    pub(crate) config: DeviceConfig,
    pub(crate) counters: Counters,
    pub(crate) msix: Msix,
    /// ERROR_INFO.
    pub(crate) error_info: u64,
    /// CONTROL bit 0.
    pub(crate) enabled: bool,
    vram: Vec<u8>,
    host: Box<dyn HostMemory>,
    jitter: Jitter,
}

impl Board {
    pub(crate) fn new(config: DeviceConfig, host: Box<dyn HostMemory>) -> Self {
        Self {
            time: 0,
            config,
            counters: Counters::new(),
            msix: Msix::new(),
            error_info: 0,
            enabled: false,
            vram: vec![0; config.vram_bytes as usize],
            host,
            jitter: Jitter::new(config.latency.seed, config.latency.jitter),
        }
    }

    /// The cycle in which something that takes `cycles`, jitter not counted, is over.
    pub(crate) fn after(&mut self, cycles: u64) -> u64 {
        self.time + cycles.max(1) + self.jitter.next()
    }

    /// Cycles that an access takes.
    pub(crate) fn latency(&self, at: PhysAddr) -> u64 {
        match at.place() {
            Place::System(_) => self.config.latency.link,
            Place::Vram(_) => self.config.latency.vram,
        }
    }

    pub(crate) fn count(&mut self, counter: Counter) {
        self.counters.add(counter, 1);
    }

    pub(crate) fn raise(&mut self, vector: Vector) {
        self.msix.raise(vector);
    }

    /// Counts bytes sent and received over the link.
    fn link(&mut self, sent: u64, received: u64) {
        self.counters.add(Counter::LinkTxBytes, sent);
        self.counters.add(Counter::LinkRxBytes, received);
    }

    /// Counts a write of the host to one of the windows, at a 64-bit address.
    pub(crate) fn host_write(&mut self, addr: u64, len: u64) {
        self.link(0, 16 + payload(addr, len));
    }

    /// Counts a read of the host from one of the windows.
    pub(crate) fn host_read(&mut self, addr: u64, len: u64) {
        self.link(COMPLETION_HEADER + payload(addr, len), 16);
    }

    /// Sends the interrupt messages that are due.
    pub(crate) fn send_messages(&mut self) {
        let sent = self.msix.send();
        self.counters.add(Counter::Interrupts, sent);
        self.counters.add(Counter::LinkWrites, sent);
        self.link(sent * (12 + 4), 0);
    }

    /// Records the first error since ERROR_INFO was last cleared.
    pub(crate) fn error(&mut self, code: ErrorCode, unit: Client, addr: u64) {
        if self.error_info == 0 {
            self.error_info = (addr & !0xffff) | (unit as u64) << 8 | code as u64;
            self.raise(Vector::Error);
        }
    }

    fn failed(&mut self, code: ErrorCode, unit: Client, at: PhysAddr) -> AccessFailed {
        self.error(code, unit, at.0);
        AccessFailed
    }

    /// The VRAM bytes of an access, if they all are in VRAM.
    fn vram_range(&self, start: u64, len: usize) -> Result<std::ops::Range<usize>, ErrorCode> {
        match start.checked_add(len as u64) {
            Some(end) if end <= self.vram.len() as u64 => Ok(start as usize..end as usize),
            _ => Err(ErrorCode::VramRange),
        }
    }

    /// Reads physical memory. The access does not cross a page.
    pub(crate) fn read(
        &mut self,
        unit: Client,
        at: PhysAddr,
        buf: &mut [u8],
    ) -> Result<(), AccessFailed> {
        debug_assert!(at.0 % PAGE_BYTES + buf.len() as u64 <= PAGE_BYTES);
        let done = match at.place() {
            Place::Vram(addr) => {
                self.counters
                    .add(Counter::VramReads, beats(addr.0, buf.len()));
                self.vram_range(addr.0, buf.len())
                    .map(|range| buf.copy_from_slice(&self.vram[range]))
            }
            Place::System(addr) => {
                self.count(Counter::LinkReads);
                self.link(
                    request_header(addr.0),
                    COMPLETION_HEADER + payload(addr.0, buf.len() as u64),
                );
                self.host.read(addr, buf).map_err(LinkError::code)
            }
        };
        done.map_err(|code| self.failed(code, unit, at))
    }

    /// Writes physical memory. The access does not cross a page; a write beyond VRAM is dropped.
    pub(crate) fn write(&mut self, unit: Client, at: PhysAddr, data: &[u8]) {
        debug_assert!(at.0 % PAGE_BYTES + data.len() as u64 <= PAGE_BYTES);
        match at.place() {
            Place::Vram(addr) => {
                self.counters
                    .add(Counter::VramWrites, beats(addr.0, data.len()));
                match self.vram_range(addr.0, data.len()) {
                    Ok(range) => self.vram[range].copy_from_slice(data),
                    Err(code) => {
                        self.failed(code, unit, at);
                    }
                }
            }
            Place::System(addr) => {
                self.count(Counter::LinkWrites);
                self.link(
                    request_header(addr.0) + payload(addr.0, data.len() as u64),
                    0,
                );
                self.host.write(addr, data);
            }
        }
    }

    /// Writes 64-bit words, little endian.
    pub(crate) fn write_words(&mut self, unit: Client, at: PhysAddr, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.write(unit, at, &bytes);
    }

    /// Compare-and-swap of 8 or 4 (`half`) aligned bytes; the old value.
    pub(crate) fn cas(
        &mut self,
        unit: Client,
        at: PhysAddr,
        half: bool,
        expected: u64,
        new: u64,
    ) -> Result<u64, AccessFailed> {
        let size = if half { 4 } else { 8 };
        let done = match at.place() {
            Place::Vram(addr) => {
                self.count(Counter::VramReads);
                self.vram_range(addr.0, size).map(|range| {
                    let cell = &mut self.vram[range];
                    let mut raw = [0; 8];
                    raw[..size].copy_from_slice(cell);
                    let old = u64::from_le_bytes(raw);
                    if old == expected {
                        cell.copy_from_slice(&new.to_le_bytes()[..size]);
                        self.counters.add(Counter::VramWrites, 1);
                    }
                    old
                })
            }
            Place::System(addr) => {
                self.count(Counter::LinkAtomics);
                let size = size as u64;
                self.link(request_header(addr.0) + 2 * size, COMPLETION_HEADER + size);
                let old = if half {
                    self.host
                        .cas32(addr, expected as u32, new as u32)
                        .map(u64::from)
                } else {
                    self.host.cas64(addr, expected, new)
                };
                old.map_err(LinkError::code)
            }
        };
        done.map_err(|code| self.failed(code, unit, at))
    }

    /// VRAM as the host's window shows it, if the range lies in it.
    pub(crate) fn window(&mut self, start: u64, len: usize) -> Option<&mut [u8]> {
        let range = self.vram_range(start, len).ok()?;
        Some(&mut self.vram[range])
    }
}

/// Beats of 16 bytes that an access touches.
fn beats(start: u64, len: usize) -> u64 {
    (start % 16 + len as u64).div_ceil(16)
}
