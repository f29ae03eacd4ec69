// Misses on their way to a walk slot: those that find none wait here, so that what comes behind them
// (hits, and walks of other contexts) goes on.
//
// A request passes in the cycle in which it comes if a slot is free, its context may start a walk, and
// nothing that waits may. It is merged, and done with, if merge_i says that a walk of it is under way or
// the same waits here. req_ready_o is low only if Entries wait, which with merging cannot be while there
// are at least as many entries as L1 miss slots.
// Order: the contexts that wait take turns; within a context, roughly oldest first.
// A request that an event answers (Fill, Cancel, Stop) is dropped.
// Compact: the form for an FPGA. The next entry is chosen a cycle before it starts, if it still may then.
module walk_queue
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned Entries = 64,
  parameter bit          Compact = 1'b0
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic              merge_off_i,
  input  logic              req_valid_i,
  output logic              req_ready_o,
  input  miss_t             req_i,
  input  logic              merge_i,
  input  logic [NumCtx-1:0] may_i,          // contexts that may start a walk
  input  logic [NumCtx-1:0] no_store_i,     // ... but none for a store or an atomic
  input  logic              start_ready_i,
  output logic              start_valid_o,  // taken in this cycle
  output miss_t             start_o,
  output logic              fresh_o,        // it is the request of this cycle
  // verilator lint_off UNUSEDSIGNAL
  // The code of a Cancel concerns only the L1 TLBs.
  input  mmu_event_t        event_i,
  // verilator lint_on UNUSEDSIGNAL
  output logic              cnt_merge_o
);

  localparam int unsigned IdxW = $clog2(Entries);
  typedef logic [IdxW-1:0] idx_t;

  logic [Entries-1:0] valid_q, freed;
  miss_t              miss_q [Entries];
  logic               same, merged, free_any, pick_any, bypass, put;
  idx_t               free_idx, choice, pick, last_q;
  ctx_t               choice_ctx, last_ctx_q;
  logic [NumCtx-1:0]  has;
  logic [Entries-1:0] can;       // waits, and may start

  function automatic logic is_store(access_e access);
    return access == AccessWrite || access == AccessAtomic;
  endfunction
  logic               waiting;        // something waits

  assign waiting = valid_q != '0;

  always_comb begin
    freed = '0;
    if (waiting && event_i.ev != EvNone) begin
      for (int unsigned i = 0; i < Entries; i++) begin
        if (valid_q[i] && miss_q[i].ctx == event_i.ctx) begin
          unique case (event_i.ev)
            EvFill:   freed[i] = xlat_covers(event_i.xlat, miss_q[i].ctx, miss_q[i].vpn)
                              && xlat_allows(event_i.xlat, miss_q[i].access);
            EvCancel: freed[i] = miss_q[i].vpn == event_i.lo && miss_q[i].access == event_i.access;
            EvStop:   freed[i] = 1'b1;
            default: ;
          endcase
        end
      end
    end
  end

  always_comb begin
    same     = 1'b0;
    free_any = 1'b1;
    free_idx = '0;
    if (req_valid_i && waiting) begin
      free_any = 1'b0;
      for (int unsigned i = 0; i < Entries; i++) begin
        if (valid_q[i] && !merge_off_i && miss_q[i].ctx == req_i.ctx && miss_q[i].vpn == req_i.vpn
            && miss_q[i].access == req_i.access) same = 1'b1;
        if (!valid_q[i] && !free_any) begin
          free_any = 1'b1;
          free_idx = idx_t'(i);
        end
      end
    end
  end

  // The next context that may start, then its next entry. The choice does not look at this cycle's
  // event, which comes late: nothing starts if that frees the entry.
  always_comb begin
    has        = '0;
    can        = '0;
    choice_ctx = '0;
    choice     = '0;
    if (waiting && (start_ready_i || Compact)) begin
      for (int unsigned i = 0; i < Entries; i++) begin
        can[i] = valid_q[i] && may_i[miss_q[i].ctx]
              && !(no_store_i[miss_q[i].ctx] && is_store(miss_q[i].access));
        if (can[i]) has[miss_q[i].ctx] = 1'b1;
      end
      for (int c = int'(NumCtx) - 1; c >= 0; c--) if (has[c]) choice_ctx = ctx_t'(c);
      for (int c = int'(NumCtx) - 1; c >= 0; c--) begin
        if (has[c] && ctx_t'(c) > last_ctx_q) choice_ctx = ctx_t'(c);
      end
      for (int i = int'(Entries) - 1; i >= 0; i--) begin
        if (can[i] && miss_q[i].ctx == choice_ctx) choice = idx_t'(i);
      end
      for (int i = int'(Entries) - 1; i >= 0; i--) begin
        if (can[i] && miss_q[i].ctx == choice_ctx && idx_t'(i) > last_q) choice = idx_t'(i);
      end
    end
  end

  if (Compact) begin : gen_chosen
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) pick <= '0;
      else         pick <= choice;
    end
    assign pick_any = start_ready_i && can[pick] && !freed[pick];
  end else begin : gen_choose
    assign pick     = choice;
    assign pick_any = has != '0 && !freed[pick];
  end

  assign merged        = req_valid_i && (merge_i || same);
  assign bypass        = req_valid_i && !merged && start_ready_i && has == '0 && may_i[req_i.ctx]
                      && !(no_store_i[req_i.ctx] && is_store(req_i.access));
  assign put           = req_valid_i && !merged && !bypass && free_any;
  assign req_ready_o   = merged || bypass || free_any;
  assign start_valid_o = pick_any || bypass;
  assign start_o       = pick_any ? miss_q[pick] : req_i;
  assign fresh_o       = bypass;
  assign cnt_merge_o   = merged;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q    <= '0;
      last_q     <= '0;
      last_ctx_q <= '0;
    end else if (waiting || put) begin
      valid_q <= valid_q & ~freed;
      if (put) valid_q[free_idx] <= 1'b1;
      if (pick_any) begin
        valid_q[pick] <= 1'b0;
        last_q        <= pick;
        last_ctx_q    <= Compact ? miss_q[pick].ctx : choice_ctx;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (put) miss_q[free_idx] <= req_i;
  end
endmodule
