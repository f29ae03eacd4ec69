// Receive side of the TLP stream: checks each TLP, sends completions straight to the requester and
// queues requests for the completer.
//
// Promise: a request reaches the completer only when all of it has come and it is well formed
//   (framing fits Length, byte enables legal, no 4 KiB crossing, payload within MPS); all else is
//   dropped and counted (drop_o). A completion is passed on as it comes; cpl_abort_o says that the
//   one under way turned out broken. Requests that wait never hold up the completions behind them
//   unless the buffer (HdrDepth TLPs, DataDepth beats) is full; what empties it waits for tx_ready_i
//   and VRAM only, never for a completion of ours.
// Caller: payload of a request is popped (dat_pop_i) before its header (req_pop_i). TLP digests do
//   not appear on the stream.
// Throughput: one beat per cycle; a completion passes without delay, a request 2 cycles after its
//   last beat.
module pcie_rx
  import hmmu_pkg::*;
  import pcie_pkg::*;
#(
  parameter int unsigned HdrDepth  = 16,
  parameter int unsigned DataDepth = 512   // >= 256 (the largest MPS) in beats
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [2:0]       cfg_mps_i,
  input  logic             rx_valid_i,
  output logic             rx_ready_o,
  input  logic             rx_sop_i,
  input  logic             rx_eop_i,
  input  tlp_hdr_t         rx_hdr_i,
  input  logic [DataW-1:0] rx_data_i,
  // Completions, to the requester.
  output logic             cpl_valid_o,
  input  logic             cpl_ready_i,
  output logic             cpl_next_o,     // cpl_valid_o of beats behind the first one
  output logic             cpl_sop_o,
  output logic             cpl_eop_o,
  output logic             cpl_abort_o,    // pulse: forget the completion under way
  output cpl_hdr_t         cpl_hdr_o,      // with sop
  output logic [DataW-1:0] cpl_data_o,
  // Requests, to the completer.
  output logic             req_valid_o,
  input  logic             req_pop_i,
  output req_hdr_t         req_hdr_o,
  output logic             dat_valid_o,
  input  logic             dat_pop_i,
  output logic [DataW-1:0] dat_o,
  // Pulses and counts.
  output logic             drop_o,
  output logic [12:0]      bytes_o         // header and payload of the TLP that begins
);

  localparam int unsigned PtrW = $clog2(DataDepth);

  typedef enum logic [1:0] {
    RxIdle = 2'd0,
    RxCpl  = 2'd1,   // in a completion
    RxReq  = 2'd2,   // in a request
    RxSkip = 2'd3    // in a TLP that is dropped
  } rx_e;

  rx_e         state_q, state_d;
  logic [8:0]  left_q;                     // beats still to come
  req_hdr_t    hdr_q;

  // ------------------------------------------------------------------ header checks
  req_hdr_t    hdr;
  logic [10:0] dws;
  logic [8:0]  beats;
  logic        is_cpl, is_msg, known, bad;
  logic [10:0] mps_dws;

  assign hdr     = req_hdr_t'(rx_hdr_i);
  assign dws     = dw_length(hdr.dw0);
  assign beats   = hdr.dw0.data ? 9'((dws + 11'd3) >> 2) : 9'd1;
  assign is_cpl  = hdr.dw0.kind == TypeCpl;
  assign is_msg  = hdr.dw0.kind[4:3] == 2'b10;
  assign mps_dws = 11'd32 << (cfg_mps_i > 3'd5 ? 3'd5 : cfg_mps_i);

  always_comb begin
    unique case (hdr.dw0.kind)
      TypeMem:                            known = 1'b1;
      TypeMemLk:                          known = !hdr.dw0.data;
      TypeIo, TypeCfg0, TypeCfg1:         known = !hdr.dw0.four && dws == 11'd1;
      TypeFetchAdd, TypeSwap, TypeCas:    known = hdr.dw0.data;
      TypeCpl:                            known = !hdr.dw0.four;
      default:                            known = is_msg && hdr.dw0.four;
    endcase
    bad = !known || hdr.dw0.prefix || (hdr.dw0.data && dws > mps_dws);
    if (hdr.dw0.kind == TypeMem || hdr.dw0.kind == TypeMemLk) begin
      // No crossing of 4 KiB; a request may end at the edge.
      if ({1'b0, hdr.dw0.four ? hdr.dw3[11:2] : hdr.dw2[11:2]} + dws > 11'd1024) bad = 1'b1;
      if (dws == 11'd1 ? hdr.last_be != '0 : hdr.last_be == '0 || hdr.first_be == '0) bad = 1'b1;
    end
  end

  // ------------------------------------------------------------------ framing
  logic room, hdr_room, hdr_push, dat_push, rollback, start;
  logic [8:0] left;

  assign start = rx_valid_i && rx_sop_i && (state_q == RxIdle || state_q == RxSkip);
  assign left  = rx_sop_i ? beats : left_q;

  always_comb begin
    state_d     = state_q;
    rx_ready_o  = 1'b1;
    cpl_abort_o = 1'b0;
    hdr_push    = 1'b0;
    dat_push    = 1'b0;
    rollback    = 1'b0;
    drop_o      = 1'b0;
    if (rx_valid_i) begin
      unique case (state_q)
        RxCpl, RxReq: begin
          if (rx_sop_i || rx_eop_i != (left_q == 9'd1)) begin
            // Cut short, or longer than its Length says. A new start is looked at again.
            drop_o      = 1'b1;
            cpl_abort_o = state_q == RxCpl;
            rollback    = state_q == RxReq;
            rx_ready_o  = !rx_sop_i;
            state_d     = rx_sop_i || rx_eop_i ? RxIdle : RxSkip;
          end else if (state_q == RxCpl) begin
            rx_ready_o  = cpl_ready_i;
            if (rx_eop_i && cpl_ready_i) state_d = RxIdle;
          end else begin
            rx_ready_o = room;
            dat_push   = room;
            hdr_push   = room && rx_eop_i;
            if (room && rx_eop_i) state_d = RxIdle;
          end
        end
        default: begin
          if (!rx_sop_i) begin
            drop_o  = state_q == RxIdle;
            state_d = rx_eop_i ? RxIdle : RxSkip;
          end else if (bad || rx_eop_i != (beats == 9'd1)) begin
            drop_o  = 1'b1;
            state_d = rx_eop_i ? RxIdle : RxSkip;
          end else if (is_cpl) begin
            rx_ready_o  = cpl_ready_i;
            if (cpl_ready_i) state_d = rx_eop_i ? RxIdle : RxCpl;
          end else begin
            rx_ready_o = room;
            dat_push   = room && hdr.dw0.data;
            hdr_push   = room && rx_eop_i;
            if (room) state_d = rx_eop_i ? RxIdle : RxReq;
          end
        end
      endcase
    end
  end

  // A beat that fits a completion.
  assign cpl_next_o  = rx_valid_i && state_q == RxCpl && !rx_sop_i && rx_eop_i == (left_q == 9'd1);
  assign cpl_valid_o = cpl_next_o || (start && is_cpl && !bad && rx_eop_i == (beats == 9'd1));
  assign cpl_sop_o  = rx_sop_i;
  assign cpl_eop_o  = rx_eop_i;
  assign cpl_hdr_o  = cpl_hdr_t'(rx_hdr_i);
  assign cpl_data_o = rx_data_i;
  assign bytes_o    = start && rx_ready_o
                    ? (hdr.dw0.four ? 13'd16 : 13'd12) + (hdr.dw0.data ? {dws, 2'd0} : 13'd0) : 13'd0;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= RxIdle;
      left_q  <= '0;
    end else begin
      state_q <= state_d;
      if (rx_valid_i && rx_ready_o) left_q <= left - 9'd1;
    end
  end

  // Only a TLP with data has beats after its header.
  always_ff @(posedge clk_i) begin
    if (start) hdr_q <= hdr;
  end

  // ------------------------------------------------------------------ request headers
  logic [$clog2(HdrDepth):0] hdr_count;

  sync_fifo #(.Width(128), .Depth(HdrDepth)) u_hdr (
    .clk_i, .rst_ni,
    .in_valid_i (hdr_push),
    .in_ready_o (hdr_room),
    .in_i       (rx_sop_i ? hdr : hdr_q),
    .out_valid_o(req_valid_o),
    .out_ready_i(req_pop_i),
    .out_o      (req_hdr_o),
    .count_o    (hdr_count)
  );

  // ------------------------------------------------------------------ request payload
  // A block RAM. Beats count only from the moment their TLP is whole (commit_q); a prefetched beat
  // stands at the output.
  logic [DataW-1:0] mem_q [DataDepth];
  logic [PtrW:0]    wr_q, commit_q, rd_q;
  logic             full, fetch;

  assign full  = wr_q[PtrW] != rd_q[PtrW] && wr_q[PtrW-1:0] == rd_q[PtrW-1:0];
  assign room  = !full && hdr_room;
  assign fetch = rd_q != commit_q && (!dat_valid_o || dat_pop_i);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      wr_q        <= '0;
      commit_q    <= '0;
      rd_q        <= '0;
      dat_valid_o <= 1'b0;
    end else begin
      if (rollback)      wr_q <= commit_q;
      else if (dat_push) wr_q <= wr_q + 1'b1;
      if (hdr_push)      commit_q <= wr_q + (PtrW + 1)'(dat_push);
      if (fetch)         rd_q <= rd_q + 1'b1;
      if (fetch)          dat_valid_o <= 1'b1;
      else if (dat_pop_i) dat_valid_o <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (dat_push) mem_q[wr_q[PtrW-1:0]] <= rx_data_i;
    if (fetch)    dat_o <= mem_q[rd_q[PtrW-1:0]];
    if (rst_ni) begin
      assert (!dat_pop_i || dat_valid_o) else $error("pcie_rx: payload popped that is not there");
      assert (!req_pop_i || req_valid_o) else $error("pcie_rx: header popped that is not there");
    end
  end

  logic unused;
  assign unused = ^hdr_count;

endmodule
