//! The two TLP streams: beats into the device, packets out of it.

use std::collections::VecDeque;

use hmmu_vsim::Block;

use super::tlp::Tlp;
use super::{TestRng, chance, get128, set128};

/// One beat towards the device.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    pub sop: bool,
    pub eop: bool,
    pub header: u128,
    pub data: u128,
}

/// The beats of a TLP, lanes past its payload filled with garbage.
pub fn beats(tlp: &Tlp) -> Vec<Beat> {
    let count = tlp.data.len().div_ceil(16).max(1);
    (0..count)
        .map(|n| {
            let lane =
                |i: usize| u128::from(tlp.data.get(16 * n + i).copied().unwrap_or(0xdb)) << (8 * i);
            Beat {
                sop: n == 0,
                eop: n + 1 == count,
                header: if n == 0 { tlp.header } else { 0xbad0_bad0 },
                data: (0..16).fold(0, |v, i| v | lane(i)),
            }
        })
        .collect()
}

/// Drives the receive stream. A beat on offer stays until it is taken.
pub struct RxDriver {
    queue: VecDeque<Beat>,
    offered: bool,
    open: bool,
    /// The stream has two of [`Beat`] in one of its own.
    wide: bool,
}

impl RxDriver {
    pub fn new(wide: bool) -> Self {
        Self {
            queue: VecDeque::new(),
            offered: false,
            open: false,
            wide,
        }
    }

    /// The second half of the stream's beat, if the TLP goes on.
    fn upper(&self) -> Option<Beat> {
        let next = *self.queue.get(1)?;
        (self.wide && !self.queue[0].eop && !next.sop).then_some(next)
    }

    pub fn push(&mut self, beats: impl IntoIterator<Item = Beat>) {
        self.queue.extend(beats);
        self.open = self.queue.back().is_some_and(|last| !last.eop);
    }

    /// Has the last beat not ended its TLP? Then the next one must start another.
    pub fn is_open(&self) -> bool {
        self.open
    }

    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn drive(&mut self, b: &mut Block, rng: &mut TestRng, gap_percent: u32) {
        self.offered = !self.queue.is_empty() && (self.offered || !chance(rng, gap_percent));
        b.set("rx_valid_i", self.offered.into());
        if self.offered {
            let beat = self.queue[0];
            let upper = self.upper();
            b.set("rx_sop_i", beat.sop.into());
            b.set("rx_eop_i", upper.unwrap_or(beat).eop.into());
            set128(b, "rx_hdr_i", 0, beat.header);
            set128(b, "rx_data_i", 0, beat.data);
            if self.wide {
                set128(b, "rx_data_i", 128, upper.map_or(!beat.data, |u| u.data));
            }
        }
    }

    /// Before the clock edge.
    pub fn sample(&mut self, b: &mut Block) {
        if self.offered && b.get("rx_ready_o") == 1 {
            let taken = 1 + usize::from(self.upper().is_some());
            self.queue.drain(..taken);
            self.offered = false;
        }
    }
}

/// Collects the transmit stream and checks its protocol.
#[derive(Default)]
pub struct TxMonitor {
    wide: bool,
    waiting: Option<(u64, u64, u128, [u128; 2])>,
    header: Option<u128>,
    data: Vec<u8>,
    /// Beats taken.
    pub beats: u64,
}

impl TxMonitor {
    /// `wide`: its beats are of 32 bytes, else of 16.
    pub fn new(wide: bool) -> Self {
        Self {
            wide,
            ..Self::default()
        }
    }

    /// Before the clock edge: the packet that ends in this cycle.
    pub fn sample(&mut self, b: &mut Block) -> Option<Tlp> {
        if b.get("tx_valid_o") == 0 {
            assert!(self.waiting.is_none(), "tx_valid_o fell before tx_ready_i");
            return None;
        }
        let beat = (
            b.get("tx_sop_o"),
            b.get("tx_eop_o"),
            get128(b, "tx_hdr_o", 0),
            [
                get128(b, "tx_data_o", 0),
                if self.wide {
                    get128(b, "tx_data_o", 128)
                } else {
                    0
                },
            ],
        );
        if let Some(before) = self.waiting.take() {
            assert!(
                before == beat,
                "a beat of the transmit stream changed while it waited"
            );
        }
        if b.get("tx_ready_i") == 0 {
            self.waiting = Some(beat);
            return None;
        }
        self.beats += 1;
        let (sop, eop, header, data) = beat;
        assert_eq!(
            sop == 1,
            self.header.is_none(),
            "start of packet at the wrong place"
        );
        let header = *self.header.get_or_insert(header);
        let bytes = if self.wide { 32 } else { 16 };
        let both = data.iter().flat_map(|half| half.to_le_bytes());
        self.data.extend(both.take(bytes));
        if eop == 0 {
            return None;
        }
        self.header = None;
        let mut tlp = Tlp {
            header,
            data: std::mem::take(&mut self.data),
        };
        let length = if tlp.has_data() { tlp.dws() * 4 } else { 0 };
        assert_eq!(
            tlp.data.len() / bytes,
            length.div_ceil(bytes).max(1),
            "beats against Length: {:032x}",
            tlp.header
        );
        tlp.data.truncate(length);
        Some(tlp)
    }
}
