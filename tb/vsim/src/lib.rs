//! Each RTL block of hmmu on its own, verilated, with its ports by name: the harness of the block tests.
//!
//! A block is built when `blocks.txt` lists it. Calls that are wrong (no such port, too wide) and
//! assertions of the design panic with a message: this crate is for tests, and for [`mmu_bench`].
//!
//! With the feature `blocks` (default) every block is built, without it only `mmu_bench`. With `HMMU_COMPACT=1` in the
//! environment blocks have their form for FPGAs, if they have one ([`COMPACT`]).

mod ffi;
pub mod mmu_bench;

use std::collections::HashMap;

use cxx::UniquePtr;

/// Blocks were built in their form for FPGAs: some of them need a few cycles more.
pub const COMPACT: bool = option_env!("HMMU_COMPACT").is_some();

/// Name of the clock port of every block.
const CLOCK: &str = "clk_i";
/// Name of the active-low reset port of every block.
const RESET: &str = "rst_ni";

/// A handle to a port, for tests that use one very often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(u32);

/// A verilated block.
pub struct Block {
    name: String,
    inner: UniquePtr<ffi::bridge::Block>,
    ports: HashMap<String, (Port, u32)>,
    cycle: u64,
}

impl Block {
    /// Makes the block of this name (see `blocks.txt`), not yet reset, inputs 0.
    ///
    /// # Errors
    /// It was not built.
    pub fn new(name: &str) -> Result<Self, String> {
        cxx::let_cxx_string!(cxx_name = name);
        let inner = ffi::bridge::new_block(&cxx_name).map_err(|e| e.to_string())?;
        Ok(Self {
            name: name.to_string(),
            inner,
            ports: HashMap::new(),
            cycle: 0,
        })
    }

    /// Holds reset for two cycles.
    pub fn reset(&mut self) {
        self.set(RESET, 0);
        self.clock();
        self.clock();
        self.set(RESET, 1);
        self.eval();
        self.cycle = 0;
    }

    /// Cycles since reset.
    #[must_use]
    pub fn cycle(&self) -> u64 {
        self.cycle
    }

    /// The handle and the width in bits of a port.
    pub fn port(&mut self, name: &str) -> (Port, u32) {
        if let Some(&port) = self.ports.get(name) {
            return port;
        }
        cxx::let_cxx_string!(cxx_name = name);
        let index = self.check(self.inner.port(&cxx_name));
        let width = self.check(self.inner.width(index));
        self.ports.insert(name.to_string(), (Port(index), width));
        (Port(index), width)
    }

    /// Sets an input of up to 64 bits. Takes effect at the next [`Block::eval`] or [`Block::clock`].
    pub fn set(&mut self, name: &str, value: u64) {
        let (port, width) = self.port(name);
        self.set_port(port, 0, width, value);
    }

    /// Sets bits `lsb..lsb+width` of an input (up to 64 of them).
    pub fn set_bits(&mut self, name: &str, lsb: u32, width: u32, value: u64) {
        let (port, _) = self.port(name);
        self.set_port(port, lsb, width, value);
    }

    /// As [`Block::set_bits`], by handle.
    pub fn set_port(&mut self, port: Port, lsb: u32, width: u32, value: u64) {
        let done = self.inner.pin_mut().set(port.0, lsb, width, value);
        self.check(done);
    }

    /// A port of up to 64 bits, as of the last evaluation.
    pub fn get(&mut self, name: &str) -> u64 {
        let (port, width) = self.port(name);
        self.get_port(port, 0, width)
    }

    /// Bits `lsb..lsb+width` of a port (up to 64 of them).
    pub fn get_bits(&mut self, name: &str, lsb: u32, width: u32) -> u64 {
        let (port, _) = self.port(name);
        self.get_port(port, lsb, width)
    }

    /// As [`Block::get_bits`], by handle.
    #[must_use]
    pub fn get_port(&self, port: Port, lsb: u32, width: u32) -> u64 {
        self.check(self.inner.get(port.0, lsb, width))
    }

    /// Settles combinational logic after inputs were set.
    pub fn eval(&mut self) {
        let done = self.inner.pin_mut().eval();
        self.check(done);
    }

    /// One clock: the inputs that are set now are sampled at the rising edge. Afterwards the outputs are
    /// those of the new state (with the inputs unchanged).
    pub fn clock(&mut self) {
        self.set(CLOCK, 0);
        self.eval();
        self.set(CLOCK, 1);
        self.eval();
        self.cycle += 1;
    }

    fn check<T>(&self, result: Result<T, cxx::Exception>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => panic!("block {}, cycle {}: {error}", self.name, self.cycle),
        }
    }
}
