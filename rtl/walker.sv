// Page-table walker: Sv48, 4 KiB and 2 MiB leaves, Walkers walks in flight.
//
// A request becomes a walk in a free slot, or joins the walk of the same (context, page, access).
// A walk ends with one of
//   ev_*     a Fill event (the translation), or a Cancel event with JobStatusBadAddress when the
//            context is Off;
//   fault_*  a fault report to the fault unit.
// Bypass contexts get their 2 MiB identity translation from here too, without a table read.
//
// Memory: one request a cycle. A cold walk takes, from the request to its Fill event, four reads of
//   (latency + 2) cycles each and 1 more; a read's latency counts from acceptance to response.
// A and D: a leaf is filled only with A set (and D, for writes and atomics): the walker sets them
//   with MemCas, expecting the entry that it checked. A lost Cas walks again from the root.
// Dirty log: a Cas that sets D for a logged context begins only with a credit of the log (log_take_o),
//   and gives it back (log_give_o) or is logged (log_valid_o) when it ends, dropped walk or not.
// Preemption: a walk keeps no state between memory operations that an event cannot take away:
//   Invalidate  walks that could end in a leaf that overlaps the range start again at the root;
//   Retry       walks of the range start again (they may have read the old entry);
//   Cancel, Stop, and a Fill that answers the walk: it is dropped.
//   What has a memory operation outstanding does so when the answer has come. quiet_o is low while
//   an operation of a walk that the last Invalidate or Stop caught is outstanding.
//
//   slot     Start  ReadWait ... Read  ReadWait ... Cas  CasWait ... Fill   Idle
//   mem_req         r3                 r2                c
//   mem_rsp                      r3                           c
//   ev                                                              Fill
module walker
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned Walkers = 8
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  ctx_cfg_t [NumCtx-1:0]   ctx_cfg_i,
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

  localparam int unsigned SlotW = $clog2(Walkers);
  typedef logic [SlotW-1:0] slot_t;

  typedef enum logic [3:0] {
    WkIdle     = 4'd0,
    WkStart    = 4'd1,   // at the root
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
  logic [1:0]         level_q  [Walkers];
  ppn_t               table_q  [Walkers];
  pte_t               pte_q    [Walkers];
  fault_reason_e      reason_q [Walkers];
  logic [Walkers-1:0] again_q;   // the walk has begun before
  logic [Walkers-1:0] redo_q;    // start again when the outstanding operation has returned
  logic [Walkers-1:0] drop_q;    // end then
  logic [Walkers-1:0] caught_q;  // outstanding since an Invalidate or Stop of its range
  logic [Walkers-1:0] logs_q;    // the outstanding Cas holds a credit of the dirty log

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

  // The leaf with A, and for stores D, set.
  function automatic pte_t touched(pte_t pte, access_e access);
    pte_t t;
    t   = pte;
    t.a = 1'b1;
    if (is_store(access)) t.d = 1'b1;
    return t;
  endfunction

  // ---------------------------------------------------------------- events that end or restart walks
  logic [Walkers-1:0] live;      // busy and not already dropped
  logic [Walkers-1:0] waiting;   // a memory operation is outstanding and does not return now
  logic [Walkers-1:0] drop, redo, caught;

  always_comb begin
    for (int unsigned i = 0; i < Walkers; i++) begin
      live[i]    = state_q[i] != WkIdle && !drop_q[i];
      waiting[i] = (state_q[i] == WkReadWait || state_q[i] == WkCasWait)
                && !(mem_rsp_valid_i && slot_t'(mem_rsp_i.tag) == slot_t'(i));
    end
    drop   = '0;
    redo   = '0;
    caught = '0;
    if (event_i.ev != EvNone) begin
      for (int unsigned i = 0; i < Walkers; i++) begin
        if (state_q[i] != WkIdle && miss_q[i].ctx == event_i.ctx) begin
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
              // At 2 MiB grain: the leaf may be a large one that reaches into the range.
              redo[i]   = miss_q[i].vpn[VpnW-1:9] >= event_i.lo[VpnW-1:9]
                       && miss_q[i].vpn[VpnW-1:9] <= event_i.hi[VpnW-1:9];
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
  logic  merge, free_any;
  slot_t free_slot;

  always_comb begin
    merge     = 1'b0;
    free_any  = 1'b0;
    free_slot = '0;
    if (req_valid_i) begin
      for (int unsigned i = 0; i < Walkers; i++) begin
        if (live[i] && miss_q[i].ctx == req_i.ctx && miss_q[i].vpn == req_i.vpn
            && miss_q[i].access == req_i.access) merge = 1'b1;
        if (state_q[i] == WkIdle && !free_any) begin
          free_any  = 1'b1;
          free_slot = slot_t'(i);
        end
      end
    end
  end

  assign req_ready_o = merge || free_any;
  assign cnt_merge_o = req_valid_i && merge;

  // ---------------------------------------------------------------- issue to memory
  // The request register belongs to the port: what is in it counts as outstanding.
  logic     out_valid_q;
  mem_req_t out_q, out_d;
  logic     pick_any;
  slot_t    pick, last_q;
  // verilator lint_off UNUSEDSIGNAL
  // Whether the context is logged is looked at before the pick.
  ctx_cfg_t pick_cfg;
  // verilator lint_on UNUSEDSIGNAL
  ctx_t     pick_ctx;
  vpn_t     pick_vpn;
  access_e  pick_access;
  ppn_t     pick_table;
  logic [1:0] pick_level;
  pa_t      pick_addr;
  logic     to_memory;

  logic [Walkers-1:0] want;
  logic [Walkers-1:0] logged;    // is about to set D, which is to be logged

  always_comb begin
    logged = '0;
    if (log_on_i) begin
      for (int unsigned i = 0; i < Walkers; i++) begin
        logged[i] = state_q[i] == WkCas && is_store(miss_q[i].access) && !pte_q[i].d
                 && ctx_cfg_i[miss_q[i].ctx].log;
      end
    end
  end

  always_comb begin
    for (int unsigned i = 0; i < Walkers; i++) begin
      want[i] = state_q[i] == WkStart || state_q[i] == WkRead || state_q[i] == WkCas;
    end
    want     = want & ~drop & ~redo;
    if (log_on_i && !log_credit_i) want = want & ~logged;
    pick_any = want != '0 && (!out_valid_q || mem_req_ready_i);
    pick     = '0;
    if (pick_any) begin
      // Round robin: the slots after the last one first.
      for (int i = int'(Walkers) - 1; i >= 0; i--) if (want[i]) pick = slot_t'(i);
      for (int i = int'(Walkers) - 1; i >= 0; i--) begin
        if (want[i] && slot_t'(i) > last_q) pick = slot_t'(i);
      end
    end
  end

  // Most cycles pick nothing: the guards here and below spare the simulation the wide values.
  always_comb begin
    pick_ctx    = '0;
    pick_vpn    = '0;
    pick_access = AccessRead;
    pick_cfg    = '0;
    pick_table  = '0;
    pick_level  = '0;
    pick_addr   = '0;
    to_memory   = 1'b0;
    out_d       = '0;
    if (pick_any) begin
      pick_ctx    = miss_q[pick].ctx;
      pick_vpn    = miss_q[pick].vpn;
      pick_access = miss_q[pick].access;
      pick_cfg    = ctx_cfg_i[pick_ctx];
      pick_table  = state_q[pick] == WkStart ? pick_cfg.root : table_q[pick];
      pick_level  = state_q[pick] == WkStart ? 2'd3 : level_q[pick];
      pick_addr   = {pick_table, va_index(pick_vpn, pick_level), 3'b000};
      to_memory   = state_q[pick] != WkStart || pick_cfg.mode == CtxModeTranslate;
      out_d.op    = state_q[pick] == WkCas ? MemCas : MemRead;
      out_d.addr  = pick_addr;
      out_d.strb  = pick_addr[3] ? 16'hff00 : 16'h00ff;
      out_d.data  = state_q[pick] == WkCas ? {touched(pte_q[pick], pick_access), pte_q[pick]} : '0;
      out_d.tag   = TagW'(pick);
    end
  end

  assign mem_req_valid_o = out_valid_q;
  assign mem_req_o       = out_q;
  assign log_take_o      = pick_any && logged[pick];
  assign cnt_read_o      = to_memory && state_q[pick] != WkCas;
  assign cnt_walk_o      = to_memory && state_q[pick] == WkStart && !again_q[pick];
  assign cnt_restart_o   = to_memory && state_q[pick] == WkStart && again_q[pick];

  // ---------------------------------------------------------------- what a response means
  slot_t         rsp;
  vpn_t          rsp_vpn;
  access_e       rsp_access;
  pte_t          rsp_pte;
  wk_e           rsp_state;
  fault_reason_e rsp_reason;
  logic          rsp_entry_ok, rsp_leaf, rsp_allowed;

  assign rsp          = slot_t'(mem_rsp_i.tag);

  always_comb begin
    rsp_vpn      = '0;
    rsp_access   = AccessRead;
    rsp_pte      = '0;
    rsp_entry_ok = 1'b0;
    rsp_leaf     = 1'b0;
    rsp_allowed  = 1'b0;
    if (mem_rsp_valid_i) begin
      rsp_vpn    = miss_q[rsp].vpn;
      rsp_access = miss_q[rsp].access;
      // A table entry's address bit 3 is bit 0 of its index; a Cas answers in the low half.
      rsp_pte    = state_q[rsp] == WkReadWait && va_index(rsp_vpn, level_q[rsp]) % 2 == 9'd1
                 ? pte_t'(mem_rsp_i.data[127:64]) : pte_t'(mem_rsp_i.data[63:0]);
      rsp_entry_ok = rsp_pte.v && rsp_pte.revoked == '0 && rsp_pte.pbmt == '0 && !rsp_pte.n;
      rsp_leaf     = rsp_pte.r || rsp_pte.w || rsp_pte.x;
      unique case (rsp_access)
        AccessRead:    rsp_allowed = rsp_pte.u && rsp_pte.r;
        AccessExecute: rsp_allowed = rsp_pte.u && rsp_pte.x;
        default:       rsp_allowed = rsp_pte.u && rsp_pte.r && rsp_pte.w;
      endcase
    end
  end

  always_comb begin
    rsp_state  = WkFault;
    rsp_reason = FaultReasonNone;
    if (!mem_rsp_valid_i || mem_rsp_i.err) begin
      rsp_reason = FaultReasonAccessError;
    end else if (state_q[rsp] == WkCasWait) begin
      rsp_state = rsp_pte == pte_q[rsp] ? WkFill : WkStart;
    end else if (!rsp_entry_ok) begin
      rsp_reason = FaultReasonNotPresent;
    end else if (!rsp_leaf) begin
      if (level_q[rsp] == 2'd0) rsp_reason = FaultReasonNotPresent;
      else                      rsp_state  = WkRead;
    end else if (level_q[rsp] >= 2'd2 || (level_q[rsp] == 2'd1 && rsp_pte.ppn[8:0] != '0)) begin
      rsp_reason = FaultReasonNotPresent;
    end else if (!rsp_allowed) begin
      rsp_reason = FaultReasonProtection;
    end else if (rsp_access == AccessAtomic && !rsp_pte.ppn[PpnW-1] && !rsp_pte.atomic) begin
      rsp_reason = FaultReasonAtomic;
    end else begin
      rsp_state = touched(rsp_pte, rsp_access) == rsp_pte ? WkFill : WkCas;
    end
  end

  logic cas_won;
  assign cas_won  = mem_rsp_valid_i && state_q[rsp] == WkCasWait && !mem_rsp_i.err
                 && rsp_pte == pte_q[rsp];
  assign cnt_ad_o = cas_won;
  assign cnt_d_o  = cas_won && is_store(rsp_access) && !rsp_pte.d;

  // A Cas whose answer was lost may have set D: it is logged too.
  assign log_valid_o = mem_rsp_valid_i && logs_q[rsp] && (cas_won || mem_rsp_i.err);
  assign log_give_o  = mem_rsp_valid_i && logs_q[rsp] && !log_valid_o;

  always_comb begin
    log_ctx_o  = '0;
    log_vpn_o  = '0;
    log_size_o = Page4K;
    if (log_valid_o) begin
      log_ctx_o  = miss_q[rsp].ctx;
      log_vpn_o  = rsp_vpn;
      if (level_q[rsp] == 2'd1) begin
        log_size_o     = Page2M;
        log_vpn_o[8:0] = '0;
      end
    end
  end

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
    ev_any  = 1'b0;
    ev_slot = '0;
    for (int unsigned i = 0; i < Walkers; i++) begin
      if (!ev_any && (state_q[i] == WkFill || state_q[i] == WkBadCtx)) begin
        ev_any  = 1'b1;
        ev_slot = slot_t'(i);
      end
    end
  end

  always_comb begin
    fault_any  = 1'b0;
    fault_slot = '0;
    for (int unsigned i = 0; i < Walkers; i++) begin
      if (!fault_any && state_q[i] == WkFault && !drop[i] && !redo[i]) begin
        fault_any  = 1'b1;
        fault_slot = slot_t'(i);
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
      ev_o.xlat.size   = level_q[ev_slot] == 2'd1 ? Page2M : Page4K;
      ev_o.xlat.r      = ev_pte.r;
      ev_o.xlat.w      = ev_pte.r && ev_pte.w;
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
  // Later assignments win: an event overrides whatever else the cycle does to a slot.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      for (int unsigned i = 0; i < Walkers; i++) state_q[i] <= WkIdle;
      again_q     <= '0;
      redo_q      <= '0;
      drop_q      <= '0;
      caught_q    <= '0;
      logs_q      <= '0;
      last_q      <= '0;
      out_valid_q <= 1'b0;
    end else begin
      if (mem_rsp_valid_i) begin
        if (drop_q[rsp]) begin
          state_q[rsp] <= WkIdle;
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

      if (!out_valid_q || mem_req_ready_i) begin
        out_valid_q <= to_memory;
      end
      if (pick_any) begin
        last_q <= pick;
        if (log_take_o) logs_q[pick] <= 1'b1;
        if (to_memory)                            state_q[pick] <= state_q[pick] == WkCas ? WkCasWait : WkReadWait;
        else if (pick_cfg.mode == CtxModeBypass)  state_q[pick] <= WkFill;
        else                                      state_q[pick] <= WkBadCtx;
      end

      if (req_valid_i && !merge && free_any) begin
        state_q[free_slot] <= WkStart;
        again_q[free_slot] <= 1'b0;
      end

      if (ev_valid_o && ev_ready_i)       state_q[ev_slot]    <= WkIdle;
      if (fault_valid_o && fault_ready_i) state_q[fault_slot] <= WkIdle;

      if (event_i.ev != EvNone) begin
        for (int unsigned i = 0; i < Walkers; i++) begin
          if (caught[i] && waiting[i]) caught_q[i] <= 1'b1;
          if (live[i] && drop[i]) begin
            if (waiting[i]) begin
              drop_q[i] <= 1'b1;
            end else begin
              state_q[i] <= WkIdle;
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
    if (req_valid_i && !merge && free_any) miss_q[free_slot] <= req_i;
    if (pick_any && (!out_valid_q || mem_req_ready_i)) out_q <= out_d;
    if (pick_any && state_q[pick] == WkStart) begin
      level_q[pick] <= 2'd3;
      if (pick_cfg.mode == CtxModeBypass) begin
        // Physical address bits 46:0 are those of the address; bit 47 names VRAM.
        level_q[pick] <= 2'd1;
        pte_q[pick]   <= '{ppn: {pick_vpn[VpnW-1], 8'd0, pick_vpn[VpnW-2:9], 9'd0},
                           atomic: 1'b1, d: 1'b1, x: 1'b1, w: 1'b1, r: 1'b1, default: '0};
      end
    end
    if (mem_rsp_valid_i) begin
      reason_q[rsp] <= rsp_reason;
      if (rsp_state == WkRead) begin
        level_q[rsp] <= level_q[rsp] - 2'd1;
        table_q[rsp] <= rsp_pte.ppn;
      end
      if (state_q[rsp] == WkCasWait) pte_q[rsp] <= touched(pte_q[rsp], rsp_access);
      else                           pte_q[rsp] <= rsp_pte;
    end
  end

  // ---------------------------------------------------------------- checks
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      if (mem_rsp_valid_i) begin
        assert (state_q[rsp] == WkReadWait || state_q[rsp] == WkCasWait)
          else $error("a response for a walk that waits for none");
      end
      for (int unsigned i = 0; i < Walkers; i++) begin
        assert (!(redo_q[i] || drop_q[i] || caught_q[i])
                || state_q[i] == WkReadWait || state_q[i] == WkCasWait)
          else $error("a walk is marked but has nothing outstanding");
      end
    end
  end
endmodule
