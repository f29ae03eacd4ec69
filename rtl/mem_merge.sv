// Merges the memory requests of a reader and of a writer of one unit into one memory port.
//
// Promise: no latency; the writer goes first; a request that has been shown stays until it is
//   accepted. Responses belong to the reader: wire them past this block.
module mem_merge
  import hmmu_pkg::*;
#(
  parameter bit ReadsOnly = 1'b0   // the reader makes no swaps: data and strobes are the writer's, void for a read
) (
  input  logic     clk_i,
  input  logic     rst_ni,
  input  logic     rd_valid_i,
  output logic     rd_ready_o,
  input  mem_req_t rd_req_i,
  input  logic     wr_valid_i,
  output logic     wr_ready_o,
  input  mem_req_t wr_req_i,
  output logic     mem_req_valid_o,
  input  logic     mem_req_ready_i,
  output mem_req_t mem_req_o
);

  // A read was shown and not accepted: it keeps the port.
  logic rd_hold_q;
  logic take_wr;

  assign take_wr         = wr_valid_i && !rd_hold_q;
  assign mem_req_valid_o = wr_valid_i || rd_valid_i;
  always_comb begin
    mem_req_o = take_wr ? wr_req_i : rd_req_i;
    if (ReadsOnly) begin
      mem_req_o.data = wr_req_i.data;
      mem_req_o.strb = wr_req_i.strb;
    end
  end
  assign wr_ready_o      = mem_req_ready_i && take_wr;
  assign rd_ready_o      = mem_req_ready_i && !take_wr;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) rd_hold_q <= 1'b0;
    else         rd_hold_q <= rd_valid_i && !take_wr && !mem_req_ready_i;
  end

endmodule
