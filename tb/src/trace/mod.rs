//! What a run's event log says: faults with their stages, and pictures of them.

mod event;
mod explain;
mod faults;
mod timeline;

pub use event::{Event, read};
pub use explain::explain;
pub use faults::{Fault, Stage, faults};
pub use timeline::timeline;
