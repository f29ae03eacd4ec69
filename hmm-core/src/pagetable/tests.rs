//! Single and huge entries side by side.

use super::*;
use crate::addr::Pfn;

fn device(n: u64) -> Pte {
    Pte::Device {
        pfn: Pfn(n),
        write: false,
        none: false,
        soft_dirty: false,
    }
}

fn pages(pt: &PageTable, start: u64, end: u64) -> Vec<u64> {
    pt.range(start, end).iter().map(|e| e.0).collect()
}

#[test]
fn entries_are_found_in_order_and_only_in_range() {
    let mut pt = PageTable::new();
    let all = [0, 1, 511, 512, 513, 1 << 18, (1 << 18) + 5, (1 << 35) - 1];
    for &page in all.iter().rev() {
        assert_eq!(pt.set(page, device(page)), Pte::None);
    }
    assert_eq!(pages(&pt, 0, 1 << 36), all);
    assert_eq!(pages(&pt, 1, 513), [1, 511, 512]);
    assert_eq!(pt.range(514, 1 << 18), []);
    assert_eq!(pt.get(513), device(513));
    assert_eq!(pt.get(514), Pte::None);
}

#[test]
fn empty_tables_are_freed() {
    let mut pt = PageTable::new();
    pt.set(77, device(1));
    pt.set(1 << 30, device(2));
    pt.set_huge(1024, device(512));
    assert_eq!(pt.set(77, Pte::None), device(1));
    assert_eq!(pt.set(1 << 30, Pte::None), device(2));
    assert_eq!(pt.set(5, Pte::None), Pte::None);
    pt.set_huge(1024, Pte::None);
    pt.set_huge(1 << 30, Pte::None);
    assert!(pt.root.is_empty());
    pt.set_huge(1024, device(512));
    for page in 1024..1536 {
        assert_eq!(pt.set(page, Pte::None), device(page - 512));
    }
    assert!(pt.root.is_empty());
    pt.set(1030, device(9));
    pt.set_huge(1024, Pte::None);
    assert!(pt.root.is_empty());
}

#[test]
fn a_huge_entry_stands_for_single_ones() {
    let mut pt = PageTable::new();
    pt.set_huge(512, device(1024));
    pt.set(1024, device(7));
    assert_eq!(pt.get(511), Pte::None);
    assert_eq!(pt.get(512), device(1024));
    assert_eq!(pt.get(1023), device(1535));
    assert_eq!(pages(&pt, 0, 2000), (512..1025).collect::<Vec<_>>());
    assert_eq!(pages(&pt, 600, 602), [600, 601]);
    let huge = Entry {
        page: 512,
        pte: device(1024),
        order: HUGE_ORDER,
    };
    assert_eq!(pt.get_sized(700), huge);
    assert!(!pt.get_sized(1024).is_huge());
    assert_eq!(pt.range_sized(0, 1024), [huge]);
    let cut: Vec<_> = pt.range_sized(1022, 1024);
    assert_eq!(cut.len(), 2);
    assert!(cut.iter().all(|e| !e.is_huge() && pt.get(e.page) == e.pte));
}

#[test]
fn setting_one_page_splits_and_saying_the_same_does_not() {
    let mut pt = PageTable::new();
    pt.set_huge(512, device(1024));
    assert_eq!(pt.set(514, device(1026)), device(1026));
    assert!(pt.get_sized(514).is_huge());
    assert_eq!(pt.set(514, device(1)), device(1026));
    assert!(!pt.get_sized(513).is_huge());
    assert_eq!((pt.get(513), pt.get(514)), (device(1025), device(1)));
    assert_eq!(pages(&pt, 0, 2000).len(), 512);
    // A table in the place is replaced as a whole.
    pt.set_huge(512, device(2048));
    assert_eq!(pt.get(514), device(2050));
}

#[test]
fn only_a_boundary_inside_splits() {
    let mut pt = PageTable::new();
    pt.set_huge(512, device(1024));
    pt.split_before(512);
    pt.split_before(1024);
    pt.split_before(2000);
    assert!(pt.get_sized(512).is_huge());
    pt.split_before(513);
    assert!(!pt.get_sized(512).is_huge());
    assert_eq!(pages(&pt, 0, 2000).len(), 512);
    assert!(!pt.is_area_empty(600) && pt.is_area_empty(1024));
}
