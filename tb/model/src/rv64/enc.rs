//! Encoders of single instructions, for tests and small programs. Registers are numbers 0..32; branch and jump
//! offsets are in bytes from the instruction. Immediates that do not fit lose their high bits.

/// R-type: opcode, funct3, funct7.
#[must_use]
pub const fn r(opcode: u32, funct3: u32, funct7: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    opcode | rd << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | funct7 << 25
}

/// I-type: opcode, funct3.
#[must_use]
pub const fn i(opcode: u32, funct3: u32, rd: u32, rs1: u32, imm: i32) -> u32 {
    opcode | rd << 7 | funct3 << 12 | rs1 << 15 | (imm as u32) << 20
}

/// S-type: funct3; stores `rs2` at `rs1 + imm`.
#[must_use]
pub const fn s(funct3: u32, rs2: u32, rs1: u32, imm: i32) -> u32 {
    let imm = imm as u32;
    0x23 | (imm & 31) << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | ((imm >> 5) & 127) << 25
}

/// B-type: funct3.
#[must_use]
pub const fn b(funct3: u32, rs1: u32, rs2: u32, offset: i32) -> u32 {
    let o = offset as u32;
    0x63 | ((o >> 11) & 1) << 7
        | ((o >> 1) & 15) << 8
        | funct3 << 12
        | rs1 << 15
        | rs2 << 20
        | ((o >> 5) & 63) << 25
        | ((o >> 12) & 1) << 31
}

/// LUI; `imm` is the value of bits 31:12.
#[must_use]
pub const fn lui(rd: u32, imm: u32) -> u32 {
    0x37 | rd << 7 | imm << 12
}

/// AUIPC; `imm` is the value of bits 31:12.
#[must_use]
pub const fn auipc(rd: u32, imm: u32) -> u32 {
    0x17 | rd << 7 | imm << 12
}

/// JAL.
#[must_use]
pub const fn jal(rd: u32, offset: i32) -> u32 {
    let o = offset as u32;
    0x6f | rd << 7
        | (o & 0xf_f000)
        | ((o >> 11) & 1) << 20
        | ((o >> 1) & 0x3ff) << 21
        | ((o >> 20) & 1) << 31
}

/// JALR.
#[must_use]
pub const fn jalr(rd: u32, rs1: u32, imm: i32) -> u32 {
    i(0x67, 0, rd, rs1, imm)
}

/// AMO, LR and SC: funct5 and the width (2 word, 3 double).
#[must_use]
pub const fn amo(funct5: u32, width: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    r(0x2f, width, funct5 << 2, rd, rs1, rs2)
}

/// CSRRS rd, csr, x0.
#[must_use]
pub const fn csrr(rd: u32, csr: u32) -> u32 {
    i(0x73, 2, rd, 0, csr as i32)
}

/// ECALL.
pub const ECALL: u32 = 0x73;
/// EBREAK.
pub const EBREAK: u32 = 0x0010_0073;
/// FENCE.
pub const FENCE: u32 = 0x0ff0_000f;
/// FENCE.I.
pub const FENCE_I: u32 = 0x0000_100f;

macro_rules! reg_reg {
    ($($name:ident $opcode:literal $funct3:literal $funct7:literal;)*) => {$(
        #[doc = concat!("The instruction `", stringify!($name), "`.")]
        #[must_use]
        pub const fn $name(rd: u32, rs1: u32, rs2: u32) -> u32 { r($opcode, $funct3, $funct7, rd, rs1, rs2) }
    )*};
}

macro_rules! reg_imm {
    ($($name:ident $opcode:literal $funct3:literal;)*) => {$(
        #[doc = concat!("The instruction `", stringify!($name), "`.")]
        #[must_use]
        pub const fn $name(rd: u32, rs1: u32, imm: i32) -> u32 { i($opcode, $funct3, rd, rs1, imm) }
    )*};
}

macro_rules! stores {
    ($($name:ident $funct3:literal;)*) => {$(
        #[doc = concat!("The instruction `", stringify!($name), "`: stores `rs2` at `rs1 + imm`.")]
        #[must_use]
        pub const fn $name(rs2: u32, rs1: u32, imm: i32) -> u32 { s($funct3, rs2, rs1, imm) }
    )*};
}

macro_rules! branches {
    ($($name:ident $funct3:literal;)*) => {$(
        #[doc = concat!("The instruction `", stringify!($name), "`.")]
        #[must_use]
        pub const fn $name(rs1: u32, rs2: u32, offset: i32) -> u32 { b($funct3, rs1, rs2, offset) }
    )*};
}

macro_rules! atomics {
    ($($name:ident $funct5:literal $width:literal;)*) => {$(
        #[doc = concat!("The instruction `", stringify!($name), "` at the address in `rs1` (LR: `rs2` is 0).")]
        #[must_use]
        pub const fn $name(rd: u32, rs1: u32, rs2: u32) -> u32 { amo($funct5, $width, rd, rs1, rs2) }
    )*};
}

reg_reg! {
    add 0x33 0 0; sub 0x33 0 0x20; sll 0x33 1 0; slt 0x33 2 0; sltu 0x33 3 0;
    xor 0x33 4 0; srl 0x33 5 0; sra 0x33 5 0x20; or 0x33 6 0; and 0x33 7 0;
    addw 0x3b 0 0; subw 0x3b 0 0x20; sllw 0x3b 1 0; srlw 0x3b 5 0; sraw 0x3b 5 0x20;
    mul 0x33 0 1; mulh 0x33 1 1; mulhsu 0x33 2 1; mulhu 0x33 3 1;
    div 0x33 4 1; divu 0x33 5 1; rem 0x33 6 1; remu 0x33 7 1;
    mulw 0x3b 0 1; divw 0x3b 4 1; divuw 0x3b 5 1; remw 0x3b 6 1; remuw 0x3b 7 1;
}

reg_imm! {
    addi 0x13 0; slli 0x13 1; slti 0x13 2; sltiu 0x13 3; xori 0x13 4; srli 0x13 5; ori 0x13 6; andi 0x13 7;
    addiw 0x1b 0; slliw 0x1b 1; srliw 0x1b 5;
    lb 0x03 0; lh 0x03 1; lw 0x03 2; ld 0x03 3; lbu 0x03 4; lhu 0x03 5; lwu 0x03 6;
}

stores! { sb 0; sh 1; sw 2; sd 3; }

branches! { beq 0; bne 1; blt 4; bge 5; bltu 6; bgeu 7; }

atomics! {
    lr_w 0b00010 2; lr_d 0b00010 3; sc_w 0b00011 2; sc_d 0b00011 3;
    amoswap_w 0b00001 2; amoswap_d 0b00001 3; amoadd_w 0 2; amoadd_d 0 3;
    amoxor_w 0b00100 2; amoxor_d 0b00100 3; amoand_w 0b01100 2; amoand_d 0b01100 3;
    amoor_w 0b01000 2; amoor_d 0b01000 3; amomin_w 0b10000 2; amomin_d 0b10000 3;
    amomax_w 0b10100 2; amomax_d 0b10100 3; amominu_w 0b11000 2; amominu_d 0b11000 3;
    amomaxu_w 0b11100 2; amomaxu_d 0b11100 3;
}

/// SRAI.
#[must_use]
pub const fn srai(rd: u32, rs1: u32, shamt: i32) -> u32 {
    i(0x13, 5, rd, rs1, shamt | 0x400)
}

/// SRAIW.
#[must_use]
pub const fn sraiw(rd: u32, rs1: u32, shamt: i32) -> u32 {
    i(0x1b, 5, rd, rs1, shamt | 0x400)
}

/// The bytes of a program, little endian.
#[must_use]
pub fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
