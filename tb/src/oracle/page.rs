//! One shadow page: what each of its bytes may be.

use std::collections::BTreeMap;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// A set of byte values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    /// Every value.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// Just this value.
    #[must_use]
    pub fn one(byte: u8) -> Self {
        let mut set = Self::default();
        set.add(byte);
        set
    }

    /// Adds a value.
    pub fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// Adds all values of another set.
    pub fn join(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    /// Is the value in it?
    #[must_use]
    pub fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    /// Some values of it, for messages.
    #[must_use]
    pub fn values(&self) -> Vec<u8> {
        (0..=255).filter(|&b| self.has(b)).take(4).collect()
    }
}

/// A shadow page. A byte is unknown, or one of a set, or one value.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Zeros when absent.
    bytes: Option<Box<[u8; PAGE]>>,
    /// Bits of bytes that may be anything.
    unknown: Option<Box<[u64; PAGE / 64]>>,
    /// Bytes that may be one of several.
    any: BTreeMap<u16, ByteSet>,
    /// Every byte may become zero at any time, until something is written (MADV_FREE).
    lazy: bool,
}

impl Page {
    /// A page of which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            unknown: Some(Box::new([u64::MAX; PAGE / 64])),
            ..Self::default()
        }
    }

    /// What the byte may be.
    #[must_use]
    pub fn get(&self, at: u16) -> ByteSet {
        if let Some(unknown) = &self.unknown
            && unknown[usize::from(at >> 6)] >> (at & 63) & 1 == 1
        {
            return ByteSet::ALL;
        }
        if let Some(set) = self.any.get(&at) {
            return *set;
        }
        ByteSet::one(
            self.bytes
                .as_ref()
                .map_or(0, |bytes| bytes[usize::from(at)]),
        )
    }

    /// From now on every byte may be zero, or become it until the next write.
    pub fn free(&mut self) {
        self.lazy = true;
        for at in 0..PAGE as u16 {
            let mut set = self.get(at);
            if set != ByteSet::one(0) {
                set.add(0);
                self.loosen(at, set);
            }
        }
    }

    /// Can its bytes become zero by themselves?
    #[must_use]
    pub fn is_lazy(&self) -> bool {
        self.lazy
    }

    /// Something was written: what it holds stays.
    pub fn keep(&mut self) {
        self.lazy = false;
    }

    /// The byte is this value from now on.
    pub fn settle(&mut self, at: u16, byte: u8) {
        if let Some(unknown) = &mut self.unknown {
            unknown[usize::from(at >> 6)] &= !(1 << (at & 63));
        }
        self.any.remove(&at);
        if byte != 0 || self.bytes.is_some() {
            self.bytes.get_or_insert_with(|| Box::new([0; PAGE]))[usize::from(at)] = byte;
        }
    }

    /// The byte may be any of a set from now on.
    pub fn loosen(&mut self, at: u16, set: ByteSet) {
        if set == ByteSet::ALL {
            self.any.remove(&at);
            self.unknown.get_or_insert_with(|| Box::new([0; PAGE / 64]))[usize::from(at >> 6)] |=
                1 << (at & 63);
            return;
        }
        if let Some(unknown) = &mut self.unknown {
            unknown[usize::from(at >> 6)] &= !(1 << (at & 63));
        }
        self.any.insert(at, set);
    }

    /// Are all of these bytes exactly known, and equal to `data`? The common case of a read, without sets.
    #[must_use]
    pub fn equals(&self, at: u16, data: &[u8]) -> bool {
        if self.unknown.is_some() || !self.any.is_empty() {
            return false;
        }
        let start = usize::from(at);
        match &self.bytes {
            Some(bytes) => bytes[start..start + data.len()] == *data,
            None => data.iter().all(|&b| b == 0),
        }
    }

    /// The bytes are these values from now on. The common case of a write, without sets.
    pub fn settle_run(&mut self, at: u16, data: &[u8]) {
        if self.unknown.is_some() || !self.any.is_empty() {
            for (i, &byte) in (at..).zip(data) {
                self.settle(i, byte);
            }
            return;
        }
        let start = usize::from(at);
        let bytes = self.bytes.get_or_insert_with(|| Box::new([0; PAGE]));
        bytes[start..start + data.len()].copy_from_slice(data);
    }
}
