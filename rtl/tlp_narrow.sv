// Receive stream of 2 x DataW bits of payload a beat to one of DataW, in front of pcie_rx.
// A beat that ends a TLP has one half if the header's Length needs no more, else two; all others have two.
// What is wrong with a TLP (too long, too short) stays wrong, to a beat of the wide stream.
//
// Throughput: a half each cycle, so a wide beat every other one. Latency: none.
// Handshake: in_ready_o with the last half; out_valid_o does not wait for out_ready_i.
module tlp_narrow
  import hmmu_pkg::*;
  import pcie_pkg::*;
(
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic               in_valid_i,
  output logic               in_ready_o,
  input  logic               in_sop_i,
  input  logic               in_eop_i,
  input  logic [127:0]       in_hdr_i,
  input  logic [2*DataW-1:0] in_data_i,
  output logic               out_valid_o,
  input  logic               out_ready_i,
  output logic               out_sop_o,
  output logic               out_eop_o,
  output logic [127:0]       out_hdr_o,
  output logic [DataW-1:0]   out_data_o
);

  logic        upper_q;          // the upper half is next
  logic [10:0] left_q, left;     // DWs of the TLP from this beat on
  logic        last, fire;
  dw0_t        dw0;

  assign dw0  = dw0_t'(in_hdr_i[127:96]);
  assign left = !in_sop_i ? left_q : dw0.data ? dw_length(dw0) : '0;
  assign last = upper_q || (in_eop_i && left <= 11'd4);
  assign fire = in_valid_i && out_ready_i;

  assign in_ready_o  = out_ready_i && last;
  assign out_valid_o = in_valid_i;
  assign out_sop_o   = in_sop_i && !upper_q;
  assign out_eop_o   = in_eop_i && last;
  assign out_hdr_o   = in_hdr_i;
  assign out_data_o  = upper_q ? in_data_i[2*DataW-1:DataW] : in_data_i[DataW-1:0];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      upper_q <= 1'b0;
      left_q  <= '0;
    end else if (fire) begin
      upper_q <= !last;
      if (last) left_q <= left > 11'd8 ? left - 11'd8 : '0;
    end
  end

endmodule
