//! The functional device behind the driver's hardware traits.

use hmm_core::sync::{self, Mutex, WaitQueue};
use hmmu_driver::hw::{Bar, Clock, HwError, Interrupts, VramAddr};
use hmmu_model::{Device as Model, DeviceConfig as ModelConfig, HostMemory};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Cycles that pass in one pause, at most.
const STEP: u64 = 40;

/// The device and what surrounds it.
pub struct Board {
    model: Mutex<Model>,
    now: AtomicU64,
    steps: AtomicU64,
    raised: [AtomicBool; 8],
    waiting: WaitQueue,
    ended: AtomicBool,
    /// The device has stopped answering: time passes, but it does nothing.
    pub hung: AtomicBool,
    /// It was taken out: it hangs, and everybody can tell.
    pub gone: AtomicBool,
    /// Interrupts are held back.
    pub quiet: AtomicBool,
}

impl Board {
    /// A device with its own clock, which steps differently for each `seed`.
    pub fn new(model: ModelConfig, link: Box<dyn HostMemory>, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            model: Mutex::new(Model::new(model, link)),
            now: AtomicU64::new(0),
            steps: AtomicU64::new(seed),
            raised: Default::default(),
            waiting: WaitQueue::new(),
            ended: AtomicBool::new(false),
            hung: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            quiet: AtomicBool::new(false),
        })
    }

    fn route(&self, model: &mut Model) {
        while let Some(message) = model.take_message() {
            assert_eq!(message.addr.0, 0xfee0_0000, "an MSI-X message went astray");
            self.raised[message.data as usize].store(true, Ordering::Relaxed);
            self.waiting.wake_all();
        }
    }

    fn alive(&self) -> bool {
        !self.hung.load(Ordering::Relaxed) && self.present()
    }

    fn timeout(what: impl Into<String>) -> HwError {
        HwError::Timeout {
            what: what.into(),
            cycles: 1000,
        }
    }
}

impl Bar for Board {
    fn read(&self, offset: u64) -> Result<u64, HwError> {
        if !self.present() {
            return Ok(u64::MAX);
        }
        if !self.alive() {
            return Err(Self::timeout(format!("register {offset:#x}")));
        }
        Ok(self.model.lock().read_register(offset))
    }

    fn write(&self, offset: u64, value: u64) -> Result<(), HwError> {
        if self.alive() {
            self.model.lock().write_register(offset, value);
        }
        Ok(())
    }

    fn vram_read(&self, addr: VramAddr, buf: &mut [u8]) -> Result<(), HwError> {
        if !self.present() {
            // As an empty slot does.
            buf.fill(0xff);
            return Ok(());
        }
        if !self.alive() {
            return Err(Self::timeout(format!("VRAM {:#x}", addr.0)));
        }
        let read = self
            .model
            .lock()
            .vram_read(hmmu_model::VramAddr(addr.0), buf);
        read.map_err(|_| HwError::Refused {
            what: format!("VRAM {:#x}", addr.0),
        })
    }

    fn vram_write(&self, addr: VramAddr, data: &[u8]) -> Result<(), HwError> {
        if self.alive() {
            let written = self
                .model
                .lock()
                .vram_write(hmmu_model::VramAddr(addr.0), data);
            written.expect("a write beyond VRAM");
        }
        Ok(())
    }

    fn port_errors(&self) -> u64 {
        self.gone.load(Ordering::Relaxed).into()
    }

    fn present(&self) -> bool {
        !self.gone.load(Ordering::Relaxed)
    }
}

impl Interrupts for Board {
    fn wait(&self, vector: u16) -> bool {
        loop {
            if self.ended.load(Ordering::Relaxed) {
                return false;
            }
            let quiet = self.quiet.load(Ordering::Relaxed);
            if !quiet && self.raised[usize::from(vector)].swap(false, Ordering::Relaxed) {
                return true;
            }
            self.waiting.wait("an interrupt");
        }
    }

    fn shutdown(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.waiting.wake_all();
    }
}

impl Clock for Board {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn pause(&self) -> Result<(), HwError> {
        // Steps of changing length, so that the host meets the device at changing moments.
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let cycles = 1 + step.wrapping_mul(0x9e37_79b9_7f4a_7c15) % STEP;
        self.now.fetch_add(cycles, Ordering::Relaxed);
        if self.alive() {
            let mut model = self.model.lock();
            model.tick(cycles);
            self.route(&mut model);
            if !self.quiet.load(Ordering::Relaxed) {
                self.waiting.wake_all();
            }
        }
        sync::yield_now();
        Ok(())
    }
}
