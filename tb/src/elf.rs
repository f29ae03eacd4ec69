//! Device programs out of ELF files.
//!
//! A program runs in the driver's half of the address space, wherever there is room, and its image is read-only
//! (docs/decisions/0005-programs-in-the-upper-half.md). So a file must be a static position-independent
//! executable of RV64IMA without relocations and without writable data, as
//! `clang --target=riscv64 -march=rv64ima -mabi=lp64 -O2 -fpie -nostdlib -static-pie` makes of a function that
//! uses no globals but constants. Its entry point starts as that of the built-in kernels does (see
//! [`crate::kernels`]).

use hmmu_driver::Program;
use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use thiserror::Error;

/// Bytes of a page: the image keeps its place in a page.
const PAGE: u64 = 4096;
/// Largest image, bytes.
const MOST: u64 = 4 << 20;
/// e_flags: compressed instructions, floating-point calling conventions, 16 registers only.
const UNUSABLE_FLAGS: u32 = elf::EF_RISCV_RVC.0 | elf::EF_RISCV_FLOAT_ABI | elf::EF_RISCV_RVE.0;

/// Why an ELF file is no device program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ElfError {
    /// Not ELF, or damaged.
    #[error("not a 64-bit little-endian ELF file: {0}")]
    Malformed(String),
    /// For another processor.
    #[error("machine {0} is not RISC-V (243)")]
    Machine(u16),
    /// For another kind of RISC-V.
    #[error(
        "e_flags {0:#x}: compressed instructions, floating point or RV32E; build it with -march=rv64ima -mabi=lp64"
    )]
    Flags(u32),
    /// Linked to fixed addresses, or not linked at all.
    #[error("type {0} is not a position-independent executable (3): link it with -static-pie")]
    Fixed(u16),
    /// Needs an interpreter, libraries or relocations.
    #[error("it needs {0} at run time, which a device program does not have")]
    Dynamic(&'static str),
    /// Has data of its own to write.
    #[error(
        "{bytes} bytes of writable data at {at:#x}: a device program's image is read-only, pass memory by its arguments"
    )]
    Writable {
        /// Address in the file.
        at: u64,
        /// How many.
        bytes: u64,
    },
    /// No code, an entry point outside of it, or too much of everything.
    #[error("{0}")]
    Image(String),
}

type Header = FileHeader64<LittleEndian>;
type Segment = elf::ProgramHeader64<LittleEndian>;

fn malformed(error: object::Error) -> ElfError {
    ElfError::Malformed(error.to_string())
}

/// Makes a device program of an ELF file's bytes.
///
/// # Errors
/// What it is that cannot be used.
pub fn load(file: &[u8]) -> Result<Program, ElfError> {
    let header = Header::parse(file).map_err(malformed)?;
    if !header.is_supported() || header.e_ident().data != elf::ELFDATA2LSB {
        return Err(ElfError::Malformed("another class or byte order".into()));
    }
    let endian = LittleEndian;
    if header.e_machine(endian) != elf::EM_RISCV {
        return Err(ElfError::Machine(header.e_machine(endian).0));
    }
    if header.e_flags(endian).0 & UNUSABLE_FLAGS != 0 {
        return Err(ElfError::Flags(header.e_flags(endian).0));
    }
    if header.e_type(endian) != elf::ET_DYN {
        return Err(ElfError::Fixed(header.e_type(endian).0));
    }
    let segments = header.program_headers(endian, file).map_err(malformed)?;
    check_dynamic(segments, file)?;
    check_writable(segments)?;
    image(segments, file, header.e_entry(endian))
}

/// Refuses what somebody would have to do before the first instruction.
fn check_dynamic(segments: &[Segment], file: &[u8]) -> Result<(), ElfError> {
    let endian = LittleEndian;
    for segment in segments {
        if segment.p_type(endian) == elf::PT_INTERP {
            return Err(ElfError::Dynamic("an interpreter"));
        }
        if segment.p_type(endian) == elf::PT_TLS && segment.p_memsz(endian) > 0 {
            return Err(ElfError::Dynamic("thread-local memory"));
        }
        let entries = segment.dynamic(endian, file).map_err(malformed)?;
        for entry in entries.unwrap_or_default() {
            let value = entry.d_val(endian);
            match entry.d_tag(endian) {
                elf::DT_NEEDED => return Err(ElfError::Dynamic("a shared library")),
                elf::DT_RELASZ | elf::DT_RELSZ | elf::DT_RELRSZ | elf::DT_PLTRELSZ if value > 0 => {
                    return Err(ElfError::Dynamic("relocations (pointers in its data)"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Refuses writable data but for what is read-only once a program is relocated.
fn check_writable(segments: &[Segment]) -> Result<(), ElfError> {
    let endian = LittleEndian;
    let of = |kind| segments.iter().filter(move |s| s.p_type(endian) == kind);
    let range = |s: &Segment| (s.p_vaddr(endian), s.p_memsz(endian));
    for segment in of(elf::PT_LOAD).filter(|s| s.p_flags(endian).0 & elf::PF_W.0 != 0) {
        let (start, len) = range(segment);
        let fixed = of(elf::PT_GNU_RELRO)
            .map(range)
            .find(|(from, size)| *from <= start && start < from.saturating_add(*size));
        let end = fixed.map_or(start, |(from, size)| from.saturating_add(size));
        let rest = start.saturating_add(len).saturating_sub(end);
        if rest > 0 {
            return Err(ElfError::Writable {
                at: end,
                bytes: rest,
            });
        }
    }
    Ok(())
}

/// All segments as one run of bytes, and where in it the entry point is.
fn image(segments: &[Segment], file: &[u8], entry: u64) -> Result<Program, ElfError> {
    let endian = LittleEndian;
    let loads: Vec<&Segment> = segments
        .iter()
        .filter(|s| s.p_type(endian) == elf::PT_LOAD && s.p_memsz(endian) > 0)
        .collect();
    let end_of = |s: &Segment| s.p_vaddr(endian).checked_add(s.p_memsz(endian));
    let first = loads.iter().map(|s| s.p_vaddr(endian)).min();
    let ends: Option<Vec<u64>> = loads.iter().map(|s| end_of(s)).collect();
    let end = ends.and_then(|ends| ends.into_iter().max());
    let (Some(first), Some(end)) = (first, end) else {
        return Err(ElfError::Image("no segment to load".into()));
    };
    let base = first & !(PAGE - 1);
    if end - base > MOST {
        return Err(ElfError::Image(format!(
            "an image of {} bytes: at most {MOST}",
            end - base
        )));
    }
    let mut code = vec![0; (end - base) as usize];
    let mut runs = false;
    for segment in loads {
        let data = segment
            .data(endian, file)
            .map_err(|()| ElfError::Malformed("a segment reaches over the file's end".into()))?;
        let start = segment.p_vaddr(endian);
        let at = (start - base) as usize;
        let place = code
            .get_mut(at..at + data.len())
            .filter(|_| data.len() as u64 <= segment.p_memsz(endian));
        place
            .ok_or_else(|| ElfError::Malformed("a segment has more bytes than memory".into()))?
            .copy_from_slice(data);
        runs |= segment.p_flags(endian).0 & elf::PF_X.0 != 0
            && start <= entry
            && entry - start < data.len() as u64;
    }
    if !runs || !entry.is_multiple_of(4) {
        return Err(ElfError::Image(format!(
            "the entry point {entry:#x} is not in the code"
        )));
    }
    Ok(Program {
        code,
        entry: entry - base,
    })
}
