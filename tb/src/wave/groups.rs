//! The signals that a viewer shows first, in groups.

use wellen::{Hierarchy, VarRef};

/// A signal as a viewer finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its scopes and its name, with dots between.
    pub name: String,
    /// `[msb:lsb]`; nothing for a single bit.
    pub range: String,
    /// Its values have names.
    pub named: bool,
    /// It is text.
    pub text: bool,
}

impl Shown {
    /// As a VCD file has it: there each element of an array bears the array's name.
    fn in_vcd(self) -> Self {
        let mut parts: Vec<String> = Vec::new();
        for part in self.name.split('.') {
            let above = parts.last().filter(|_| part.starts_with('['));
            parts.push(format!("{}{part}", above.map_or("", String::as_str)));
        }
        Self {
            name: parts.join("."),
            named: false,
            ..self
        }
    }
}

/// A group of signals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it is about: one word.
    pub title: String,
    /// What belongs to it, in order.
    pub signals: Vec<Shown>,
}

impl Group {
    /// As a VCD file has it.
    #[must_use]
    pub fn in_vcd(self) -> Self {
        Self {
            signals: self.signals.into_iter().map(Shown::in_vcd).collect(),
            ..self
        }
    }
}

/// Groups and what belongs to them, below the top's own scope. `*` in a group's signals is its number, in the others
/// whatever is there.
const GROUPS: [(&str, &[&str]); 12] = [
    (
        "driver",
        &["host_state_q", "host_page_q", "host_fault_id_q"],
    ),
    (
        "host_threads",
        &[
            "host_thread0_i",
            "host_thread1_i",
            "host_thread2_i",
            "host_thread3_i",
            "host_thread4_i",
            "host_thread5_i",
        ],
    ),
    (
        "pages",
        &["host_page_addr_i.*", "host_page_mm_i.*", "host_home_q.*"],
    ),
    (
        "link",
        &[
            "u_hmmu.rx_valid_i",
            "u_hmmu.rx_ready_o",
            "u_hmmu.rx_sop_i",
            "u_hmmu.rx_eop_i",
            "u_hmmu.rx_hdr_i",
            "u_hmmu.tx_valid_o",
            "u_hmmu.tx_ready_i",
            "u_hmmu.tx_sop_o",
            "u_hmmu.tx_eop_o",
            "u_hmmu.tx_hdr_o",
            "u_hmmu.irq",
        ],
    ),
    (
        "registers",
        &[
            "u_hmmu.reg_valid",
            "u_hmmu.reg_write",
            "u_hmmu.reg_addr",
            "u_hmmu.reg_wdata",
            "u_hmmu.reg_rdata",
        ],
    ),
    (
        "queues",
        &[
            "u_hmmu.u_ctrl.state_q",
            "u_hmmu.ctrl_cons",
            "u_hmmu.cmd.op",
            "u_hmmu.cmd_valid",
            "u_hmmu.cmd_done",
            "u_hmmu.launch_cons",
            "u_hmmu.launch_idle",
            "u_hmmu.fault_prod",
            "u_hmmu.fault_full",
            "u_hmmu.dirty_prod",
            "u_hmmu.dirty_full",
        ],
    ),
    (
        "mmu",
        &[
            "u_hmmu.mmu_event.ev",
            "u_hmmu.mmu_event.ctx",
            "u_hmmu.u_mmu.u_mmu_ctrl.cm_q",
            "u_hmmu.u_mmu.l2_req_valid",
            "u_hmmu.u_mmu.hit_valid",
            "u_hmmu.u_mmu.walk_req_valid",
            "u_hmmu.u_mmu.fill_valid",
            "u_hmmu.u_mmu.u_walker.state_q.*",
        ],
    ),
    (
        "faults",
        &[
            "u_hmmu.u_mmu.u_fault_unit.rpt_valid_i",
            "u_hmmu.u_mmu.u_fault_unit.rpt_reason_i",
            "u_hmmu.u_mmu.u_fault_unit.rpt_i.ctx",
            "u_hmmu.u_mmu.u_fault_unit.rpt_i.vpn",
            "u_hmmu.u_mmu.u_fault_unit.rpt_i.access",
            "u_hmmu.u_mmu.u_fault_unit.merge",
            "u_hmmu.u_mmu.u_fault_unit.parked_q",
            "u_hmmu.u_mmu.u_fault_unit.fw_q",
            "u_hmmu.u_mmu.u_fault_unit.id_q",
            "u_hmmu.u_mmu.u_fault_unit.irq_o",
        ],
    ),
    (
        "copy_channel_*",
        &[
            "u_hmmu.u_copy.gen_channel[*].u_channel.u_ring.state_q",
            "u_hmmu.u_copy.gen_channel[*].u_channel.u_issue.state_q",
            "u_hmmu.u_copy.gen_channel[*].u_channel.u_issue.src_q",
            "u_hmmu.u_copy.gen_channel[*].u_channel.u_issue.dst_q",
            "u_hmmu.u_copy.gen_channel[*].u_channel.u_issue.rem_q",
        ],
    ),
    (
        "vram",
        &[
            "u_hmmu.vram_req_valid_o",
            "u_hmmu.vram_req_ready_i",
            "u_hmmu.vram_req_write_o",
            "u_hmmu.vram_req_addr_o",
            "u_hmmu.vram_rsp_valid_i",
        ],
    ),
    (
        "unit_*_warps",
        &["u_hmmu.u_cluster.gen_cu[*].u_cu.u_show.state_q.*"],
    ),
    (
        "event_log",
        &[
            "host_log0_i",
            "host_log1_i",
            "host_log2_i",
            "host_log3_i",
            "host_log4_i",
            "host_log5_i",
            "host_log6_i",
            "host_log7_i",
        ],
    ),
];

/// Signals that are text.
const TEXTS: [&str; 2] = ["host_log", "host_thread"];

/// The top's own scope, and the scope that holds the ports.
const TOP: &str = "hmmu.hmmu_sim_top.";
const CLOCK: &str = "hmmu.clk_i";

/// The groups of a wave, as far as it holds their signals.
#[must_use]
pub fn groups(hierarchy: &Hierarchy) -> Vec<Group> {
    let all: Vec<Shown> = hierarchy
        .all_vars()
        .map(|var| shown(hierarchy, var))
        .collect();
    let mut groups = vec![Group {
        title: "clock".to_string(),
        signals: of(&all, CLOCK),
    }];
    for (title, patterns) in GROUPS {
        if !title.contains('*') {
            let signals = patterns.iter().map(|p| of(&all, &format!("{TOP}{p}")));
            groups.push(Group {
                title: title.to_string(),
                signals: by_turns(signals.collect()),
            });
            continue;
        }
        for number in 0.. {
            let number = number.to_string();
            let signals: Vec<Shown> = patterns
                .iter()
                .flat_map(|p| of(&all, &format!("{TOP}{}", p.replacen('*', &number, 1))))
                .collect();
            if signals.is_empty() {
                break;
            }
            groups.push(Group {
                title: title.replacen('*', &number, 1),
                signals,
            });
        }
    }
    groups.retain(|group| !group.signals.is_empty());
    groups
}

/// What belongs to the same element of several arrays stands together; what is no array is as it was.
fn by_turns(lists: Vec<Vec<Shown>>) -> Vec<Shown> {
    let most = lists.iter().map(Vec::len).max().unwrap_or(0);
    if lists.iter().any(|list| list.len() != most) {
        return lists.concat();
    }
    let nth = |n: usize| lists.iter().filter_map(move |list| list.get(n).cloned());
    (0..most).flat_map(nth).collect()
}

fn shown(hierarchy: &Hierarchy, var: VarRef) -> Shown {
    let var = &hierarchy[var];
    let name = var.full_name(hierarchy);
    let range = match var.index() {
        Some(index) if index.msb() != index.lsb() => format!("[{}:{}]", index.msb(), index.lsb()),
        _ => String::new(),
    };
    let own = name.strip_prefix(TOP).unwrap_or_default();
    let text = TEXTS.iter().any(|text| own.starts_with(text));
    Shown {
        name,
        range,
        named: var.enum_type(hierarchy).is_some(),
        text,
    }
}

/// The signals of one pattern: a last `*` is any element of an array, by its number.
fn of(all: &[Shown], pattern: &str) -> Vec<Shown> {
    let Some(array) = pattern.strip_suffix('*') else {
        return all
            .iter()
            .filter(|s| s.name == pattern)
            .take(1)
            .cloned()
            .collect();
    };
    let number = |signal: &Shown| -> Option<u32> {
        let index = signal.name.strip_prefix(array)?.strip_prefix('[')?;
        index.strip_suffix(']')?.parse().ok()
    };
    let mut elements: Vec<(u32, &Shown)> = all
        .iter()
        .filter_map(|signal| Some((number(signal)?, signal)))
        .collect();
    elements.sort_by_key(|(number, _)| *number);
    elements.into_iter().map(|(_, s)| s.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(name: &str) -> Shown {
        Shown {
            name: name.to_string(),
            range: "[3:0]".to_string(),
            named: true,
            text: false,
        }
    }

    #[test]
    fn elements_come_by_their_numbers() {
        let all = ["t.q.[10]", "t.q.[2]", "t.q", "t.q.[2].ctx", "t.qq.[0]"].map(signal);
        let names = |pattern: &str| -> Vec<String> {
            of(&all, pattern).into_iter().map(|s| s.name).collect()
        };
        assert_eq!(names("t.q.*"), ["t.q.[2]", "t.q.[10]"]);
        assert_eq!(names("t.q"), ["t.q"]);
        assert_eq!(names("t.none"), [""; 0]);
    }

    #[test]
    fn elements_of_arrays_stand_together() {
        let list = |names: &[&str]| -> Vec<Shown> { names.iter().map(|n| signal(n)).collect() };
        let names = |lists| -> Vec<String> {
            let signals = by_turns(lists);
            signals.into_iter().map(|s| s.name).collect()
        };
        assert_eq!(
            names(vec![list(&["a0", "a1"]), list(&["b0", "b1"])]),
            ["a0", "b0", "a1", "b1"]
        );
        assert_eq!(
            names(vec![list(&["a"]), list(&["b0", "b1"])]),
            ["a", "b0", "b1"]
        );
    }

    #[test]
    fn elements_bear_their_array_s_name_in_vcd() {
        assert_eq!(signal("t.q.[2].[1]").in_vcd().name, "t.q.q[2].q[2][1]");
        assert_eq!(signal("t.gen[0].u.q").in_vcd().name, "t.gen[0].u.q");
    }
}
