//! A read of the device over the link fails: the operation may end with an error, the device stays usable.

use crate::common::{PAGE, Setup, run};
use hmm_core::Errno;
use hmmu_regs::Client;
use std::collections::BTreeSet;

#[test]
fn any_single_failed_read_leaves_the_device_usable() {
    let mut units = BTreeSet::new();
    for nth in 1..60 {
        let (send, receive) = std::sync::mpsc::channel();
        run(Setup::new(nth), move |m| {
            let p = m.process();
            let (buf, other) = (p.map(6), p.map(6));
            p.cpu_fill(buf, 6, 1);
            p.check(buf, 6, 1);
            m.ram.fail_read(nth);
            // The read may belong to a queue, to a job, to a copy or to a migration.
            match p.run(&crate::common::programs::check(), &[buf.0, 6, 1], 3) {
                Ok(found) => assert_eq!(found, u64::MAX),
                Err(error) => assert_eq!(error.errno, Errno::EIO),
            }
            if let Err(error) = p.context.copy(other, buf, 6 * PAGE) {
                assert_eq!(error.errno(), Errno::EIO);
            }
            p.to_device(buf, 6);
            p.check(buf, 6, 1);
            assert_eq!(m.device.lost(), None);
            p.context.copy(other, buf, 6 * PAGE).expect("copy");
            p.check(other, 6, 1);
            p.cpu_check(buf, 6, 1);
            let info = hmmu_driver::hw::Bar::read(m.board.as_ref(), hmmu_regs::reg::ERROR_INFO);
            send.send(info.expect("ERROR_INFO")).expect("send");
            p.end();
        });
        let info = receive.recv().expect("a finished run");
        assert_ne!(info, 0, "read {nth} did not fail");
        // ERROR_INFO bits 15:8: whose read it was. Launch and Ctrl read nothing but their rings.
        units.extend(Client::from_raw(info >> 8 & 0xff));
    }
    for unit in [Client::Launch, Client::Ctrl, Client::Copy, Client::CuData] {
        assert!(units.contains(&unit), "no read of {} failed", unit.name());
    }
}
