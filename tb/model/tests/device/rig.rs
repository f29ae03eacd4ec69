//! A host for one device: system memory, rings, page tables and programs.

use crate::dut::Dut;
use crate::ram::SharedRam;
use hmmu_model::rv64::enc;
use hmmu_model::{BusAddr, DeviceConfig, PhysAddr, VramAddr};
use hmmu_regs::*;

/// Where the message of vector n goes: this address, with data n.
pub const MSI_ADDR: u64 = 0xfee0_0000;
/// Longest wait for anything, in cycles.
pub const PATIENCE: u64 = 200_000;
/// Cycles until a read counts as lost. No order of completions keeps one back for longer: on a link of small requests,
/// each with a boundary in it, there are many that may go first.
pub const CPL_TIMEOUT: u64 = 4000;
/// Where programs are mapped.
pub const CODE: u64 = 0xffff_8000_0000_0000;

pub struct Rig {
    pub device: Box<dyn Dut>,
    pub ram: SharedRam,
    free_ram: u64,
    free_vram: u64,
    pub roots: [PhysAddr; 2],
    /// Vectors seen, in order.
    pub irqs: Vec<u32>,
    produced: [u32; 3],
    pub ctrl: u64,
    copy: u64,
    launch: u64,
    pub faults: u64,
    pub fault_seen: u32,
    pub fault_log2: u32,
    fence: u64,
    fences: u64,
}

pub const LOG2: u64 = 3;

impl Rig {
    pub fn new() -> Self {
        Self::with(DeviceConfig::default())
    }

    /// A device with its rings set up, MSI-X on, and contexts 0 and 1 in translation mode: tables of context 0 in
    /// VRAM, of context 1 in system memory.
    pub fn with(config: DeviceConfig) -> Self {
        let ram = SharedRam::new();
        let device = crate::make(config, &ram);
        Self::on(device, ram, CPL_TIMEOUT)
    }

    /// The same with a device that was made already, and a completion timeout.
    pub fn on(device: Box<dyn Dut>, ram: SharedRam, timeout: u64) -> Self {
        let mut rig = Self {
            device,
            ram,
            free_ram: 0x1000,
            free_vram: 0x1000,
            roots: [PhysAddr(0); 2],
            irqs: Vec::new(),
            produced: [0; 3],
            ctrl: 0,
            copy: 0,
            launch: 0,
            faults: 0,
            fault_seen: 0,
            fault_log2: 6,
            fence: 0,
            fences: 0,
        };
        for vector in 0..MSIX_VECTORS {
            rig.device
                .write_register(MSIX_TABLE + 16 * vector, MSI_ADDR);
            rig.device
                .write_register(MSIX_TABLE + 16 * vector + 8, vector);
        }
        (rig.ctrl, rig.copy, rig.launch) = (rig.ram_page(), rig.ram_page(), rig.ram_page());
        (rig.faults, rig.fence) = (rig.ram_page(), rig.ram_page());
        for (base, register) in [
            (rig.ctrl, reg::CTRL_BASE),
            (rig.copy, reg::COPY_BASE),
            (rig.launch, reg::LAUNCH_BASE),
        ] {
            rig.device.write_register(register, base);
            rig.device.write_register(register + 8, LOG2);
        }
        rig.device.write_register(reg::FAULT_BASE, rig.faults);
        rig.device
            .write_register(reg::FAULT_SIZE, u64::from(rig.fault_log2));
        rig.device.write_register(reg::CPL_TIMEOUT, timeout);
        rig.device.write_register(reg::CONTROL, 1);
        rig.roots = [
            PhysAddr::vram(VramAddr(rig.vram_page())),
            PhysAddr::system(BusAddr(rig.ram_page())),
        ];
        for ctx in 0..2 {
            let root = rig.roots[ctx as usize].0;
            rig.control(CtrlOp::CtxSet, ctx, 0, 0, root, CtxMode::Translate as u64);
        }
        rig
    }

    /// Hardware warps of all units.
    pub fn warps(&mut self) -> u64 {
        let caps = self.device.read_register(reg::CAPS).to_le_bytes();
        u64::from(caps[0]) * u64::from(caps[1])
    }

    /// State of each hardware warp.
    pub fn warp_states(&mut self) -> Vec<u64> {
        (0..self.warps())
            .map(|warp| self.device.read_register(reg::WARP_STATE + 8 * warp) >> 48 & 15)
            .collect()
    }

    pub fn ram_page(&mut self) -> u64 {
        self.free_ram += 4096;
        self.free_ram - 4096
    }

    pub fn vram_page(&mut self) -> u64 {
        self.free_vram += 4096;
        self.free_vram - 4096
    }

    // ---------------------------------------------------------------- time

    pub fn tick(&mut self, cycles: u64) {
        self.device.tick(cycles);
        while let Some((addr, data)) = self.device.take_message() {
            assert_eq!(addr, MSI_ADDR);
            self.irqs.push(data);
        }
    }

    /// Lets time pass until `done`; fails with `what` if that never comes.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.device.time() + PATIENCE;
        while !done(self) {
            assert!(
                self.device.time() < end,
                "no {what} within {PATIENCE} cycles"
            );
            self.tick(1);
        }
    }

    // ---------------------------------------------------------------- rings

    /// A new fence: its address (room for a Completion) and value. No record is used twice: a long job's would be
    /// taken by a later command.
    pub fn new_fence(&mut self) -> (u64, u64) {
        self.fences += 1;
        if self.fences.is_multiple_of(128) {
            self.fence = self.ram_page();
        }
        (self.fence + 32 * (self.fences % 128), self.fences)
    }

    pub fn push(&mut self, register: u64, words: [u64; 8]) {
        let (index, base) = match register {
            reg::CTRL_BASE => (0, self.ctrl),
            reg::COPY_BASE => (1, self.copy),
            _ => (2, self.launch),
        };
        let slot = u64::from(self.produced[index]) % (1 << LOG2);
        for (word, value) in words.into_iter().enumerate() {
            self.ram.write64(base + 64 * slot + 8 * word as u64, value);
        }
        self.produced[index] += 1;
        self.device
            .write_register(register + 0x10, u64::from(self.produced[index]));
    }

    /// The host restarts a ring by writing its size.
    pub fn restart(&mut self, register: u64) {
        let index = match register {
            reg::CTRL_BASE => 0,
            reg::COPY_BASE => 1,
            _ => 2,
        };
        self.produced[index] = 0;
        self.device.write_register(register + 8, LOG2);
    }

    pub fn control_entry(
        op: CtrlOp,
        ctx: u64,
        addr: u64,
        len: u64,
        arg0: u64,
        arg1: u64,
    ) -> CtrlEntry {
        CtrlEntry::default()
            .with_version(FORMAT_VERSION)
            .with_op(op as u64)
            .with_ctx(ctx)
            .with_addr(addr)
            .with_len(len)
            .with_arg0(arg0)
            .with_arg1(arg1)
    }

    /// Gives a command without waiting; where its fence comes, and its value.
    pub fn control_start(
        &mut self,
        op: CtrlOp,
        ctx: u64,
        addr: u64,
        len: u64,
        arg0: u64,
        arg1: u64,
    ) -> (u64, u64) {
        let (at, value) = self.new_fence();
        let entry = Self::control_entry(op, ctx, addr, len, arg0, arg1)
            .with_fence_addr(at)
            .with_fence_value(value);
        self.push(reg::CTRL_BASE, entry.0);
        (at, value)
    }

    /// Gives a command and waits for its fence.
    pub fn control(&mut self, op: CtrlOp, ctx: u64, addr: u64, len: u64, arg0: u64, arg1: u64) {
        let (at, value) = self.control_start(op, ctx, addr, len, arg0, arg1);
        self.until(op.name(), |rig| rig.ram.read64(at) == value);
    }

    pub fn invalidate(&mut self, ctx: u64, addr: u64) {
        self.control(CtrlOp::Invalidate, ctx, addr, 4096, 0, 0);
    }

    pub fn replay(&mut self, ctx: u64, addr: u64) {
        self.control(CtrlOp::Replay, ctx, addr, 4096, 0, 0);
    }

    /// The Completion at `at`, once its value is there.
    pub fn completion(&mut self, (at, value): (u64, u64)) -> Completion {
        self.until("completion", |rig| rig.ram.read64(at) == value);
        Completion(std::array::from_fn(|word| {
            self.ram.read64(at + 8 * word as u64)
        }))
    }

    pub fn done(&self, (at, value): (u64, u64)) -> bool {
        self.ram.read64(at) == value
    }

    pub fn copy_start(&mut self, entry: CopyEntry) -> (u64, u64) {
        let (at, value) = self.new_fence();
        let entry = entry
            .with_version(FORMAT_VERSION)
            .with_fence_addr(at)
            .with_fence_value(value);
        self.push(reg::COPY_BASE, entry.0);
        (at, value)
    }

    // ---------------------------------------------------------------- tables and programs

    pub fn phys_read64(&mut self, at: PhysAddr) -> u64 {
        if at.0 & PhysAddr::VRAM == 0 {
            return self.ram.read64(at.0);
        }
        let mut raw = [0; 8];
        self.device
            .vram_read(VramAddr(at.0 & !PhysAddr::VRAM), &mut raw);
        u64::from_le_bytes(raw)
    }

    pub fn phys_write64(&mut self, at: PhysAddr, value: u64) {
        if at.0 & PhysAddr::VRAM == 0 {
            return self.ram.write64(at.0, value);
        }
        self.device
            .vram_write(VramAddr(at.0 & !PhysAddr::VRAM), &value.to_le_bytes());
    }

    /// Bytes of physical memory.
    pub fn phys_bytes(&mut self, at: PhysAddr, len: u64) -> Vec<u8> {
        if at.0 & PhysAddr::VRAM == 0 {
            return self.ram.bytes(at.0, len);
        }
        let mut bytes = vec![0; len as usize];
        self.device
            .vram_read(VramAddr(at.0 & !PhysAddr::VRAM), &mut bytes);
        bytes
    }

    pub fn phys_set(&mut self, at: PhysAddr, bytes: &[u8]) {
        if at.0 & PhysAddr::VRAM == 0 {
            return self.ram.set(at.0, bytes);
        }
        self.device
            .vram_write(VramAddr(at.0 & !PhysAddr::VRAM), bytes);
    }

    /// Where the entry of `level` for `va` is; tables on the way are made.
    pub fn pte_at(&mut self, ctx: usize, va: u64, level: u32) -> PhysAddr {
        let mut table = self.roots[ctx];
        let index = |level: u32| 8 * (va >> (12 + 9 * level) & 511);
        for above in (level + 1..4).rev() {
            let at = PhysAddr(table.0 + index(above));
            let mut entry = Pte([self.phys_read64(at)]);
            if entry.v() == 0 {
                let page = if ctx == 0 {
                    PhysAddr::VRAM | self.vram_page()
                } else {
                    self.ram_page()
                };
                entry = Pte::default().with_v(1).with_ppn(page >> 12);
                self.phys_write64(at, entry.0[0]);
            }
            table = PhysAddr(entry.ppn() << 12);
        }
        PhysAddr(table.0 + index(level))
    }

    /// A leaf for a physical address with the rights in `rights` ("rwxa": `a` allows atomics).
    pub fn leaf(at: PhysAddr, rights: &str) -> Pte {
        let has = |right| u64::from(rights.contains(right));
        Pte::default()
            .with_v(1)
            .with_u(1)
            .with_r(has('r'))
            .with_w(has('w'))
            .with_x(has('x'))
            .with_atomic(has('a'))
            .with_ppn(at.0 >> 12)
    }

    pub fn map(&mut self, ctx: usize, va: u64, at: PhysAddr, rights: &str) {
        let entry = self.pte_at(ctx, va, 0);
        self.phys_write64(entry, Self::leaf(at, rights).0[0]);
    }

    pub fn pte(&mut self, ctx: usize, va: u64) -> Pte {
        let at = self.pte_at(ctx, va, 0);
        Pte([self.phys_read64(at)])
    }

    /// Writes one byte, as a driver does to the tables.
    pub fn set_byte(&mut self, at: PhysAddr, byte: u8) {
        self.phys_set(at, &[byte]);
    }

    /// Revokes an entry as the driver does: its byte 7 alone.
    pub fn revoke(&mut self, ctx: usize, va: u64) {
        let at = self.pte_at(ctx, va, 0);
        self.set_byte(PhysAddr(at.0 + 7), 0x1f);
    }

    /// A new page of system memory, mapped.
    pub fn map_ram(&mut self, ctx: usize, va: u64, rights: &str) -> u64 {
        let page = self.ram_page();
        self.map(ctx, va, PhysAddr::system(BusAddr(page)), rights);
        page
    }

    /// A new page of VRAM, mapped.
    pub fn map_vram(&mut self, ctx: usize, va: u64, rights: &str) -> PhysAddr {
        let page = PhysAddr::vram(VramAddr(self.vram_page()));
        self.map(ctx, va, page, rights);
        page
    }

    /// Maps a program into `ctx` at CODE, in VRAM, in the place of an earlier one.
    pub fn load(&mut self, ctx: usize, program: &[u32]) {
        let replaces = self.pte(ctx, CODE).v() == 1;
        let page = self.map_vram(ctx, CODE, "rx");
        let offset = page.0 & !PhysAddr::VRAM;
        self.device
            .vram_write(VramAddr(offset), &enc::bytes(program));
        if replaces {
            self.invalidate(ctx as u64, CODE);
        }
    }

    pub fn launch_entry(&mut self, ctx: u64, arg: u64, threads: u64) -> (LaunchEntry, (u64, u64)) {
        let fence = self.new_fence();
        let entry = LaunchEntry::default()
            .with_version(FORMAT_VERSION)
            .with_ctx(ctx)
            .with_threads(threads)
            .with_entry(CODE)
            .with_arg(arg)
            .with_fence_addr(fence.0)
            .with_fence_value(fence.1)
            .with_irq(1)
            .with_job(fence.1);
        (entry, fence)
    }

    /// Launches the loaded program; its fence. The job's id is the fence's value.
    pub fn launch(&mut self, ctx: u64, arg: u64, threads: u64) -> (u64, u64) {
        let (entry, fence) = self.launch_entry(ctx, arg, threads);
        self.push(reg::LAUNCH_BASE, entry.0);
        fence
    }

    /// Loads and runs a program on one thread.
    pub fn run(&mut self, ctx: u64, arg: u64, program: &[u32]) -> Completion {
        self.load(ctx as usize, program);
        let fence = self.launch(ctx, arg, 1);
        self.completion(fence)
    }

    // ---------------------------------------------------------------- faults

    /// Takes the next fault record if it is there, by its phase bit alone.
    pub fn take_fault(&mut self) -> Option<FaultRecord> {
        let size = 1 << self.fault_log2;
        let at = self.faults + 32 * u64::from(self.fault_seen % size);
        let record = FaultRecord(std::array::from_fn(|word| {
            self.ram.read64(at + 8 * word as u64)
        }));
        let phase = u64::from(!(self.fault_seen / size) & 1);
        if record.version() != FORMAT_VERSION || record.phase() != phase {
            return None;
        }
        self.fault_seen += 1;
        self.device
            .write_register(reg::FAULT_CONS, u64::from(self.fault_seen));
        Some(record)
    }

    /// Waits for the next fault record.
    pub fn fault(&mut self) -> FaultRecord {
        let end = self.device.time() + PATIENCE;
        loop {
            if let Some(record) = self.take_fault() {
                return record;
            }
            assert!(
                self.device.time() < end,
                "no fault within {PATIENCE} cycles"
            );
            self.tick(1);
        }
    }

    pub fn count(&mut self, counter: Counter) -> u64 {
        self.device.counter(counter)
    }
}
