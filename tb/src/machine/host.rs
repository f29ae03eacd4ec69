//! The host as the bus sees it: its requests, its memory, its interrupt controller.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::memory::SystemMemory;
use crate::rc::{BusError, HostPort, HostRequest, PortError, ReadError, ReadFailure, Window};

/// Vectors of the interrupt controller.
pub const VECTORS: usize = hmmu_regs::MSIX_VECTORS as usize;

/// The host's side of the bus.
#[derive(Debug)]
pub struct HostSide {
    memory: Arc<SystemMemory>,
    requests: VecDeque<HostRequest>,
    /// Reads without an answer yet.
    asked: BTreeSet<u64>,
    answers: BTreeMap<u64, Result<Vec<u8>, ReadError>>,
    next_id: u64,
    raised: [bool; VECTORS],
    noticed: bool,
    stray: u64,
    port_errors: u64,
    gone: bool,
}

impl HostSide {
    /// A host with this memory.
    #[must_use]
    pub fn new(memory: Arc<SystemMemory>) -> Self {
        Self {
            memory,
            requests: VecDeque::new(),
            asked: BTreeSet::new(),
            answers: BTreeMap::new(),
            next_id: 0,
            raised: [false; VECTORS],
            noticed: false,
            stray: 0,
            port_errors: 0,
            gone: false,
        }
    }

    /// Sends a posted write.
    pub fn post(&mut self, window: Window, offset: u64, data: &[u8]) {
        self.requests.push_back(HostRequest::Write {
            window,
            offset,
            data: data.to_vec(),
        });
    }

    /// Sends a read; [`HostSide::answer`] brings its data.
    pub fn ask(&mut self, window: Window, offset: u64, len: usize) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.asked.insert(id);
        self.requests.push_back(HostRequest::Read {
            id,
            window,
            offset,
            len,
        });
        id
    }

    /// The answer to a read, once.
    pub fn answer(&mut self, id: u64) -> Option<Result<Vec<u8>, ReadError>> {
        self.answers.remove(&id)
    }

    /// Drops what is to be sent and ends all reads that nobody will answer: the device is reset.
    pub fn fail_all(&mut self) {
        self.requests.clear();
        for id in std::mem::take(&mut self.asked) {
            self.answers.insert(id, Err(ReadError::LinkDown));
        }
    }

    /// Errors that the root port has logged: TLPs of the device that were lost, and times at which the link went down.
    #[must_use]
    pub fn port_errors(&self) -> u64 {
        self.port_errors
    }

    /// Was the device taken out?
    #[must_use]
    pub fn gone(&self) -> bool {
        self.gone
    }

    /// Vectors raised since the last call.
    pub fn take_raised(&mut self) -> [bool; VECTORS] {
        std::mem::take(&mut self.raised)
    }

    /// Has the device told the host something since [`HostSide::clear_notice`]: an interrupt, an answer, a write
    /// to the driver's memory?
    #[must_use]
    pub fn noticed(&self) -> bool {
        self.noticed
    }

    /// The device told the host something by a way of its own.
    pub fn notice(&mut self) {
        self.noticed = true;
    }

    /// Forgets what the device told.
    pub fn clear_notice(&mut self) {
        self.noticed = false;
    }

    /// Interrupts with a vector that does not exist.
    #[must_use]
    pub fn stray(&self) -> u64 {
        self.stray
    }
}

impl HostPort for HostSide {
    fn next_request(&mut self) -> Option<HostRequest> {
        self.requests.pop_front()
    }

    fn read_done(&mut self, id: u64, result: Result<Vec<u8>, ReadError>) {
        self.noticed = true;
        self.asked.remove(&id);
        self.answers.insert(id, result);
    }

    fn mem_read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), ReadFailure> {
        Ok(self.memory.bus_read(addr, buf)?)
    }

    fn mem_write(&mut self, addr: u64, data: &[u8]) -> Result<(), BusError> {
        self.noticed |= self.memory.is_dma(addr);
        self.memory.bus_write(addr, data)
    }

    fn port_error(&mut self, error: PortError) {
        self.noticed = true;
        self.port_errors += 1;
        self.gone |= error == PortError::Removed;
    }

    fn interrupt(&mut self, vector: u16) {
        self.noticed = true;
        match self.raised.get_mut(usize::from(vector)) {
            Some(raised) => *raised = true,
            None => self.stray += 1,
        }
    }
}
