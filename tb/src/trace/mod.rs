//! What a run's event log says: faults with their stages, and pictures of them.

mod digest;
mod event;
mod explain;
mod faults;
mod flows;
mod from_wave;
mod host;
mod json;
mod residency;
mod timeline;
mod traffic;

pub use digest::{Digest, Invalidation, Misses, Moves, Spread};
pub use event::{Event, read};
pub use explain::{access_name, explain};
pub use faults::{End, Fault, Stage, faults};
pub use from_wave::{is_wave, read_wave};
pub use host::{Done, Track, tracks};
pub use json::explained;
pub use residency::{Follower, Home, Page, Residency};
pub use timeline::timeline;
pub use traffic::{Sent, sent, walks_in_flight};
