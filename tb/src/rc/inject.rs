//! Errors on the link, at chosen TLPs.
//!
//! A plan is a list of (position, error). Positions count the TLPs of a direction, or those of one kind, as they arrive,
//! from 0. What each error does to which TLP is in `docs/link.md`.

use std::fmt;

use super::tlp::{Completion, Status, Tlp};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the host to the device.
    ToDevice = 0,
    /// From the device to the host.
    ToHost = 1,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ToDevice, Self::ToHost];
}

/// Kinds of TLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlpKind {
    /// MRd.
    Read = 0,
    /// MWr, but for interrupts.
    Write = 1,
    /// An MSI-X message: an MWr to the interrupt window.
    Interrupt = 2,
    /// AtomicOps.
    Atomic = 3,
    /// Cpl and CplD.
    Completion = 4,
}

impl TlpKind {
    /// All, by their numbers.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Write,
        Self::Interrupt,
        Self::Atomic,
        Self::Completion,
    ];

    /// That of a TLP.
    #[must_use]
    pub fn of(tlp: &Tlp) -> Self {
        match tlp {
            Tlp::Read(_) => Self::Read,
            Tlp::Write(req) if super::is_interrupt(req.addr) => Self::Interrupt,
            Tlp::Write(_) => Self::Write,
            Tlp::Atomic(_) => Self::Atomic,
            Tlp::Completion(_) => Self::Completion,
        }
    }

    /// No completion tells how it went.
    #[must_use]
    pub fn is_posted(self) -> bool {
        matches!(self, Self::Write | Self::Interrupt)
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkError {
    /// The completion, or the request to be completed, vanishes.
    Drop,
    /// Unsupported Request: the completion says so, or the request is refused.
    Unsupported,
    /// Completer Abort, likewise.
    Abort,
    /// The data is marked as bad (bit EP).
    Poison,
    /// The Length field says more than there is.
    WrongLength,
    /// Another tag.
    WrongTag,
    /// The receiver of this direction grants no credits for so many cycles.
    Starve(u64),
    /// The link retrains for so many cycles: nothing moves, nothing is lost.
    Retrain(u64),
    /// The link is down for so many cycles: all that is under way is lost, and the device is reset (section 6.6.1).
    Down(u64),
    /// The device is taken out.
    Remove,
}

impl LinkError {
    /// One of each kind; those that last take `cycles`.
    #[must_use]
    pub fn kinds(cycles: u64) -> [Self; 10] {
        [
            Self::Drop,
            Self::Unsupported,
            Self::Abort,
            Self::Poison,
            Self::WrongLength,
            Self::WrongTag,
            Self::Starve(cycles),
            Self::Retrain(cycles),
            Self::Down(cycles),
            Self::Remove,
        ]
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "dropped",
            Self::Unsupported => "UR",
            Self::Abort => "CA",
            Self::Poison => "poisoned",
            Self::WrongLength => "wrong length",
            Self::WrongTag => "wrong tag",
            Self::Starve(_) => "no credits",
            Self::Retrain(_) => "retraining",
            Self::Down(_) => "link down",
            Self::Remove => "removed",
        }
    }

    /// Can it happen to a TLP of this kind? A posted request does not vanish by itself (the link layer repeats it until
    /// it is acknowledged) and its tag means nothing; a read has no data to be poisoned.
    #[must_use]
    pub fn applies(self, kind: TlpKind) -> bool {
        match self {
            Self::Drop | Self::WrongTag => !kind.is_posted(),
            Self::Poison => kind != TlpKind::Read,
            _ => true,
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Starve(cycles) | Self::Retrain(cycles) | Self::Down(cycles) => {
                write!(f, " for {cycles} cycles")
            }
            _ => Ok(()),
        }
    }
}

/// A TLP of one device's link: the `n`-th, from 0, of a direction, or of those of a kind in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which way.
    pub direction: Direction,
    /// Counts those of this kind only.
    pub kind: Option<TlpKind>,
    /// Its number.
    pub n: u64,
}

/// An error to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injection {
    /// Where.
    pub at: Position,
    /// What.
    pub error: LinkError,
}

/// An error that has struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Struck {
    /// When.
    pub cycle: u64,
    /// What it was meant to be.
    pub injection: Injection,
    /// The TLP.
    pub kind: TlpKind,
    /// It can happen to such a TLP. If not, nothing happened.
    pub applied: bool,
}

/// TLPs that have arrived, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlpCounts([[u64; 5]; 2]);

impl TlpCounts {
    /// Those of a direction, of one kind or of all.
    #[must_use]
    pub fn get(&self, direction: Direction, kind: Option<TlpKind>) -> u64 {
        let of = &self.0[direction as usize];
        kind.map_or_else(|| of.iter().sum(), |kind| of[kind as usize])
    }
}

/// Counts TLPs and finds those that are to fail.
#[derive(Debug, Default)]
pub struct Injector {
    plan: Vec<Injection>,
    counts: TlpCounts,
    struck: Vec<Struck>,
    /// Kinds of the TLPs, in the order of arrival, if they are to be kept.
    record: Option<[Vec<TlpKind>; 2]>,
}

impl Injector {
    /// Adds errors to come. Positions count from the start of the simulation, over resets too.
    pub fn add(&mut self, plan: &[Injection]) {
        self.plan.extend_from_slice(plan);
    }

    /// From now on keeps the kind of each TLP.
    pub fn record(&mut self) {
        self.record.get_or_insert_default();
    }

    /// The kinds of the TLPs of a direction since [`Injector::record`].
    #[must_use]
    pub fn recorded(&self, direction: Direction) -> &[TlpKind] {
        self.record
            .as_ref()
            .map_or(&[], |record| &record[direction as usize])
    }

    /// TLPs so far.
    #[must_use]
    pub fn counts(&self) -> TlpCounts {
        self.counts
    }

    /// What has struck so far.
    #[must_use]
    pub fn struck(&self) -> &[Struck] {
        &self.struck
    }

    /// A TLP arrives; what happens to it.
    pub fn arrives(&mut self, cycle: u64, direction: Direction, tlp: &Tlp) -> Option<LinkError> {
        let kind = TlpKind::of(tlp);
        let nth = self.counts.get(direction, None);
        let nth_of_kind = self.counts.get(direction, Some(kind));
        self.counts.0[direction as usize][kind as usize] += 1;
        if let Some(record) = &mut self.record {
            record[direction as usize].push(kind);
        }
        let place = self.plan.iter().position(|injection| {
            let at = injection.at;
            at.direction == direction
                && match at.kind {
                    None => at.n == nth,
                    Some(wanted) => wanted == kind && at.n == nth_of_kind,
                }
        })?;
        let injection = self.plan.remove(place);
        let applied = injection.error.applies(kind);
        self.struck.push(Struck {
            cycle,
            injection,
            kind,
            applied,
        });
        applied.then_some(injection.error)
    }
}

/// DWs that a wrong Length says too much: a beat of the stream, so that its end is in the wrong place.
const EXTRA_DWORDS: u16 = 4;
/// Neither end ever has a tag with this bit.
const OTHER_TAG: u8 = 0x80;

/// The header of a TLP with the wrong length.
#[must_use]
pub fn wrong_length(tlp: &Tlp) -> u128 {
    let header = tlp.header();
    let length = (header >> 96) as u16 & 0x3ff;
    let wrong = length.wrapping_add(EXTRA_DWORDS) & 0x3ff;
    header & !(0x3ff << 96) | u128::from(wrong) << 96
}

/// A TLP under another tag.
#[must_use]
pub fn wrong_tag(mut tlp: Tlp) -> Tlp {
    match &mut tlp {
        Tlp::Read(req) => req.tag ^= OTHER_TAG,
        Tlp::Atomic(req) => req.tag ^= OTHER_TAG,
        Tlp::Completion(cpl) => cpl.tag ^= OTHER_TAG,
        Tlp::Write(_) => {}
    }
    tlp
}

/// The completion that refuses a request, or takes the place of another completion; none for a posted request.
#[must_use]
pub fn refusal(tlp: &Tlp, completer: u16, status: Status) -> Option<Completion> {
    let (completer, requester, tag, byte_count, lower_addr) = match tlp {
        Tlp::Write(_) => return None,
        Tlp::Completion(cpl) => (
            cpl.completer,
            cpl.requester,
            cpl.tag,
            cpl.byte_count,
            cpl.lower_addr,
        ),
        Tlp::Read(req) => {
            let (addr, bytes) =
                super::tlp::enabled_span(req.addr, req.dwords, req.first_be, req.last_be);
            let lower = (addr & 0x7f) as u8;
            (
                completer,
                req.requester,
                req.tag,
                bytes.max(1) as u16,
                lower,
            )
        }
        Tlp::Atomic(req) => {
            let operands = if req.op == super::AtomicOp::Cas { 2 } else { 1 };
            let bytes = (req.data.len() / operands) as u16;
            (completer, req.requester, req.tag, bytes, 0)
        }
    };
    Some(Completion {
        completer,
        requester,
        tag,
        status,
        byte_count,
        lower_addr,
        data: Vec::new(),
        poisoned: false,
    })
}
