// Runs copy descriptors: cuts each into bursts, translates both sides of every burst, hands the
// bursts out in address order, and reports the end.
//
// A burst ends at a multiple of 256 bytes of the destination (128 if MPS or MRRS is 128) and at the
// end of the source page, so it stays within one page on both sides and within the link's limits.
// Translation: the source is looked up as Read, then the destination as Write; the burst goes out
// (push_o) only if both hit and no Invalidate or Stop event came from the first lookup's cycle to
// the push's, both included. A miss parks the descriptor until its wake; then the burst starts over.
// Ends: all bytes written (Ok); a wake with error (its code) or an address that is not canonical
// (BadAddress): bursts before it are still written; a read error (MemoryError) or a stopped context
// (Stopped): bursts that are not written yet are dropped (discard_o). The bytes written are always a
// prefix of the descriptor's. info names the address of the first error.
// Throughput: a burst each 2 cycles (physical) to 6 cycles (both sides virtual, hits).
module copy_issue
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import copy_pkg::*;
#(
  parameter int unsigned Slots = 2,              // miss slots of the L1 TLB
  localparam int unsigned MissW = $clog2(Slots)
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [2:0]       cfg_mps_i,
  input  logic [2:0]       cfg_mrrs_i,
  // The descriptor: stays until popped.
  input  logic             entry_valid_i,
  output logic             entry_ready_o,
  input  copy_entry_t      entry_i,
  output logic             entry_bad_o,          // pulse: unknown opcode or version
  // L1 TLB.
  output logic             lkp_valid_o,
  output ctx_t             lkp_ctx_o,
  output vpn_t             lkp_vpn_o,
  output access_e          lkp_access_o,
  input  lookup_e          rsp_status_i,
  input  ppn_t             rsp_ppn_i,
  input  logic [MissW-1:0] rsp_slot_i,
  input  logic [Slots-1:0] wake_i,
  input  logic             wake_err_i,
  input  logic [7:0]       wake_code_i,
  input  mmu_ev_e          ev_i,
  input  ctx_t             ev_ctx_i,
  // Stop of a context; the answer is high when no descriptor of it is under way.
  input  logic             kill_valid_i,
  input  ctx_t             kill_ctx_i,
  output logic             kill_done_o,
  // Bursts.
  input  logic             full_i,
  input  logic             empty_i,
  output logic             push_o,
  output copy_slot_t       slot_o,
  output logic             discard_o,
  input  logic             fail_i,               // the read of the oldest burst failed
  input  logic             written_i,
  input  logic [8:0]       written_len_i,
  // Report.
  output logic             post_valid_o,
  input  logic             post_ready_i,
  output logic [63:0]      post_result_o,
  output logic [7:0]       post_status_o,
  output logic [47:0]      post_info_o
);

  typedef enum logic [3:0] {
    CopyIdle    = 4'd0,
    CopyPlan    = 4'd1,   // length of the next burst
    CopySrc     = 4'd2,   // looks the source up
    CopySrcRsp  = 4'd3,
    CopyDst     = 4'd4,   // looks the destination up
    CopyDstRsp  = 4'd5,
    CopyCommit  = 4'd6,   // hands the burst out
    CopyPark    = 4'd7,   // waits for a wake (a walk or a parked fault)
    CopyRetry   = 4'd8,   // the TLB has no miss slot free
    CopyDrain   = 4'd9,   // waits for the bursts under way
    CopyPost    = 4'd10   // completion and interrupt
  } copy_e;

  copy_e       state_q;
  logic [63:0] src_q, dst_q, rem_q, written_q;
  logic [8:0]  len_q;
  pa_t         spa_q, dpa_q;
  logic        stale_q;               // an event came since the lookups began
  logic        dst_turn_q;            // the lookup under way is the destination's
  logic [MissW-1:0] park_q;
  logic [3:0]  retry_q;
  logic [7:0]  status_q;
  logic [47:0] info_q;
  logic        discard_q;

  // ------------------------------------------------------------------ the descriptor
  logic is_fill, src_va, dst_va, bad, active, drop, stop_hit;

  assign is_fill = entry_i.op == CopyOpFill;
  assign src_va  = entry_i.src_va && !is_fill;
  assign dst_va  = entry_i.dst_va;
  assign bad     = entry_i.version != FormatVersion || entry_i.op > CopyOpFill;
  assign active  = state_q != CopyIdle && state_q != CopyPost;
  assign drop    = ev_i == EvInvalidate || ev_i == EvStop;

  // Once is enough: the level of kill_valid_i must not hold the descriptor back.
  assign stop_hit = active && !discard_q && (src_va || dst_va)
                 && ((kill_valid_i && kill_ctx_i == entry_i.ctx)
                  || (ev_i == EvStop && ev_ctx_i == entry_i.ctx));
  assign kill_done_o = kill_valid_i
                    && (state_q == CopyIdle || !(src_va || dst_va) || kill_ctx_i != entry_i.ctx);

  // ------------------------------------------------------------------ the next burst
  logic       short_burst, src_ok, dst_ok;
  logic [8:0] len, dst_room;
  logic [12:0] src_room;

  // An address that the device can form: canonical if virtual, 56 bits if physical.
  function automatic logic addr_ok(logic [63:VaW-1] addr, logic va);
    return va ? (addr == '0 || addr == '1) : addr[63:PaW] == '0;
  endfunction

  assign short_burst = cfg_mps_i == '0 || cfg_mrrs_i == '0;
  assign dst_room    = short_burst ? 9'd128 - {2'd0, dst_q[6:0]} : 9'd256 - {1'b0, dst_q[7:0]};
  assign src_room    = 13'h1000 - {1'b0, src_q[11:0]};
  assign src_ok      = is_fill || addr_ok(src_q[63:VaW-1], entry_i.src_va);
  assign dst_ok      = addr_ok(dst_q[63:VaW-1], dst_va);

  always_comb begin
    len = dst_room;
    if (!is_fill && src_room < {4'd0, len}) len = src_room[8:0];
    if (rem_q < {55'd0, len})               len = rem_q[8:0];
  end

  assign lkp_valid_o  = state_q == CopySrc || state_q == CopyDst;
  assign lkp_ctx_o    = entry_i.ctx;
  assign lkp_vpn_o    = state_q == CopyDst ? dst_q[VaW-1:12] : src_q[VaW-1:12];
  assign lkp_access_o = state_q == CopyDst ? AccessWrite : AccessRead;

  assign push_o = state_q == CopyCommit && !((src_va || dst_va) && (stale_q || drop)) && !stop_hit
               && !fail_i;
  assign slot_o = '{src: spa_q, dst: dpa_q, len: len_q, fill: is_fill, xlat: src_va || dst_va};

  assign discard_o     = discard_q;
  assign entry_bad_o   = state_q == CopyIdle && entry_valid_i && bad;
  assign entry_ready_o = state_q == CopyPost && post_ready_i;
  assign post_valid_o  = state_q == CopyPost;
  assign post_result_o = written_q;
  assign post_status_o = status_q;
  assign post_info_o   = info_q;

  // A parked or just missed lookup that is woken now.
  logic woken;
  assign woken = (state_q == CopyPark && wake_i[park_q])
              || ((state_q == CopySrcRsp || state_q == CopyDstRsp) && rsp_status_i == LkpMiss
                  && wake_i[rsp_slot_i]);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q    <= CopyIdle;
      src_q      <= '0;
      dst_q      <= '0;
      rem_q      <= '0;
      written_q  <= '0;
      len_q      <= '0;
      spa_q      <= '0;
      dpa_q      <= '0;
      stale_q    <= 1'b0;
      dst_turn_q <= 1'b0;
      park_q     <= '0;
      retry_q    <= '0;
      status_q   <= '0;
      info_q     <= '0;
      discard_q  <= 1'b0;
    end else begin
      if (drop) stale_q <= 1'b1;
      if (written_i) written_q <= written_q + {55'd0, written_len_i};

      unique case (state_q)
        CopyIdle: if (entry_valid_i && !bad) begin
          src_q     <= entry_i.src;
          dst_q     <= entry_i.dst;
          rem_q     <= entry_i.op == CopyOpNop ? '0 : entry_i.len;
          written_q <= '0;
          status_q  <= JobStatusOk;
          info_q    <= '0;
          discard_q <= 1'b0;
          state_q   <= CopyPlan;
          if (is_fill && (entry_i.dst[2:0] != '0 || entry_i.len[2:0] != '0)) begin
            status_q <= JobStatusMisaligned;
            info_q   <= entry_i.dst[47:0];
            state_q  <= CopyDrain;
          end
        end
        CopyPlan: begin
          len_q      <= len;
          spa_q      <= src_q[PaW-1:0];
          dpa_q      <= dst_q[PaW-1:0];
          stale_q    <= 1'b0;
          dst_turn_q <= 1'b0;
          if (rem_q == '0) begin
            state_q <= CopyDrain;
          end else if (!src_ok || !dst_ok) begin
            status_q <= JobStatusBadAddress;
            info_q   <= src_ok ? dst_q[47:0] : src_q[47:0];
            state_q  <= CopyDrain;
          end else if (!full_i) begin
            state_q <= src_va ? CopySrc : dst_va ? CopyDst : CopyCommit;
          end
        end
        CopySrc: state_q <= CopySrcRsp;
        CopyDst: begin
          dst_turn_q <= 1'b1;
          state_q    <= CopyDstRsp;
        end
        CopySrcRsp, CopyDstRsp: begin
          park_q  <= rsp_slot_i;
          retry_q <= '0;
          unique case (rsp_status_i)
            LkpHit: begin
              if (dst_turn_q) dpa_q <= {rsp_ppn_i, dst_q[11:0]};
              else            spa_q <= {rsp_ppn_i, src_q[11:0]};
              state_q <= dst_va && !dst_turn_q ? CopyDst : CopyCommit;
            end
            LkpMiss: state_q <= woken ? CopyPlan : CopyPark;
            default: state_q <= CopyRetry;
          endcase
        end
        CopyCommit: begin
          state_q <= CopyPlan;
          if (push_o) begin
            src_q <= src_q + {55'd0, len_q};
            dst_q <= dst_q + {55'd0, len_q};
            rem_q <= rem_q - {55'd0, len_q};
          end
        end
        CopyPark: if (woken) state_q <= CopyPlan;
        CopyRetry: begin
          retry_q <= retry_q + 4'd1;
          if (wake_i != '0 || retry_q == '1) state_q <= CopyPlan;
        end
        CopyDrain: if (empty_i) state_q <= CopyPost;
        CopyPost: if (post_ready_i) state_q <= CopyIdle;
        default: state_q <= CopyIdle;
      endcase

      if (woken && wake_err_i) begin
        status_q <= wake_code_i;
        info_q   <= dst_turn_q ? dst_q[47:0] : src_q[47:0];
        state_q  <= CopyDrain;
      end
      if (stop_hit) begin
        if (status_q == JobStatusOk) begin
          status_q <= JobStatusStopped;
          info_q   <= '0;
        end
        discard_q <= 1'b1;
        state_q   <= CopyDrain;
      end
      // The oldest burst comes before whatever else went wrong.
      if (fail_i) begin
        status_q  <= JobStatusMemoryError;
        info_q    <= entry_i.src[47:0] + written_q[47:0];
        discard_q <= 1'b1;
        state_q   <= CopyDrain;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (state_q == CopyIdle || entry_valid_i) else $error("copy_issue: descriptor lost");
      assert (!push_o || len_q != '0) else $error("copy_issue: empty burst");
      assert (state_q != CopyPost || empty_i) else $error("copy_issue: report before the data");
    end
  end

  // Fields without meaning, and those that the engine uses itself.
  logic unused;
  assign unused = ^{entry_i.pad0, entry_i.pad1, entry_i.pad2, entry_i.pad3, entry_i.fence_value,
                    entry_i.fence_addr, entry_i.irq};

endmodule
