//! The loop at the heart of every HMM driver: look at a process's pages without a lock, and use what was seen only if
//! nobody has changed it meanwhile. `cargo run -p hmm-core --example mirror`

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex};

use hmm_core::sync::{self, Mutex};
use hmm_core::{
    Errno, HmmPfn, HmmRange, Mm, MmapOptions, MmuIntervalNotifier, MmuIntervalNotifierOps,
    MmuNotifierRange, NoTrace, PAGE_SIZE, Pfn, PhysMem, Prot, System, SystemConfig, Va,
    hmm_range_fault,
};

/// System memory as one vector.
struct Ram(StdMutex<Vec<u8>>);

impl Ram {
    fn with<R>(&self, pfn: Pfn, work: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut bytes = self.0.lock().expect("nobody panics with it");
        let start = (pfn.0 * PAGE_SIZE) as usize;
        work(&mut bytes[start..start + PAGE_SIZE as usize])
    }
}

impl PhysMem for Ram {
    fn read(&self, pfn: Pfn, offset: usize, buf: &mut [u8]) {
        self.with(pfn, |page| {
            buf.copy_from_slice(&page[offset..offset + buf.len()])
        });
    }

    fn write(&self, pfn: Pfn, offset: usize, data: &[u8]) {
        self.with(pfn, |page| {
            page[offset..offset + data.len()].copy_from_slice(data)
        });
    }

    fn zero_page(&self, pfn: Pfn) {
        self.with(pfn, |page| page.fill(0));
    }

    fn copy_page(&self, dst: Pfn, src: Pfn) {
        let from = self.with(src, |page| page.to_vec());
        self.with(dst, |page| page.copy_from_slice(&from));
    }
}

/// A device's table: which page is at which address.
#[derive(Default)]
struct Table(Mutex<BTreeMap<u64, Pfn>>);

impl MmuIntervalNotifierOps for Table {
    /// hmm-core is about to change a range: nothing of it may be used once this returns.
    fn invalidate(&self, sub: &MmuIntervalNotifier, range: &MmuNotifierRange, seq: u64) -> bool {
        let mut table = self.0.lock();
        sub.set_seq(seq);
        table.retain(|page, _| !(range.start.page()..range.end.page()).contains(page));
        true
    }
}

/// Brings `pages` pages from `start` on into the table; how many times it had to look.
fn mirror(
    mm: &Arc<Mm>,
    notifier: &Arc<MmuIntervalNotifier>,
    table: &Table,
    start: Va,
    pages: u64,
) -> Result<u32, Errno> {
    for round in 1.. {
        let seq = notifier.read_begin();
        let mut pfns = vec![HmmPfn::default(); pages as usize];
        let mut range = HmmRange {
            notifier: Arc::clone(notifier),
            notifier_seq: seq,
            start,
            end: start + pages * PAGE_SIZE,
            pfns: &mut pfns,
            default_flags: HmmPfn::REQ_FAULT | HmmPfn::REQ_WRITE,
            pfn_flags_mask: 0,
            dev_private_owner: 0,
        };
        let looked = hmm_range_fault(&mm.mmap_read_lock(), &mut range);
        match looked {
            // It changed while it was looked at.
            Err(Errno::EBUSY) => continue,
            other => other?,
        }
        // The lock that invalidate takes: what is still true now stays so until it is dropped.
        let mut table = table.0.lock();
        if notifier.read_retry(seq) {
            continue;
        }
        let seen = pfns.iter().zip(start.page()..);
        table.extend(seen.map(|(pfn, page)| (page, pfn.pfn())));
        return Ok(round);
    }
    unreachable!("the rounds do not end")
}

fn example() -> Result<u32, Errno> {
    let ram = Arc::new(Ram(StdMutex::new(vec![0; (256 * PAGE_SIZE) as usize])));
    let memory: Arc<dyn PhysMem> = Arc::clone(&ram) as _;
    let system = System::new(SystemConfig::new(256), memory, Arc::new(NoTrace));
    let mm = system.create_mm();
    let start = mm.mmap(8 * PAGE_SIZE, Prot::READ_WRITE, MmapOptions::default())?;
    mm.store(start, b"written by the CPU")?;

    let table = Arc::new(Table::default());
    let notifier = MmuIntervalNotifier::insert(&mm, Va(0), 1 << 47, Arc::clone(&table) as _)?;

    // Another thread takes pages away meanwhile.
    let other = Arc::clone(&mm);
    let unmapper = sync::spawn(move || other.munmap(start + 4 * PAGE_SIZE, 4 * PAGE_SIZE));
    let rounds = mirror(&mm, &notifier, &table, start, 4)?;
    unmapper.join()?;

    // The device reads what the CPU wrote, through its own table.
    let pfn = table.0.lock()[&start.page()];
    let mut seen = [0; 18];
    ram.read(pfn, 0, &mut seen);
    assert_eq!(&seen, b"written by the CPU");
    assert_eq!(table.0.lock().len(), 4);

    // What the process gives up, the device loses first.
    mm.munmap(start, PAGE_SIZE)?;
    assert!(!table.0.lock().contains_key(&start.page()));

    notifier.remove();
    mm.exit();
    Ok(rounds)
}

fn main() {
    let mut most = 0;
    for seed in 0..50 {
        let rounds = sync::run(seed, example)
            .unwrap_or_else(|text| panic!("seed {seed}: {text}"))
            .unwrap_or_else(|errno| panic!("seed {seed}: {errno}"));
        most = most.max(rounds);
    }
    println!("50 interleavings; a range was looked at {most} times at most");
}
