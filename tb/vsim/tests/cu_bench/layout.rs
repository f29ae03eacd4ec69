//! Where the fields of the compute unit's packed ports lie: (first bit, width).

/// One field of a port.
pub type Field = (u32, u32);

/// `thread_t`
pub mod thread {
    use super::Field;
    pub const STACK_SIZE: Field = (0, 64);
    pub const STACK_BASE: Field = (64, 64);
    pub const THREADS: Field = (128, 32);
    pub const INDEX: Field = (160, 32);
    pub const ARG: Field = (192, 64);
    pub const ENTRY: Field = (256, 64);
    pub const CTX: Field = (320, 4);
    pub const JOB: Field = (324, 4);
    pub const PLACE: Field = (328, 6);
    pub const RESTORE: Field = (334, 1);
}

/// `thread_end_t`
pub mod end {
    use super::Field;
    pub const INFO: Field = (0, 48);
    pub const STATUS: Field = (48, 8);
    pub const RESULT: Field = (56, 64);
    pub const JOB: Field = (120, 4);
    pub const PLACE: Field = (124, 6);
}

/// `mem_req_t`
pub mod req {
    use super::Field;
    pub const TAG: Field = (0, 8);
    pub const DATA_LO: Field = (8, 64);
    pub const DATA_HI: Field = (72, 64);
    pub const STRB: Field = (136, 16);
    pub const ADDR: Field = (152, 56);
    pub const CAS32: Field = (208, 1);
    pub const OP: Field = (209, 2);
}

/// `mem_rsp_t`
pub mod rsp {
    use super::Field;
    pub const DATA_LO: Field = (0, 64);
    pub const DATA_HI: Field = (64, 64);
    pub const ERR: Field = (128, 1);
    pub const TAG: Field = (129, 8);
}

/// `miss_t`
pub mod miss {
    use super::Field;
    pub const CLIENT: Field = (0, 4);
    pub const ACCESS: Field = (4, 2);
    pub const VPN: Field = (6, 36);
    pub const CTX: Field = (42, 4);
}

/// `mmu_event_t`
pub mod event {
    use super::Field;
    pub const X_ATOMIC: Field = (0, 1);
    pub const X_D: Field = (1, 1);
    pub const X_X: Field = (2, 1);
    pub const X_W: Field = (3, 1);
    pub const X_R: Field = (4, 1);
    pub const X_PPN: Field = (7, 44);
    pub const X_VPN: Field = (51, 36);
    pub const X_CTX: Field = (87, 4);
    pub const CODE: Field = (91, 8);
    pub const ACCESS: Field = (99, 2);
    pub const HI: Field = (101, 36);
    pub const LO: Field = (137, 36);
    pub const CTX: Field = (173, 4);
    pub const EV: Field = (177, 3);
}
