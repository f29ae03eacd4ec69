// Tags of the requests under way, and what their completions bring.
//
// Promise: each request ends exactly once: with its data, or with rsp.err (status other than
//   Successful, poisoned data, or no completion within cpl_timeout_i cycles, up to an eighth more)
//   and an error report. Completions of different tags may come in any order; those of one tag are
//   cut at multiples of the RCB and come in order.
//   A completion that fits no request (tag, requester ID, byte count, lower address, length) is
//   dropped and counted, once it is whole; its request ends by timeout. After a timeout a tag rests for as long
//   again, so that a late completion cannot meet a new request.
// Responses have no back-pressure; a burst brings beats as they come, `last` with the last one of all
//   its requests. cpl_ready_o is low for one cycle when the payload ends in a beat of its own.
// Throughput: a beat per cycle; latency one cycle from the completion's beat.
// Compact: the form for an FPGA. A completion's header is looked at in a cycle of its own, before its first beat.
module pcie_tags
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import pcie_pkg::*;
#(
  parameter int unsigned Tags   = 64,   // a power of two, 8..256
  parameter int unsigned Bursts = 16,   // tags of the burst port, a power of two, 2..256
  parameter bit          Compact = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [15:0]      cfg_bdf_i,
  input  logic             cfg_rcb_i,        // 0: 64 bytes, 1: 128
  input  logic [31:0]      cpl_timeout_i,
  // A request goes out with tag tag_o.
  input  logic             alloc_i,
  input  logic             alloc_first_i,    // the first request of a burst
  input  logic [2:0]       alloc_pieces_i,   // requests of that burst
  input  tag_info_t        alloc_info_i,
  output logic [7:0]       tag_o,
  output logic             any_o,            // a tag is free
  output logic             burst_o,          // one is free for a burst
  // Completions.
  input  logic             cpl_valid_i,
  input  logic             cpl_next_i,
  output logic             cpl_ready_o,
  input  logic             cpl_sop_i,
  input  logic             cpl_eop_i,
  input  logic             cpl_abort_i,
  input  cpl_hdr_t         cpl_hdr_i,
  input  logic [DataW-1:0] cpl_data_i,
  output logic             sys_rsp_valid_o,
  output mem_rsp_t         sys_rsp_o,
  output logic [3:0]       sys_rsp_client_o,
  output logic             brd_rsp_valid_o,
  output burst_rsp_t       brd_rsp_o,
  output logic             drop_o,
  output logic             err_valid_o,
  output error_code_e      err_code_o,
  output client_e          err_client_o,
  output pa_t              err_addr_o
);

  localparam int unsigned IdxW   = $clog2(Tags);
  localparam int unsigned BurstW = $clog2(Bursts);
  typedef logic [IdxW-1:0]   idx_t;
  typedef logic [BurstW-1:0] burst_idx_t;

  // What a completion turned out to be.
  typedef enum logic [1:0] {
    CplDrop = 2'd0,    // fits nothing: dropped
    CplData = 2'd1,    // data of a request
    CplFail = 2'd2     // ends its request with an error
  } verdict_e;

  // ------------------------------------------------------------------ tables
  logic [Tags-1:0] busy_q, dead_q;      // under way; timed out and resting
  tag_info_t       info_q [Tags];
  logic [9:0]      rem_q  [Tags];       // bytes still to come
  logic [Tags-1:0] bad_q;               // some of its data was poisoned
  // Packed: a loop over an unpacked array costs simulation every cycle, not only at a tick.
  logic [Tags-1:0][3:0] age_q;          // in eighths of the timeout
  logic [2:0]      pieces_q [Bursts];   // requests of a burst still under way
  logic [Bursts-1:0] burst_bad_q;         // a request of the burst failed

  // Free tags, handed out in the order in which they came back.
  idx_t            free_q [Tags];
  logic [IdxW:0]   free_rd_q, free_wr_q, free_count;
  logic            free_push;
  idx_t            free_tag;

  // After reset tag n is free number n: the first round needs no table.
  assign free_count = free_wr_q - free_rd_q;
  assign any_o      = free_count != '0;
  assign burst_o    = free_count > (IdxW + 1)'(Tags / 4);
  logic  first_round_q;
  idx_t  next_tag;
  assign next_tag   = first_round_q ? free_rd_q[IdxW-1:0] : free_q[free_rd_q[IdxW-1:0]];
  assign tag_o      = 8'(next_tag);

  // ------------------------------------------------------------------ completion header
  idx_t        c_tag;
  tag_info_t   c_info;
  logic [9:0]  c_rem;
  logic [6:0]  c_at;                    // address of its first byte
  logic [7:0]  c_need;                  // DWs to the end of the request
  logic [10:0] c_dws;
  logic        c_known, c_final, c_fits;
  logic [4:0]  c_stop;                  // DW after it, in 128 bytes
  logic [4:0]  c_beat;                  // beat of the burst
  verdict_e    c_verdict;

  assign c_beat  = c_info.beat + 5'((10'(c_info.addr[3:0]) + c_info.bytes - c_rem) >> 4);
  assign c_tag   = cpl_hdr_i.tag[IdxW-1:0];
  assign c_info  = info_q[c_tag];
  assign c_rem   = rem_q[c_tag];
  assign c_at    = c_info.cas ? '0 : c_info.addr[6:0] + 7'(c_info.bytes - c_rem);
  assign c_need  = 8'((10'(c_at[1:0]) + c_rem + 10'd3) >> 2);
  assign c_dws   = dw_length(cpl_hdr_i.dw0);
  assign c_known = cpl_hdr_i.requester == cfg_bdf_i && 32'(cpl_hdr_i.tag) < Tags
                && !cpl_hdr_i.dw0.t8 && !cpl_hdr_i.dw0.t9 && busy_q[c_tag] && !dead_q[c_tag];
  assign c_final = c_dws == 11'(c_need);
  // It ends the request, or at a multiple of the RCB.
  assign c_stop  = c_at[6:2] + c_dws[4:0];
  assign c_fits  = c_final || (!c_info.cas && c_dws < 11'(c_need) && c_stop[3:0] == '0
                               && !(cfg_rcb_i && c_stop[4]));

  always_comb begin
    c_verdict = CplDrop;
    if (c_known) begin
      if (cpl_hdr_i.status != CplSc) c_verdict = CplFail;
      else if (cpl_hdr_i.dw0.data && c_fits && cpl_hdr_i.byte_count == 12'(c_rem)
               && cpl_hdr_i.lower == c_at) c_verdict = CplData;
    end
  end

  // ------------------------------------------------------------------ completion under way
  logic        mid_q;                   // after its first beat
  verdict_e    verdict_q, verdict;
  idx_t        tag_q, tag;
  tag_info_t   info_r, info;
  logic [3:0]  at_q, at;                // low bits of its address
  logic [10:0] dws_q, dws;
  logic        final_q, final_c, ep_q, ep;
  logic [9:0]  remr_q, rem;
  logic [4:0]  beat_q, beat;            // beat of the burst
  logic        told_q;                  // what is left of it was told of: its request has given it up
  logic        begins, looked_q, look, sop, now;

  // While a payload ends in a beat of its own the next completion waits.
  assign begins  = cpl_valid_i && cpl_sop_i && !mid_q;
  // A beat that was looked at stays until it is taken.
  assign sop     = Compact ? looked_q : begins;
  assign now     = sop && !Compact;
  assign verdict = now ? c_verdict : verdict_q;
  assign tag     = now ? c_tag     : tag_q;
  assign info    = now ? c_info    : info_r;
  assign at      = now ? c_at[3:0] : at_q;
  assign dws     = now ? c_dws     : dws_q;
  assign final_c = now ? c_final   : final_q;
  assign ep      = now ? cpl_hdr_i.dw0.ep : ep_q;
  assign rem     = now ? c_rem     : remr_q;
  assign beat    = now ? c_beat    : beat_q;

  logic         sp_in_ready, sp_valid, sp_first, sp_last, sp_flush, stall, late, give_up;
  assign look = Compact ? begins && !looked_q && !stall : sop;
  logic [3:0]   sp_dwen;
  logic [127:0] sp_data;

  dw_spread u_spread (
    .clk_i, .rst_ni,
    .en_i       ((sop || mid_q) && verdict == CplData && !stall),
    .abort_i    (cpl_abort_i || give_up),
    .off_i      (at[3:2]),
    .dws_i      (dws),
    .in_valid_i (Compact ? looked_q || cpl_next_i : cpl_valid_i),
    .in_ready_o (sp_in_ready),
    .in_data_i  (cpl_data_i),
    .out_valid_o(sp_valid),
    .out_ready_i(1'b1),
    .out_first_o(sp_first),
    .out_last_o (sp_last),
    .out_flush_o(sp_flush),
    .out_dwen_o (sp_dwen),
    .out_data_o (sp_data)
  );

  // ------------------------------------------------------------------ timeouts
  // Ages advance together every eighth of the timeout; one tag a cycle is looked at.
  logic [31:0] tick_q;
  logic        tick, expired;
  idx_t        scan_q;

  assign tick    = cpl_timeout_i != '0 && tick_q >= {3'd0, cpl_timeout_i[31:3]};
  assign expired = busy_q[scan_q] && (dead_q[scan_q] ? age_q[scan_q] == 4'd9 || cpl_timeout_i == '0
                                                     : age_q[scan_q] == 4'd9 && cpl_timeout_i != '0);
  // It has its turn between two completions, which wait for it, or while one of them pauses (it may
  // never go on). A request whose own completion pauses gives that up.
  assign stall   = expired && !looked_q && (!mid_q || (!(Compact ? cpl_next_i : cpl_valid_i) && !sp_flush));
  assign late    = stall && !dead_q[scan_q];
  assign give_up = late && mid_q && scan_q == tag_q;

  assign cpl_ready_o = !stall && !(Compact && !mid_q && !looked_q && !cpl_next_i) && (verdict == CplData ? sp_in_ready : 1'b1);

  // ------------------------------------------------------------------ ends
  logic        fail, data_end, ends, burst_last;
  idx_t        end_tag;
  tag_info_t   end_info;
  error_code_e code;
  logic        poisoned;

  assign fail     = late || (sop && !stall && verdict == CplFail);
  assign data_end = sp_valid && sp_last;
  assign ends     = fail || (data_end && final_c);
  assign end_tag  = stall ? scan_q : tag;
  assign end_info = stall ? info_q[scan_q] : info;
  assign poisoned = ep || bad_q[tag];
  assign burst_last = pieces_q[burst_idx_t'(end_info.mtag)] == 3'd1;
  assign free_push  = (stall && dead_q[scan_q]) || (ends && !late);
  assign free_tag   = end_tag;

  always_comb begin
    if (late)                                code = ErrorCodeCplTimeout;
    else if (!fail)                          code = ErrorCodeCplPoisoned;
    else if (cpl_hdr_i.status == CplCa)      code = ErrorCodeCplCa;
    else                                     code = ErrorCodeCplUr;
  end

  // Lanes that a beat brings: from the first byte of the request to its last one.
  logic [StrbW-1:0] strb;
  logic [3:0]       tail;               // lane after the last byte, 0: the beat is full
  assign tail = at + rem[3:0];
  always_comb begin
    strb = {{4{sp_dwen[3]}}, {4{sp_dwen[2]}}, {4{sp_dwen[1]}}, {4{sp_dwen[0]}}};
    if (sp_first) strb &= 16'hffff << at;
    if (sp_last && final_c && tail != '0) strb &= (16'd1 << tail) - 16'd1;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      busy_q        <= '0;
      dead_q        <= '0;
      bad_q         <= '0;
      burst_bad_q   <= '0;
      free_rd_q     <= '0;
      free_wr_q     <= (IdxW + 1)'(Tags);
      first_round_q <= 1'b1;
      mid_q         <= 1'b0;
      looked_q      <= 1'b0;
      told_q        <= 1'b0;
      tick_q        <= '0;
      scan_q        <= '0;
      sys_rsp_valid_o <= 1'b0;
      brd_rsp_valid_o <= 1'b0;
      err_valid_o     <= 1'b0;
      drop_o          <= 1'b0;
    end else begin
      if (!expired || stall) scan_q <= scan_q + 1'b1;
      tick_q <= tick || cpl_timeout_i == '0 ? '0 : tick_q + 32'd1;

      if (alloc_i) begin
        free_rd_q        <= free_rd_q + 1'b1;
        if (&free_rd_q[IdxW-1:0]) first_round_q <= 1'b0;
        busy_q[next_tag] <= 1'b1;
        bad_q[next_tag]  <= 1'b0;
      end
      if (free_push) begin
        free_wr_q        <= free_wr_q + 1'b1;
        busy_q[free_tag] <= 1'b0;
        dead_q[free_tag] <= 1'b0;
      end
      if (late) dead_q[scan_q] <= 1'b1;
      if (data_end && !final_c && ep) bad_q[tag] <= 1'b1;

      if (cpl_abort_i || give_up)           mid_q <= 1'b0;
      else if (sop && cpl_ready_o)          mid_q <= verdict == CplData && !sp_last;
      else if (data_end)                    mid_q <= 1'b0;

      looked_q <= Compact && (look || (looked_q && !cpl_ready_o && !cpl_abort_i));

      if (ends && end_info.burst)
        burst_bad_q[burst_idx_t'(end_info.mtag)] <= !burst_last
            && (burst_bad_q[burst_idx_t'(end_info.mtag)] || fail || poisoned);

      if (give_up)                   told_q <= 1'b1;
      else if (sop && cpl_ready_o)   told_q <= 1'b0;
      // At its end: pcie_rx tells of one that is cut short.
      drop_o          <= cpl_valid_i && cpl_ready_o && cpl_eop_i && verdict == CplDrop && (sop || !told_q);
      err_valid_o     <= ends && (fail || poisoned);
      sys_rsp_valid_o <= ends && !end_info.burst;
      brd_rsp_valid_o <= (fail && end_info.burst) || (sp_valid && info.burst);
    end
  end

  always_ff @(posedge clk_i) begin
    if (tick) for (int i = 0; i < Tags; i++) if (age_q[i] != 4'd9) age_q[i] <= age_q[i] + 4'd1;
    if (late) age_q[scan_q] <= '0;
    if (alloc_i) begin
      age_q[next_tag]  <= '0;
      info_q[next_tag] <= alloc_info_i;
    end
    if (free_push) free_q[free_wr_q[IdxW-1:0]] <= free_tag;
    if (alloc_i && alloc_info_i.burst && alloc_first_i)
      pieces_q[burst_idx_t'(alloc_info_i.mtag)] <= alloc_pieces_i;
    if (ends && end_info.burst)
      pieces_q[burst_idx_t'(end_info.mtag)] <= pieces_q[burst_idx_t'(end_info.mtag)] - 3'd1;

    if (alloc_i) rem_q[next_tag] <= alloc_info_i.bytes;
    if (data_end && !final_c) rem_q[tag] <= rem - {dws[7:0], 2'd0} + {8'd0, at[1:0]};

    if (look) begin
      verdict_q <= c_verdict;
      tag_q     <= c_tag;
      info_r    <= c_info;
      at_q      <= c_at[3:0];
      dws_q     <= c_dws;
      final_q   <= c_final;
      ep_q      <= cpl_hdr_i.dw0.ep;
      remr_q    <= c_rem;
    end
    if (give_up)  verdict_q <= CplDrop;
    if (sp_valid)                beat_q <= beat + 5'd1;
    else if (Compact && look) beat_q <= c_beat;

    sys_rsp_o        <= '{tag: end_info.mtag, err: fail || poisoned, data: sp_data};
    sys_rsp_client_o <= end_info.client;
    brd_rsp_o        <= '{tag: end_info.mtag, beat: beat, data: sp_data,
                          strb: fail || ep ? '0 : strb,
                          last: ends && burst_last,
                          err: fail || poisoned || (ends && burst_last && burst_bad_q[burst_idx_t'(end_info.mtag)])};
    err_code_o       <= code;
    err_client_o     <= end_info.burst ? ClientCopy : client_of(end_info.client);
    err_addr_o       <= {1'b0, end_info.addr};
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!alloc_i || any_o) else $error("pcie_tags: no tag is free");
      assert (!alloc_i || !busy_q[next_tag]) else $error("pcie_tags: a tag in use is handed out");
      assert (!free_push || busy_q[free_tag]) else $error("pcie_tags: a tag is freed twice");
      assert (free_count <= (IdxW + 1)'(Tags)) else $error("pcie_tags: too many free tags");
      assert (!(ends && end_info.burst) || pieces_q[burst_idx_t'(end_info.mtag)] != '0) else $error("pcie_tags: burst ends twice");
    end
  end

  // Fields of a completion that say nothing to a requester.
  logic unused;
  assign unused = ^{end_info.cas, end_info.bytes, end_info.beat, cpl_hdr_i.completer, cpl_hdr_i.bcm, cpl_hdr_i.rsvd, cpl_hdr_i.none, sp_flush,
                    cpl_hdr_i.dw0.prefix, cpl_hdr_i.dw0.four, cpl_hdr_i.dw0.kind, cpl_hdr_i.dw0.tc,
                    cpl_hdr_i.dw0.attr2, cpl_hdr_i.dw0.ln, cpl_hdr_i.dw0.th, cpl_hdr_i.dw0.td,
                    cpl_hdr_i.dw0.attr, cpl_hdr_i.dw0.at, cpl_timeout_i[2:0]};

endmodule
