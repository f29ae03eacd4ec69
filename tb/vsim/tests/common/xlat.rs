//! The structs of `rtl/hmmu_pkg.sv` that the address translation uses, and how they lie in flat ports.
#![allow(dead_code)]

use hmmu_vsim::Block;

/// Highest page number.
pub const VPN_MAX: u64 = (1 << 36) - 1;

/// Kind of an access, as `access_e`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    Read,
    Write,
    Atomic,
    Execute,
}

impl Access {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Atomic, Self::Execute];

    /// From the code.
    pub fn of(code: u64) -> Self {
        Self::ALL[code as usize]
    }

    /// Does the access need D?
    pub fn stores(self) -> bool {
        matches!(self, Self::Write | Self::Atomic)
    }
}

/// Size of a page, as `page_size_e`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    #[default]
    Small,
    Napot,
    Large,
    Huge,
}

impl Size {
    /// All sizes, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Small, Self::Napot, Self::Large, Self::Huge];

    /// log2 of its pages of 4 KiB.
    pub fn shift(self) -> u32 {
        [0, 4, 9, 18][self as usize]
    }

    /// Level of the table that its entry is in.
    pub fn level(self) -> u32 {
        [0, 0, 1, 2][self as usize]
    }

    /// Bits of a page number that count within the page.
    pub fn mask(self) -> u64 {
        (1 << self.shift()) - 1
    }
}

/// What waits in a miss slot, a walk or a parked fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ask {
    pub ctx: u64,
    pub vpn: u64,
    pub access: Access,
}

/// `xlat_t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Xlat {
    pub ctx: u64,
    pub vpn: u64,
    pub ppn: u64,
    pub size: Size,
    pub r: bool,
    pub w: bool,
    pub x: bool,
    pub d: bool,
    pub atomic: bool,
}

impl Xlat {
    /// Does it allow the access at once?
    pub fn allows(&self, access: Access) -> bool {
        match access {
            Access::Read => self.r,
            Access::Write => self.w && self.d,
            Access::Atomic => self.w && self.d && self.atomic,
            Access::Execute => self.x,
        }
    }

    /// Does it cover the page?
    pub fn covers(&self, ctx: u64, vpn: u64) -> bool {
        let shift = self.size.shift();
        self.ctx == ctx && self.vpn >> shift == vpn >> shift
    }

    /// Does it answer the wait?
    pub fn answers(&self, ask: &Ask) -> bool {
        self.covers(ask.ctx, ask.vpn) && self.allows(ask.access)
    }

    /// Does it overlap the pages `lo..=hi` of `ctx`?
    pub fn overlaps(&self, ctx: u64, lo: u64, hi: u64) -> bool {
        let shift = self.size.shift();
        self.ctx == ctx && self.vpn >> shift >= lo >> shift && self.vpn >> shift <= hi >> shift
    }

    /// Physical page of a page that it covers.
    pub fn page(&self, vpn: u64) -> u64 {
        self.ppn | vpn & self.size.mask()
    }
}

/// `mmu_event_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    None,
    Fill(Xlat),
    Invalidate { ctx: u64, lo: u64, hi: u64 },
    Retry { ctx: u64, lo: u64, hi: u64 },
    Cancel { ask: Ask, code: u64 },
    Stop { ctx: u64 },
}

impl Event {
    /// Does it end the wait?
    pub fn answers(&self, ask: &Ask) -> bool {
        match self {
            Self::Fill(xlat) => xlat.answers(ask),
            Self::Cancel { ask: ended, .. } => ended == ask,
            Self::Stop { ctx } => *ctx == ask.ctx,
            _ => false,
        }
    }

    /// Does it ask the wait to be tried again?
    pub fn retries(&self, ask: &Ask) -> bool {
        matches!(self, Self::Retry { ctx, lo, hi } if *ctx == ask.ctx && (*lo..=*hi).contains(&ask.vpn))
    }
}

/// Writes fields into a flat port, the first one into its most significant bits.
pub fn put(b: &mut Block, port: &str, fields: &[(u32, u64)]) {
    let mut lsb: u32 = fields.iter().map(|f| f.0).sum();
    let (handle, width) = b.port(port);
    assert_eq!(width, lsb, "fields do not fill port {port}");
    for &(width, value) in fields {
        lsb -= width;
        b.set_port(handle, lsb, width, value);
    }
}

/// Reads fields of a flat port, the first one from its most significant bits.
pub fn take<const N: usize>(b: &mut Block, port: &str, widths: [u32; N]) -> [u64; N] {
    let mut lsb: u32 = widths.iter().sum();
    let (handle, width) = b.port(port);
    assert_eq!(width, lsb, "fields do not fill port {port}");
    widths.map(|w| {
        lsb -= w;
        b.get_port(handle, lsb, w)
    })
}

fn xlat_fields(x: &Xlat) -> [(u32, u64); 9] {
    [
        (4, x.ctx),
        (36, x.vpn),
        (44, x.ppn),
        (2, x.size as u64),
        (1, x.r.into()),
        (1, x.w.into()),
        (1, x.x.into()),
        (1, x.d.into()),
        (1, x.atomic.into()),
    ]
}

fn xlat_of(f: &[u64]) -> Xlat {
    let bit = |i: usize| f[i] == 1;
    Xlat {
        ctx: f[0],
        vpn: f[1],
        ppn: f[2],
        size: Size::ALL[f[3] as usize],
        r: bit(4),
        w: bit(5),
        x: bit(6),
        d: bit(7),
        atomic: bit(8),
    }
}

/// Sets an `xlat_t` input.
pub fn put_xlat(b: &mut Block, port: &str, x: &Xlat) {
    put(b, port, &xlat_fields(x));
}

/// Reads an `xlat_t` output.
pub fn take_xlat(b: &mut Block, port: &str) -> Xlat {
    xlat_of(&take(b, port, [4, 36, 44, 2, 1, 1, 1, 1, 1]))
}

/// Sets a `miss_t` input.
pub fn put_miss(b: &mut Block, port: &str, ask: &Ask, client: u64) {
    put(
        b,
        port,
        &[
            (4, ask.ctx),
            (36, ask.vpn),
            (2, ask.access as u64),
            (4, client),
        ],
    );
}

/// Reads a `miss_t` output: the wait and the client.
pub fn take_miss(b: &mut Block, port: &str) -> (Ask, u64) {
    let [ctx, vpn, access, client] = take(b, port, [4, 36, 2, 4]);
    (
        Ask {
            ctx,
            vpn,
            access: Access::of(access),
        },
        client,
    )
}

/// Sets an `mmu_event_t` input.
pub fn put_event(b: &mut Block, port: &str, event: &Event) {
    let (ev, ctx, lo, hi, access, code, xlat) = match *event {
        Event::None => (0, 0, 0, 0, 0, 0, Xlat::default()),
        Event::Fill(x) => (1, x.ctx, x.vpn, x.vpn, 0, 0, x),
        Event::Invalidate { ctx, lo, hi } => (2, ctx, lo, hi, 0, 0, Xlat::default()),
        Event::Retry { ctx, lo, hi } => (3, ctx, lo, hi, 0, 0, Xlat::default()),
        Event::Cancel { ask, code } => (
            4,
            ask.ctx,
            ask.vpn,
            ask.vpn,
            ask.access as u64,
            code,
            Xlat::default(),
        ),
        Event::Stop { ctx } => (5, ctx, 0, VPN_MAX, 0, 0, Xlat::default()),
    };
    let mut fields = vec![
        (3, ev),
        (4, ctx),
        (36, lo),
        (36, hi),
        (2, access),
        (8, code),
    ];
    fields.extend(xlat_fields(&xlat));
    put(b, port, &fields);
}

/// Reads an `mmu_event_t` output.
pub fn take_event(b: &mut Block, port: &str) -> Event {
    let f = take(b, port, [3, 4, 36, 36, 2, 8, 4, 36, 44, 2, 1, 1, 1, 1, 1]);
    let (ctx, lo, hi) = (f[1], f[2], f[3]);
    match f[0] {
        0 => Event::None,
        1 => {
            let xlat = xlat_of(&f[6..]);
            assert_eq!(xlat.ctx, ctx, "a fill's two contexts differ");
            Event::Fill(xlat)
        }
        2 => Event::Invalidate { ctx, lo, hi },
        3 => Event::Retry { ctx, lo, hi },
        4 => Event::Cancel {
            ask: Ask {
                ctx,
                vpn: lo,
                access: Access::of(f[4]),
            },
            code: f[5],
        },
        5 => Event::Stop { ctx },
        other => panic!("event code {other}"),
    }
}
