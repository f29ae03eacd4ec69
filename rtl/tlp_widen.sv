// Transmit stream of DataW bits of payload a beat to one of 2 x DataW, behind pcie_tx.
//
// Throughput: a half each cycle, so a wide beat every other one. Latency: none for a TLP of one half, else the
// cycle that the second half takes to come.
// Handshake: out_valid_o does not wait for out_ready_i; the first half is taken at once.
module tlp_widen
  import hmmu_pkg::*;
(
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic               in_valid_i,
  output logic               in_ready_o,
  input  logic               in_sop_i,
  input  logic               in_eop_i,
  input  logic [127:0]       in_hdr_i,
  input  logic [DataW-1:0]   in_data_i,
  output logic               out_valid_o,
  input  logic               out_ready_i,
  output logic               out_sop_o,
  output logic               out_eop_o,
  output logic [127:0]       out_hdr_o,
  output logic [2*DataW-1:0] out_data_o
);

  logic             held_q;      // the lower half is here
  logic             sop_q;
  logic [127:0]     hdr_q;
  logic [DataW-1:0] data_q;
  logic             whole;

  assign whole       = held_q || in_eop_i;
  assign in_ready_o  = out_ready_i || !whole;
  assign out_valid_o = in_valid_i && whole;
  assign out_sop_o   = held_q ? sop_q : in_sop_i;
  assign out_eop_o   = in_eop_i;
  assign out_hdr_o   = held_q ? hdr_q : in_hdr_i;
  assign out_data_o  = held_q ? {in_data_i, data_q} : {in_data_i, in_data_i};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni)                       held_q <= 1'b0;
    else if (in_valid_i && in_ready_o) held_q <= !whole;
  end

  always_ff @(posedge clk_i) begin
    if (in_valid_i && !whole) begin
      sop_q  <= in_sop_i;
      hdr_q  <= in_hdr_i;
      data_q <= in_data_i;
    end
  end

endmodule
