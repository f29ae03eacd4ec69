//! The driver's half of a context's address space: programs, arguments, stacks.

use crate::config::TablePlace;
use crate::error::DriverError;
use crate::mem::{DevMem, DevPa};
use crate::pool::Use;
use crate::program::Program;
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
    /// Programs that write nothing of their own.
    programs: BTreeMap<Program, Va>,
    /// Images of the others that no job uses.
    images: BTreeMap<Program, Vec<Va>>,
    /// Blocks that no job uses, by their number of pages.
    spare: BTreeMap<u64, Vec<Va>>,
}

/// Pages of one job, to be given back when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    va: Va,
    pages: u64,
}

/// What one job has of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobMemory {
    image: Image,
    args: Block,
    stacks: Block,
}

/// A program where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Image {
    va: Va,
    /// With data: whose image it is, to be used again.
    program: Option<Program>,
}

impl JobMemory {
    /// The address of its program.
    pub fn image(&self) -> Va {
        self.image.va
    }

    /// The address of its arguments.
    pub fn args(&self) -> Va {
        self.args.va
    }

    /// The lowest address of its stacks.
    pub fn stacks(&self) -> Va {
        self.stacks.va
    }
}

impl Arena {
    /// Without any memory.
    pub fn new(mem: Arc<DevMem>) -> Self {
        Self {
            mem,
            next: BASE,
            pages: BTreeMap::new(),
            programs: BTreeMap::new(),
            images: BTreeMap::new(),
            spare: BTreeMap::new(),
        }
    }

    fn alloc(
        &mut self,
        table: &mut PageTable,
        pages: u64,
        flags: impl Fn(u64) -> u64,
    ) -> Result<Va, DriverError> {
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
                flags: flags(i) | pte::A | pte::D,
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

    /// A program where it can run; it is uploaded when it is new, or has data.
    fn image(&mut self, table: &mut PageTable, program: &Program) -> Result<Image, DriverError> {
        let own = !program.writable.is_empty();
        if !own && let Some(va) = self.programs.get(program) {
            return Ok(Image {
                va: *va,
                program: None,
            });
        }
        let va = match self.images.get_mut(program).and_then(Vec::pop) {
            Some(va) => va,
            None => {
                let pages = (program.code.len() as u64).div_ceil(PAGE_SIZE).max(1);
                self.alloc(table, pages, |page| {
                    if program.writable.contains(&(page * PAGE_SIZE)) {
                        pte::R | pte::W
                    } else {
                        pte::R | pte::X
                    }
                })?
            }
        };
        self.write(va, &program.image_at(va.0))?;
        if !own {
            self.programs.insert(program.clone(), va);
        }
        Ok(Image {
            va,
            program: own.then(|| program.clone()),
        })
    }

    /// Memory of a job: its program, its arguments, and `stacks` bytes for the stacks of all its places.
    pub fn job(
        &mut self,
        table: &mut PageTable,
        program: &Program,
        args: &[u64],
        stacks: u64,
    ) -> Result<JobMemory, DriverError> {
        let bytes: Vec<u8> = args.iter().flat_map(|arg| arg.to_le_bytes()).collect();
        let image = self.image(table, program)?;
        let args = match self.block(table, bytes.len() as u64) {
            Ok(args) => args,
            Err(error) => {
                self.give_image_back(image);
                return Err(error);
            }
        };
        let stacks = self
            .write(args.va, &bytes)
            .and_then(|()| self.block(table, stacks));
        match stacks {
            Ok(stacks) => Ok(JobMemory {
                image,
                args,
                stacks,
            }),
            Err(error) => {
                self.give_image_back(image);
                self.give_back(args);
                Err(error)
            }
        }
    }

    /// Takes a job's memory back.
    pub fn recycle(&mut self, memory: JobMemory) {
        self.give_image_back(memory.image);
        // In this order, so that the next job finds its arguments where the last one had them: TLBs know the page.
        self.give_back(memory.stacks);
        self.give_back(memory.args);
    }

    fn give_image_back(&mut self, image: Image) {
        if let Some(program) = image.program {
            self.images.entry(program).or_default().push(image.va);
        }
    }

    fn block(&mut self, table: &mut PageTable, bytes: u64) -> Result<Block, DriverError> {
        let pages = bytes.div_ceil(PAGE_SIZE).max(1);
        let va = match self.spare.get_mut(&pages).and_then(Vec::pop) {
            Some(va) => va,
            None => self.alloc(table, pages, |_| pte::R | pte::W)?,
        };
        Ok(Block { va, pages })
    }

    fn give_back(&mut self, block: Block) {
        self.spare.entry(block.pages).or_default().push(block.va);
    }

    /// Gives all pages back. The device must have stopped using them.
    pub fn free(self) {
        for page in self.pages.values() {
            self.mem.free_page(*page, Use::Arena);
        }
    }
}
