//! Memory of zeros that takes room only where it was written.

/// Bytes that come into being together.
const CHUNK: usize = 16 << 10;

/// Bytes from 0 on. Most of them are never touched, and a machine is made for every run.
#[derive(Debug)]
pub struct PagedMemory {
    chunks: Vec<Option<Box<[u8]>>>,
    len: usize,
}

impl PagedMemory {
    /// `len` bytes of zeros.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let mut chunks = Vec::new();
        chunks.resize_with(len.div_ceil(CHUNK), || None);
        Self { chunks, len }
    }

    /// Its size, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Reads; `at + buf.len()` must lie within.
    pub fn read(&self, at: usize, buf: &mut [u8]) {
        let mut at = at;
        let mut rest = buf;
        while !rest.is_empty() {
            let offset = at % CHUNK;
            let (part, more) = rest.split_at_mut(rest.len().min(CHUNK - offset));
            match &self.chunks[at / CHUNK] {
                Some(chunk) => part.copy_from_slice(&chunk[offset..offset + part.len()]),
                None => part.fill(0),
            }
            at += part.len();
            rest = more;
        }
    }

    /// Writes; `at + data.len()` must lie within.
    pub fn write(&mut self, at: usize, data: &[u8]) {
        let mut at = at;
        let mut rest = data;
        while !rest.is_empty() {
            let offset = at % CHUNK;
            let (part, more) = rest.split_at(rest.len().min(CHUNK - offset));
            let chunk = self.chunks[at / CHUNK].get_or_insert_with(|| vec![0; CHUNK].into());
            chunk[offset..offset + part.len()].copy_from_slice(part);
            at += part.len();
            rest = more;
        }
    }

    /// Writes zeros; `at + len` must lie within.
    pub fn zero(&mut self, at: usize, len: usize) {
        let (mut at, end) = (at, at + len);
        while at < end {
            let offset = at % CHUNK;
            let part = (end - at).min(CHUNK - offset);
            if let Some(chunk) = &mut self.chunks[at / CHUNK] {
                chunk[offset..offset + part].fill(0);
            }
            at += part;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_over_the_edges_of_chunks() {
        let mut memory = PagedMemory::new(3 * CHUNK + 100);
        assert_eq!(memory.len(), 3 * CHUNK + 100);
        let data: Vec<u8> = (0..2 * CHUNK).map(|i| (i % 251) as u8 + 1).collect();
        memory.write(CHUNK / 2, &data);
        let mut all = vec![7; memory.len()];
        memory.read(0, &mut all);
        assert!(all[..CHUNK / 2].iter().all(|&byte| byte == 0));
        assert!(all[CHUNK / 2..][..data.len()] == data[..]);
        assert!(all[CHUNK / 2 + data.len()..].iter().all(|&byte| byte == 0));
        memory.zero(CHUNK - 10, CHUNK + 20);
        memory.read(0, &mut all);
        assert!(
            all[CHUNK - 10..2 * CHUNK + 10]
                .iter()
                .all(|&byte| byte == 0)
        );
        assert!(all[CHUNK - 11] != 0 && all[2 * CHUNK + 10] != 0);
    }
}
