// Small first-in first-out buffer. The head is visible on out_o while out_valid_o; in_ready_o does
// not depend on the other side, so a full buffer takes no beat in the cycle in which one leaves.
// Throughput: a beat per cycle each way; latency one cycle.
// What holds the beats depends on the size: two are a pair of registers, small ones a memory that is read
// at once, large ones a memory with a registered read (block RAM) and a register for a beat that is the
// head as soon as it is in.
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

  logic [PtrW:0] wr_q, rd_q;
  logic          push, pop;

  assign count_o     = wr_q - rd_q;
  assign in_ready_o  = !count_o[PtrW];
  assign out_valid_o = wr_q != rd_q;
  assign push        = in_valid_i && in_ready_o;
  assign pop         = out_valid_o && out_ready_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      wr_q <= '0;
      rd_q <= '0;
    end else begin
      if (push) wr_q <= wr_q + 1'b1;
      if (pop)  rd_q <= rd_q + 1'b1;
    end
  end

  if (Depth == 2) begin : gen_pair
    logic [Width-1:0] head_q, last_q;   // the oldest, and the newest

    always_ff @(posedge clk_i) begin
      if (push && (!out_valid_o || pop)) head_q <= in_i;
      else if (pop)                      head_q <= last_q;
      if (push) last_q <= in_i;
    end
    assign out_o = head_q;
  end else if (Depth >= 32 && Width >= 32) begin : gen_block
    logic [Width-1:0] mem_q [Depth];
    logic [Width-1:0] read_q, pass_q;
    logic             passed_q;         // the head is in pass_q
    logic [PtrW-1:0]  rd_next;
    logic             first;            // no other beat is here, but for a head that leaves

    assign rd_next = rd_q[PtrW-1:0] + 1'b1;
    assign first   = pop ? count_o == (PtrW + 1)'(1) : count_o == '0;
    assign out_o   = passed_q ? pass_q : read_q;

    always_ff @(posedge clk_i) begin
      if (push) mem_q[wr_q[PtrW-1:0]] <= in_i;
      if (pop)  read_q <= mem_q[rd_next];
      if (push && first) begin
        pass_q   <= in_i;
        passed_q <= 1'b1;
      end else if (pop) begin
        passed_q <= 1'b0;
      end
    end
  end else begin : gen_small
    logic [Width-1:0] mem_q [Depth];

    always_ff @(posedge clk_i) begin
      if (push) mem_q[wr_q[PtrW-1:0]] <= in_i;
    end
    assign out_o = mem_q[rd_q[PtrW-1:0]];
  end

endmodule
