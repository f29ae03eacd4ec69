//! Waves of the verilated device: which cycles of a run are recorded, and into which files.

mod args;
mod file;
mod groups;
mod recording;
mod save;
mod trigger;
mod vcd;

pub use args::WaveArgs;
pub use file::WaveFile;
pub use recording::{Mark, Notes, Recording, WaveTime, Window};
pub use trigger::{Trigger, Watch};
