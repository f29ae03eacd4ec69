//! Waves of the first device.

use super::{Device, DeviceFailure, Machine};
use crate::wave::{Recording, WaveTime};

impl Machine {
    /// Writes waves of the first device to a file.
    ///
    /// # Errors
    /// The device has none, or the file cannot be written.
    pub fn open_wave(&self, recording: &Recording) -> Result<(), DeviceFailure> {
        self.first(|device| device.open_wave(recording))
    }

    /// Ends the waves.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn close_wave(&self) -> Result<(), DeviceFailure> {
        self.first(|device| device.close_wave())
    }

    /// Where the cycles are in the waves.
    #[must_use]
    pub fn wave_time(&self) -> WaveTime {
        let bus = self.bus();
        let first = bus.slots.first();
        first.map_or_else(WaveTime::default, |slot| slot.device.wave_time())
    }

    /// The cycle in which the simulation of a device failed.
    #[must_use]
    pub fn failed_at(&self) -> Option<u64> {
        let bus = self.bus();
        bus.slots.iter().find_map(|slot| slot.device.failed_at())
    }

    fn first(
        &self,
        run: impl FnOnce(&mut dyn Device) -> Result<(), DeviceFailure>,
    ) -> Result<(), DeviceFailure> {
        match self.bus().slots.first_mut() {
            Some(slot) => run(slot.device.as_mut()),
            None => Ok(()),
        }
    }
}
