// L1 TLB of one client: fully associative, with slots that park and merge misses.
//
// Lookup: lkp_valid_i in cycle t is always accepted; rsp_valid_o with the status follows in t+1.
//   Throughput is one lookup per cycle, hits also while misses are parked.
//   Hit:  rsp_ppn_o is the physical page.
//   Miss: the access waits in slot rsp_slot_o until wake_o[slot] pulses. The wake never comes
//         before the response and may come in the same cycle. Without wake_err_o: look up again.
//         With it: the access ends with wake_code_o (a Cancel, or the Stop of its context).
//   Full: no slot is free; look up again after any wake or some cycles.
// Misses of the same (context, page, access) share a slot.
//
// Compact: the form for an FPGA. Which miss is sent was chosen in the cycle before.
//
// A lookup in the cycle of an event sees the state before the event. An event that answers a slot
// wakes it one cycle later; entries are gone, or there, one cycle later too.
//
// miss_o holds one request per slot and event round. It is stable while miss_valid_o waits, except
// that a request is withdrawn in the cycle in which an event answers it; no other takes its place then.
//
//             t      t+1    t+2
//   lkp       A
//   rsp              miss 3
//   miss_o           A          (ready)
//   event                 Fill A        wake[3] one cycle later
module l1_tlb
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned Entries = 16,
  parameter int unsigned Slots   = 8,
  parameter client_e     Client  = ClientCuData,
  parameter bit          Compact = 1'b0
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  // Lookup.
  input  logic                     lkp_valid_i,
  input  ctx_t                     lkp_ctx_i,
  input  vpn_t                     lkp_vpn_i,
  input  access_e                  lkp_access_i,
  output logic                     rsp_valid_o,
  output lookup_e                  rsp_status_o,
  output ppn_t                     rsp_ppn_o,
  output logic [$clog2(Slots)-1:0] rsp_slot_o,
  // End of a wait.
  output logic [Slots-1:0]         wake_o,
  output logic                     wake_err_o,
  output logic [7:0]               wake_code_o,
  // Misses to the MMU, and its events.
  output logic                     miss_valid_o,
  input  logic                     miss_ready_i,
  output miss_t                    miss_o,
  input  mmu_event_t               event_i,
  // Counter pulses.
  output logic                     cnt_lookup_o,
  output logic                     cnt_hit_o
);

  localparam int unsigned EntryW = $clog2(Entries);
  localparam int unsigned SlotW  = $clog2(Slots);
  localparam int unsigned KeyW   = CtxW + VpnW;

  typedef logic [KeyW-1:0]   key_t;     // {context, page}
  typedef logic [EntryW-1:0] entry_t;
  typedef logic [SlotW-1:0]  slot_t;

  // ---------------------------------------------------------------- entries
  // Kept as separate narrow arrays: compares of native width are what makes simulation fast.
  logic [Entries-1:0] valid_q;
  logic [Entries-1:0] used_q;            // not-recently-used replacement
  key_t               key_q   [Entries]; // the bits within a larger page are zero
  key_t               mask_q  [Entries]; // the bits of the key that count, by the size of the page
  ppn_t               ppn_q   [Entries];
  logic [3:0]         allow_q [Entries]; // by access_e

  key_t   lkp_key;
  logic   hit;
  entry_t hit_entry;
  ppn_t   hit_ppn;

  assign lkp_key = {lkp_ctx_i, lkp_vpn_i};

  always_comb begin
    hit       = 1'b0;
    hit_entry = '0;
    if (lkp_valid_i) begin
      for (int unsigned i = 0; i < Entries; i++) begin
        if (valid_q[i] && allow_q[i][lkp_access_i]
            && ((key_q[i] ^ lkp_key) & mask_q[i]) == '0) begin
          hit       = 1'b1;
          hit_entry = entry_t'(i);
        end
      end
    end
    hit_ppn = ppn_q[hit_entry] | {{(PpnW-VpnW){1'b0}}, lkp_vpn_i & ~mask_q[hit_entry][VpnW-1:0]};
  end

  // ---------------------------------------------------------------- slots and events
  logic [Slots-1:0] busy_q;
  logic [Slots-1:0] sent_q;
  key_t             slot_key_q    [Slots];
  access_e          slot_access_q [Slots];

  logic [Slots-1:0] answered;   // the event of this cycle ends the wait of the slot
  logic [Slots-1:0] again;      // the event asks for a retry

  always_comb begin
    answered = '0;
    again    = '0;
    if (event_i.ev != EvNone) begin
      for (int unsigned s = 0; s < Slots; s++) begin
        if (busy_q[s] && slot_key_q[s][KeyW-1:VpnW] == event_i.ctx) begin
          unique case (event_i.ev)
            EvFill:   answered[s] = xlat_covers(event_i.xlat, event_i.ctx, slot_key_q[s][VpnW-1:0])
                                 && xlat_allows(event_i.xlat, slot_access_q[s]);
            EvCancel: answered[s] = slot_key_q[s][VpnW-1:0] == event_i.lo
                                 && slot_access_q[s] == event_i.access;
            EvStop:   answered[s] = 1'b1;
            EvRetry:  again[s]    = slot_key_q[s][VpnW-1:0] >= event_i.lo
                                 && slot_key_q[s][VpnW-1:0] <= event_i.hi;
            default: ;
          endcase
        end
      end
    end
  end

  // The slot of a miss: the one that already waits for the same, else a free one.
  logic  merge, free_any;
  slot_t merge_slot, free_slot, miss_slot;

  always_comb begin
    merge      = 1'b0;
    merge_slot = '0;
    free_any   = 1'b0;
    free_slot  = '0;
    if (lkp_valid_i && (!hit || Compact)) begin
      for (int unsigned s = 0; s < Slots; s++) begin
        if (busy_q[s] && slot_key_q[s] == lkp_key && slot_access_q[s] == lkp_access_i) begin
          merge      = 1'b1;
          merge_slot = slot_t'(s);
        end
        if (!busy_q[s] && !free_any) begin
          free_any  = 1'b1;
          free_slot = slot_t'(s);
        end
      end
    end
    miss_slot = merge ? merge_slot : free_slot;
  end

  // A miss in the cycle of its context's Stop must not stay behind: it is woken at once.
  logic stillborn, alloc;
  assign stillborn = lkp_valid_i && !hit && !merge && free_any
                  && event_i.ev == EvStop && event_i.ctx == lkp_ctx_i;
  assign alloc     = lkp_valid_i && !hit && !merge && free_any && !stillborn;

  // ---------------------------------------------------------------- misses to the MMU
  logic [Slots-1:0] unsent;
  logic             held_q;
  slot_t            held_slot_q, next_slot, send_slot;
  logic             sent_now;

  // The choice does not look at this cycle's event, which comes late.
  assign unsent = busy_q & ~sent_q;

  always_comb begin
    next_slot = held_slot_q;
    if (unsent != '0 && !((Compact ? !sent_now : held_q) && unsent[held_slot_q])) begin
      next_slot = '0;
      for (int s = int'(Slots) - 1; s >= 0; s--) begin
        if (unsent[s] && !(Compact && slot_t'(s) == held_slot_q)) next_slot = slot_t'(s);
      end
    end
  end

  // Compact: the slot that was chosen last keeps the port until it is sent.
  assign sent_now  = miss_valid_o && miss_ready_i;
  assign send_slot = Compact ? held_slot_q : next_slot;

  assign miss_valid_o  = unsent[send_slot] && !answered[send_slot];
  assign miss_o.ctx    = slot_key_q[send_slot][KeyW-1:VpnW];
  assign miss_o.vpn    = slot_key_q[send_slot][VpnW-1:0];
  assign miss_o.access = slot_access_q[send_slot];
  assign miss_o.client = Client;

  // ---------------------------------------------------------------- where a fill goes
  // Only fills that answer a slot here are kept: others' pages would push out our own. The same
  // page is replaced in place, so that an upgrade leaves no second copy.
  logic   insert;
  key_t   fill_key, fill_mask;
  entry_t fill_entry;

  assign insert = event_i.ev == EvFill && (|answered);

  always_comb begin
    fill_entry = '0;
    fill_key   = '0;
    fill_mask  = '0;
    if (event_i.ev == EvFill) begin
      fill_mask = {{CtxW{1'b1}}, page_tag_mask(event_i.xlat.size)};
      fill_key  = {event_i.xlat.ctx, event_i.xlat.vpn} & fill_mask;
      for (int i = int'(Entries) - 1; i >= 0; i--) if (!used_q[i])  fill_entry = entry_t'(i);
      for (int i = int'(Entries) - 1; i >= 0; i--) if (!valid_q[i]) fill_entry = entry_t'(i);
      for (int i = 0; i < int'(Entries); i++) begin
        if (valid_q[i] && mask_q[i] == fill_mask && key_q[i] == fill_key) begin
          fill_entry = entry_t'(i);
        end
      end
    end
  end

  // ---------------------------------------------------------------- state
  logic [Entries-1:0] used_d;
  always_comb begin
    used_d = used_q;
    if (hit)    used_d[hit_entry]  = 1'b1;
    if (insert) used_d[fill_entry] = 1'b1;
    if (&used_d) begin
      used_d = '0;
      if (hit)    used_d[hit_entry]  = 1'b1;
      if (insert) used_d[fill_entry] = 1'b1;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q <= '0;
      used_q  <= '0;
    end else begin
      used_q <= used_d;
      if (event_i.ev == EvInvalidate || event_i.ev == EvStop) begin
        for (int unsigned i = 0; i < Entries; i++) begin
          if (key_q[i][KeyW-1:VpnW] == event_i.ctx
              && (event_i.ev == EvStop
                  || (key_q[i][VpnW-1:0] <= event_i.hi
                      && (key_q[i][VpnW-1:0] | ~mask_q[i][VpnW-1:0]) >= event_i.lo))) begin
            valid_q[i] <= 1'b0;
          end
        end
      end
      if (insert) valid_q[fill_entry] <= 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (insert) begin
      key_q[fill_entry]   <= fill_key;
      mask_q[fill_entry]  <= fill_mask;
      ppn_q[fill_entry]   <= event_i.xlat.ppn;
      allow_q[fill_entry] <= {xlat_allows(event_i.xlat, AccessExecute),
                              xlat_allows(event_i.xlat, AccessAtomic),
                              xlat_allows(event_i.xlat, AccessWrite),
                              xlat_allows(event_i.xlat, AccessRead)};
    end
    if (alloc) begin
      slot_key_q[free_slot]    <= lkp_key;
      slot_access_q[free_slot] <= lkp_access_i;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      busy_q      <= '0;
      sent_q      <= '0;
      held_q      <= 1'b0;
      held_slot_q <= '0;
      wake_o      <= '0;
      wake_err_o  <= 1'b0;
      wake_code_o <= '0;
    end else begin
      busy_q <= busy_q & ~answered;
      sent_q <= sent_q & ~again;
      if (sent_now) sent_q[send_slot] <= 1'b1;
      if (alloc) begin
        busy_q[free_slot] <= 1'b1;
        sent_q[free_slot] <= 1'b0;
      end
      held_q      <= miss_valid_o && !miss_ready_i;
      held_slot_q <= next_slot;

      wake_o <= answered;
      if (stillborn) wake_o[free_slot] <= 1'b1;
      if (event_i.ev == EvCancel || event_i.ev == EvStop) begin
        wake_err_o  <= 1'b1;
        wake_code_o <= event_i.ev == EvStop ? 8'(JobStatusStopped) : event_i.code;
      end else begin
        wake_err_o  <= 1'b0;
      end
    end
  end

  // ---------------------------------------------------------------- response
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      rsp_valid_o  <= 1'b0;
      rsp_status_o <= LkpHit;
      rsp_ppn_o    <= '0;
      rsp_slot_o   <= '0;
    end else begin
      rsp_valid_o <= lkp_valid_i;
      if (lkp_valid_i) begin
        rsp_status_o <= hit ? LkpHit : (merge || free_any) ? LkpMiss : LkpFull;
        rsp_ppn_o    <= hit_ppn;
        rsp_slot_o   <= miss_slot;
      end
    end
  end

  assign cnt_lookup_o = rsp_valid_o;
  assign cnt_hit_o    = rsp_valid_o && rsp_status_o == LkpHit;

  // ---------------------------------------------------------------- checks
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert ((wake_o & busy_q) == '0) else $error("a woken slot is still busy");
      assert (!(insert && (event_i.xlat.ppn[VpnW-1:0] & ~fill_mask[VpnW-1:0]) != '0))
        else $error("a fill of a larger page is not aligned");
    end
  end
endmodule
