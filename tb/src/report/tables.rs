//! Hit rates, the comparison that the run made, its machine, and all counters.

use maud::{Markup, html};

use super::figures::Figures;

/// Hits of the TLBs, as the device counted.
pub fn rates(figures: &Figures) -> Markup {
    let rows = [
        ("L1 TLBs, data", "l1_hit_rate", "l1_hits", "l1_lookups"),
        (
            "L1 TLBs, instructions",
            "l1_fetch_hit_rate",
            "l1_fetch_hits",
            "l1_fetch_lookups",
        ),
        ("L2 TLB", "l2_hit_rate", "l2_hits", "l2_lookups"),
    ];
    html! {
        section #rates {
            h2 { "Translation" }
            table {
                thead { tr { th {} th.n { "hits" } th.n { "of" } th.n { "rate" } } }
                tbody {
                    @for (name, rate, hits, lookups) in rows {
                        tr {
                            td { (name) }
                            td.n { (figures.whole(&format!("stats.{hits}"))) }
                            td.n { (figures.whole(&format!("stats.{lookups}"))) }
                            td.n { (figures.percent(rate)) }
                        }
                    }
                }
            }
            p {
                (figures.whole("stats.walks")) " walks with " (figures.whole("stats.walk_reads")) " reads of table entries, "
                (figures.whole("stats.walk_merges")) " misses merged into walks in flight, "
                (figures.whole("stats.fault_merges")) " faults into parked ones; "
                (figures.whole("stats.ad_updates")) " A or D bits set."
            }
        }
    }
}

/// The same work done the old way, if the run did that too.
pub fn comparison(figures: &Figures) -> Markup {
    if figures.get("old_way").is_none() {
        return html! {};
    }
    let rows = [
        ("cycles", "cycles", "old_way.cycles"),
        (
            "bytes to the device",
            "link_bytes_to_device",
            "old_way.link_bytes_to_device",
        ),
        (
            "bytes to the host",
            "link_bytes_to_host",
            "old_way.link_bytes_to_host",
        ),
    ];
    html! {
        section #comparison {
            h2 { "Beside explicit copies" }
            p {
                "The same search with the data flattened by the CPU (whose time is not counted), copied to the device and back: "
                (figures.whole("old_way.copy_in_cycles")) " cycles copying in, "
                (figures.whole("old_way.run_cycles")) " running, "
                (figures.whole("old_way.copy_out_cycles")) " copying back."
            }
            table {
                thead { tr { th {} th.n { "shared address space" } th.n { "explicit copies" } } }
                tbody {
                    @for (name, here, there) in rows {
                        tr { td { (name) } td.n { (figures.whole(here)) } td.n { (figures.whole(there)) } }
                    }
                }
            }
            p {
                "Following pointers took " (figures.decimal("old_way.cycles_ratio", 2, "")) " times the cycles and "
                (figures.decimal("old_way.link_bytes_ratio", 2, "")) " times the bytes."
            }
        }
    }
}

/// The machine, and how to have the run again.
pub fn configuration(figures: &Figures) -> Markup {
    html! {
        section #configuration {
            h2 { "Machine" }
            table.pairs {
                tbody {
                    @for (name, _) in figures.parts("config") {
                        tr {
                            td { (name.replace('_', " ")) }
                            td.n { (figures.whole(&format!("config.{name}"))) }
                        }
                    }
                    @for (name, key) in [("seed", "seed"), ("events of the host", "events"), ("hash of the log", "log_hash")] {
                        @let figure = figures.whole(key);
                        @if figure.is_there() { tr { td { (name) } td.n { (figure) } } }
                    }
                }
            }
            @if let Some(command) = figures.text("command") {
                p { "To have the same run again, cycle by cycle:" }
                pre.command { (command) }
            }
        }
    }
}

/// All counters of the device and its driver.
pub fn counters(figures: &Figures) -> Markup {
    if figures.parts("stats").next().is_none() {
        return html! {};
    }
    html! {
        section #counters {
            h2 { "Counters" }
            dl.counters {
                @for (name, _) in figures.parts("stats") {
                    div { dt { (name) } dd { (figures.whole(&format!("stats.{name}"))) } }
                }
            }
        }
    }
}
