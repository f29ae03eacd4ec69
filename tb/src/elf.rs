//! Device programs out of ELF files.
//!
//! A program runs in the driver's half of the address space, wherever there is room
//! (docs/decisions/0005-programs-in-the-upper-half.md). So a file must be a static position-independent executable of
//! RV64IMA; its relocations can only be of its own addresses. Its writable data is fresh for every job and shared by
//! the job's threads. Its entry point starts as that of the built-in kernels does (see [`crate::kernels`]); nobody runs
//! before it.

use std::collections::BTreeSet;

use hmmu_driver::Program;
use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use thiserror::Error;

/// Bytes of a page: the image keeps its place in a page.
const PAGE: u64 = 4096;
/// Bytes of an Elf64_Rela.
const RELA_BYTES: u64 = 24;
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
    #[error(
        "type {0} is not a position-independent executable (3): compile it with -fpie and link it with \
         -nostdlib -static -Wl,-pie,--no-dynamic-linker"
    )]
    Fixed(u16),
    /// Needs an interpreter, libraries or relocations.
    #[error(
        "it needs {0} at run time, which a device program does not have: link it with \
         -nostdlib -static -Wl,-pie,--no-dynamic-linker"
    )]
    Dynamic(&'static str),
    /// A relocation that is not of an address of its own.
    #[error("a relocation of type {kind} at {at:#x}: only R_RISCV_RELATIVE (3) can be done")]
    Relocation {
        /// Its type.
        kind: u64,
        /// Address in the file.
        at: u64,
    },
    /// Data and code on one page.
    #[error(
        "writable data and code on the page at {0:#x}: link it with separate segments (-z separate-code)"
    )]
    Mixed(u64),
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
    let relocations = dynamic(segments, file)?;
    let mut image = image(segments, file, header.e_entry(endian))?;
    image.program.writable = writable(segments, image.base)?;
    relocate(&mut image, relocations)?;
    Ok(image.program)
}

/// A program, and the address of its image in the file.
struct Image {
    program: Program,
    base: u64,
}

/// A table of relocations: address, bytes.
type Table = (u64, u64);

/// Where the relocations are. Refuses what somebody else would have to do before the first instruction.
fn dynamic(segments: &[Segment], file: &[u8]) -> Result<Table, ElfError> {
    let endian = LittleEndian;
    let mut table = (0, 0);
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
                elf::DT_RELA => table.0 = value,
                elf::DT_RELASZ => table.1 = value,
                elf::DT_RELSZ | elf::DT_RELRSZ | elf::DT_PLTRELSZ if value > 0 => {
                    return Err(ElfError::Dynamic(
                        "relocations of another form than RELA (-z nopack-relative-relocs)",
                    ));
                }
                _ => {}
            }
        }
    }
    Ok(table)
}

/// Makes the words that hold addresses relative to the image, and notes where they are.
fn relocate(image: &mut Image, (table, bytes): Table) -> Result<(), ElfError> {
    let Image { program, base } = image;
    let missing = || ElfError::Malformed("its relocations reach over its image".into());
    for start in (0..bytes).step_by(RELA_BYTES as usize) {
        let word = |n: u64| {
            let at = table.checked_add(start + 8 * n)?.checked_sub(*base)?;
            let bytes = program.code.get(usize::try_from(at).ok()?..)?;
            bytes.first_chunk().map(|word| u64::from_le_bytes(*word))
        };
        let (at, info) = (word(0).ok_or_else(missing)?, word(1).ok_or_else(missing)?);
        let addend = word(2).ok_or_else(missing)?;
        let kind = info & 0xffff_ffff;
        if kind == u64::from(elf::R_RISCV_NONE.0) {
            continue;
        }
        if kind != u64::from(elf::R_RISCV_RELATIVE.0) {
            return Err(ElfError::Relocation { kind, at });
        }
        let offset = at.checked_sub(*base).ok_or_else(missing)?;
        let place = usize::try_from(offset)
            .ok()
            .and_then(|offset| program.code.get_mut(offset..))
            .and_then(|rest| rest.first_chunk_mut::<8>());
        *place.ok_or_else(missing)? = addend.wrapping_sub(*base).to_le_bytes();
        program.relative.push(offset);
    }
    Ok(())
}

/// The pages of the image that hold data to be written, but for what is read-only once a program is relocated.
fn writable(segments: &[Segment], base: u64) -> Result<Vec<u64>, ElfError> {
    let endian = LittleEndian;
    let of = |kind| segments.iter().filter(move |s| s.p_type(endian) == kind);
    let range = |s: &Segment| {
        let start = s.p_vaddr(endian);
        (start, start.saturating_add(s.p_memsz(endian)))
    };
    let has = |s: &Segment, flag: u32| s.p_flags(endian).0 & flag != 0;
    let mut pages = BTreeSet::new();
    for segment in of(elf::PT_LOAD).filter(|s| has(s, elf::PF_W.0)) {
        let (start, end) = range(segment);
        let fixed = of(elf::PT_GNU_RELRO)
            .map(range)
            .find(|(from, to)| *from <= start && start < *to);
        let start = fixed.map_or(start, |(_, to)| to);
        if start < end {
            pages.extend((start / PAGE..end.div_ceil(PAGE)).map(|page| page * PAGE));
        }
    }
    for segment in of(elf::PT_LOAD).filter(|s| has(s, elf::PF_X.0)) {
        let (start, end) = range(segment);
        let code = start - start % PAGE..end;
        if let Some(page) = pages.iter().find(|page| code.contains(page)) {
            return Err(ElfError::Mixed(*page));
        }
    }
    Ok(pages.into_iter().map(|page| page - base).collect())
}

/// All segments as one run of bytes, and where in it the entry point is.
fn image(segments: &[Segment], file: &[u8], entry: u64) -> Result<Image, ElfError> {
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
    let program = Program {
        code,
        entry: entry - base,
        ..Program::default()
    };
    Ok(Image { program, base })
}
