//! The driver's half of a context's address space: programs, arguments, stacks.

use crate::config::TablePlace;
use crate::error::DriverError;
use crate::mem::{DevMem, DevPa};
use crate::pool::Use;
use crate::pte;
use crate::table::{Mapping, PageTable};
use hmm_core::{PAGE_SIZE, Va};
use std::collections::BTreeMap;
use std::sync::Arc;

/// First address of the driver's half (canonical, bit 47 set). Processes never have addresses there.
const BASE: u64 = 0xffff_8000_0000_0000;

/// Memory of the driver in one context. Nothing is unmapped before the context ends, so that no program ever runs
/// at an address that held another one.
pub(crate) struct Arena {
    mem: Arc<DevMem>,
    next: u64,
    pages: BTreeMap<u64, DevPa>,
    programs: BTreeMap<Vec<u8>, Va>,
    /// Argument blocks that no job uses, by their number of pages.
    spare: BTreeMap<u64, Vec<Va>>,
    stacks: Option<Va>,
}

/// A block of arguments, to be given back when the job has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArgBlock {
    /// Its address.
    pub va: Va,
    pages: u64,
}

impl Arena {
    /// Without any memory.
    pub fn new(mem: Arc<DevMem>) -> Self {
        Self {
            mem,
            next: BASE,
            pages: BTreeMap::new(),
            programs: BTreeMap::new(),
            spare: BTreeMap::new(),
            stacks: None,
        }
    }

    fn alloc(&mut self, table: &mut PageTable, pages: u64, flags: u64) -> Result<Va, DriverError> {
        let start = self.next;
        // One page stays unmapped after each block: running past its end is an error, not a neighbour.
        self.next += (pages + 1) * PAGE_SIZE;
        for i in 0..pages {
            let va = start + i * PAGE_SIZE;
            let page = self.mem.alloc_page(TablePlace::Vram, Use::Arena)?;
            self.pages.insert(va, page);
            // A and D are set from the start: nobody asks for them here.
            let mapping = Mapping {
                page,
                flags: flags | pte::A | pte::D,
                pfn: None,
                exclusive: false,
            };
            table.install(Va(va), &[Some(mapping)])?;
        }
        Ok(Va(start))
    }

    fn write(&self, va: Va, data: &[u8]) -> Result<(), DriverError> {
        for (i, chunk) in data.chunks(PAGE_SIZE as usize).enumerate() {
            let page = self
                .pages
                .get(&(va.0 + i as u64 * PAGE_SIZE))
                .ok_or(DriverError::Closed)?;
            self.mem.write(*page, chunk)?;
        }
        Ok(())
    }

    /// The address of a program; it is uploaded when it is new.
    pub fn program(&mut self, table: &mut PageTable, code: &[u8]) -> Result<Va, DriverError> {
        if let Some(va) = self.programs.get(code) {
            return Ok(*va);
        }
        let pages = (code.len() as u64).div_ceil(PAGE_SIZE).max(1);
        let va = self.alloc(table, pages, pte::R | pte::X)?;
        self.write(va, code)?;
        self.programs.insert(code.to_vec(), va);
        Ok(va)
    }

    /// A block that holds the arguments.
    pub fn args(&mut self, table: &mut PageTable, args: &[u64]) -> Result<ArgBlock, DriverError> {
        let pages = (args.len() as u64 * 8).div_ceil(PAGE_SIZE).max(1);
        let va = match self.spare.get_mut(&pages).and_then(Vec::pop) {
            Some(va) => va,
            None => self.alloc(table, pages, pte::R | pte::W)?,
        };
        let bytes: Vec<u8> = args.iter().flat_map(|arg| arg.to_le_bytes()).collect();
        self.write(va, &bytes)?;
        Ok(ArgBlock { va, pages })
    }

    /// Takes a block back.
    pub fn recycle(&mut self, block: ArgBlock) {
        self.spare.entry(block.pages).or_default().push(block.va);
    }

    /// The lowest address of the stacks of all hardware warps, `bytes` in all.
    pub fn stacks(&mut self, table: &mut PageTable, bytes: u64) -> Result<Va, DriverError> {
        if let Some(va) = self.stacks {
            return Ok(va);
        }
        let va = self.alloc(table, bytes.div_ceil(PAGE_SIZE).max(1), pte::R | pte::W)?;
        self.stacks = Some(va);
        Ok(va)
    }

    /// Gives all pages back. The device must have stopped using them.
    pub fn free(self) {
        for page in self.pages.values() {
            self.mem.free_page(*page, Use::Arena);
        }
    }
}
