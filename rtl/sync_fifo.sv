// Small first-in first-out buffer. The head is visible on out_o while out_valid_o; in_ready_o does
// not depend on the other side, so a full buffer takes no beat in the cycle in which one leaves.
// Throughput: a beat per cycle each way; latency one cycle.
module sync_fifo #(
  parameter int unsigned Width = 8,
  parameter int unsigned Depth = 4     // a power of two, at least 2
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     in_valid_i,
  output logic                     in_ready_o,
  input  logic [Width-1:0]         in_i,
  output logic                     out_valid_o,
  input  logic                     out_ready_i,
  output logic [Width-1:0]         out_o,
  output logic [$clog2(Depth):0]   count_o
);

  localparam int unsigned PtrW = $clog2(Depth);

  logic [Width-1:0] mem_q [Depth];
  logic [PtrW:0]    wr_q, rd_q;

  assign count_o     = wr_q - rd_q;
  assign in_ready_o  = !count_o[PtrW];
  assign out_valid_o = wr_q != rd_q;
  assign out_o       = mem_q[rd_q[PtrW-1:0]];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      wr_q <= '0;
      rd_q <= '0;
    end else begin
      if (in_valid_i && in_ready_o)   wr_q <= wr_q + 1'b1;
      if (out_valid_o && out_ready_i) rd_q <= rd_q + 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (in_valid_i && in_ready_o) mem_q[wr_q[PtrW-1:0]] <= in_i;
  end

endmodule
