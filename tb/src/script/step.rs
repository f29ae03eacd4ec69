//! What surrounds every script call: after it, the rules that always hold are checked.

use std::sync::Arc;

use super::error::{Result, throw};
use crate::world::World;

/// Errno of a rule that a call broke.
pub const INVARIANT: &str = "INVARIANT";

/// What scripts hold, in a world.
pub(super) trait Handle {
    /// Where it lives.
    fn world(&self) -> &Arc<World>;
}

/// Runs one call and checks the rules after it, whether it succeeded or not.
pub(super) fn step<H: Handle, T>(
    handle: &mut H,
    call: &str,
    run: impl FnOnce(&mut H) -> Result<T>,
) -> Result<T> {
    let result = run(handle);
    after(handle.world(), call, result)
}

/// Checks the rules after a call with this result.
pub(super) fn after<T>(world: &World, call: &str, result: Result<T>) -> Result<T> {
    match world.check(call) {
        Ok(()) => result,
        Err(text) => Err(throw(call, INVARIANT, text)),
    }
}

/// Registers calls of a handle: `"name"(argument: type, ...) => method;`. `$prefix` is how messages call the
/// handle.
macro_rules! calls {
    ($engine:ident, $handle:ty, $prefix:literal:
     $($name:literal($($arg:ident: $kind:ty),*) => $method:expr;)*) => {
        $(
            $engine.register_fn($name, |this: &mut $handle $(, $arg: $kind)*| {
                let call = concat!($prefix, ".", $name);
                $crate::script::step::step(this, call, |this| $method(this $(, $arg)*))
            });
        )*
    };
}
pub(super) use calls;
