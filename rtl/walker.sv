// Page-table walker: Sv48 with leaves of 4 KiB, 64 KiB (Svnapot), 2 MiB and 1 GiB, Walkers walks in
// flight; walk_queue before it, walk_cache beside it.
//
// A request becomes a walk in a free slot, waits for one, or joins the walk of the same (context, page,
// access). One context has at most Walkers - 2 slots (all, if at most 4 are in use). While the dirty log is in
// use, stores of logged contexts have together at most Walkers - 4 (Walkers - 1, if at most 8 are in use): they may
// wait for the log as long as the host likes, and loads and other contexts go on beside them.
// A walk ends with one of
//   ev_*     a Fill event (the translation), or a Cancel event with JobStatusBadAddress when the
//            context is Off;
//   fault_*  a fault report to the fault unit.
// Bypass contexts get their 1 GiB identity translation from here too, without a table read.
// What entries mean: walk_check. A 64 KiB leaf is 16 entries; A and D are set in the one that was read.
//
// Memory: one request a cycle. A walk of k reads, each with its answer L cycles after acceptance, takes
//   from the request to its Fill event k * (L + 1) + 1 cycles when nothing else is under way, and L + 1
//   more if A or D has to be set. With a pointer in the walk cache k is 1 to 3, else 4 for 4 KiB.
// A and D: a leaf is filled only with A set (and D, for writes and atomics): the walker sets them
//   with MemCas, expecting the entry that it checked. A lost Cas walks again.
// Dirty log: a Cas that sets D for a logged context begins only with a credit of the log (log_take_o),
//   and gives it back (log_give_o) or is logged (log_valid_o) when it ends, dropped walk or not.
// Preemption: a walk keeps no state between memory operations that an event cannot take away:
//   Invalidate  walks that could end in a leaf that overlaps the range, or have read an entry whose
//               pages do, start again;
//   Retry       walks of the range start again (they may have read the old entry);
//   Cancel, Stop, and a Fill that answers the walk: it is dropped.
//   What has a memory operation outstanding does so when the answer has come. quiet_o is low while
//   an operation of a walk that the last Invalidate or Stop caught is outstanding.
//
// Compact: the form for an FPGA. What an answer or the walk cache gives is in registers before it is used: a walk looks
//   into the cache in the cycle after it came, and each of its reads begins a cycle later.
//
//   req      A
//   slot     -  ReadWait ...     ReadWait ...  Cas wait ...  Fill    Idle
//   mem_req     r3               r2            c
//   mem_rsp                   r3           r2            c
//   ev                                                       Fill
module walker
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned Walkers     = 16,
  parameter int unsigned Waiting     = 64,   // requests that wait for a slot
  parameter int unsigned CacheTables = 32,   // pointers in the walk cache, by level
  parameter int unsigned CacheMiddle = 8,
  parameter int unsigned CacheTop    = 4,
  parameter bit          Compact     = 1'b0
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  ctx_cfg_t [NumCtx-1:0]   ctx_cfg_i,
  // verilator lint_off UNUSEDSIGNAL
  // The L2's limit is not for here.
  input  xlat_limits_t            limits_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic                    req_valid_i,
  output logic                    req_ready_o,
  input  miss_t                   req_i,
  output logic                    ev_valid_o,
  input  logic                    ev_ready_i,
  output mmu_event_t              ev_o,
  output logic                    fault_valid_o,
  input  logic                    fault_ready_i,
  output miss_t                   fault_o,
  output fault_reason_e           fault_reason_o,
  output logic                    mem_req_valid_o,
  input  logic                    mem_req_ready_i,
  output mem_req_t                mem_req_o,
  input  logic                    mem_rsp_valid_i,
  input  mem_rsp_t                mem_rsp_i,
  // verilator lint_off UNUSEDSIGNAL
  // The code of a Cancel concerns only the L1 TLBs.
  input  mmu_event_t              event_i,
  // verilator lint_on UNUSEDSIGNAL
  output logic                    quiet_o,
  // Dirty log.
  input  logic                    log_on_i,
  input  logic                    log_credit_i,
  output logic                    log_take_o,
  output logic                    log_give_o,
  output logic                    log_valid_o,
  output ctx_t                    log_ctx_o,
  output vpn_t                    log_vpn_o,
  output page_size_e              log_size_o,
  output logic                    cnt_walk_o,
  output logic                    cnt_read_o,
  output logic                    cnt_merge_o,
  output logic                    cnt_restart_o,
  output logic                    cnt_ad_o,
  output logic                    cnt_d_o
);

  localparam int unsigned SlotW  = $clog2(Walkers);
  localparam int unsigned CountW = SlotW + 1;
  typedef logic [SlotW-1:0]  slot_t;
  typedef logic [CountW-1:0] count_t;

  typedef enum logic [3:0] {
    WkIdle     = 4'd0,
    WkStart    = 4'd1,   // at the root, or where the walk cache leads
    WkRead     = 4'd2,   // table address known
    WkReadWait = 4'd3,
    WkCas      = 4'd4,   // leaf known, A or D to be set
    WkCasWait  = 4'd5,
    WkFill     = 4'd6,   // waits for the event bus
    WkBadCtx   = 4'd7,   // waits for the event bus
    WkFault    = 4'd8    // waits for the fault unit
  } wk_e;

  wk_e                state_q  [Walkers];
  miss_t              miss_q   [Walkers];
  logic [1:0]         level_q  [Walkers];   // of the entry that is read, or was read last
  ppn_t               table_q  [Walkers];
  pte_t               pte_q    [Walkers];
  fault_reason_e      reason_q [Walkers];
  logic [Walkers-1:0] busy_q;    // not WkIdle
  logic [Walkers-1:0] again_q;   // the walk has begun before
  logic [Walkers-1:0] redo_q;    // start again when the outstanding operation has returned
  logic [Walkers-1:0] drop_q;    // end then
  logic [Walkers-1:0] caught_q;  // outstanding since an Invalidate or Stop of its range
  logic [Walkers-1:0] logs_q;    // the outstanding Cas holds a credit of the dirty log
  logic               any_busy;

  assign any_busy = busy_q != '0;

  function automatic logic [8:0] va_index(vpn_t vpn, logic [1:0] level);
    unique case (level)
      2'd0:    return vpn[8:0];
      2'd1:    return vpn[17:9];
      2'd2:    return vpn[26:18];
      default: return vpn[35:27];
    endcase
  endfunction

  function automatic logic is_store(access_e access);
    return access == AccessWrite || access == AccessAtomic;
  endfunction

  // Size of the page whose leaf was read at a level.
  function automatic page_size_e size_of(logic [1:0] level, logic napot);
    unique case (level)
      2'd0:    return napot ? Page64K : Page4K;
      2'd1:    return Page2M;
      default: return Page1G;
    endcase
  endfunction

  // ---------------------------------------------------------------- events that end or restart walks
  logic [Walkers-1:0] live;      // busy and not already dropped
  logic [Walkers-1:0] waiting;   // a memory operation is outstanding and does not return now
  logic [Walkers-1:0] drop, redo, caught;
  slot_t              rsp;

  assign rsp  = slot_t'(mem_rsp_i.tag);
  assign live = busy_q & ~drop_q;

  always_comb begin
    waiting = '0;
    drop    = '0;
    redo    = '0;
    caught  = '0;
    if (event_i.ev != EvNone && any_busy) begin
      for (int unsigned i = 0; i < Walkers; i++) begin
        waiting[i] = (state_q[i] == WkReadWait || state_q[i] == WkCasWait)
                  && !(mem_rsp_valid_i && rsp == slot_t'(i));
        if (busy_q[i] && miss_q[i].ctx == event_i.ctx) begin
          unique case (event_i.ev)
            EvFill:
              drop[i] = xlat_covers(event_i.xlat, miss_q[i].ctx, miss_q[i].vpn)
                     && xlat_allows(event_i.xlat, miss_q[i].access);
            EvCancel:
              drop[i] = miss_q[i].vpn == event_i.lo && miss_q[i].access == event_i.access;
            EvStop: begin
              drop[i]   = 1'b1;
              caught[i] = 1'b1;
            end
            EvInvalidate: begin
              redo[i]   = (miss_q[i].vpn | walk_reach(level_q[i])) >= event_i.lo
                       && (miss_q[i].vpn & ~walk_reach(level_q[i])) <= event_i.hi;
              caught[i] = redo[i];
            end
            EvRetry:
              redo[i] = miss_q[i].vpn >= event_i.lo && miss_q[i].vpn <= event_i.hi;
            default: ;
          endcase
        end
      end
    end
  end

  // ---------------------------------------------------------------- requests
  logic              merge, free_any, start_valid, start_fresh;
  slot_t             free_slot;
  miss_t             start;
  logic [NumCtx-1:0] may_start;
  logic [NumCtx-1:0] no_store;
  count_t            in_use, cap;       // slots in use, most of them for one context
  count_t            log_held, log_cap; // slots of stores of logged contexts, and most of them
  count_t            held [NumCtx];

  always_comb begin
    in_use = count_t'(Walkers);
    if (limits_i.walkers != '0 && 32'(limits_i.walkers) < Walkers) in_use = count_t'(limits_i.walkers);
    cap     = 32'(in_use) > 4 ? in_use - count_t'(2) : in_use;
    log_cap = 32'(in_use) > 8 ? in_use - count_t'(4)
            : 32'(in_use) > 1 ? in_use - count_t'(1) : in_use;
  end

  always_comb begin
    merge     = 1'b0;
    free_any  = 1'b0;
    free_slot = '0;
    may_start = '1;
    no_store  = '0;
    log_held  = '0;
    for (int unsigned c = 0; c < NumCtx; c++) held[c] = '0;
    // Not `if (req_valid_i)`: that comes late, and the choice of the queue would wait for it.
    if (!any_busy) begin
      free_any = 1'b1;
    end else begin
      for (int unsigned i = 0; i < Walkers; i++) begin
        if (live[i] && req_valid_i && !limits_i.merge_off && miss_q[i].ctx == req_i.ctx
            && miss_q[i].vpn == req_i.vpn && miss_q[i].access == req_i.access) merge = 1'b1;
        if (busy_q[i]) held[miss_q[i].ctx] = held[miss_q[i].ctx] + 1'b1;
        if (!busy_q[i] && !free_any && count_t'(i) < in_use) begin
          free_any  = 1'b1;
          free_slot = slot_t'(i);
        end
      end
      for (int unsigned c = 0; c < NumCtx; c++) may_start[c] = Walkers <= 4 || held[c] < cap;
      if (log_on_i) begin
        for (int unsigned i = 0; i < Walkers; i++) begin
          if (busy_q[i] && is_store(miss_q[i].access) && ctx_cfg_i[miss_q[i].ctx].log) begin
            log_held = log_held + 1'b1;
          end
        end
        for (int unsigned c = 0; c < NumCtx; c++) no_store[c] = ctx_cfg_i[c].log && log_held >= log_cap;
      end
    end
  end

  walk_queue #(.Entries(Waiting), .Compact(Compact)) u_queue (
    .clk_i,
    .rst_ni,
    .merge_off_i   (limits_i.merge_off),
    .req_valid_i,
    .req_ready_o,
    .req_i,
    .merge_i       (merge),
    .may_i         (may_start),
    .no_store_i    (no_store),
    .start_ready_i (free_any),
    .start_valid_o (start_valid),
    .start_o       (start),
    .fresh_o       (start_fresh),
    .event_i,
    .cnt_merge_o
  );

  // ---------------------------------------------------------------- what a response means
  vpn_t          rsp_vpn;
  access_e       rsp_access;
  pte_t          rsp_pte;
  wk_e           rsp_state;
  fault_reason_e rsp_reason, check_reason;
  logic          rsp_read, rsp_good, rsp_pointer, rsp_leaf, rsp_touch, cas_won;

  always_comb begin
    rsp_vpn    = '0;
    rsp_access = AccessRead;
    rsp_pte    = '0;
    rsp_read   = 1'b0;
    if (mem_rsp_valid_i) begin
      rsp_vpn    = miss_q[rsp].vpn;
      rsp_access = miss_q[rsp].access;
      rsp_read   = state_q[rsp] == WkReadWait;
      // A table entry's address bit 3 is bit 0 of its index; a Cas answers in the low half.
      rsp_pte    = rsp_read && va_index(rsp_vpn, level_q[rsp]) % 2 == 9'd1
                 ? pte_t'(mem_rsp_i.data[127:64]) : pte_t'(mem_rsp_i.data[63:0]);
    end
  end

  walk_check u_check (
    .valid_i   (rsp_read),
    .pte_i     (rsp_pte),
    .level_i   (level_q[rsp]),
    .access_i  (rsp_access),
    .pointer_o (rsp_pointer),
    .leaf_o    (rsp_leaf),
    .touch_o   (rsp_touch),
    .reason_o  (check_reason)
  );

  assign cas_won  = mem_rsp_valid_i && !rsp_read && !mem_rsp_i.err && rsp_pte == pte_q[rsp];
  assign cnt_ad_o = cas_won;
  assign cnt_d_o  = cas_won && is_store(rsp_access) && !rsp_pte.d;

  always_comb begin
    rsp_state  = WkFault;
    rsp_reason = FaultReasonAccessError;
    if (mem_rsp_valid_i && !mem_rsp_i.err) begin
      rsp_reason = check_reason;
      if (!rsp_read)        rsp_state = cas_won ? WkFill : WkStart;
      else if (rsp_pointer) rsp_state = WkRead;
      else if (rsp_leaf)    rsp_state = rsp_touch ? WkCas : WkFill;
    end
  end

  // A Cas whose answer was lost may have set D: it is logged too.
  assign log_valid_o = mem_rsp_valid_i && logs_q[rsp] && (cas_won || mem_rsp_i.err);
  assign log_give_o  = mem_rsp_valid_i && logs_q[rsp] && !log_valid_o;

  always_comb begin
    log_ctx_o  = '0;
    log_vpn_o  = '0;
    log_size_o = Page4K;
    if (log_valid_o) begin
      log_ctx_o  = miss_q[rsp].ctx;
      log_size_o = size_of(level_q[rsp], pte_q[rsp].n);
      log_vpn_o  = rsp_vpn & page_tag_mask(log_size_o);
    end
  end

  // The walk may go on: no event has caught it or does so now.
  assign rsp_good = mem_rsp_valid_i && !redo_q[rsp] && !drop_q[rsp] && !redo[rsp] && !drop[rsp];

  // ---------------------------------------------------------------- issue to memory
  // The request register belongs to the port: what is in it counts as outstanding. It takes, in this
  // order: what the walk whose answer comes now does next, a walk that waits for it, a new walk.
  // What comes late (the port's ready, this cycle's event) decides only whether the choice is issued,
  // not what is chosen: a walk that is chosen and caught by an event in the same cycle costs that cycle.
  logic       out_valid_q, out_free;
  mem_req_t   out_q, out_d;
  logic       goes_on, want_any, pick_any, fresh, issue, from_start, begins, to_memory, is_cas;
  slot_t      choice, pick, last, slot;
  // verilator lint_off UNUSEDSIGNAL
  // Whether the context is logged is looked at before the pick.
  ctx_cfg_t   cfg;
  // verilator lint_on UNUSEDSIGNAL
  ctx_t       ctx;
  vpn_t       vpn, begin_vpn;
  ppn_t       tbl;
  logic [1:0] level;
  logic       cache_hit;
  logic [1:0] cache_level;
  ppn_t       cache_table;
  logic [Walkers-1:0] want;

  logic [Walkers-1:0] logged;    // is about to set D, which is to be logged

  always_comb begin
    logged = '0;
    if (log_on_i && any_busy) begin
      for (int unsigned i = 0; i < Walkers; i++) begin
        logged[i] = state_q[i] == WkCas && is_store(miss_q[i].access) && !pte_q[i].d
                 && ctx_cfg_i[miss_q[i].ctx].log;
      end
    end
  end

  // While the dirty log is in use, a Cas waits to be picked: it may need a credit.
  assign out_free = !out_valid_q || mem_req_ready_i;
  assign goes_on  = !Compact && rsp_good && (rsp_state == WkRead || (rsp_state == WkCas && !log_on_i));

  always_comb begin
    want   = '0;
    choice = '0;
    if (any_busy) begin
      for (int unsigned i = 0; i < Walkers; i++) begin
        want[i] = (state_q[i] == WkStart || state_q[i] == WkRead || state_q[i] == WkCas)
               && (log_credit_i || !logged[i]);
      end
      // Round robin: the slots after the last one first.
      if (want != '0) begin
        for (int i = int'(Walkers) - 1; i >= 0; i--) if (want[i]) choice = slot_t'(i);
        for (int i = int'(Walkers) - 1; i >= 0; i--) begin
          if (want[i] && slot_t'(i) > last) choice = slot_t'(i);
        end
      end
    end
    want_any = Compact ? want[pick] : want != '0;
    pick_any = want_any && out_free && !goes_on && !drop[pick] && !redo[pick];
  end

  // Compact: chosen a cycle before, the one after the last choice, if it still wants something.
  if (Compact) begin : gen_pick_late
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) pick <= '0;
      else         pick <= choice;
    end
    assign last = pick;
  end else begin : gen_pick_now
    slot_t last_q;

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni)       last_q <= '0;
      else if (pick_any) last_q <= pick;
    end
    assign last = last_q;
    assign pick = choice;
  end

  // A request that comes now begins its walk at once, but not beside an event that may change its root.
  assign fresh = !Compact && start_fresh && out_free && !goes_on && !want_any
              && event_i.ev != EvInvalidate && event_i.ev != EvStop;
  assign issue = (goes_on && out_free) || pick_any || fresh;

  // Most cycles issue nothing: the guards here and below spare the simulation the wide values.
  always_comb begin
    ctx       = '0;
    begin_vpn = '0;
    from_start = 1'b0;
    if (want_any || Compact) begin
      ctx        = miss_q[pick].ctx;
      begin_vpn  = miss_q[pick].vpn;
      from_start = state_q[pick] == WkStart;
    end else if (start_fresh) begin
      ctx        = req_i.ctx;
      begin_vpn  = req_i.vpn;
      from_start = 1'b1;
    end
  end

  always_comb begin
    slot   = free_slot;
    vpn    = begin_vpn;
    is_cas = 1'b0;
    if (goes_on) begin
      slot   = rsp;
      vpn    = rsp_vpn;
      is_cas = rsp_state == WkCas;
    end else if (want_any || Compact) begin
      slot   = pick;
      is_cas = state_q[pick] == WkCas;
    end
  end

  walk_cache #(
    .Tables (CacheTables),
    .Middle (CacheMiddle),
    .Top    (CacheTop),
    .Compact(Compact)
  ) u_cache (
    .clk_i,
    .rst_ni,
    .off_i        (limits_i.cache_off),
    .lkp_valid_i  (from_start),
    .lkp_ctx_i    (ctx),
    .lkp_vpn_i    (begin_vpn),
    .hit_o        (cache_hit),
    .level_o      (cache_level),
    .table_o      (cache_table),
    .fill_valid_i (rsp_good && rsp_state == WkRead),
    .fill_ctx_i   (miss_q[rsp].ctx),
    .fill_vpn_i   (rsp_vpn),
    .fill_level_i (level_q[rsp]),
    .fill_table_i (rsp_pte.ppn),
    .event_i
  );

  always_comb begin
    cfg       = '0;
    tbl       = '0;
    level     = '0;
    to_memory = 1'b0;
    begins    = 1'b0;
    out_d     = '0;
    if (goes_on || want_any || start_fresh || Compact) begin
      cfg       = ctx_cfg_i[ctx];
      to_memory = issue && (goes_on || !from_start || (cfg.mode == CtxModeTranslate && !Compact));
      if (goes_on) begin
        tbl   = is_cas ? table_q[rsp] : rsp_pte.ppn;
        level = is_cas ? level_q[rsp] : level_q[rsp] - 2'd1;
      end else if (from_start) begin
        tbl   = cache_hit ? cache_table : cfg.root;
        level = cache_hit ? cache_level : 2'd3;
        begins = issue && cfg.mode == CtxModeTranslate;
      end else begin
        tbl   = table_q[pick];
        level = level_q[pick];
      end
      out_d.op   = is_cas ? MemCas : MemRead;
      out_d.addr = {Compact ? table_q[pick] : tbl, va_index(vpn, Compact ? level_q[pick] : level), 3'b000};
      out_d.strb = out_d.addr[3] ? 16'hff00 : 16'h00ff;
      out_d.tag  = TagW'(slot);
      if (is_cas) begin
        out_d.data = goes_on ? {pte_touched(rsp_pte, rsp_access), rsp_pte}
                             : {pte_touched(pte_q[pick], miss_q[pick].access), pte_q[pick]};
      end
    end
  end

  assign mem_req_valid_o = out_valid_q;
  assign mem_req_o       = out_q;
  assign log_take_o      = pick_any && logged[pick];
  assign cnt_read_o      = to_memory && !is_cas;
  assign cnt_walk_o      = begins && (fresh || !again_q[pick]);
  assign cnt_restart_o   = begins && !fresh && again_q[pick];

  // ---------------------------------------------------------------- results
  logic  ev_any, fault_any;
  slot_t ev_slot, fault_slot;
  // verilator lint_off UNUSEDSIGNAL
  // The bits that the checks of the response have settled (V, U, A, reserved) go no further.
  pte_t  ev_pte;
  // verilator lint_on UNUSEDSIGNAL

  // No look at the event here: the event bus waits for ev_valid_o. A slot that loses the bus to an
  // Invalidate is restarted in that same cycle.
  always_comb begin
    ev_any     = 1'b0;
    ev_slot    = '0;
    fault_any  = 1'b0;
    fault_slot = '0;
    if (any_busy) begin
      for (int unsigned i = 0; i < Walkers; i++) begin
        if (!ev_any && (state_q[i] == WkFill || state_q[i] == WkBadCtx)) begin
          ev_any  = 1'b1;
          ev_slot = slot_t'(i);
        end
        if (!fault_any && state_q[i] == WkFault && !drop[i] && !redo[i]) begin
          fault_any  = 1'b1;
          fault_slot = slot_t'(i);
        end
      end
    end
  end

  assign ev_valid_o = ev_any;

  always_comb begin
    ev_o   = '0;
    ev_pte = '0;
    if (ev_any) begin
      ev_pte           = pte_q[ev_slot];
      ev_o.ev          = state_q[ev_slot] == WkFill ? EvFill : EvCancel;
      ev_o.ctx         = miss_q[ev_slot].ctx;
      ev_o.lo          = miss_q[ev_slot].vpn;
      ev_o.hi          = miss_q[ev_slot].vpn;
      ev_o.access      = miss_q[ev_slot].access;
      ev_o.code        = JobStatusBadAddress;
      ev_o.xlat.ctx    = miss_q[ev_slot].ctx;
      ev_o.xlat.vpn    = miss_q[ev_slot].vpn;
      ev_o.xlat.ppn    = ev_pte.ppn;
      if (ev_pte.n) ev_o.xlat.ppn[3:0] = '0;
      ev_o.xlat.size   = size_of(level_q[ev_slot], ev_pte.n);
      ev_o.xlat.r      = ev_pte.r;
      ev_o.xlat.w      = ev_pte.w;
      ev_o.xlat.x      = ev_pte.x;
      ev_o.xlat.d      = ev_pte.d;
      ev_o.xlat.atomic = ev_pte.ppn[PpnW-1] || ev_pte.atomic;
    end
  end

  assign fault_valid_o  = fault_any;
  assign fault_o        = miss_q[fault_slot];
  assign fault_reason_o = reason_q[fault_slot];
  assign quiet_o        = caught_q == '0;

  // ---------------------------------------------------------------- state
  // What a slot does once its request is in the request register, or needs none.
  wk_e issued;
  always_comb begin
    if (to_memory)                       issued = is_cas ? WkCasWait : WkReadWait;
    else if (begins)                     issued = WkRead;
    else if (cfg.mode == CtxModeBypass)  issued = WkFill;
    else                                 issued = WkBadCtx;
  end

  // Later assignments win: an event overrides whatever else the cycle does to a slot.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      for (int unsigned i = 0; i < Walkers; i++) state_q[i] <= WkIdle;
      busy_q      <= '0;
      again_q     <= '0;
      redo_q      <= '0;
      drop_q      <= '0;
      caught_q    <= '0;
      logs_q      <= '0;
      out_valid_q <= 1'b0;
    end else begin
      if (mem_rsp_valid_i) begin
        if (drop_q[rsp]) begin
          state_q[rsp] <= WkIdle;
          busy_q[rsp]  <= 1'b0;
        end else if (redo_q[rsp]) begin
          state_q[rsp] <= WkStart;
          again_q[rsp] <= 1'b1;
        end else begin
          state_q[rsp] <= rsp_state;
          if (rsp_state == WkStart) again_q[rsp] <= 1'b1;
        end
        redo_q[rsp]   <= 1'b0;
        drop_q[rsp]   <= 1'b0;
        caught_q[rsp] <= 1'b0;
        logs_q[rsp]   <= 1'b0;
      end

      if (start_valid) begin
        state_q[free_slot] <= WkStart;
        busy_q[free_slot]  <= 1'b1;
        again_q[free_slot] <= 1'b0;
      end

      if (out_free) out_valid_q <= to_memory;
      if (issue)    state_q[slot] <= issued;
      if (log_take_o) logs_q[pick] <= 1'b1;

      if (ev_valid_o && ev_ready_i) begin
        state_q[ev_slot] <= WkIdle;
        busy_q[ev_slot]  <= 1'b0;
      end
      if (fault_valid_o && fault_ready_i) begin
        state_q[fault_slot] <= WkIdle;
        busy_q[fault_slot]  <= 1'b0;
      end

      if (event_i.ev != EvNone && any_busy) begin
        for (int unsigned i = 0; i < Walkers; i++) begin
          if (caught[i] && waiting[i]) caught_q[i] <= 1'b1;
          if (live[i] && drop[i]) begin
            if (waiting[i]) begin
              drop_q[i] <= 1'b1;
            end else begin
              state_q[i] <= WkIdle;
              busy_q[i]  <= 1'b0;
            end
          end else if (live[i] && redo[i]) begin
            if (waiting[i]) begin
              redo_q[i] <= 1'b1;
            end else begin
              state_q[i] <= WkStart;
              again_q[i] <= again_q[i] | (state_q[i] != WkStart);
            end
          end
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_valid) miss_q[free_slot] <= start;
    if (out_free && issue) out_q <= out_d;
    if (mem_rsp_valid_i) begin
      reason_q[rsp] <= rsp_reason;
      pte_q[rsp]    <= rsp_read ? rsp_pte : pte_touched(rsp_pte, rsp_access);
      if (rsp_state == WkRead) begin
        level_q[rsp] <= level_q[rsp] - 2'd1;
        table_q[rsp] <= rsp_pte.ppn;
      end
    end
    if (issue) begin
      level_q[slot] <= level;
      table_q[slot] <= tbl;
      if (!goes_on && from_start && cfg.mode == CtxModeBypass) begin
        // Physical address bits 46:0 are those of the address; bit 47 names VRAM.
        level_q[slot] <= 2'd2;
        pte_q[slot]   <= '{ppn: {vpn[VpnW-1], 8'd0, vpn[VpnW-2:18], 18'd0},
                           atomic: 1'b1, d: 1'b1, x: 1'b1, w: 1'b1, r: 1'b1, default: '0};
      end
    end
  end

  // ---------------------------------------------------------------- checks
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      if (mem_rsp_valid_i) begin
        assert (state_q[rsp] == WkReadWait || state_q[rsp] == WkCasWait)
          else $error("a response for a walk that waits for none");
      end
      assert (!(start_valid && busy_q[free_slot])) else $error("a walk in a slot that is in use");
      if ((redo_q | drop_q | caught_q) != '0) begin
        for (int unsigned i = 0; i < Walkers; i++) begin
          assert (!(redo_q[i] || drop_q[i] || caught_q[i])
                  || state_q[i] == WkReadWait || state_q[i] == WkCasWait)
            else $error("a walk is marked but has nothing outstanding");
        end
      end
    end
  end
endmodule
