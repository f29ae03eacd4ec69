//! Examples for the commands' help. A test parses each of them.

/// Of `hmmu`.
pub const HMMU: &str = "\
Examples:
  hmmu doctor                                     is everything there?
  hmmu graph                                      the device at work, on a bundled graph
  hmmu run tb/scenarios/example.rhai              a scenario
  hmmu run tb/scenarios --backend model           all of them, on the fast functional model

Exit status: 0 well done, 1 a check failed, 2 the command or its input cannot be used.
The book is in docs/, beginning with docs/start.md.";

/// Of `hmmu run`.
pub const RUN: &str = "\
Examples:
  hmmu run tb/scenarios/example.rhai
  hmmu run tb/scenarios/race.rhai --seed 7 --wave race.fst --log race.log
  hmmu run s.rhai --wave s.fst --wave-from 9000 --wave-to 12000
  hmmu run s.rhai --wave s.fst --wave-on first-fault --wave-before 500
  hmmu run s.rhai --wave s.vcd --wave-on va:0x7f0000001000 --wave-depth 2
  hmmu run tb/scenarios --rerun-dir waves         waves of what fails go there
  hmmu run tb/scenarios --backend model --junit results.xml

A scenario that fails on the verilated device is run again in the same way, and waves around the failing cycle are
written (unless --no-rerun); a line on standard error says where.";

/// Of `hmmu explore`.
pub const EXPLORE: &str = "\
Examples:
  hmmu explore tb/scenarios/race.rhai
  hmmu explore tb/scenarios/races --seeds 10000 --jobs 4 --out worst.txt";

/// Of `hmmu graph`.
pub const GRAPH: &str = "\
Examples:
  hmmu graph --report graph.html
  hmmu graph roads.mtx --root 1 --vram 4M --link gen4x4
  hmmu graph edges.txt --policy remote --json figures.json";

/// Of `hmmu fuzz`.
pub const FUZZ: &str = "\
Examples:
  hmmu fuzz --ops 100000
  hmmu fuzz --seed 2114 --length 100 --show
  hmmu fuzz --compare --ops 2000";

/// Of `hmmu bench`.
pub const BENCH: &str = "\
Examples:
  hmmu bench mmu --size small
  hmmu bench mmu --workload gups --no-ablations --json gups.json
  hmmu bench copy --part rates";

/// Of `hmmu explain`.
pub const EXPLAIN: &str = "\
Examples:
  hmmu graph --log graph.log
  hmmu explain graph.log";

/// Of `hmmu compare`.
pub const COMPARE: &str = "\
Examples:
  hmmu graph --json migrate.json
  hmmu graph --json remote.json --policy remote
  hmmu compare migrate.json remote.json
  hmmu compare before.json after.json --tolerance 5";

/// Of `hmmu list`.
pub const LIST: &str = "\
Examples:
  hmmu list
  hmmu list my/scenarios";

/// Of `hmmu doctor`.
pub const DOCTOR: &str = "\
Examples:
  hmmu doctor
  hmmu doctor --json doctor.json";

/// Of `hmmu completions`.
pub const COMPLETIONS: &str = "\
Examples:
  hmmu completions bash";
