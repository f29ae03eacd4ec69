//! The memory behind the device's VRAM port: latency, one beat a cycle, data in order.

use std::collections::VecDeque;

/// Bytes of a beat.
const BEAT: usize = 16;
/// Reads that the memory holds at once; when so many wait, it takes no request.
const DEPTH: usize = 64;

/// One request of the port.
#[derive(Clone, Copy, Debug)]
pub struct VramRequest {
    /// Byte address, 16-byte aligned.
    pub addr: u64,
    /// Data and byte strobes; none for a read.
    pub write: Option<(u128, u16)>,
}

/// Device memory.
#[derive(Debug)]
pub struct Vram {
    bytes: Vec<u8>,
    latency: u64,
    now: u64,
    reads: VecDeque<(u64, u128)>,
}

impl Vram {
    /// `size` bytes of zeros; a read's data comes `latency` cycles after its request.
    #[must_use]
    pub fn new(size: u64, latency: u64) -> Self {
        Self {
            bytes: vec![0; size as usize],
            latency: latency.max(1),
            now: 0,
            reads: VecDeque::new(),
        }
    }

    /// Reads beside the port; zeros if the range does not lie within.
    pub fn peek(&self, at: u64, buf: &mut [u8]) {
        let at = at as usize;
        match self.bytes.get(at..at.saturating_add(buf.len())) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => buf.fill(0),
        }
    }

    /// Writes beside the port; nothing if the range does not lie within.
    pub fn poke(&mut self, at: u64, data: &[u8]) {
        let at = at as usize;
        if let Some(bytes) = self.bytes.get_mut(at..at.saturating_add(data.len())) {
            bytes.copy_from_slice(data);
        }
    }

    /// Forgets the reads under way; the data stays.
    pub fn reset(&mut self) {
        self.reads.clear();
    }

    /// Does it take a request in this cycle?
    #[must_use]
    pub fn ready(&self) -> bool {
        self.reads.len() < DEPTH
    }

    /// The read data on offer in this cycle.
    #[must_use]
    pub fn data(&self) -> Option<u128> {
        self.reads
            .front()
            .filter(|(at, _)| *at <= self.now)
            .map(|(_, data)| *data)
    }

    /// One clock has passed: the data on offer was taken or not, and a request was taken or not.
    pub fn clock(&mut self, taken: bool, request: Option<VramRequest>) {
        self.now += 1;
        if taken {
            self.reads.pop_front();
        }
        let Some(request) = request else { return };
        let start = request.addr as usize & !(BEAT - 1);
        let beat = self.bytes.get_mut(start..start + BEAT);
        match (request.write, beat) {
            (Some((data, strobes)), Some(beat)) => {
                for (lane, (byte, new)) in beat.iter_mut().zip(data.to_le_bytes()).enumerate() {
                    if strobes >> lane & 1 == 1 {
                        *byte = new;
                    }
                }
            }
            (Some(_), None) => {}
            (None, beat) => {
                let mut raw = [0; BEAT];
                if let Some(beat) = beat {
                    raw.copy_from_slice(beat);
                }
                self.reads
                    .push_back((self.now + self.latency - 1, u128::from_le_bytes(raw)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_comes_in_order_after_the_latency() {
        let mut vram = Vram::new(4096, 3);
        vram.clock(
            false,
            Some(VramRequest {
                addr: 16,
                write: Some((u128::MAX, 0x8001)),
            }),
        );
        vram.clock(
            false,
            Some(VramRequest {
                addr: 16,
                write: None,
            }),
        );
        vram.clock(
            false,
            Some(VramRequest {
                addr: 0,
                write: None,
            }),
        );
        let mut waited = 3;
        while vram.data().is_none() {
            vram.clock(false, None);
            waited += 1;
        }
        assert_eq!(
            waited, 4,
            "request in the second cycle, data on offer in the fifth"
        );
        assert_eq!(vram.data(), Some(0xff | 0xff << 120));
        vram.clock(true, None);
        assert_eq!(vram.data(), Some(0));
        vram.clock(true, None);
        assert_eq!(vram.data(), None);
    }
}
