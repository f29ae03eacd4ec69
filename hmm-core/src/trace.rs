//! What happened, for a log or a timeline.

/// Receives events. Called with locks held: it must not call back, wait or yield.
pub trait Tracer: Send + Sync {
    /// One event with named numbers (addresses and lengths in bytes, pages as page frame numbers).
    fn event(&self, name: &'static str, fields: &[(&'static str, u64)]);
}

/// Drops all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl Tracer for NoTrace {
    fn event(&self, _name: &'static str, _fields: &[(&'static str, u64)]) {}
}
