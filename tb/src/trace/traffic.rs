//! How busy link and walkers were.

use std::collections::BTreeMap;

use super::event::Event;

/// A stretch of time in which bytes went over the links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its first cycle.
    pub from: u64,
    /// The cycle behind it.
    pub to: u64,
    /// Bytes to the devices, headers included.
    pub to_device: u64,
    /// Bytes to the host.
    pub to_host: u64,
}

/// What went over all links together, stretch by stretch. Those in between were quiet.
#[must_use]
pub fn sent(events: &[Event]) -> Vec<Sent> {
    let (mut at, mut before) = (0, (0, 0));
    let mut all = Vec::new();
    for event in events.iter().filter(|event| event.name == "link") {
        let now = (event.get("to_device"), event.get("to_host"));
        // A reset of a device takes nothing back; what is not more is not told.
        let (to_device, to_host) = (
            now.0.saturating_sub(before.0),
            now.1.saturating_sub(before.1),
        );
        if (to_device, to_host) != (0, 0) && event.cycle > at {
            all.push(Sent {
                from: at,
                to: event.cycle,
                to_device,
                to_host,
            });
        }
        (at, before) = (event.cycle, now);
    }
    all
}

/// Walks in flight from a cycle on, whenever their number changes. Only the verilated device tells of them.
#[must_use]
pub fn walks_in_flight(events: &[Event]) -> Vec<(u64, u64)> {
    let mut under_way: BTreeMap<(u64, u64, u64, u64), ()> = BTreeMap::new();
    let mut all = Vec::new();
    for event in events.iter().filter(|event| event.thread == "device") {
        let (device, ctx, addr) = (event.get("device"), event.get("ctx"), event.get("addr"));
        let key = (device, ctx, addr, event.get("access"));
        let before = under_way.len();
        match event.name.as_ref() {
            "walk" => {
                under_way.insert(key, ());
            }
            "walk_fault" => {
                under_way.remove(&key);
            }
            "tlb_fill" => under_way.retain(|k, ()| (k.0, k.1, k.2) != (device, ctx, addr)),
            _ => {}
        }
        if under_way.len() != before {
            all.push((event.cycle, under_way.len() as u64));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_between_two_notes_with_different_totals() {
        let link = |cycle, to_device, to_host| {
            let fields = [("to_device", to_device), ("to_host", to_host)];
            Event::new(cycle, "device", "link", &fields)
        };
        let told = sent(&[
            link(10, 5, 0),
            link(30, 5, 0),
            link(40, 9, 1),
            link(40, 9, 1),
        ]);
        let stretch = |from, to, to_device, to_host| Sent {
            from,
            to,
            to_device,
            to_host,
        };
        assert_eq!(told, [stretch(0, 10, 5, 0), stretch(30, 40, 4, 1)]);
    }

    #[test]
    fn a_walk_is_in_flight_until_its_fault_or_its_fill() {
        let step = |cycle, name, addr, access| {
            Event::new(cycle, "device", name, &[("addr", addr), ("access", access)])
        };
        let told = walks_in_flight(&[
            step(1, "walk", 0x1000, 0),
            step(2, "walk", 0x2000, 1),
            step(3, "walk_fault", 0x2000, 1),
            step(5, "tlb_fill", 0x1000, 0),
        ]);
        assert_eq!(told, [(1, 1), (2, 2), (3, 1), (5, 0)]);
    }
}
