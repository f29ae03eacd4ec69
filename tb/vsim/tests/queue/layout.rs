//! Bit positions in the packed ports (`rtl/hmmu_pkg.sv`): first field in the most significant bits.

use hmmu_vsim::Block;

/// A field of a packed port.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its lowest bit.
    pub lsb: u32,
    /// Its width in bits, at most 64.
    pub width: u32,
}

const fn field(lsb: u32, width: u32) -> Field {
    Field { lsb, width }
}

impl Field {
    /// Reads the field of a port.
    pub fn get(self, block: &mut Block, port: &str) -> u64 {
        block.get_bits(port, self.lsb, self.width)
    }

    /// The same field of element `n` in an array of elements of `bits` bits.
    pub const fn of(self, n: usize, bits: u32) -> Self {
        field(self.lsb + n as u32 * bits, self.width)
    }

    /// Sets the field of a port.
    pub fn set(self, block: &mut Block, port: &str, value: u64) {
        block.set_bits(port, self.lsb, self.width, value);
    }
}

/// `mem_req_t`.
pub mod mem_req {
    use super::{Field, field};
    pub const TAG: Field = field(0, 8);
    pub const DATA_LO: Field = field(8, 64);
    pub const DATA_HI: Field = field(72, 64);
    pub const STRB: Field = field(136, 16);
    pub const ADDR: Field = field(152, 56);
    pub const OP: Field = field(209, 2);
}

/// `mem_rsp_t`.
pub mod mem_rsp {
    use super::{Field, field};
    pub const DATA_LO: Field = field(0, 64);
    pub const DATA_HI: Field = field(64, 64);
    pub const ERR: Field = field(128, 1);
    pub const TAG: Field = field(129, 8);
}

/// `burst_t`.
pub mod burst {
    use super::{Field, field};
    pub const TAG: Field = field(0, 8);
    pub const LEN: Field = field(8, 10);
    pub const ADDR: Field = field(18, 56);
}

/// `burst_rsp_t`.
pub mod burst_rsp {
    use super::{Field, field};
    pub const DATA_LO: Field = field(0, 64);
    pub const DATA_HI: Field = field(64, 64);
    pub const STRB: Field = field(128, 16);
    pub const BEAT: Field = field(144, 5);
    pub const LAST: Field = field(149, 1);
    pub const ERR: Field = field(150, 1);
    pub const TAG: Field = field(151, 8);
}

/// `ring_cfg_t`.
pub mod ring_cfg {
    use super::{Field, field};
    pub const BITS: u32 = 101;
    pub const INDEX: Field = field(0, 32);
    pub const RESET: Field = field(32, 1);
    pub const SIZE_LOG2: Field = field(33, 4);
    pub const BASE: Field = field(37, 64);
}

/// `copy_ctl_t`.
pub mod copy_ctl {
    use super::{Field, field};
    pub const BITS: u32 = 5;
    pub const PRIO: Field = field(0, 2);
    pub const HALT: Field = field(2, 1);
    pub const SUSPEND: Field = field(3, 1);
    pub const CANCEL: Field = field(4, 1);
}

/// `copy_sta_t`.
pub mod copy_sta {
    use super::{Field, field};
    pub const BITS: u32 = 6;
    pub const IDLE: Field = field(0, 1);
    pub const STOPPED: Field = field(1, 1);
    pub const QUIET: Field = field(2, 1);
    pub const PARKS: Field = field(3, 1);
    pub const POLLS: Field = field(4, 1);
}

/// `copy_rec_t`.
pub mod copy_rec {
    use super::{Field, field};
    pub const BITS: u32 = 65;
    pub const ADDR: Field = field(0, 56);
    pub const STATUS: Field = field(56, 8);
    pub const VALID: Field = field(64, 1);
}

/// `miss_t`.
pub mod miss {
    use super::{Field, field};
    pub const CLIENT: Field = field(0, 4);
    pub const ACCESS: Field = field(4, 2);
    pub const VPN: Field = field(6, 36);
    pub const CTX: Field = field(42, 4);
}

/// `mmu_event_t`, with its `xlat_t` in the lowest bits.
pub mod event {
    use super::{Field, field};
    pub const XLAT_ATOMIC: Field = field(0, 1);
    pub const XLAT_D: Field = field(1, 1);
    pub const XLAT_X: Field = field(2, 1);
    pub const XLAT_W: Field = field(3, 1);
    pub const XLAT_R: Field = field(4, 1);
    pub const XLAT_SIZE: Field = field(5, 2);
    pub const XLAT_PPN: Field = field(7, 44);
    pub const XLAT_VPN: Field = field(51, 36);
    pub const XLAT_CTX: Field = field(87, 4);
    pub const CODE: Field = field(91, 8);
    pub const ACCESS: Field = field(99, 2);
    pub const HI: Field = field(101, 36);
    pub const LO: Field = field(137, 36);
    pub const CTX: Field = field(173, 4);
    pub const EV: Field = field(177, 3);
}

/// `mmu_cmd_t`.
pub mod mmu_cmd {
    use super::{Field, field};
    pub const CODE: Field = field(0, 8);
    pub const ACCESS: Field = field(8, 2);
    pub const ROOT: Field = field(10, 44);
    pub const MODE: Field = field(54, 2);
    pub const LOG: Field = field(56, 1);
    pub const HI: Field = field(57, 36);
    pub const LO: Field = field(93, 36);
    pub const CTX: Field = field(129, 4);
    pub const OP: Field = field(133, 8);
}
