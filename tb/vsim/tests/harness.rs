//! The harness itself.

use hmmu_vsim::Block;

#[test]
fn an_unknown_block_is_refused_by_name() {
    let error = Block::new("no_such_block").err().expect("must be refused");
    assert!(error.contains("no_such_block"), "{error}");
}
