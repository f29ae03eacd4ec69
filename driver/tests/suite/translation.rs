//! Limits on the device's address translation.

use crate::common::programs::fill;
use crate::common::{Setup, run};
use hmmu_driver::TranslationLimits;
use hmmu_driver::hw::Bar;
use hmmu_regs::reg;

#[test]
fn limits_reach_the_device_and_change_no_result() {
    let least = TranslationLimits {
        walkers: 1,
        walk_cache: false,
        l2: false,
        merging: false,
    };
    for (translation, word) in [(TranslationLimits::default(), 0), (least, 0x701)] {
        let mut setup = Setup::new(1);
        setup.config.translation = translation;
        run(setup, move |m| {
            assert_eq!(m.board.read(reg::XLAT_LIMITS), Ok(word));
            let p = m.process();
            let buf = p.map(40);
            let job = p.start(&fill(), &[buf.0, 40, 7], 8).expect("launch");
            assert_eq!(job.wait(), Ok(u64::MAX));
            p.cpu_check(buf, 40, 7);
            p.end();
        });
    }
}
