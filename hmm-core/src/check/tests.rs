//! Every rule finds the state that breaks it.

use crate::addr::{PAGE_SIZE, Pfn, Va};
use crate::frame::{Frame, Place};
use crate::mm::Mm;
use crate::pte::{PresentPte, Pte};
use crate::system::System;
use crate::testing::{process, system};
use std::sync::Arc;

/// A process with one written page, and that page.
fn world() -> (Arc<System>, Arc<Mm>, Va, Pfn) {
    let sys = system();
    let (mm, va) = process(&sys, 4);
    mm.store(va, &[1]).unwrap();
    assert_eq!(sys.check_quiescent(0), Ok(()));
    let pfn = mm.pte(va).pfn().unwrap();
    (sys, mm, va, pfn)
}

#[track_caller]
fn broken(sys: &System, rule: &str) {
    let text = sys.check_invariants().unwrap_err();
    assert!(text.contains(rule), "{text}");
}

/// Breaks the page's state, expects the rule to notice, and repairs it.
#[track_caller]
fn breaks(rule: &str, change: impl FnOnce(&mut Frame), repair: impl FnOnce(&mut Frame)) {
    let (sys, _mm, _va, pfn) = world();
    sys.frames.with(pfn, change);
    broken(&sys, rule);
    sys.frames.with(pfn, repair);
    assert_eq!(sys.check_quiescent(0), Ok(()));
}

#[test]
fn wrong_page_states_are_found() {
    let stray = Place { mm: 9, page: 1 };
    breaks(
        "the reverse mapping differs",
        |f| f.map(stray),
        |f| f.unmap(stray),
    );
    breaks(
        "list of migration entries differs",
        |f| f.add_migration(stray),
        |f| f.remove_migration(stray),
    );
    breaks("too few references", |f| f.refs = 0, |f| f.refs = 1);
    breaks("too few references", |f| f.pins = 1, |f| f.pins = 0);
    breaks(
        "writable, but shared",
        |f| f.exclusive = false,
        |f| f.exclusive = true,
    );
    let mut memcg = None;
    let (sys, _mm, _va, pfn) = world();
    sys.frames.with(pfn, |f| memcg = f.memcg.take());
    broken(&sys, "mapped without a charge");
    sys.frames.with(pfn, |f| f.memcg = memcg);
    assert_eq!(sys.check_quiescent(0), Ok(()));
}

#[test]
fn wrong_entries_are_found() {
    type Change = fn(PresentPte) -> Pte;
    let cases: [(&str, Change); 7] = [
        ("in a mapping with", |p| {
            Pte::Present(PresentPte {
                none: true,
                write: false,
                ..p
            })
        }),
        ("writable without access", |p| {
            Pte::Present(PresentPte { none: true, ..p })
        }),
        ("the CPU maps device-private", |p| {
            Pte::Present(PresentPte {
                pfn: p.pfn + (1 << 36),
                ..p
            })
        }),
        ("a device entry with", |p| Pte::Device {
            pfn: p.pfn,
            write: true,
            none: false,
            soft_dirty: true,
        }),
        ("writable, but not soft-dirty", |p| {
            Pte::Present(PresentPte {
                soft_dirty: false,
                ..p
            })
        }),
        ("writable, but not soft-dirty", |p| Pte::Device {
            pfn: p.pfn,
            write: true,
            none: false,
            soft_dirty: false,
        }),
        ("in device memory is device-exclusive", |p| Pte::Exclusive {
            pfn: p.pfn + (1 << 36),
            owner: 1,
            none: false,
            soft_dirty: true,
        }),
    ];
    for (rule, change) in cases {
        let (sys, mm, va, _pfn) = world();
        let Pte::Present(present) = mm.pte(va) else {
            panic!("mapped")
        };
        mm.pt.lock().set(va.page(), change(present));
        broken(&sys, rule);
        mm.pt.lock().set(va.page(), Pte::Present(present));
        assert_eq!(sys.check_quiescent(0), Ok(()));
    }
}

#[test]
fn wrong_counts_and_strays_are_found() {
    let (sys, mm, va, _pfn) = world();
    mm.pt.lock().rss.anon += 1;
    broken(&sys, "its tables have");
    mm.pt.lock().rss.anon -= 1;
    // The zero page outside of the mapping, and written.
    assert_eq!(mm.load(va + PAGE_SIZE, &mut [0]), Ok(()));
    let zero = mm.pte(va + PAGE_SIZE);
    mm.pt.lock().set(va.page() + 100, zero);
    broken(&sys, "outside of all mappings");
    mm.pt.lock().set(va.page() + 100, Pte::None);
    let Pte::Present(zero) = zero else {
        panic!("mapped")
    };
    mm.pt.lock().set(
        va.page() + 1,
        Pte::Present(PresentPte {
            write: true,
            ..zero
        }),
    );
    broken(&sys, "the zero page as");
}

#[test]
fn what_operations_leave_behind_is_found() {
    let (sys, mm, _va, pfn) = world();
    assert!(sys.try_lock_page(pfn));
    assert_eq!(sys.check_invariants(), Ok(()));
    assert!(sys.check_quiescent(0).unwrap_err().contains("is locked"));
    sys.unlock_page(pfn);
    sys.get_page(pfn);
    assert!(
        sys.check_quiescent(0)
            .unwrap_err()
            .contains("2 references, 1 accounted for")
    );
    sys.put_page(pfn);
    let mine = sys.alloc_page().unwrap();
    assert!(
        sys.check_quiescent(0)
            .unwrap_err()
            .contains("1 pages belong to nobody")
    );
    assert_eq!(sys.check_quiescent(1), Ok(()));
    sys.put_page(mine);
    assert!(mm.memcg().try_charge());
    assert!(
        sys.check_quiescent(0)
            .unwrap_err()
            .contains("a control group is charged 2 pages and has 1")
    );
}

#[test]
fn a_broken_state_ends_the_run_with_its_first_error() {
    let error = crate::sync::run(1, || {
        let (sys, mm, va, pfn) = world();
        let _pins = mm.pin(va, 1).unwrap();
        sys.frames.with(pfn, |f| f.mapped.clear());
        mm.munmap(va, PAGE_SIZE).unwrap();
    })
    .unwrap_err();
    assert!(error.contains("the reverse mapping lacks"), "{error}");
}
