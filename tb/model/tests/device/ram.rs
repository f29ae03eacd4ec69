//! System memory: 4 MiB that the host and the device share.

use hmmu_model::LinkError;
use std::sync::{Arc, Mutex};

/// Bytes of it.
const BYTES: usize = 4 << 20;

pub struct Ram {
    pub bytes: Vec<u8>,
    /// How the device's reads and atomics of this page (by number) fail.
    pub fail: Option<(u64, LinkError)>,
    /// Every write of the device: address and length, in order.
    pub log: Vec<(u64, usize)>,
}

#[derive(Clone)]
pub struct SharedRam(pub Arc<Mutex<Ram>>);

impl SharedRam {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Ram {
            bytes: vec![0; BYTES],
            fail: None,
            log: Vec::new(),
        })))
    }

    /// Lets the device's reads of a page fail.
    pub fn fail(&self, page: u64, error: LinkError) {
        self.0.lock().unwrap().fail = Some((page, error));
    }

    /// Lets all reads succeed again.
    pub fn heal(&self) {
        self.0.lock().unwrap().fail = None;
    }

    pub fn take_log(&self) -> Vec<(u64, usize)> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }

    pub fn bytes(&self, addr: u64, len: u64) -> Vec<u8> {
        self.0.lock().unwrap().bytes[addr as usize..(addr + len) as usize].to_vec()
    }

    pub fn set(&self, addr: u64, data: &[u8]) {
        self.0.lock().unwrap().bytes[addr as usize..addr as usize + data.len()]
            .copy_from_slice(data);
    }

    pub fn read64(&self, addr: u64) -> u64 {
        u64::from_le_bytes(self.bytes(addr, 8).try_into().unwrap())
    }

    pub fn write64(&self, addr: u64, value: u64) {
        self.set(addr, &value.to_le_bytes());
    }

    // ---------------------------------------------------------------- as the device sees it

    pub fn bus_read(&self, addr: u64, buf: &mut [u8]) -> Result<(), LinkError> {
        let ram = self.0.lock().unwrap();
        match ram.fail {
            Some((page, error)) if page == addr >> 12 => return Err(error),
            _ => {}
        }
        let at = addr as usize;
        buf.copy_from_slice(
            ram.bytes
                .get(at..at + buf.len())
                .ok_or(LinkError::Unsupported)?,
        );
        Ok(())
    }

    pub fn bus_write(&self, addr: u64, data: &[u8]) {
        let mut ram = self.0.lock().unwrap();
        ram.log.push((addr, data.len()));
        let at = addr as usize;
        ram.bytes[at..at + data.len()].copy_from_slice(data);
    }

    /// Compare-and-swap of `size` bytes; the old value.
    pub fn bus_cas(
        &self,
        addr: u64,
        size: usize,
        expected: u64,
        new: u64,
    ) -> Result<u64, LinkError> {
        let mut raw = [0; 8];
        self.bus_read(addr, &mut raw[..size])?;
        let old = u64::from_le_bytes(raw);
        if old == expected {
            self.set(addr, &new.to_le_bytes()[..size]);
        }
        Ok(old)
    }
}
