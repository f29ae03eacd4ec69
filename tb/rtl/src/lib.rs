//! The verilated hmmu device.
