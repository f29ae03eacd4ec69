//! The first bytes of device memory, as they are before a job.

/// Data and programs, laid out one after the other.
#[derive(Clone, Debug)]
pub struct Image {
    base: u64,
    bytes: Vec<u8>,
}

impl Image {
    /// An empty one, whose byte 0 has this address.
    #[must_use]
    pub fn new(base: u64) -> Self {
        Self {
            base,
            bytes: Vec::new(),
        }
    }

    /// Takes zeroed memory; its address.
    pub fn take(&mut self, bytes: u64, align: u64) -> u64 {
        let at = self.len().next_multiple_of(align);
        self.bytes.resize((at + bytes) as usize, 0);
        self.base + at
    }

    /// Takes whole pages; their address.
    pub fn pages(&mut self, pages: u64) -> u64 {
        self.take(4096 * pages, 4096)
    }

    /// Takes memory and fills it; its address.
    pub fn words(&mut self, words: &[u64]) -> u64 {
        let at = self.take(8 * words.len() as u64, 64);
        for (at, word) in (at..).step_by(8).zip(words) {
            self.store(at, *word);
        }
        at
    }

    /// Takes memory for a program and writes it; its address.
    pub fn code(&mut self, code: &[u8]) -> u64 {
        let at = self.take(code.len() as u64, 64);
        let start = (at - self.base) as usize;
        self.bytes[start..start + code.len()].copy_from_slice(code);
        at
    }

    /// Writes a word of memory that was taken.
    pub fn store(&mut self, at: u64, word: u64) {
        let start = (at - self.base) as usize;
        self.bytes[start..start + 8].copy_from_slice(&word.to_le_bytes());
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Is nothing taken yet?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its bytes, from byte 0 of device memory on.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The address of byte 0.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }
}

/// A word of an image that was read back.
#[must_use]
pub fn word(bytes: &[u8], at: u64) -> u64 {
    let mut raw = [0; 8];
    if let Some(from) = bytes.get(at as usize..at as usize + 8) {
        raw.copy_from_slice(from);
    }
    u64::from_le_bytes(raw)
}
