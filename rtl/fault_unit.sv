// Fault unit: parks faults, merges them, and writes their records to the fault ring.
//
// A report (ctx, page, access, reason) that is not parked yet takes an entry; one that is parked
// already is merged and costs no record. rpt_ready_o is low only when every entry is in use, which
// cannot be while there are at least as many entries as L1 miss slots.
// An entry is freed by the event that ends its wait: Retry (its range), Cancel (its page and
// access), Stop (its context), or a Fill that allows the access. A record that was not yet written
// by then is never written: nobody waits for it.
// Records go out one at a time, roughly oldest first, as two 16-byte writes (words 2 and 3 first).
// irq_o pulses in the cycle after the second one was accepted. A full ring holds records back and
// nothing else: reports and events are taken as ever.
// full_o follows from the two indices and from what waits, and is nowhere kept: a consumer index that
// is written in the very cycle in which a fault arrives, or a record is written, loses neither.
// Writing the ring's size (ring_i.reset) restarts the index and reports all parked faults anew.
//
//   rpt       A
//   mem_req          hi A ... lo A
//   prod_o                            +1 (with irq_o)
module fault_unit
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned Entries = 64,
  parameter bit          Compact = 1'b0   // for an FPGA: the next record is chosen without a look at the event
) (
  input  logic          clk_i,
  input  logic          rst_ni,
  input  logic          rpt_valid_i,
  output logic          rpt_ready_o,
  input  miss_t         rpt_i,
  input  fault_reason_e rpt_reason_i,
  // verilator lint_off UNUSEDSIGNAL
  // The code of a Cancel concerns only the L1 TLBs.
  input  mmu_event_t    event_i,
  // verilator lint_on UNUSEDSIGNAL
  input  ring_cfg_t     ring_i,
  output logic [31:0]   prod_o,
  output logic          full_o,        // records wait for room in the ring
  output logic          mem_req_valid_o,
  input  logic          mem_req_ready_i,
  output mem_req_t      mem_req_o,
  output logic          irq_o,
  input  logic [63:0]   time_i,
  output logic          cnt_fault_o,
  output logic          cnt_merge_o
);

  localparam int unsigned IdxW = $clog2(Entries);
  typedef logic [IdxW-1:0] idx_t;

  typedef enum logic [1:0] {
    FwIdle = 2'd0,
    FwHigh = 2'd1,   // words 2 and 3
    FwLow  = 2'd2    // words 0 and 1
  } fw_e;

  logic [Entries-1:0] parked_q;
  logic [Entries-1:0] fresh_q;     // parked, and its record is not being or been written
  miss_t              miss_q   [Entries];
  fault_reason_e      reason_q [Entries];
  logic [63:0]        stamp_q  [Entries];

  // ---------------------------------------------------------------- reports
  logic merge, free_any;
  idx_t free_idx;
  logic park;

  always_comb begin
    merge    = 1'b0;
    free_any = 1'b0;
    free_idx = '0;
    if (rpt_valid_i) begin
      for (int unsigned i = 0; i < Entries; i++) begin
        if (parked_q[i] && miss_q[i].ctx == rpt_i.ctx && miss_q[i].vpn == rpt_i.vpn
            && miss_q[i].access == rpt_i.access) merge = 1'b1;
        if (!parked_q[i] && !free_any) begin
          free_any = 1'b1;
          free_idx = idx_t'(i);
        end
      end
    end
  end

  assign rpt_ready_o = merge || free_any;
  assign park        = rpt_valid_i && !merge && free_any;
  assign cnt_merge_o = rpt_valid_i && merge;

  // ---------------------------------------------------------------- events
  logic [Entries-1:0] freed;

  always_comb begin
    freed = '0;
    if (event_i.ev != EvNone && parked_q != '0) begin
      for (int unsigned i = 0; i < Entries; i++) begin
        if (parked_q[i] && miss_q[i].ctx == event_i.ctx) begin
          unique case (event_i.ev)
            EvFill:   freed[i] = xlat_covers(event_i.xlat, miss_q[i].ctx, miss_q[i].vpn)
                              && xlat_allows(event_i.xlat, miss_q[i].access);
            EvRetry:  freed[i] = miss_q[i].vpn >= event_i.lo && miss_q[i].vpn <= event_i.hi;
            EvCancel: freed[i] = miss_q[i].vpn == event_i.lo && miss_q[i].access == event_i.access;
            EvStop:   freed[i] = 1'b1;
            default: ;
          endcase
        end
      end
    end
  end

  // ---------------------------------------------------------------- record writer
  fw_e           fw_q;
  logic          void_q;        // the ring was reset while a record was being written
  fault_record_t rec_q;
  logic [PaW-2:5] rec_addr_q;    // the ring is in system memory: bit 55 is clear
  logic [31:0]   id_q;
  logic [31:0]   entries;
  logic          room, start, next_any;
  logic [Entries-1:0] waiting;
  idx_t          next_idx, last_q;
  logic [31:0]   slot_in_ring;

  assign entries      = 32'd1 << ring_i.size_log2;
  assign room         = ring_i.size_log2 != '0 && prod_o - ring_i.index < entries;
  assign full_o       = fresh_q != '0 && !room;
  assign slot_in_ring = prod_o & (entries - 32'd1);
  assign start        = fw_q == FwIdle && room && next_any && !(Compact && freed[next_idx]) && !ring_i.reset;

  // The next fresh entry after the last one written.
  always_comb begin
    waiting  = Compact ? fresh_q : fresh_q & ~freed;
    next_any = 1'b0;
    next_idx = '0;
    if (Compact || (fresh_q != '0 && fw_q == FwIdle && room)) begin
      next_any = waiting != '0;
      for (int i = int'(Entries) - 1; i >= 0; i--) if (waiting[i]) next_idx = idx_t'(i);
      for (int i = int'(Entries) - 1; i >= 0; i--) begin
        if (waiting[i] && idx_t'(i) > last_q) next_idx = idx_t'(i);
      end
    end
  end

  assign mem_req_valid_o = fw_q != FwIdle;

  always_comb begin
    mem_req_o = '0;
    if (fw_q != FwIdle) begin
      mem_req_o.op   = MemWrite;
      mem_req_o.strb = '1;
      mem_req_o.addr = {1'b0, rec_addr_q, fw_q == FwHigh, 4'd0};
      mem_req_o.data = fw_q == FwHigh ? rec_q[255:128] : rec_q[127:0];
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      fw_q        <= FwIdle;
      void_q      <= 1'b0;
      prod_o      <= '0;
      id_q        <= '0;
      last_q      <= '0;
      irq_o       <= 1'b0;
      cnt_fault_o <= 1'b0;
      parked_q    <= '0;
      fresh_q     <= '0;
    end else begin
      irq_o       <= 1'b0;
      cnt_fault_o <= 1'b0;
      parked_q    <= parked_q & ~freed;
      fresh_q     <= fresh_q & ~freed;

      unique case (fw_q)
        FwIdle: if (start) begin
          fw_q              <= FwHigh;
          void_q            <= 1'b0;
          last_q            <= next_idx;
          id_q              <= id_q + 32'd1;
          fresh_q[next_idx] <= 1'b0;
        end
        FwHigh: if (mem_req_ready_i) fw_q <= FwLow;
        FwLow: if (mem_req_ready_i) begin
          fw_q <= FwIdle;
          if (!void_q) begin
            prod_o      <= prod_o + 32'd1;
            irq_o       <= 1'b1;
            cnt_fault_o <= 1'b1;
          end
        end
        default: fw_q <= FwIdle;
      endcase

      if (park) begin
        parked_q[free_idx] <= 1'b1;
        fresh_q[free_idx]  <= 1'b1;
      end
      if (ring_i.reset) begin
        prod_o      <= '0;
        irq_o       <= 1'b0;
        cnt_fault_o <= 1'b0;
        void_q      <= 1'b1;
        fresh_q     <= parked_q & ~freed;
        if (park) fresh_q[free_idx] <= 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (park) begin
      miss_q[free_idx]   <= rpt_i;
      reason_q[free_idx] <= rpt_reason_i;
      stamp_q[free_idx]  <= time_i;
    end
    if (start) begin
      rec_addr_q <= ring_i.base[PaW-2:5] + (PaW-6)'(slot_in_ring);
      rec_q      <= '{phase:   ~prod_o[{1'b0, ring_i.size_log2}],
                      version: FormatVersion[6:0],
                      access:  miss_q[next_idx].access,
                      reason:  reason_q[next_idx],
                      client:  miss_q[next_idx].client,
                      ctx:     miss_q[next_idx].ctx,
                      id:      id_q,
                      addr:    {{16{miss_q[next_idx].vpn[VpnW-1]}}, miss_q[next_idx].vpn, 12'd0},
                      stamp:   stamp_q[next_idx],
                      default: '0};
    end
  end

  // ---------------------------------------------------------------- checks
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!rpt_valid_i || rpt_ready_o) else $error("every fault entry is in use");
      assert ((fresh_q & ~parked_q) == '0) else $error("a fresh fault that is not parked");
      assert (ring_i.size_log2 == '0 || prod_o - ring_i.index <= entries)
        else $error("the fault ring has overflowed");
    end
  end
endmodule
