//! What the driver needs of the hardware: registers, memory it shares with the device, interrupts and time.
//!
//! Nothing here says how the device is reached: the simulated machine, the functional model and a board
//! implement the same four traits. None of the calls may be made while a lock is held that an invalidation
//! callback or the CPU fault path needs, except [`Bar::write`] and [`Bar::vram_write`], which are posted.

use thiserror::Error;

/// An address as the device uses it on the bus (system memory, bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DmaAddr(pub u64);

/// A byte offset in device memory (VRAM).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VramAddr(pub u64);

/// Why the hardware did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HwError {
    /// A read of the device was not answered in time.
    #[error("the device did not answer a read of {what} within {cycles} cycles")]
    Timeout {
        /// What was read.
        what: String,
        /// How long it was waited for, in device cycles.
        cycles: u64,
    },
    /// The device refused the access (completion status other than Successful Completion).
    #[error("the device refused an access to {what}")]
    Refused {
        /// What was accessed.
        what: String,
    },
    /// The simulation of the device itself failed (an assertion in the design).
    #[error("the device model failed: {0}")]
    Model(String),
    /// No more memory that the device can reach.
    #[error("out of DMA memory: {bytes} bytes asked")]
    OutOfDmaMemory {
        /// Bytes asked for.
        bytes: u64,
    },
}

/// The device's two memory windows: BAR0 (registers) and BAR2 (VRAM).
pub trait Bar: Send + Sync {
    /// Reads the 64-bit register at byte `offset` of BAR0. Waits for the link.
    fn read(&self, offset: u64) -> Result<u64, HwError>;
    /// Writes the 64-bit register at byte `offset` of BAR0. Posted: returns before the device sees it.
    fn write(&self, offset: u64, value: u64) -> Result<(), HwError>;
    /// Reads VRAM through BAR2. Waits for the link.
    fn vram_read(&self, addr: VramAddr, buf: &mut [u8]) -> Result<(), HwError>;
    /// Writes VRAM through BAR2, in order with [`Bar::write`]. Posted.
    fn vram_write(&self, addr: VramAddr, data: &[u8]) -> Result<(), HwError>;

    /// Errors that the port above the device has logged so far: posted writes of the device that did not arrive, times
    /// at which the link went down. Does not wait. Where nobody can tell it is 0.
    fn port_errors(&self) -> u64 {
        0
    }

    /// False once the device was taken out. Does not wait.
    fn present(&self) -> bool {
        true
    }

    /// Resets the device over the link: it forgets all but the bytes of its memory, and nothing of it is under way any
    /// more. Does not wait.
    ///
    /// # Errors
    /// Refused where that is not possible.
    fn reset(&self) -> Result<(), HwError> {
        Err(HwError::Refused {
            what: "the link's reset".to_owned(),
        })
    }
}

/// System memory that both the driver and the device reach (coherent).
pub trait DmaMemory: Send + Sync {
    /// Allocates zeroed memory, aligned to `align` bytes (a power of two).
    fn alloc(&self, bytes: u64, align: u64) -> Result<DmaAddr, HwError>;
    /// Gives memory back. `bytes` is as at its allocation.
    fn free(&self, addr: DmaAddr, bytes: u64);
    /// Reads it as the CPU sees it now.
    fn read(&self, addr: DmaAddr, buf: &mut [u8]);
    /// Writes it.
    fn write(&self, addr: DmaAddr, data: &[u8]);
    /// The bus address of a page of system memory that hmm-core manages.
    fn page_addr(&self, pfn: hmm_core::Pfn) -> DmaAddr;
}

/// Interrupts of the device (MSI-X vectors).
pub trait Interrupts: Send + Sync {
    /// Blocks until `vector` was raised since the last call for it, then clears it.
    /// Returns false once [`Interrupts::shutdown`] was called.
    fn wait(&self, vector: u16) -> bool;
    /// Ends all present and future waits.
    fn shutdown(&self);

    /// Was `vector`, which nobody waits for, raised since the last call? Does not wait.
    fn take(&self, vector: u16) -> bool {
        let _ = vector;
        false
    }
}

/// Device time. It runs only while somebody waits.
pub trait Clock: Send + Sync {
    /// The time in device clock cycles.
    fn now(&self) -> u64;
    /// Lets some cycles pass (at least one) and other threads run. Every wait on the device is a loop
    /// around this call with a deadline.
    fn pause(&self) -> Result<(), HwError>;
}

/// The four together, as a device is handed to the driver.
#[derive(Clone)]
pub struct Hardware {
    /// Registers and VRAM window.
    pub bar: std::sync::Arc<dyn Bar>,
    /// Shared memory.
    pub dma: std::sync::Arc<dyn DmaMemory>,
    /// Interrupts.
    pub irq: std::sync::Arc<dyn Interrupts>,
    /// Time.
    pub clock: std::sync::Arc<dyn Clock>,
}
