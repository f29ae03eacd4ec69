//! One hart: registers and the execution of one instruction.

use super::{AmoOp, Bus, Stall, Width, alu};

/// CSR numbers. All are read only; any other CSR, and any write, is an illegal instruction.
pub mod csr {
    /// Device time in cycles.
    pub const CYCLE: u32 = 0xc00;
    /// The same.
    pub const TIME: u32 = 0xc01;
    /// Instructions retired by this thread.
    pub const INSTRET: u32 = 0xc02;
    /// Index of the thread in its job.
    pub const THREAD: u32 = 0xcc0;
    /// Threads of the job.
    pub const THREADS: u32 = 0xcc1;
    /// Its place among the threads of its job.
    pub const PLACE: u32 = 0xcc2;
}

/// What LR left for SC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Address.
    pub addr: u64,
    /// Size.
    pub width: Width,
    /// Value that LR loaded, zero-extended.
    pub value: u64,
}

/// What became of one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It retired.
    Retired,
    /// It parked: nothing has changed, step again later.
    Parked,
    /// ECALL; pc stays on it.
    Ecall,
    /// EBREAK; pc stays on it.
    Ebreak,
    /// Not an instruction of this unit; pc stays on it.
    Illegal,
    /// A misaligned access or jump to this address.
    Misaligned(u64),
    /// An access to `addr` ended with an error.
    Error {
        /// Enum `JobStatus` or the code of a Cancel.
        code: u8,
        /// Virtual address of the access.
        addr: u64,
    },
}

/// The architectural state of one thread.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Hart {
    /// Program counter, a virtual address.
    pub pc: u64,
    /// Registers; `x[0]` is always 0.
    pub x: [u64; 32],
    /// What LR left for SC.
    pub reservation: Option<Reservation>,
    /// Instructions retired.
    pub instret: u64,
    /// CSR [`csr::THREAD`].
    pub thread: u32,
    /// CSR [`csr::THREADS`].
    pub threads: u32,
    /// CSR [`csr::PLACE`].
    pub place: u32,
}

/// The immediate of an I-type instruction.
fn imm_i(word: u32) -> u64 {
    (word as i32 >> 20) as i64 as u64
}

fn imm_s(word: u32) -> u64 {
    (((word & 0xfe00_0000) as i32 >> 20) as i64 as u64) | u64::from((word >> 7) & 0x1f)
}

fn imm_b(word: u32) -> u64 {
    (((word & 0x8000_0000) as i32 >> 19) as i64 as u64)
        | u64::from((word & 0x80) << 4)
        | u64::from((word >> 20) & 0x7e0)
        | u64::from((word >> 7) & 0x1e)
}

fn imm_u(word: u32) -> u64 {
    (word & 0xffff_f000) as i32 as i64 as u64
}

fn imm_j(word: u32) -> u64 {
    (((word & 0x8000_0000) as i32 >> 11) as i64 as u64)
        | u64::from(word & 0xf_f000)
        | u64::from((word >> 9) & 0x800)
        | u64::from((word >> 20) & 0x7fe)
}

/// Why an instruction did not retire, as [`Step`].
fn stalled(addr: u64) -> impl Fn(Stall) -> Step {
    move |stall| match stall {
        Stall::Park => Step::Parked,
        Stall::Error(code) => Step::Error { code, addr },
    }
}

impl Hart {
    /// A hart at `pc` with all registers zero.
    #[must_use]
    pub fn new(pc: u64) -> Self {
        Self {
            pc,
            ..Self::default()
        }
    }

    /// Executes one instruction. Unless it answers [`Step::Retired`] nothing has changed, in the hart or in memory.
    pub fn step<B: Bus>(&mut self, bus: &mut B) -> Step {
        match self.execute(bus) {
            Ok(next) => {
                self.pc = next;
                self.instret += 1;
                Step::Retired
            }
            Err(step) => step,
        }
    }

    fn set(&mut self, rd: usize, value: u64) {
        if rd != 0 {
            self.x[rd] = value;
        }
    }

    /// The address of the next instruction, or why there is none.
    fn execute<B: Bus>(&mut self, bus: &mut B) -> Result<u64, Step> {
        let pc = self.pc;
        if pc & 3 != 0 {
            return Err(Step::Misaligned(pc));
        }
        let word = bus.fetch(pc).map_err(stalled(pc))?;
        let rd = ((word >> 7) & 31) as usize;
        let a = self.x[((word >> 15) & 31) as usize];
        let b = self.x[((word >> 20) & 31) as usize];
        let funct3 = (word >> 12) & 7;
        let funct7 = word >> 25;
        let next = pc.wrapping_add(4);

        let value = match word & 0x7f {
            0x37 => imm_u(word),
            0x17 => pc.wrapping_add(imm_u(word)),
            0x6f => {
                let target = jump(pc.wrapping_add(imm_j(word)))?;
                self.set(rd, next);
                return Ok(target);
            }
            0x67 if funct3 == 0 => {
                let target = jump(a.wrapping_add(imm_i(word)) & !1)?;
                self.set(rd, next);
                return Ok(target);
            }
            0x63 => {
                let taken = alu::branch(funct3, a, b).ok_or(Step::Illegal)?;
                return if taken {
                    jump(pc.wrapping_add(imm_b(word)))
                } else {
                    Ok(next)
                };
            }
            0x03 => load(bus, funct3, a.wrapping_add(imm_i(word)))?,
            0x23 => {
                store(bus, funct3, a.wrapping_add(imm_s(word)), b)?;
                return Ok(next);
            }
            0x13 => alu::op_imm(funct3, a, imm_i(word)).ok_or(Step::Illegal)?,
            0x1b => alu::op_imm32(funct3, a, imm_i(word)).ok_or(Step::Illegal)?,
            0x33 => alu::op(funct7, funct3, a, b).ok_or(Step::Illegal)?,
            0x3b => alu::op32(funct7, funct3, a, b).ok_or(Step::Illegal)?,
            0x0f if funct3 == 0 => return Ok(next),
            0x0f if funct3 == 1 => {
                bus.fence_i();
                return Ok(next);
            }
            0x2f => self.atomic(bus, word, a, b)?,
            0x73 => self.system(bus, word)?,
            _ => return Err(Step::Illegal),
        };
        self.set(rd, value);
        Ok(next)
    }

    /// LR, SC and AMO: the value for rd.
    fn atomic<B: Bus>(
        &mut self,
        bus: &mut B,
        word: u32,
        addr: u64,
        operand: u64,
    ) -> Result<u64, Step> {
        let width = match (word >> 12) & 7 {
            2 => Width::Word,
            3 => Width::Double,
            _ => return Err(Step::Illegal),
        };
        let funct5 = word >> 27;
        let op = AmoOp::from_funct5(funct5);
        let load_reserved = funct5 == 0b00010 && (word >> 20) & 31 == 0;
        let store_conditional = funct5 == 0b00011;
        if op.is_none() && !load_reserved && !store_conditional {
            return Err(Step::Illegal);
        }
        if !width.aligns(addr) {
            return Err(Step::Misaligned(addr));
        }
        if let Some(op) = op {
            let old = bus
                .amo(addr, width, op, width.truncate(operand))
                .map_err(stalled(addr))?;
            return Ok(width.sign_extend(old));
        }
        if load_reserved {
            let value = bus.load_reserved(addr, width).map_err(stalled(addr))?;
            self.reservation = Some(Reservation { addr, width, value });
            return Ok(width.sign_extend(value));
        }
        let swapped = match self.reservation {
            Some(r) if r.addr == addr && r.width == width => {
                let new = width.truncate(operand);
                bus.compare_and_swap(addr, width, r.value, new)
                    .map_err(stalled(addr))?
                    == r.value
            }
            _ => false,
        };
        self.reservation = None;
        Ok(u64::from(!swapped))
    }

    /// ECALL, EBREAK and reads of CSRs: the value for rd.
    fn system<B: Bus>(&self, bus: &B, word: u32) -> Result<u64, Step> {
        match word {
            0x0000_0073 => return Err(Step::Ecall),
            0x0010_0073 => return Err(Step::Ebreak),
            _ => {}
        }
        // Only CSRRS, CSRRC and their immediate forms can leave a CSR unwritten, with x0 or 0 as the operand.
        let reads_only = matches!((word >> 12) & 7, 2 | 3 | 6 | 7) && (word >> 15) & 31 == 0;
        if !reads_only {
            return Err(Step::Illegal);
        }
        match word >> 20 {
            csr::CYCLE | csr::TIME => Ok(bus.time()),
            csr::INSTRET => Ok(self.instret),
            csr::THREAD => Ok(u64::from(self.thread)),
            csr::THREADS => Ok(u64::from(self.threads)),
            csr::PLACE => Ok(u64::from(self.place)),
            _ => Err(Step::Illegal),
        }
    }
}

fn jump(target: u64) -> Result<u64, Step> {
    if target & 3 == 0 {
        Ok(target)
    } else {
        Err(Step::Misaligned(target))
    }
}

fn width(funct3: u32) -> Width {
    match funct3 & 3 {
        0 => Width::Byte,
        1 => Width::Half,
        2 => Width::Word,
        _ => Width::Double,
    }
}

fn load<B: Bus>(bus: &mut B, funct3: u32, addr: u64) -> Result<u64, Step> {
    if funct3 == 7 {
        return Err(Step::Illegal);
    }
    let width = width(funct3);
    if !width.aligns(addr) {
        return Err(Step::Misaligned(addr));
    }
    let raw = bus.load(addr, width).map_err(stalled(addr))?;
    Ok(if funct3 < 4 {
        width.sign_extend(raw)
    } else {
        raw
    })
}

fn store<B: Bus>(bus: &mut B, funct3: u32, addr: u64, value: u64) -> Result<(), Step> {
    if funct3 > 3 {
        return Err(Step::Illegal);
    }
    let width = width(funct3);
    if !width.aligns(addr) {
        return Err(Step::Misaligned(addr));
    }
    bus.store(addr, width, width.truncate(value))
        .map_err(stalled(addr))
}
