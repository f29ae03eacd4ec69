//! Flow-control credits (specification section 2.6).

use super::tlp::Tlp;

/// Bytes of payload of one data credit.
const DATA_UNIT: u64 = 16;

/// A kind of TLP with credits, and a place in the ordering rules, of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowClass {
    /// Memory writes, interrupts among them.
    Posted = 0,
    /// Reads and AtomicOps.
    NonPosted = 1,
    /// Completions.
    Completion = 2,
}

impl FlowClass {
    /// All, by their numbers.
    pub const ALL: [Self; 3] = [Self::Posted, Self::NonPosted, Self::Completion];

    /// That of a TLP.
    #[must_use]
    pub fn of(tlp: &Tlp) -> Self {
        match tlp {
            Tlp::Write(_) => Self::Posted,
            Tlp::Read(_) | Tlp::Atomic(_) => Self::NonPosted,
            Tlp::Completion(_) => Self::Completion,
        }
    }
}

/// An amount of credits of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// TLPs.
    pub header: u32,
    /// Units of 16 bytes of payload.
    pub data: u32,
}

impl Amount {
    /// What a TLP needs.
    #[must_use]
    pub fn of(tlp: &Tlp) -> Self {
        Self {
            header: 1,
            data: (tlp.payload().len() as u64).div_ceil(DATA_UNIT) as u32,
        }
    }

    fn add(&mut self, more: Self) {
        self.header += more.header;
        self.data += more.data;
    }
}

/// What a receiver advertises for one class at initialisation; `None` is infinite.
pub type Advertised = Option<Amount>;

/// What a receiver advertises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditLimits {
    /// For posted requests.
    pub posted: Advertised,
    /// For non-posted requests.
    pub non_posted: Advertised,
    /// For completions. Endpoints and root complexes have room for all that they asked for, and must say so
    /// (section 2.6.1); another limit is for tests.
    pub completion: Advertised,
}

impl CreditLimits {
    /// As much as can be advertised without scaled flow control, 127 headers and 2047 units of data; infinite for
    /// completions.
    pub const LARGEST: Self = Self {
        posted: Some(Amount {
            header: 127,
            data: 2047,
        }),
        non_posted: Some(Amount {
            header: 127,
            data: 2047,
        }),
        completion: None,
    };

    fn of(&self, class: FlowClass) -> Advertised {
        match class {
            FlowClass::Posted => self.posted,
            FlowClass::NonPosted => self.non_posted,
            FlowClass::Completion => self.completion,
        }
    }

    /// Checks that the receiver can take the largest TLP of each class (section 2.6.1).
    ///
    /// # Errors
    /// What is too small.
    pub fn check(&self, mps: u64) -> Result<(), String> {
        for (class, data) in [
            (FlowClass::Posted, mps / DATA_UNIT),
            // The largest AtomicOp has 16 bytes.
            (FlowClass::NonPosted, 1),
            (FlowClass::Completion, mps / DATA_UNIT),
        ] {
            if let Some(limit) = self.of(class)
                && (limit.header == 0 || u64::from(limit.data) < data)
            {
                return Err(format!(
                    "credits for {class:?} of {limit:?}: the largest TLP needs 1 header and {data} units of data"
                ));
            }
        }
        Ok(())
    }
}

/// The sender's count of what the receiver has room for.
#[derive(Clone, Debug)]
pub struct SenderCredits([Advertised; 3]);

impl SenderCredits {
    /// All that was advertised.
    #[must_use]
    pub fn new(limits: &CreditLimits) -> Self {
        Self(FlowClass::ALL.map(|class| limits.of(class)))
    }

    /// Is there room for this TLP?
    #[must_use]
    pub fn has(&self, class: FlowClass, need: Amount) -> bool {
        self.0[class as usize]
            .is_none_or(|have| have.header >= need.header && have.data >= need.data)
    }

    /// A TLP is sent. There must be room.
    pub fn take(&mut self, class: FlowClass, need: Amount) {
        if let Some(have) = &mut self.0[class as usize] {
            have.header -= need.header;
            have.data -= need.data;
        }
    }

    /// An UpdateFC has come.
    pub fn give(&mut self, class: FlowClass, more: Amount) {
        if let Some(have) = &mut self.0[class as usize] {
            have.add(more);
        }
    }
}

/// A data-link-layer packet, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dllp {
    /// TLPs have arrived. The link corrects its own errors here, so it is only a cost.
    Ack,
    /// The receiver has room for so much more.
    UpdateFc(FlowClass, Amount),
}

/// The receiver's side: what it has to tell the sender, and since when.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Cycles after which it tells.
    interval: u64,
    finite: [bool; 3],
    freed: [(Amount, Option<u64>); 3],
    ack_since: Option<u64>,
    /// Nothing is due before this cycle.
    next: u64,
}

impl Receiver {
    /// A receiver that has advertised `limits` and tells of changes `interval` cycles after the first.
    #[must_use]
    pub fn new(limits: &CreditLimits, interval: u64) -> Self {
        Self {
            interval,
            finite: FlowClass::ALL.map(|class| limits.of(class).is_some()),
            freed: Default::default(),
            ack_since: None,
            next: u64::MAX,
        }
    }

    /// A TLP has arrived.
    pub fn arrived(&mut self, now: u64) {
        if self.ack_since.is_none() {
            self.ack_since = Some(now);
            self.next = self.next.min(now + self.interval);
        }
    }

    /// A TLP has left the buffer.
    pub fn free(&mut self, now: u64, class: FlowClass, room: Amount) {
        if !self.finite[class as usize] {
            return;
        }
        let (freed, since) = &mut self.freed[class as usize];
        freed.add(room);
        since.get_or_insert(now);
        self.next = self.next.min(now + self.interval);
    }

    /// What is to be sent at cycle `now`.
    pub fn due(&mut self, now: u64) -> Vec<Dllp> {
        let mut all = Vec::new();
        if self.next > now {
            return all;
        }
        let ripe = |since: Option<u64>| since.is_some_and(|since| since + self.interval <= now);
        if ripe(self.ack_since) {
            self.ack_since = None;
            all.push(Dllp::Ack);
        }
        for (class, (freed, since)) in FlowClass::ALL.into_iter().zip(&mut self.freed) {
            if ripe(*since) {
                *since = None;
                all.push(Dllp::UpdateFc(class, std::mem::take(freed)));
            }
        }
        let left = self.freed.iter().filter_map(|(_, since)| *since);
        let first = left.chain(self.ack_since).min();
        self.next = first.map_or(u64::MAX, |since| since + self.interval);
        all
    }
}
