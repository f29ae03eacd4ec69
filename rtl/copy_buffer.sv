// Data of the bursts under way: a simple dual-port memory with byte lanes.
//
// Promise: rdata_o holds the word at raddr_i from the cycle after ren_i until the next ren_i; a
//   word written in the same cycle as it is read comes out old.
module copy_buffer
  import hmmu_pkg::*;
#(
  parameter int unsigned AddrW = 8
) (
  input  logic             clk_i,
  input  logic             we_i,
  input  logic [StrbW-1:0] strb_i,
  input  logic [AddrW-1:0] waddr_i,
  input  logic [DataW-1:0] wdata_i,
  input  logic             ren_i,
  input  logic [AddrW-1:0] raddr_i,
  output logic [DataW-1:0] rdata_o
);

  logic [DataW-1:0] mem_q [1 << AddrW];

  always_ff @(posedge clk_i) begin
    if (we_i) begin
      for (int unsigned l = 0; l < StrbW; l++) begin
        if (strb_i[l]) mem_q[waddr_i][8*l +: 8] <= wdata_i[8*l +: 8];
      end
    end
    if (ren_i) rdata_o <= mem_q[raddr_i];
  end

endmodule
