// Transmit side of the TLP stream: takes TLPs of the requester and of the completer in turn.
//
// Promise: TLPs leave in the order in which their first beats were accepted here, so a posted write
//   is never passed by a read or a completion accepted later. A TLP is never interrupted by another.
//   lock_i keeps the stream with the requester until the last TLP of a burst was accepted.
// Throughput: a beat per cycle, latency one cycle; tx_valid_o does not wait for tx_ready_i.
// Compact: the form for an FPGA. Whose turn it is was settled in the cycle before: ready does not wait for valid,
//   and whoever finds the turn with the other one waits a cycle.
module pcie_tx
  import hmmu_pkg::*;
  import pcie_pkg::*;
#(
  parameter bit Compact = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             req_valid_i,
  output logic             req_ready_o,
  input  logic             req_lock_i,
  input  tlp_beat_t        req_i,
  input  logic             cpl_valid_i,
  output logic             cpl_ready_o,
  input  tlp_beat_t        cpl_i,
  output logic             tx_valid_o,
  input  logic             tx_ready_i,
  output logic             tx_sop_o,
  output logic             tx_eop_o,
  output tlp_hdr_t         tx_hdr_o,
  output logic [DataW-1:0] tx_data_o,
  output logic [12:0]      bytes_o       // header and payload of the TLP that begins
);

  typedef enum logic [1:0] {
    TxFree = 2'd0,
    TxReq  = 2'd1,   // in a TLP of the requester
    TxCpl  = 2'd2    // in a TLP of the completer
  } tx_e;

  tx_e        state_q;
  logic       turn_q;                    // the completer is first when both want to begin
  logic       take_cpl, room, fire;
  tlp_beat_t  beat;
  tlp_beat_t  out;
  logic [1:0] count;
  dw0_t       dw0;

  always_comb begin
    unique case (state_q)
      TxReq:   take_cpl = 1'b0;
      TxCpl:   take_cpl = 1'b1;
      default: take_cpl = !req_lock_i && (Compact ? turn_q : cpl_valid_i && (turn_q || !req_valid_i));
    endcase
  end

  assign beat        = take_cpl ? cpl_i : req_i;
  assign req_ready_o = room && !take_cpl;
  assign cpl_ready_o = room && take_cpl;
  assign fire        = room && (take_cpl ? cpl_valid_i : req_valid_i);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= TxFree;
      turn_q  <= 1'b0;
    end else if (fire) begin
      state_q <= beat.eop ? TxFree : take_cpl ? TxCpl : TxReq;
      turn_q  <= Compact ? (take_cpl ? !req_valid_i : cpl_valid_i) : !take_cpl;
    end else if (Compact && room && state_q == TxFree) begin
      // The turn was not used.
      turn_q  <= cpl_valid_i;
    end
  end

  sync_fifo #(.Width($bits(tlp_beat_t)), .Depth(2)) u_out (
    .clk_i, .rst_ni,
    .in_valid_i (fire),
    .in_ready_o (room),
    .in_i       (beat),
    .out_valid_o(tx_valid_o),
    .out_ready_i(tx_ready_i),
    .out_o      (out),
    .count_o    (count)
  );

  assign tx_sop_o  = out.sop;
  assign tx_eop_o  = out.eop;
  assign tx_hdr_o  = out.hdr;
  assign tx_data_o = out.data;

  assign dw0     = beat.hdr[127:96];
  assign bytes_o = fire && beat.sop
                 ? (dw0.four ? 13'd16 : 13'd12) + (dw0.data ? {dw_length(dw0), 2'd0} : 13'd0) : 13'd0;

  always_ff @(posedge clk_i) begin
    if (rst_ni && fire) begin
      assert (beat.sop == (state_q == TxFree)) else $error("pcie_tx: TLP framing broken");
    end
  end

  logic unused;
  assign unused = ^{count, dw0.prefix, dw0.kind, dw0.t9, dw0.tc, dw0.t8, dw0.attr2, dw0.ln, dw0.th,
                    dw0.td, dw0.ep, dw0.attr, dw0.at};

endmodule
