//! The MMU's block bench in a build without the verilated design: there is none.

use serde_json::{Map, Value};

use super::row::Row;

/// Never made.
#[derive(Clone, Debug)]
pub enum Block {}

impl Block {
    /// There is none.
    ///
    /// # Errors
    /// Always.
    pub fn measure() -> Result<Self, String> {
        Err(crate::machine::NO_RTL.into())
    }

    /// There is none.
    ///
    /// # Errors
    /// Always.
    pub fn stream(_limits: u64) -> Result<(f64, f64), String> {
        Err(crate::machine::NO_RTL.into())
    }

    pub(super) fn full_stream(&self) -> (f64, f64) {
        match *self {}
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        match *self {}
    }

    pub(super) fn json(&self) -> Map<String, Value> {
        match *self {}
    }
}
