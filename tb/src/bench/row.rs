//! One figure beside those of others and its target.

use std::fmt;

use serde_json::{Value, json};

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// There is none.
    None,
}

impl Target {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(limit) => Some(value >= limit),
            Self::AtMost(limit) => Some(value <= limit),
            Self::None => None,
        }
    }

    fn text(self, digits: usize) -> String {
        match self {
            Self::AtLeast(limit) => format!(">= {limit:.digits$}"),
            Self::AtMost(limit) => format!("<= {limit:.digits$}"),
            Self::None => "-".into(),
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The key in JSON.
    pub key: &'static str,
    /// Of which of several it is.
    pub of: String,
    /// What it is.
    pub label: String,
    /// As measured.
    pub value: f64,
    /// Digits to show after the point.
    pub digits: usize,
    /// The RISC-V IOMMU, CVA6's MMU, the best elsewhere.
    pub peers: [&'static str; 3],
    /// What it should be.
    pub target: Target,
}

/// Nobody else has such a figure.
pub(super) const NO_PEER: [&str; 3] = ["-", "-", "-"];

impl Row {
    /// The head of the table.
    pub const HEAD: &'static str = "figure                                                   measured  IOMMU   CVA6   elsewhere     target  met";

    /// For figures in a file.
    pub fn json(&self) -> Value {
        json!({
            "key": self.key,
            "of": self.of,
            "label": self.label,
            "measured": self.value,
            "target": self.target(),
            "met": self.target.met(self.value),
        })
    }

    /// As a line beside one peer, the last one.
    pub fn beside_one(&self) -> String {
        let value = format!("{:.*}", self.digits, self.value);
        let met = match self.target.met(self.value) {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        let (peer, target) = (self.peers[2], self.target());
        let line = format!(
            "{:<56} {value:>9} {peer:>11} {target:>10}  {met}",
            self.label
        );
        line.trim_end().to_string()
    }

    fn target(&self) -> String {
        self.target.text(self.digits.min(2))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = format!("{:.*}", self.digits, self.value);
        let [iommu, cva6, best] = self.peers;
        let met = match self.target.met(self.value) {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        write!(
            f,
            "{:<54} {value:>10} {iommu:>6} {cva6:>6} {best:>11} {:>10}  {met}",
            self.label,
            self.target()
        )
    }
}
