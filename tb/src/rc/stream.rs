//! The device's TLP streams: packets to and from beats of 16 bytes.

use super::tlp::{Tlp, TlpError};

/// One beat of a stream. Data starts in the beat that starts the packet; the first byte is in bits 7:0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// First beat of a packet: the header is valid.
    pub sop: bool,
    /// Last beat of a packet.
    pub eop: bool,
    /// The header's bits.
    pub header: u128,
    /// Sixteen bytes of payload.
    pub data: u128,
}

const BEAT: usize = 16;
/// More payload than any packet has: a stream that never ends one is broken.
const LONGEST: usize = 4096;

/// Puts packets on a stream, a beat at a time.
#[derive(Debug, Default)]
pub struct Feeder {
    header: u128,
    payload: Vec<u8>,
    at: usize,
    busy: bool,
}

impl Feeder {
    /// Has it a beat to give?
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Takes the next packet; only when not busy.
    pub fn load(&mut self, tlp: &Tlp) {
        self.load_as(tlp.header(), tlp.payload());
    }

    /// Takes a packet with a header that may not fit its payload; only when not busy.
    pub fn load_as(&mut self, header: u128, payload: &[u8]) {
        self.header = header;
        self.payload.clear();
        self.payload.extend_from_slice(payload);
        self.at = 0;
        self.busy = true;
    }

    /// The beat on offer.
    #[must_use]
    pub fn beat(&self) -> Option<Beat> {
        if !self.busy {
            return None;
        }
        let end = (self.at + BEAT).min(self.payload.len());
        let mut raw = [0; BEAT];
        raw[..end - self.at].copy_from_slice(&self.payload[self.at..end]);
        let sop = self.at == 0;
        Some(Beat {
            sop,
            eop: self.at + BEAT >= self.payload.len(),
            header: if sop { self.header } else { 0 },
            data: u128::from_le_bytes(raw),
        })
    }

    /// The beat was taken.
    pub fn advance(&mut self) {
        self.at += BEAT;
        if self.at >= self.payload.len() {
            self.busy = false;
        }
    }
}

/// Takes packets from a stream, a beat at a time.
#[derive(Debug, Default)]
pub struct Collector {
    header: u128,
    payload: Vec<u8>,
    open: bool,
}

impl Collector {
    /// Takes a beat; returns the packet that it completes.
    ///
    /// # Errors
    /// The packet is malformed, or the beats do not make one.
    pub fn push(&mut self, beat: &Beat) -> Result<Option<Tlp>, TlpError> {
        if beat.sop == self.open || self.payload.len() > LONGEST {
            self.open = false;
            return Err(TlpError::Length {
                header: 0,
                payload: self.payload.len(),
            });
        }
        if beat.sop {
            self.header = beat.header;
            self.payload.clear();
            self.open = true;
        }
        self.payload.extend_from_slice(&beat.data.to_le_bytes());
        if !beat.eop {
            return Ok(None);
        }
        self.open = false;
        // The stream has no byte count of its own: the header's length says how much of the last beat counts.
        let dwords = match (self.header >> 96) & 0x3ff {
            0 => 1024,
            n => n as usize,
        };
        let with_data = (self.header >> 126) & 1 == 1;
        let bytes = if with_data { dwords * 4 } else { 0 };
        let beats = bytes.div_ceil(BEAT).max(1) * BEAT;
        if beats == self.payload.len() {
            self.payload.truncate(bytes);
        }
        Tlp::decode(self.header, &self.payload).map(Some)
    }
}
