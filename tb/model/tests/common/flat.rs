//! A flat memory for one hart: 4 KiB at address 0, with a switch that refuses the next access.

use hmmu_model::rv64::{AmoOp, Bus, Stall, Width};

pub struct Flat {
    pub bytes: Vec<u8>,
    /// What data accesses answer instead of happening.
    pub refuse: Option<Stall>,
    pub time: u64,
    pub fences: u32,
}

impl Flat {
    pub fn new(program: &[u32]) -> Self {
        let mut bytes = vec![0; 4096];
        for (index, word) in program.iter().enumerate() {
            bytes[4 * index..4 * index + 4].copy_from_slice(&word.to_le_bytes());
        }
        Self {
            bytes,
            refuse: None,
            time: 0,
            fences: 0,
        }
    }

    pub fn read(&self, addr: u64, width: Width) -> u64 {
        let mut raw = [0; 8];
        let at = addr as usize;
        raw[..width.bytes()].copy_from_slice(&self.bytes[at..at + width.bytes()]);
        u64::from_le_bytes(raw)
    }

    pub fn write(&mut self, addr: u64, width: Width, value: u64) {
        let at = addr as usize;
        self.bytes[at..at + width.bytes()].copy_from_slice(&value.to_le_bytes()[..width.bytes()]);
    }

    fn check(&self) -> Result<(), Stall> {
        self.refuse.map_or(Ok(()), Err)
    }
}

impl Bus for Flat {
    fn fetch(&mut self, addr: u64) -> Result<u32, Stall> {
        if addr + 4 > self.bytes.len() as u64 {
            return Err(Stall::Error(6));
        }
        Ok(self.read(addr, Width::Word) as u32)
    }

    fn load(&mut self, addr: u64, width: Width) -> Result<u64, Stall> {
        self.check()?;
        Ok(self.read(addr, width))
    }

    fn store(&mut self, addr: u64, width: Width, value: u64) -> Result<(), Stall> {
        self.check()?;
        self.write(addr, width, value);
        Ok(())
    }

    fn load_reserved(&mut self, addr: u64, width: Width) -> Result<u64, Stall> {
        self.load(addr, width)
    }

    fn compare_and_swap(
        &mut self,
        addr: u64,
        width: Width,
        expected: u64,
        new: u64,
    ) -> Result<u64, Stall> {
        self.check()?;
        let old = self.read(addr, width);
        if old == expected {
            self.write(addr, width, new);
        }
        Ok(old)
    }

    fn amo(&mut self, addr: u64, width: Width, op: AmoOp, operand: u64) -> Result<u64, Stall> {
        self.check()?;
        let old = self.read(addr, width);
        self.write(addr, width, op.apply(width, old, operand));
        Ok(old)
    }

    fn time(&self) -> u64 {
        self.time
    }

    fn fence_i(&mut self) {
        self.fences += 1;
    }
}
