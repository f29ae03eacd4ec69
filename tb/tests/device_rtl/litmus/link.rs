//! Links of every kind.

use hmmu::machine::{Backend, MachineConfig, PcieConfig};
use hmmu::rc::{Amount, CompleterConfig, CompletionOrder, CreditLimits, LinkSpec, Split};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A link of a seed.
pub fn link(seed: u64) -> MachineConfig {
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x11);
    let mut of = |list: &[u64]| list[rng.random_range(0..list.len())];
    let mps = of(&[128, 256, 512]);
    let credits = |header, data| {
        Some(Amount {
            header: header as u32,
            data: data as u32,
        })
    };
    let mut limits = || match of(&[0, 1, 2]) {
        0 => CreditLimits::LARGEST,
        _ => CreditLimits {
            posted: credits(of(&[1, 2, 5]), mps / 16 + of(&[0, 3, 20])),
            non_posted: credits(of(&[1, 2, 5]), of(&[1, 2, 5])),
            completion: None,
        },
    };
    let (device_credits, host_credits) = (limits(), limits());
    let completer = CompleterConfig {
        jitter: of(&[0, 8, 200]),
        rcb: of(&[64, 128]),
        split: [Split::Drawn, Split::Largest, Split::Smallest][of(&[0, 1, 2]) as usize],
        order: [CompletionOrder::Ready, CompletionOrder::Any][of(&[0, 1]) as usize],
        ..CompleterConfig::default()
    };
    MachineConfig {
        link: LinkSpec {
            generation: of(&[1, 3, 5]) as u32,
            lanes: of(&[2, 8, 16]) as u32,
        },
        link_latency_ns: of(&[0, 40, 400]),
        memory_latency_ns: of(&[0, 100, 800]),
        vram_latency: of(&[2, 20, 100]),
        pcie: PcieConfig {
            mps,
            mrrs: of(&[128, 256, 512, 4096]),
            link_jitter_ns: of(&[0, 20, 300]),
            completer,
            device_credits,
            host_credits,
        },
        seed,
        ..MachineConfig::new(Backend::Rtl, 0)
    }
}
