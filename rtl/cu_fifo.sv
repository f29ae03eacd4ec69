// Small first-in first-out queue for results that may come at any time.
//
// The caller guarantees room (a warp has one instruction in flight, so Depth = Warps suffices);
// a push into a full queue is an assertion failure. Output: valid/ready, in the cycle after the
// push at the earliest.
module cu_fifo #(
  parameter int unsigned Width = 8,
  parameter int unsigned Depth = 8
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             push_i,
  input  logic [Width-1:0] data_i,
  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o
);

  localparam int unsigned PtrW = Depth > 1 ? $clog2(Depth) : 1;

  logic [Width-1:0] mem [Depth];
  logic [PtrW-1:0]  head_q, tail_q;
  logic [PtrW:0]    count_q;

  function automatic logic [PtrW-1:0] next(logic [PtrW-1:0] ptr);
    return ptr == PtrW'(Depth - 1) ? '0 : ptr + 1'b1;
  endfunction

  assign valid_o = count_q != '0;
  assign data_o  = mem[head_q];

  logic pop;
  assign pop = valid_o && ready_i;

  always_ff @(posedge clk_i) begin
    if (push_i) mem[tail_q] <= data_i;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      head_q  <= '0;
      tail_q  <= '0;
      count_q <= '0;
    end else begin
      if (push_i) tail_q <= next(tail_q);
      if (pop)    head_q <= next(head_q);
      count_q <= count_q + (PtrW+1)'(push_i) - (PtrW+1)'(pop);
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(push_i && !pop && count_q == (PtrW+1)'(Depth))) else $error("push into a full queue");
    end
  end

endmodule
