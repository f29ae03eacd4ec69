//! What a storm has shown.

/// What was looked at.
#[derive(Debug, Default)]
pub struct Counts {
    pub fences: u64,
    pub messages: u64,
    pub faults: u64,
    pub records: u64,
    pub stores: u64,
    pub answers: u64,
    pub moves: u64,
    pub cycles: u64,
}

impl Counts {
    pub fn add(&mut self, more: &Self) {
        self.fences += more.fences;
        self.messages += more.messages;
        self.faults += more.faults;
        self.records += more.records;
        self.stores += more.stores;
        self.answers += more.answers;
        self.moves += more.moves;
        self.cycles += more.cycles;
    }
}
