// Loads, stores and atomics of the compute unit: translation, memory access, result.
//
// A warp has up to four accesses here. Loads are posted: the warp goes on, the result comes by wb_*.
// Stores and atomics hold their warp: a store until the memory has accepted it (release_o), an atomic
// until its result is taken. An atomic needs a warp without other accesses: the caller sees to that
// (active_o), and to room (full_o).
//
// An access enters in any cycle (req_valid_i, always accepted) and looks up its page in the same
// cycle. On a hit it goes to memory; on a miss it parks here and costs nothing until the L1 TLB wakes
// it.
//
// Order within a warp (RVWMO): accesses to the same bytes go to memory one after the other, by
// physical address. A store waits until all older loads of its warp have their translation, so none
// is made after a load that fails.
// Failure (a Cancel, a misaligned or non-canonical address, a memory error): trap_* tells the oldest
// one of a warp, when all accesses before it are over. The caller then raises kill_i.
//
// An AMO on device memory is one memory operation. On system memory it reads, then swaps in a loop
// until no other writer came between; it translates once.
// SC swaps against the value that LR loaded, and fails without an access if its address or size is
// not that of the LR.
//
// Kill: accesses that wait end at once (release_o for one that holds its warp), an AMO between two
// memory operations ends; what is on its way to memory completes. A late wake finds nobody.
// Hold: accesses that wait stay, and ask for their translation again when held_i falls; an AMO starts
// over. moving_o falls when all that is on its way has come back.
//
// Save: snap_o tells the accesses of a held warp, snap_warp_i, as they are saved; of the four, oldest
// first, those that snap_half_i chooses. forget_i: they are gone, without a pulse. A saved one that had failed enters
// as such.
//
// drain_done_o is low from the cycle after an invalidation or stop until every access that was
// translated before it has retired.
//
//   t      t+1   t+2
//   req    hit   mem_req ... mem_rsp   wb in the next cycle
//
// Compact: the form for an FPGA. What looks up was chosen in the cycle before, and so was what takes the memory
// port; no hit goes straight into the request register: two cycles more from req to mem_req. An answer is looked at
// in the cycle after it came.
module cu_lsu
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import cu_pkg::*;
#(
  parameter int unsigned Warps   = 16,
  parameter int unsigned Entries = 16,   // of the L1 TLB
  parameter int unsigned Slots   = 16,   // misses of the L1 TLB at once
  parameter bit          Compact = 1'b0
) (
  input  logic              clk_i,
  input  logic              rst_ni,

  input  logic              req_valid_i,
  input  lsu_req_t          req_i,
  input  ctx_t [Warps-1:0]  ctx_i,
  input  logic [Warps-1:0]  kill_i,
  input  logic [Warps-1:0]  held_i,
  input  logic              start_i,         // a new thread: it holds no reservation
  input  warp_t             start_warp_i,

  output logic [Warps-1:0]  active_o,        // has accesses here
  output logic [Warps-1:0]  full_o,          // has no room for another
  output logic [Warps-1:0]  moving_o,        // held: something of it is on its way
  output logic [Warps-1:0]  waits_o,         // held: its instruction waits here
  output logic [Warps-1:0]  release_o,       // its store is done, or its instruction has ended
  output logic              trap_valid_o,
  output warp_t             trap_warp_o,
  output logic [7:0]        trap_code_o,
  output logic [47:0]       trap_va_o,
  output logic [Warps-1:0]  translate_o,     // state, to be shown
  output logic [Warps-1:0]  parked_o,
  output logic [Warps-1:0]  blocks_o,        // it holds the warp

  input  logic              snap_i,          // snap_o is asked for
  input  warp_t             snap_warp_i,
  input  logic              snap_half_i,
  output lsu_snap_t         snap_o,
  input  logic              forget_i,        // of snap_warp_i

  output logic              wb_valid_o,
  input  logic              wb_ready_i,
  output wb_t               wb_o,
  output logic              wb_last_o,       // no other access of its warp is here

  output logic              miss_valid_o,
  input  logic              miss_ready_i,
  output miss_t             miss_o,
  input  mmu_event_t        event_i,
  output logic              drain_done_o,

  output logic              mem_req_valid_o,
  input  logic              mem_req_ready_i,
  output mem_req_t          mem_req_o,
  input  logic              mem_rsp_valid_i,
  input  mem_rsp_t          mem_rsp_i,

  output logic              cnt_load_o,
  output logic [1:0]        cnt_store_o,
  output logic              cnt_lookup_o,
  output logic              cnt_hit_o
);

  localparam int unsigned Accs = Warps * WarpAccs;

  typedef logic [Warps-1:0] warps_t;
  typedef logic [Accs-1:0]  accs_t;

  function automatic warps_t warp_one(logic valid, warp_t warp);
    return valid ? warps_t'(1) << warp : '0;
  endfunction

  function automatic accs_t one(logic valid, acc_t acc);
    return valid ? accs_t'(1) << acc : '0;
  endfunction

  // All accesses of a warp.
  function automatic accs_t all_of(logic valid, warp_t warp);
    return valid ? accs_t'({WarpAccs{1'b1}}) << {warp, {AccW{1'b0}}} : '0;
  endfunction

  // All accesses of some warps.
  function automatic accs_t all_of_set(warps_t set);
    all_of_set = '0;
    if (set != '0) begin
      for (int unsigned w = 0; w < Warps; w++) all_of_set[w*WarpAccs+:WarpAccs] = {WarpAccs{set[w]}};
    end
  endfunction

  // The warps of some accesses.
  function automatic warps_t warps_of(accs_t set);
    warps_of = '0;
    if (set != '0) begin
      for (int unsigned w = 0; w < Warps; w++) warps_of[w] = set[w*WarpAccs+:WarpAccs] != '0;
    end
  endfunction

  // The accesses of one warp.
  function automatic slots_t row(accs_t set, warp_t warp);
    return slots_t'(set >> {warp, {AccW{1'b0}}});
  endfunction

  // The next of a set after `last`, round robin.
  function automatic acc_t next(accs_t set, acc_t last);
    accs_t behind, chosen;
    behind = set & ~((accs_t'(2) << last) - accs_t'(1));
    if (behind == '0) behind = set;
    chosen = behind & (~behind + accs_t'(1));
    return acc_index(64'(chosen));
  endfunction

  // The same, with a comparator for each: shorter, where a simulation would work through all of them.
  function automatic acc_t next_above(accs_t set, acc_t last);
    accs_t above, chosen;
    for (int unsigned i = 0; i < Accs; i++) above[i] = set[i] && i > 32'(last);
    if (above == '0) above = set;
    chosen = above & (~above + accs_t'(1));
    return acc_index(64'(chosen));
  endfunction

  function automatic access_e access_of(mem_kind_e kind);
    unique case (kind)
      MemLoad:  return AccessRead;
      MemStore: return AccessWrite;
      default:  return AccessAtomic;
    endcase
  endfunction

  // What an access is, kept while it is here.
  typedef struct packed {
    mem_op_t     op;
    logic [4:0]  rd;
    logic        rd_we;
  } meta_t;

  // One word for each access: small memories with one write port.
  meta_t       meta_mem [Accs];
  logic [47:0] va_mem   [Accs];
  // Packed: one that fails is one of many, and a loop over an unpacked array costs simulation every cycle.
  logic [Accs-1:0][7:0] code_q;       // why it failed
  // One for each warp: it has at most one store or atomic.
  logic [63:0] data_mem [Warps];
  logic [63:0] old_mem  [Warps];      // AMO: the value that the next swap expects
  logic [63:0] resv_value_mem [Warps];
  logic [47:0] resv_va_mem    [Warps];
  logic        resv_word_mem  [Warps];
  logic [AccW-1:0] block_mem  [Warps];   // the access that holds the warp
  warps_t      resv_q;                // holds a reservation
  warps_t      block_q;               // is held by a store or an atomic
  warps_t      swap_q;                // AMO: has its old value, the swap comes next
  warps_t      native_q;              // AMO: the memory does it
  warps_t      scfail_q;              // SC without its reservation: ends without an access

  // ---------------------------------------------------------------- where each access stands
  accs_t busy_q;       // is here; in none of the following: its result waits to be taken
  accs_t want_q;       // wants to look up (again)
  accs_t first_q;      // of these: its translation has just come, and may be pushed out again
  accs_t asked;        // Compact: it looks up in this cycle
  accs_t look_q;       // its lookup is under way
  accs_t order_q;      // waits for older accesses of its warp
  accs_t issue_q;      // translated: wants the memory port
  accs_t mem_q;        // in the request register or in memory
  accs_t fail_q;       // has failed
  accs_t parked;       // waits for its translation
  warps_t active_q;    // has anything in busy_q

  accs_t untranslated;
  assign untranslated = want_q | asked | look_q | parked | order_q | fail_q;

  assign active_o = active_q;
  assign blocks_o = block_q;

  // ---------------------------------------------------------------- entry: checks
  logic   misaligned, sc_fail, bad, enter, atomic;
  slots_t here;
  acc_t   enter_acc;
  always_comb begin
    unique case (req_i.op.size)
      2'd0:    misaligned = 1'b0;
      2'd1:    misaligned = req_i.va[0];
      2'd2:    misaligned = req_i.va[1:0] != '0;
      default: misaligned = req_i.va[2:0] != '0;
    endcase
    sc_fail = req_i.op.kind == MemSc && !req_i.failed
           && !(resv_q[req_i.warp] && canonical(req_i.va)
                && resv_va_mem[req_i.warp] == req_i.va[47:0]
                && resv_word_mem[req_i.warp] == (req_i.op.size == 2'd2));
    bad     = req_i.failed || misaligned || (!canonical(req_i.va) && !sc_fail);
    enter   = req_valid_i && !bad && !sc_fail;
    atomic  = req_i.op.kind != MemLoad && req_i.op.kind != MemStore;
    here    = row(busy_q, req_i.warp);
    // The lowest place that is free.
    enter_acc.warp = req_i.warp;
    enter_acc.slot = '0;
    for (int i = int'(WarpAccs) - 1; i >= 0; i--) if (!here[i]) enter_acc.slot = AccW'(i);
  end

  // ---------------------------------------------------------------- lookup
  // A new access goes first; others take the free cycles, those that were woken before the rest.
  logic    again, look_now, look_wait, lkp_valid;
  acc_t    again_acc, lkp_acc, look_acc_q;
  vpn_t    lkp_vpn;
  access_e lkp_access;
  accs_t   ready_again, held_accs, kill_accs, hit_set, hit_now;

  assign held_accs   = all_of_set(held_i);
  assign kill_accs   = all_of_set(kill_i);
  assign ready_again = want_q & ~held_accs;
  assign lkp_acc     = req_valid_i ? enter_acc : again_acc;
  assign lkp_vpn     = req_valid_i ? req_i.va[47:12] : va_mem[again_acc][47:12];
  assign lkp_access  = access_of(req_valid_i ? req_i.op.kind : meta_mem[again_acc].op.kind);
  assign look_now    = enter || again;

  if (Compact) begin : gen_again_chosen
    logic  chosen_q;       // again_acc is to look up next
    accs_t others;

    assign others = ready_again & ~one(chosen_q, again_acc);
    assign again  = !req_valid_i && chosen_q && ready_again[again_acc];

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        chosen_q  <= 1'b0;
        again_acc <= '0;
      end else if (!chosen_q || again || !ready_again[again_acc]) begin
        chosen_q <= others != '0;
        if (others != '0) again_acc <= next_above((others & first_q) != '0 ? others & first_q : others, again_acc);
      end
    end
  end else begin : gen_again_choose
    acc_t last_again_q;

    assign again = !req_valid_i && ready_again != '0;

    always_comb begin
      again_acc = '0;
      if (again) begin
        again_acc = next((ready_again & first_q) != '0 ? ready_again & first_q : ready_again, last_again_q);
      end
    end

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni)    last_again_q <= '0;
      else if (again) last_again_q <= again_acc;
    end
  end

  // A store may have to wait for the translations of its warp's loads.
  assign look_wait   = look_now && lkp_access == AccessWrite
                    && row(untranslated & ~hit_now & ~one(again, again_acc), lkp_acc.warp) != '0;
  assign lkp_valid   = look_now && !look_wait;

  typedef struct packed {
    acc_t    acc;
    ctx_t    ctx;
    vpn_t    vpn;
    access_e access;
  } ask_t;
  logic tlb_valid;
  ask_t ask, tlb;

  assign ask = '{acc: lkp_acc, ctx: ctx_i[lkp_acc.warp], vpn: lkp_vpn, access: lkp_access};
  late #(.On(Compact), .T(ask_t)) u_ask (
    .clk_i, .rst_ni, .valid_i(lkp_valid), .data_i(ask), .valid_o(tlb_valid), .data_o(tlb)
  );
  assign asked   = Compact ? one(tlb_valid, tlb.acc) : '0;
  // Compact: hits come too late for a choice; a store that waits for one has its turn again with it (progress).
  assign hit_now = Compact ? '0 : hit_set;

  logic                     look_valid;
  lookup_e                  look_status;
  ppn_t                     look_ppn;
  logic [$clog2(Slots)-1:0] look_slot;
  logic [Slots-1:0]         wake;
  logic                     wake_err;
  logic [7:0]               wake_code;

  l1_tlb #(
    .Entries (Entries),
    .Slots   (Slots),
    .Client  (ClientCuData),
    .Compact (Compact)
  ) u_tlb (
    .clk_i,
    .rst_ni,
    .lkp_valid_i  (tlb_valid),
    .lkp_ctx_i    (tlb.ctx),
    .lkp_vpn_i    (tlb.vpn),
    .lkp_access_i (tlb.access),
    .rsp_valid_o  (look_valid),
    .rsp_status_o (look_status),
    .rsp_ppn_o    (look_ppn),
    .rsp_slot_o   (look_slot),
    .wake_o       (wake),
    .wake_err_o   (wake_err),
    .wake_code_o  (wake_code),
    .miss_valid_o,
    .miss_ready_i,
    .miss_o,
    .event_i,
    .cnt_lookup_o,
    .cnt_hit_o
  );

  accs_t look_woken, look_retry, park_trap, dropped, unparked;

  cu_park #(
    .Ids   (Accs),
    .Slots (Slots)
  ) u_park (
    .clk_i,
    .rst_ni,
    .look_valid_i  (look_valid),
    .look_status_i (look_status),
    .look_slot_i   (look_slot),
    .look_id_i     ($clog2(Accs)'(look_acc_q)),
    .wake_i        (wake),
    .wake_err_i    (wake_err),
    .drop_i        (kill_accs | held_accs),
    .quiet_i       (ready_again == '0),
    .parked_o      (parked),
    .woken_o       (look_woken),
    .retry_o       (look_retry),
    .trap_o        (park_trap)
  );

  // Killed or held while nothing of it is on its way. What is held looks up again later.
  assign dropped  = kill_accs & (parked | (want_q & ~one(again, again_acc)) | order_q | fail_q);
  assign unparked = held_accs & parked & ~kill_accs;

  // Of a warp that is saved: its accesses, and their age.
  slots_t                           snap_here;
  logic [WarpAccs-1:0][AccW-1:0]    snap_slots;     // by age

  // ---------------------------------------------------------------- order
  // A hit may have to wait for older accesses to the same bytes.
  logic  look_hit, clash, pass, trap, taken;
  warps_t trap_due;
  logic  mem_last;      // an access has its response
  acc_t  rsp_acc, trap_acc, taken_acc, pick_acc;
  accs_t live;
  ppn_t  kept_ppn;

  assign look_hit = look_valid && look_status == LkpHit;
  assign pass     = look_hit && !clash;
  assign hit_set  = one(pass, look_acc_q);

  always_comb begin
    live = '0;
    // Compact: without a look at the response of this cycle; a hit that waits for it has its turn again (progress).
    if (look_hit) live = (untranslated | issue_q | mem_q) & ~one(mem_last && !Compact, rsp_acc) & ~one(1'b1, look_acc_q);
  end

  cu_lsu_order #(
    .Warps (Warps)
  ) u_order (
    .clk_i,
    .rst_ni,
    .enter_i        (req_valid_i),
    .enter_acc_i    (enter_acc),
    .enter_offset_i (req_i.va[11:0]),
    .enter_size_i   (req_i.op.size),
    .here_i         (here),
    .taken_i        (taken),
    .taken_acc_i    (taken_acc),
    .look_hit_i     (look_hit),
    .look_acc_i     (look_acc_q),
    .look_ppn_i     (look_ppn),
    .live_i         (row(live, look_acc_q.warp)),
    .untranslated_i (row(untranslated, look_acc_q.warp)),
    .clash_o        (clash),
    .ppn_acc_i      (pick_acc),
    .ppn_o          (kept_ppn),
    .fail_i         (fail_q),
    .dead_i         (kill_i),
    .due_o          (trap_due),
    .rank_i         (snap_i),
    .rank_warp_i    (snap_warp_i),
    .rank_here_i    (snap_here),
    .rank_o         (snap_slots),
    .trap_o         (trap),
    .trap_acc_o     (trap_acc)
  );

  // A failure, told when it is the oldest of its warp.
  assign trap_valid_o = trap;
  assign trap_warp_o  = trap_acc.warp;
  assign trap_code_o  = code_q[trap_acc];
  assign trap_va_o    = va_mem[trap_acc];

  // ---------------------------------------------------------------- save
  assign snap_here = snap_i ? row(busy_q, snap_warp_i) : '0;

  function automatic access_save_t saved_access(logic used, meta_t meta, logic [47:0] va);
    return used ? '{rd: meta.rd_we ? meta.rd : '0, zext: meta.op.zext, size: meta.op.size,
                    amo: meta.op.amo, kind: meta.op.kind, va: va} : '0;
  endfunction

  always_comb begin
    snap_o    = '0;
    if (snap_i) begin
      automatic acc_t   a    = '{warp: snap_warp_i, slot: snap_slots[{snap_half_i, 1'b0}]};
      automatic acc_t   b    = '{warp: snap_warp_i, slot: snap_slots[{snap_half_i, 1'b1}]};
      automatic slots_t lost = row(fail_q, snap_warp_i);
      snap_o.count  = 3'($countones(snap_here));
      for (int i = int'(WarpAccs) - 1; i >= 0; i--) begin
        snap_o.failed[i] = 3'(i) < snap_o.count && lost[snap_slots[i]];
        if (snap_o.failed[i]) snap_o.code = code_q[{snap_warp_i, snap_slots[i]}];
      end
      snap_o.operand = data_mem[snap_warp_i];
      snap_o.first   = saved_access(snap_o.count > {1'b0, snap_half_i, 1'b0}, meta_mem[a], va_mem[a]);
      snap_o.second  = saved_access(snap_o.count > {1'b0, snap_half_i, 1'b1}, meta_mem[b], va_mem[b]);
    end
  end

  // ---------------------------------------------------------------- memory request
  // A hit goes straight into the request register if nothing waits for it.
  logic     slot_free, pick, bypass;
  ppn_t     pick_ppn;
  meta_t    pick_meta;
  mem_req_t pick_req;

  logic     req_valid_q;
  acc_t     req_acc_q;
  mem_req_t req_q;

  assign slot_free = !req_valid_q || mem_req_ready_i;
  assign pick_meta = meta_mem[pick_acc];

  if (Compact) begin : gen_chosen
    logic  chosen_q;       // pick_acc is to go next
    accs_t others;

    assign others   = issue_q & ~one(chosen_q, pick_acc);
    assign pick     = chosen_q && slot_free;
    assign bypass   = 1'b0;
    assign pick_ppn = kept_ppn;

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        chosen_q <= 1'b0;
        pick_acc <= '0;
      end else if (!chosen_q || pick) begin
        chosen_q <= others != '0 || pass;
        pick_acc <= others != '0 ? next_above(others, pick_acc) : look_acc_q;
      end
    end
  end else begin : gen_choose
    acc_t last_pick_q;

    assign bypass   = pass && issue_q == '0 && slot_free;
    assign pick     = slot_free && (issue_q != '0 || pass);
    assign pick_ppn = issue_q != '0 ? kept_ppn : look_ppn;

    always_comb begin
      pick_acc = look_acc_q;
      if (issue_q != '0) pick_acc = next(issue_q, last_pick_q);
    end

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni)   last_pick_q <= '0;
      else if (pick) last_pick_q <= pick_acc;
    end
  end

  cu_lsu_req u_req (
    .op_i    (pick_meta.op),
    .addr_i  ({pick_ppn, va_mem[pick_acc][11:0]}),
    .tag_i   (TagW'(pick_acc)),
    .swap_i  (swap_q[pick_acc.warp]),
    .data_i  (data_mem[pick_acc.warp]),
    .old_i   (pick_meta.op.kind == MemSc ? resv_value_mem[pick_acc.warp] : old_mem[pick_acc.warp]),
    .req_o   (pick_req)
  );

  assign mem_req_valid_o = req_valid_q;
  assign mem_req_o       = req_q;

  logic stored;
  assign stored = req_valid_q && mem_req_ready_i && req_q.op == MemWrite;

  // ---------------------------------------------------------------- memory response
  warp_t       rsp_warp;
  meta_t       rsp_meta;
  logic [63:0] rsp_raw, rsp_value;
  logic        rsp_swap, rsp_rmw, unchanged, swapped, rsp_open, rsp_loops, rsp_undone, rsp_done, rsp_fails;

  // What comes from memory, and what it is for. A swap answers in the low bits, a read with the whole 16 bytes.
  typedef struct packed {
    logic        err;
    acc_t        acc;
    meta_t       meta;
    logic        swap;       // a swap's
    logic        rmw;        // an AMO's that the memory did
    logic [63:0] raw;        // from its first byte on
    logic [63:0] expected;
  } answer_t;

  answer_t come, answer;
  logic    rsp_valid;

  always_comb begin
    come.err      = mem_rsp_i.err;
    come.acc      = acc_t'(mem_rsp_i.tag[$bits(acc_t)-1:0]);
    come.meta     = meta_mem[come.acc];
    come.rmw      = come.meta.op.kind == MemAmo && native_q[come.acc.warp];
    come.swap     = come.meta.op.kind == MemSc || come.rmw || (come.meta.op.kind == MemAmo && swap_q[come.acc.warp]);
    come.raw      = 64'(mem_rsp_i.data >> {come.swap ? 4'd0 : va_mem[come.acc][3:0], 3'b0});
    come.expected = come.meta.op.kind == MemSc ? resv_value_mem[come.acc.warp] : old_mem[come.acc.warp];
  end

  late #(.On(Compact), .T(answer_t)) u_answer (
    .clk_i, .rst_ni, .valid_i(mem_rsp_valid_i), .data_i(come), .valid_o(rsp_valid), .data_o(answer)
  );

  assign rsp_acc  = answer.acc;
  assign rsp_warp = answer.acc.warp;
  assign rsp_meta = answer.meta;
  assign rsp_rmw  = answer.rmw;
  assign rsp_swap = answer.swap;
  assign rsp_raw  = answer.raw;

  cu_lsu_rsp u_rsp (
    .op_i       (answer.meta.op),
    .raw_i      (answer.raw),
    .expected_i (answer.expected),
    .value_o    (rsp_value),
    .swapped_o  (unchanged)
  );

  assign swapped = unchanged || rsp_rmw;

  // An AMO goes on until its swap took place, unless its thread is killed or held.
  assign rsp_open   = rsp_valid && rsp_meta.op.kind == MemAmo && !(rsp_swap && swapped)
                   && !answer.err && !kill_i[rsp_warp];
  assign rsp_loops  = rsp_open && !held_i[rsp_warp];
  assign rsp_undone = rsp_open && held_i[rsp_warp];
  assign rsp_fails  = rsp_valid && answer.err;
  assign rsp_done   = rsp_valid && !rsp_open && !answer.err;
  assign mem_last   = rsp_done || rsp_fails || rsp_undone;

  // ---------------------------------------------------------------- results
  // A failed SC has no response: it takes a cycle in which none comes.
  logic  fail_now;
  warp_t scfail_warp;
  acc_t  done_acc;
  wb_t   done, result;

  assign fail_now = scfail_q != '0 && !rsp_valid;

  always_comb begin
    scfail_warp = '0;
    if (fail_now) begin
      for (int i = int'(Warps) - 1; i >= 0; i--) if (scfail_q[i]) scfail_warp = warp_t'(i);
    end
  end

  assign done_acc = rsp_valid ? rsp_acc : '{warp: scfail_warp, slot: block_mem[scfail_warp]};
  assign done     = '{warp: done_acc.warp, slot: done_acc.slot,
                      posted: meta_mem[done_acc].op.kind == MemLoad,
                      rd: meta_mem[done_acc].rd, rd_we: meta_mem[done_acc].rd_we,
                      data: rsp_valid ? rsp_value : 64'd1};

  cu_fifo #(
    .Width ($bits(wb_t)),
    .Depth (Accs)
  ) u_results (
    .clk_i,
    .rst_ni,
    .push_i  (rsp_done || fail_now),
    .data_i  (done),
    .valid_o (wb_valid_o),
    .ready_i (wb_ready_i),
    .data_o  (result)
  );

  assign wb_o      = result;
  assign taken     = wb_valid_o && wb_ready_i;
  assign taken_acc = '{warp: result.warp, slot: result.slot};
  assign wb_last_o = row(busy_q, result.warp) == slots_t'(1) << result.slot;

  assign cnt_load_o  = rsp_done;
  // A store is accepted in the very cycle in which a swap answers: two.
  assign cnt_store_o = 2'(stored) + 2'(rsp_done && rsp_swap && swapped);

  // ---------------------------------------------------------------- next state
  accs_t  tlb_set, progress, waiting, waits, left, busy_d, moving, active_d, pending_q, retired;
  warps_t let_go, forgotten;
  accs_t  forget_accs;

  assign tlb_set  = one(tlb_valid, tlb.acc);
  // Accesses whose warp has come on: those that wait for their turn try again.
  assign progress = all_of(pass, look_acc_q.warp) | all_of(mem_last, rsp_warp);
  // Compact: so does one that begins to wait in this cycle, without having seen what has come.
  assign waits    = Compact ? order_q | waiting : order_q;
  assign waiting  = one(look_wait, lkp_acc) | one(look_hit && clash, look_acc_q);
  assign forgotten   = warp_one(forget_i, snap_warp_i);
  assign forget_accs = all_of(forget_i, snap_warp_i);
  assign left     = one(taken, taken_acc) | one(stored, req_acc_q) | dropped | forget_accs;
  assign busy_d   = (busy_q | one(req_valid_i, enter_acc)) & ~left;
  assign retired  = one(stored, req_acc_q) | one(mem_last, rsp_acc);

  // Instructions that end here without a result.
  always_comb begin
    let_go = '0;
    if (dropped != '0 && block_q != '0) begin
      for (int unsigned w = 0; w < Warps; w++) begin
        automatic acc_t held = '{warp: warp_t'(w), slot: block_mem[w]};
        let_go[w] = block_q[w] && dropped[held];
      end
    end
  end

  assign release_o = let_go | warp_one(stored, req_acc_q.warp);

  // Held warps: what is on its way. An access that enters in this cycle is.
  always_comb begin
    moving   = '0;
    moving_o = '0;
    waits_o  = '0;
    if (held_i != '0) begin
      moving   = (busy_q & ~(want_q | order_q | fail_q)) | one(req_valid_i, enter_acc);
      moving_o = warps_of(moving & held_accs) | trap_due;
      waits_o  = block_q & held_i & ~moving_o;
    end
  end

  always_comb begin
    full_o      = '0;
    translate_o = '0;
    parked_o    = '0;
    if (busy_q != '0) begin
      parked_o    = warps_of(parked);
      translate_o = warps_of(want_q | asked | look_q | order_q);
      for (int unsigned w = 0; w < Warps; w++) full_o[w] = busy_q[w*WarpAccs+:WarpAccs] == '1;
    end
  end

  // Translations in use, for drain_done_o.
  accs_t trk_q;
  assign active_d     = (trk_q | tlb_set) & ~one(look_valid && !pass, look_acc_q) & ~retired;
  assign drain_done_o = pending_q == '0;

  logic draining;
  assign draining = event_i.ev == EvInvalidate || event_i.ev == EvStop;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      busy_q       <= '0;
      want_q       <= '0;
      first_q      <= '0;
      look_q       <= '0;
      order_q      <= '0;
      issue_q      <= '0;
      mem_q        <= '0;
      fail_q       <= '0;
      trk_q        <= '0;
      pending_q    <= '0;
      active_q     <= '0;
      block_q      <= '0;
      swap_q       <= '0;
      native_q     <= '0;
      scfail_q     <= '0;
      resv_q       <= '0;
      req_valid_q  <= 1'b0;
    end else begin
      busy_q  <= busy_d;
      want_q  <= ((want_q & ~one(again, again_acc)) | look_woken | look_retry | unparked
                  | (waits & progress) | one(rsp_undone, rsp_acc)) & ~dropped & ~forget_accs;
      first_q <= (first_q & ~one(again, again_acc)) | look_woken | (waits & progress);
      look_q  <= tlb_set;
      order_q <= ((order_q & ~progress) | (Compact ? waiting & ~progress : waiting)) & ~dropped & ~forget_accs;
      issue_q <= ((issue_q | (bypass ? '0 : hit_set)) & ~one(pick, pick_acc)) | one(rsp_loops, rsp_acc);
      mem_q   <= (mem_q & ~retired & ~one(rsp_valid, rsp_acc)) | one(pick, pick_acc);
      fail_q  <= (fail_q | park_trap | one(rsp_fails, rsp_acc) | one(req_valid_i && bad, enter_acc))
               & ~dropped & ~forget_accs;
      trk_q     <= active_d;
      pending_q <= (draining ? '1 : pending_q) & active_d;

      if (left != '0 || req_valid_i) active_q <= warps_of(busy_d);
      block_q  <= (block_q | warp_one(req_valid_i && req_i.op.kind != MemLoad, req_i.warp))
                & ~release_o & ~forgotten & ~warp_one(taken && !result.posted, result.warp);
      swap_q   <= (swap_q & ~warp_one(mem_last && rsp_swap, rsp_warp)) | warp_one(rsp_loops, rsp_warp);
      scfail_q <= (scfail_q & ~warp_one(fail_now, scfail_warp))
                | warp_one(req_valid_i && sc_fail && !bad, req_i.warp);
      resv_q   <= (resv_q | warp_one(rsp_done && rsp_meta.op.kind == MemLr, rsp_warp))
                & ~warp_one(start_i, start_warp_i)
                & ~warp_one(mem_last && rsp_meta.op.kind == MemSc, rsp_warp)
                & ~warp_one(fail_now, scfail_warp);
      if (pick) native_q[pick_acc.warp] <= pick_req.op == MemRmw;
      if (pick)                 req_valid_q <= 1'b1;
      else if (mem_req_ready_i) req_valid_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (req_valid_i) begin
      meta_mem[enter_acc] <= '{op: req_i.op, rd: req_i.rd, rd_we: req_i.rd_we};
      va_mem[enter_acc]   <= req_i.va[47:0];
      if (req_i.op.kind != MemLoad) begin
        data_mem[req_i.warp]  <= req_i.data;
        block_mem[req_i.warp] <= enter_acc.slot;
      end
    end
    look_acc_q <= tlb.acc;
    if (pick) begin
      req_acc_q <= pick_acc;
      req_q     <= pick_req;
    end
    if (rsp_valid) begin
      if (rsp_meta.op.kind == MemAmo) old_mem[rsp_warp] <= rsp_raw;
      if (rsp_meta.op.kind == MemLr) begin
        resv_value_mem[rsp_warp] <= rsp_raw;
        resv_va_mem[rsp_warp]    <= va_mem[rsp_acc];
        resv_word_mem[rsp_warp]  <= rsp_meta.op.size == 2'd2;
      end
    end
    if (park_trap != '0) begin
      for (int unsigned i = 0; i < Accs; i++) if (park_trap[i]) code_q[i] <= wake_code;
    end
    if (rsp_fails)          code_q[rsp_acc]   <= 8'(JobStatusMemoryError);
    if (req_valid_i && bad) code_q[enter_acc] <= req_i.failed ? req_i.code
                                               : misaligned   ? 8'(JobStatusMisaligned)
                                                              : 8'(JobStatusBadAddress);
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(req_valid_i && here == '1)) else $error("an access finds no place");
      assert (!(req_valid_i && block_q[req_i.warp])) else $error("a held warp makes an access");
      assert (!(req_valid_i && atomic && here != '0)) else $error("an atomic beside other accesses");
      assert (!rsp_valid || mem_q[rsp_acc]) else $error("a response for no access");
      assert ((untranslated & ~busy_q) == '0 && ((issue_q | mem_q) & ~busy_q) == '0)
        else $error("an access that is not here");
    end
  end

  // A port looks at parts of what is kept for an access; tags are access numbers.
  logic unused;
  assign unused = ^{pick_meta.rd, pick_meta.rd_we, rsp_meta.rd, rsp_meta.rd_we,
                    mem_rsp_i.tag[TagW-1:$bits(acc_t)]};

endmodule
