//! The state of all subscriptions of one address space.

use std::sync::Arc;

use crate::addr::Va;
use crate::errno::Errno;
use crate::notifier::index::Index;
use crate::notifier::{MmuIntervalNotifier, MmuNotifierRange, MmuNotifyEvent};
use crate::sync::{Condvar, Mutex};
use crate::system::System;

struct State {
    /// Odd while a range that somebody subscribed to is being invalidated.
    seq: u64,
    /// Sections between start and end, nested and concurrent ones included.
    active: u64,
    tree: Index,
    /// Insertions and removals that came while the tree must not change.
    deferred: Vec<(Deferred, Arc<MmuIntervalNotifier>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Deferred {
    Insert,
    Remove,
}

impl State {
    fn invalidating(&self) -> bool {
        self.seq & 1 == 1
    }
}

/// Subscriptions of one address space, and its sequence count (Linux: notifier_subscriptions).
pub(crate) struct Subscriptions {
    state: Mutex<State>,
    changed: Condvar,
}

/// A section in which a range may change. Dropping it ends the section.
pub(crate) struct Invalidation<'a> {
    subs: &'a Subscriptions,
    sys: &'a System,
}

impl Drop for Invalidation<'_> {
    fn drop(&mut self) {
        // A second panic would end the program; the run is over anyway.
        if std::thread::panicking() {
            return;
        }
        self.subs.end();
        self.sys.event("notifier_end", &[]);
    }
}

impl Subscriptions {
    pub fn new() -> Arc<Subscriptions> {
        let state = State {
            seq: 2,
            active: 0,
            tree: Index::default(),
            deferred: Vec::new(),
        };
        Arc::new(Subscriptions {
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    /// Opens a section that all subscribers wait for.
    pub fn start<'a>(&'a self, sys: &'a System, range: MmuNotifierRange) -> Invalidation<'a> {
        let section = Invalidation { subs: self, sys };
        if self.notify(sys, &range).is_err() {
            sys.violation(format!(
                "a subscriber refused the blockable invalidation {range:?}"
            ));
        }
        section
    }

    /// Opens a section if no subscriber has to wait; else none is open.
    pub fn try_start<'a>(
        &'a self,
        sys: &'a System,
        range: MmuNotifierRange,
    ) -> Result<Invalidation<'a>, Errno> {
        let section = Invalidation { subs: self, sys };
        self.notify(sys, &range).map(|()| section)
    }

    /// Tells everybody that the address space dies.
    pub fn release(&self, sys: &System) {
        let range = MmuNotifierRange {
            start: Va(0),
            end: Va(u64::MAX),
            event: MmuNotifyEvent::Release,
            owner: 0,
            blockable: true,
        };
        drop(self.start(sys, range));
    }

    fn notify(&self, sys: &System, range: &MmuNotifierRange) -> Result<(), Errno> {
        sys.event(
            "notifier_start",
            &[("addr", range.start.0), ("len", range.end - range.start)],
        );
        // The tree cannot change while the sequence is odd, so the callbacks run without the lock.
        let (hit, seq) = {
            let mut state = self.state.lock();
            state.active += 1;
            let hit = state.tree.overlapping(range);
            if !hit.is_empty() {
                state.seq |= 1;
            }
            (hit, state.seq)
        };
        let mut result = Ok(());
        for sub in hit {
            if !sub.ops.invalidate(&sub, range, seq) {
                result = Err(Errno::EAGAIN);
            } else if sub.seq() != seq && range.event != MmuNotifyEvent::Exclusive {
                sys.violation(format!(
                    "a subscriber did not note the sequence of {range:?}"
                ));
            }
        }
        result
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.active -= 1;
        if state.active > 0 || !state.invalidating() {
            return;
        }
        state.seq += 1;
        for (what, sub) in std::mem::take(&mut state.deferred) {
            match what {
                Deferred::Insert => state.tree.insert(sub),
                Deferred::Remove => drop(state.tree.remove(&sub)),
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    pub fn insert(&self, sub: &Arc<MmuIntervalNotifier>) {
        let mut state = self.state.lock();
        if state.active == 0 {
            // Odd and in the past: neither equal to a running invalidation's sequence nor to a later one.
            sub.set_seq(state.seq - 1);
            state.tree.insert(Arc::clone(sub));
            return;
        }
        // The ranges under way are not known here: take it that this one is hit.
        if state.invalidating() {
            state.deferred.push((Deferred::Insert, Arc::clone(sub)));
        } else {
            state.seq |= 1;
            state.tree.insert(Arc::clone(sub));
        }
        sub.set_seq(state.seq);
    }

    pub fn remove(&self, sub: &MmuIntervalNotifier) {
        let mut state = self.state.lock();
        let is = |s: &Arc<MmuIntervalNotifier>| std::ptr::eq(Arc::as_ptr(s), sub);
        if !state.invalidating() {
            state.tree.remove(sub);
            return;
        }
        if let Some(i) = state
            .deferred
            .iter()
            .position(|(what, s)| *what == Deferred::Insert && is(s))
        {
            // Never got into the tree, so nobody is calling it.
            state.deferred.remove(i);
            return;
        }
        let Some(sub) = state.tree.get(sub).cloned() else {
            return;
        };
        state.deferred.push((Deferred::Remove, sub));
        let seq = state.seq;
        drop(self.changed.wait_while(state, |state| state.seq == seq));
    }

    pub fn read_begin(&self, sub: &MmuIntervalNotifier) -> u64 {
        let state = self.state.lock();
        let seq = sub.seq();
        if seq == state.seq {
            drop(self.changed.wait_while(state, |state| state.seq == seq));
        }
        seq
    }

    /// Whether no section is open.
    pub fn is_idle(&self) -> bool {
        self.state.lock().active == 0
    }
}
