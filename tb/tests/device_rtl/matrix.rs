//! Tests of the device on links of every size: Max_Payload_Size of 128 to 512 bytes, Max_Read_Request_Size of 128 to 4096,
//! read completion boundary of 64 and 128. `make matrix` takes all of them.

use crate::link_sizes::{chosen, every};
use crate::rtl::with_sizes;
use crate::{copy, copy_channels, errors, faults, jobs, rings};

/// What must work on each. The first [`SHORT`] are taken on the corners in `make test`.
const TESTS: [fn(); 11] = [
    copy_channels::a_list_does_its_segments_in_order,
    copy::physical_copies_of_any_alignment_move_their_bytes_only,
    faults::a_fault_is_reported_replayed_and_the_access_goes_on,
    rings::a_full_batch_behind_one_doorbell_runs,
    copy::fills_write_their_pattern,
    copy::a_link_error_ends_the_descriptor_with_what_was_done,
    copy_channels::rows_go_from_pitch_to_pitch,
    copy_channels::every_channel_has_a_ring_of_its_own,
    jobs::threads_start_as_the_launch_entry_says,
    errors::link_errors_end_the_thread_with_its_address,
    copy::virtual_copies_fault_on_both_sides_and_resume,
];
const SHORT: usize = 4;

#[test]
fn the_device_works_on_links_of_every_size() {
    let tests = if every() { &TESTS[..] } else { &TESTS[..SHORT] };
    let sizes = chosen();
    for link in &sizes {
        println!("{link}");
        with_sizes(*link, || {
            for test in tests {
                test();
            }
        });
    }
    println!("{} sizes, {} tests on each", sizes.len(), tests.len());
    assert!(sizes.len() >= 4);
}
