// Runs the copy descriptors of a channel: walks their segments and rows, cuts these into bursts,
// translates both sides of every burst, hands the bursts out in order, and reports the end.
//
// A burst ends at a multiple of BurstBytes of the destination and at the end of the source page, so it
// stays within one page on both sides.
// Where it ends within a beat of 16 bytes of the source that the row goes on in, it reads the whole beat (more)
// and the next one needs not (held), unless an Invalidate or Stop event came between the two. One that is not
// held, and would need more beats of the source than BurstBytes have, ends with the first beat of the destination: that
// takes no beat more, and leaves the long one last. (The data of a burst comes while the one before it is sent, so a
// longer one is waited for, but a short one goes along with what is before it.)
// Translation: the source is looked up as Read, then the destination as Write; the burst goes out
// (push_valid_o && push_ready_i) only if both hit and no Invalidate or Stop event came from the first
// lookup's cycle to the push's, both included. A miss parks the channel until its wake; then the burst
// starts over.
// Ends: all bytes written (Ok); a wake with error (its code) or an address that is not canonical
// (BadAddress): bursts before it are still written; a read error (MemoryError), a stopped context
// (Stopped) or an abort (Killed): bursts that are not written yet are dropped (discard_o). The bytes
// written are always the first ones of the descriptor. info names the address of the first error.
// A Wait asks for its word as a burst that nobody writes, and again PollGap cycles after an answer that
// does not do. suspend holds bursts back, nothing else.
// Throughput: a burst each 2 cycles (physical) to 6 cycles (both sides virtual, hits).
module copy_issue
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import copy_pkg::*;
#(
  parameter chan_t       Chan    = '0,
  parameter int unsigned CountW  = 8,            // of bursts under way
  parameter int unsigned PollGap = 64,
  parameter int unsigned BurstBytes = 512,       // a power of two, 128..512
  parameter bit          Lists   = 1'b1,
  parameter int unsigned Slots   = 2,            // miss slots of the L1 TLB
  localparam int unsigned MissW  = $clog2(Slots)
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  copy_ctl_t        ctl_i,
  // The descriptor: stays until popped.
  input  logic             entry_valid_i,
  output logic             entry_ready_o,
  input  copy_entry_t      entry_i,
  output logic             entry_bad_o,          // pulse: unknown opcode or version, or a List without Lists
  output logic             entry_halt_o,         // pulse: the ring stops behind an error
  // Segments of a List.
  output logic             list_start_o,
  output logic             list_stop_o,
  input  logic             list_busy_i,
  input  logic             list_end_i,
  input  logic             list_valid_i,
  input  logic             list_err_i,
  input  copy_segment_t    list_seg_i,
  output logic             list_pop_o,
  // L1 TLB: a lookup that was taken is answered in the next cycle.
  output logic             lkp_valid_o,
  input  logic             lkp_ready_i,
  output copy_lkp_t        lkp_o,
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
  // Bursts, and what became of them.
  output logic             push_valid_o,
  input  logic             push_ready_i,
  output copy_slot_t       slot_o,
  output logic             discard_o,
  input  logic             done_i,               // one of this channel has left
  input  logic [9:0]       done_len_i,           // with so many bytes written
  input  logic             fail_i,               // the oldest one could not be read
  input  pa_t              fail_addr_i,
  input  logic             poll_i,               // the answer to a Wait
  input  logic [63:0]      poll_data_i,
  // Report.
  output logic             post_valid_o,
  input  logic             post_ready_i,
  output copy_post_t       post_o,
  output copy_rec_t        rec_o,
  output logic             quiet_o,
  output logic             parks_o,
  output logic             polls_o
);

  typedef enum logic [3:0] {
    CopyIdle    = 4'd0,
    CopySegment = 4'd1,   // waits for the next segment of the list
    CopyPlan    = 4'd2,   // length of the next burst, or the next row
    CopySrc     = 4'd3,   // looks the source up
    CopySrcRsp  = 4'd4,
    CopyDst     = 4'd5,   // looks the destination up
    CopyDstRsp  = 4'd6,
    CopyCommit  = 4'd7,   // hands the burst out
    CopyPark    = 4'd8,   // waits for a wake (a walk or a parked fault)
    CopyRetry   = 4'd9,   // the TLB has no miss slot free
    CopyPoll    = 4'd10,  // the word of a Wait is on its way
    CopyGap     = 4'd11,  // it did not do
    CopyDrain   = 4'd12,  // waits for the bursts under way
    CopyPost    = 4'd13,  // completion and interrupt
    CopyHalt    = 4'd14   // stops the ring
  } copy_e;

  localparam int unsigned GapW = $clog2(PollGap);
  localparam int unsigned EndW = $clog2(BurstBytes);

  copy_e             state_q;
  logic [PaW-1:0]    src_q, dst_q;         // where the next burst begins
  logic              src_bad_q, dst_bad_q; // the address has more bits, or is not canonical
  logic [47:0]       len_q, rem_q;         // bytes of a row, and of this row
  logic [14:0]       rows_q;               // rows behind this one
  logic [31:0]       src_gap_q, dst_gap_q;
  logic              fill_q;
  logic [63:48]      pattern_q;            // of a fill: the upper bits; src_q has 47:0
  logic [47:0]       written_q;
  logic [9:0]        burst_q;
  logic              join_q;               // the burst before has read the next one's first beat
  logic              held_q;               // the same of this one
  ppn_t              sppn_q, dppn_q;
  logic              stale_q;              // an event came since the lookups began
  logic              dst_turn_q;           // the lookup under way is the destination's
  logic [MissW-1:0]  park_q;
  logic [GapW-1:0]   timer_q;
  logic [7:0]        status_q;
  pa_t               info_q;
  logic              discard_q;
  logic [CountW-1:0] under_q;              // bursts under way

  // ------------------------------------------------------------------ the descriptor
  logic src_va, dst_va, is_list, is_wait, bad, active, drop, stop_hit, abort_hit, error;
  copy_segment_t seg;

  assign is_list = Lists && entry_i.op == CopyOpList;
  assign is_wait = entry_i.op == CopyOpWait;
  assign src_va  = entry_i.src_va && (is_list || is_wait || entry_i.op == CopyOpCopy);
  assign dst_va  = entry_i.dst_va && !is_wait && entry_i.op != CopyOpNop;
  assign bad     = entry_i.version != FormatVersion || entry_i.op > CopyOpSignal
                || (!Lists && entry_i.op == CopyOpList);
  assign active  = state_q != CopyIdle && state_q != CopyPost && state_q != CopyHalt;
  assign drop    = ev_i == EvInvalidate || ev_i == EvStop;

  // Once is enough: the level of kill_valid_i must not hold the descriptor back.
  assign stop_hit = active && !discard_q && (src_va || dst_va)
                 && ((kill_valid_i && kill_ctx_i == entry_i.ctx)
                  || (ev_i == EvStop && ev_ctx_i == entry_i.ctx));
  assign abort_hit = active && !discard_q && ctl_i.cancel;
  assign kill_done_o = kill_valid_i
                    && (state_q == CopyIdle || state_q == CopyHalt || !(src_va || dst_va)
                        || kill_ctx_i != entry_i.ctx);

  // What is to be done: of the list, or of the entry itself.
  always_comb begin
    seg = is_list ? list_seg_i
                  : '{dst_gap: entry_i.dst_gap, src_gap: entry_i.src_gap,
                      fill: entry_i.op == CopyOpFill || entry_i.op == CopyOpSignal,
                      rows: entry_i.rows, len: entry_i.len, dst: entry_i.dst, src: entry_i.src};
    if (entry_i.op == CopyOpNop) seg.len = '0;
    if (is_wait || entry_i.op == CopyOpSignal) begin
      seg.len  = 48'd8;
      seg.rows = '0;
    end
    if (is_wait) seg.dst = '0;
  end

  logic load, src_misaligned, dst_misaligned;
  assign load = (state_q == CopyIdle && entry_valid_i && !bad && !is_list)
             || (state_q == CopySegment && list_valid_i && !list_err_i);
  assign src_misaligned = is_wait && seg.src[2:0] != '0;
  assign dst_misaligned = seg.fill && (seg.dst[2:0] != '0 || seg.len[2:0] != '0
                                    || (seg.rows > 15'd1 && seg.dst_gap[2:0] != '0));

  // ------------------------------------------------------------------ the next burst
  logic        src_ok, dst_ok, src_here, joined, wide, more;
  logic [9:0]  len, dst_room;
  logic [12:0] src_room;

  // An address that the device can form: canonical if virtual, 56 bits if physical.
  function automatic logic high_ok(logic [63:VaW] high, logic va);
    return va ? (high == '0 || high == '1) : high[63:PaW] == '0;
  endfunction
  function automatic logic low_ok(logic [PaW-1:VaW-1] addr, logic va);
    return !va || addr == '0 || addr == '1;
  endfunction

  assign src_here    = src_va && !fill_q;
  assign dst_room    = 10'(BurstBytes) - 10'(dst_q[EndW-1:0]);
  assign src_room    = 13'h1000 - {1'b0, src_q[11:0]};
  assign src_ok      = fill_q || (!src_bad_q && low_ok(src_q[PaW-1:VaW-1], src_va));
  assign dst_ok      = !dst_bad_q && low_ok(dst_q[PaW-1:VaW-1], dst_va);

  assign joined = join_q && !(drop && src_here);
  assign wide   = !fill_q && !joined && {6'd0, src_q[3:0]} + dst_room > 10'(BurstBytes);

  always_comb begin
    len = wide ? 10'd16 - {6'd0, dst_q[3:0]} : dst_room;
    if (!fill_q && src_room < {3'd0, len}) len = src_room[9:0];
    if (rem_q < {38'd0, len})              len = rem_q[9:0];
  end

  assign lkp_valid_o = state_q == CopySrc || state_q == CopyDst;
  assign lkp_o = '{ctx: entry_i.ctx,
                   vpn: state_q == CopyDst ? dst_q[VaW-1:12] : src_q[VaW-1:12],
                   access: state_q == CopyDst ? AccessWrite : AccessRead};

  logic push, hold;
  assign hold = (src_here || dst_va) && (stale_q || drop);
  assign push_valid_o = state_q == CopyCommit && !hold && !stop_hit && !abort_hit && !fail_i
                     && !ctl_i.suspend;
  assign push = push_valid_o && push_ready_i;
  assign slot_o = '{chan: Chan,
                    src: fill_q ? {pattern_q, src_q[47:0]} : {8'd0, sppn_q, src_q[11:0]},
                    dst: {dppn_q, dst_q[11:0]}, len: burst_q, fill: fill_q, poll: is_wait,
                    xlat: src_here || dst_va, held: held_q, more: more};

  // The step to the next burst, or from the end of a row to the next one.
  logic        next_row;
  logic [55:0] src_step, dst_step, src_next, dst_next;
  logic        src_carry, dst_carry;
  assign next_row = state_q == CopyPlan;
  assign src_step = next_row ? {{24{src_gap_q[31]}}, src_gap_q} : {46'd0, burst_q};
  assign dst_step = next_row ? {{24{dst_gap_q[31]}}, dst_gap_q} : {46'd0, burst_q};
  assign more     = !fill_q && rem_q != {38'd0, burst_q} && src_next[3:0] != '0;
  assign {src_carry, src_next} = {1'b0, src_q} + {1'b0, src_step};
  assign {dst_carry, dst_next} = {1'b0, dst_q} + {1'b0, dst_step};

  // ------------------------------------------------------------------ end
  assign error         = status_q != JobStatusOk && status_q != JobStatusStopped && status_q != JobStatusKilled;
  assign discard_o     = discard_q;
  assign entry_bad_o   = state_q == CopyIdle && entry_valid_i && bad;
  assign entry_ready_o = state_q == CopyPost && post_ready_i;
  assign entry_halt_o  = state_q == CopyHalt;
  assign list_start_o  = state_q == CopyIdle && entry_valid_i && !bad && is_list;
  assign list_stop_o   = state_q == CopyDrain;
  assign list_pop_o    = state_q == CopySegment && list_valid_i;
  assign post_valid_o  = state_q == CopyPost;
  assign post_o = '{irq: entry_i.irq, addr: entry_i.fence_addr, value: entry_i.fence_value,
                    result: {16'd0, written_q}, status: status_q, info: info_q[47:0]};
  assign rec_o  = '{valid: entry_ready_o && error, status: status_q, addr: info_q};
  assign quiet_o = under_q == '0;
  assign parks_o = state_q == CopyPark || state_q == CopyRetry;
  assign polls_o = state_q == CopyGap || state_q == CopyPoll;

  // A parked or just missed lookup that is woken now.
  logic woken, met;
  assign woken = (state_q == CopyPark && wake_i[park_q])
              || ((state_q == CopySrcRsp || state_q == CopyDstRsp) && rsp_status_i == LkpMiss
                  && wake_i[rsp_slot_i]);

  logic [64:0] beyond;     // the word less the value; bit 64: it is smaller
  assign beyond = {1'b0, poll_data_i} - {1'b0, entry_i.dst};
  assign met    = entry_i.equal ? beyond[63:0] == '0 : !beyond[64];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q    <= CopyIdle;
      written_q  <= '0;
      join_q     <= 1'b0;
      stale_q    <= 1'b0;
      dst_turn_q <= 1'b0;
      park_q     <= '0;
      timer_q    <= '0;
      status_q   <= '0;
      info_q     <= '0;
      discard_q  <= 1'b0;
      under_q    <= '0;
    end else begin
      if (drop) stale_q <= 1'b1;
      if (push)                            join_q <= more;
      else if (load || (drop && src_here)) join_q <= 1'b0;
      if (done_i) written_q <= written_q + {38'd0, done_len_i};
      if (push != done_i) under_q <= push ? under_q + 1'b1 : under_q - 1'b1;

      unique case (state_q)
        CopyIdle: if (entry_valid_i && !bad) begin
          written_q <= '0;
          status_q  <= JobStatusOk;
          info_q    <= '0;
          discard_q <= 1'b0;
          state_q   <= is_list ? CopySegment : CopyPlan;
        end
        CopySegment: if (list_end_i) begin
          state_q <= CopyDrain;
        end else if (list_valid_i) begin
          state_q <= CopyPlan;
          if (list_err_i) begin
            status_q <= JobStatusMemoryError;
            info_q   <= entry_i.src[PaW-1:0];
            state_q  <= CopyDrain;
          end
        end
        CopyPlan: begin
          stale_q    <= 1'b0;
          dst_turn_q <= 1'b0;
          if (rem_q == '0) begin
            if (rows_q == '0) state_q <= is_list ? CopySegment : CopyDrain;
          end else if (!src_ok || !dst_ok) begin
            status_q <= JobStatusBadAddress;
            info_q   <= src_ok ? dst_q : src_q;
            state_q  <= CopyDrain;
          end else begin
            state_q <= src_here ? CopySrc : dst_va ? CopyDst : CopyCommit;
          end
        end
        CopySrc: if (lkp_ready_i) state_q <= CopySrcRsp;
        CopyDst: if (lkp_ready_i) begin
          dst_turn_q <= 1'b1;
          state_q    <= CopyDstRsp;
        end
        CopySrcRsp, CopyDstRsp: begin
          park_q  <= rsp_slot_i;
          timer_q <= '0;
          unique case (rsp_status_i)
            LkpHit:  state_q <= dst_va && !dst_turn_q ? CopyDst : CopyCommit;
            LkpMiss: state_q <= woken ? CopyPlan : CopyPark;
            default: state_q <= CopyRetry;
          endcase
        end
        CopyCommit: begin
          timer_q <= '0;
          if (hold)      state_q <= CopyPlan;
          else if (push) state_q <= is_wait ? CopyPoll : CopyPlan;
        end
        CopyPark: if (woken) state_q <= CopyPlan;
        CopyRetry: begin
          timer_q <= timer_q + 1'b1;
          if (wake_i != '0 || timer_q[3:0] == '1) state_q <= CopyPlan;
        end
        CopyPoll: if (poll_i) state_q <= met ? CopyDrain : CopyGap;
        CopyGap: begin
          timer_q <= timer_q + 1'b1;
          if (timer_q == GapW'(PollGap - 1)) state_q <= CopyPlan;
        end
        CopyDrain: if (under_q == '0 && !list_busy_i) state_q <= CopyPost;
        CopyPost: if (post_ready_i) state_q <= error && ctl_i.halt ? CopyHalt : CopyIdle;
        default: state_q <= CopyIdle;
      endcase

      if (load && (src_misaligned || dst_misaligned)) begin
        status_q <= JobStatusMisaligned;
        info_q   <= src_misaligned ? seg.src[PaW-1:0] : seg.dst[PaW-1:0];
        state_q  <= CopyDrain;
      end
      if (woken && wake_err_i) begin
        status_q <= wake_code_i;
        info_q   <= dst_turn_q ? dst_q : src_q;
        state_q  <= CopyDrain;
      end
      if (stop_hit || abort_hit) begin
        if (status_q == JobStatusOk) begin
          status_q <= stop_hit ? JobStatusStopped : JobStatusKilled;
          info_q   <= '0;
        end
        discard_q <= 1'b1;
        state_q   <= CopyDrain;
      end
      // The oldest burst comes before whatever else went wrong.
      if (fail_i) begin
        status_q  <= JobStatusMemoryError;
        info_q    <= fail_addr_i;
        discard_q <= 1'b1;
        state_q   <= CopyDrain;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (load) begin
      src_q     <= seg.src[PaW-1:0];
      dst_q     <= seg.dst[PaW-1:0];
      src_bad_q <= !high_ok(seg.src[63:VaW], src_va);
      dst_bad_q <= !high_ok(seg.dst[63:VaW], dst_va);
      len_q     <= seg.len;
      rem_q     <= seg.len;
      rows_q    <= seg.rows == '0 || seg.len == '0 ? '0 : seg.rows - 15'd1;
      src_gap_q <= seg.src_gap;
      dst_gap_q <= seg.dst_gap;
      fill_q    <= seg.fill;
      pattern_q <= seg.src[63:48];
    end else if (push && !is_wait || (next_row && rem_q == '0)) begin
      if (!fill_q) src_q <= src_next;
      dst_q <= dst_next;
      // A step out of the physical space.
      if (!src_va && !fill_q && src_carry != src_step[55]) src_bad_q <= 1'b1;
      if (!dst_va && dst_carry != dst_step[55]) dst_bad_q <= 1'b1;
      rem_q <= next_row ? (rows_q == '0 ? '0 : len_q) : rem_q - {38'd0, burst_q};
      if (next_row && rows_q != '0) rows_q <= rows_q - 15'd1;
    end
    if (next_row) begin
      burst_q <= len;
      held_q  <= joined;
      sppn_q  <= src_q[PaW-1:12];
      dppn_q  <= dst_q[PaW-1:12];
    end
    if (rsp_status_i == LkpHit) begin
      if (state_q == CopySrcRsp) sppn_q <= rsp_ppn_i;
      if (state_q == CopyDstRsp) dppn_q <= rsp_ppn_i;
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (state_q == CopyIdle || state_q == CopyHalt || entry_valid_i)
        else $error("copy_issue: descriptor lost");
      assert (!push || burst_q != '0) else $error("copy_issue: empty burst");
      assert (!push || fill_q || 32'(copy_beats(src_q[3:0], burst_q)) <= BurstBytes / 16 + 32'(held_q))
        else $error("copy_issue: more beats than a burst has");
      assert (state_q != CopyPost || under_q == '0) else $error("copy_issue: report before the data");
      assert (!done_i || under_q != '0) else $error("copy_issue: end of no burst");
    end
  end

  // Fields without meaning, and those that others use.
  logic unused;
  assign unused = ^{entry_i.pad0, entry_i.pad1, entry_i.pad2, entry_i.pad3, ctl_i.prio};

endmodule
