// Multiplier and divider of the compute unit behind one result queue.
//
// Operations are always accepted, one per cycle: a warp has one instruction in flight, so the
// queues cannot fill up. Multiplications run at one per cycle; divisions wait in order for the one
// divider. Results come by valid/ready.
module cu_muldiv
  import cu_pkg::*;
#(
  parameter int unsigned Warps = 16
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        valid_i,
  input  logic [2:0]  op_i,      // funct3: MUL, MULH, MULHSU, MULHU, DIV, DIVU, REM, REMU
  input  logic        word_i,
  input  wb_t         dst_i,     // destination; its data is void
  input  logic [63:0] a_i,
  input  logic [63:0] b_i,
  output logic        valid_o,
  input  logic        ready_i,
  output wb_t         result_o
);

  // ---------------------------------------------------------------- multiplier
  logic mul_valid;
  wb_t  mul_result;

  cu_mul u_mul (
    .clk_i,
    .rst_ni,
    .valid_i  (valid_i && !op_i[2]),
    .op_i     (op_i[1:0]),
    .word_i,
    .dst_i,
    .a_i,
    .b_i,
    .valid_o  (mul_valid),
    .result_o (mul_result)
  );

  // ---------------------------------------------------------------- divider with its waiting line
  typedef struct packed {
    logic [1:0]  op;
    logic        word;
    wb_t         dst;      // data: the divisor
    logic [63:0] a;
  } div_req_t;

  div_req_t div_in, div_head;
  logic     div_req_valid, div_req_ready;
  logic     div_valid, div_ready;
  wb_t      div_result, div_dst;

  always_comb begin
    div_in          = '{op: op_i[1:0], word: word_i, dst: dst_i, a: a_i};
    div_in.dst.data = b_i;
    div_dst         = div_head.dst;
    div_dst.data    = '0;
  end

  cu_fifo #(
    .Width ($bits(div_req_t)),
    .Depth (Warps)
  ) u_div_queue (
    .clk_i,
    .rst_ni,
    .push_i  (valid_i && op_i[2]),
    .data_i  (div_in),
    .valid_o (div_req_valid),
    .ready_i (div_req_ready),
    .data_o  (div_head)
  );

  cu_div u_div (
    .clk_i,
    .rst_ni,
    .valid_i  (div_req_valid),
    .ready_o  (div_req_ready),
    .op_i     (div_head.op),
    .word_i   (div_head.word),
    .dst_i    (div_dst),
    .a_i      (div_head.a),
    .b_i      (div_head.dst.data),
    .valid_o  (div_valid),
    .ready_i  (div_ready),
    .result_o (div_result)
  );

  // ---------------------------------------------------------------- results
  // The multiplier cannot wait, the divider can.
  assign div_ready = !mul_valid;

  cu_fifo #(
    .Width ($bits(wb_t)),
    .Depth (Warps)
  ) u_results (
    .clk_i,
    .rst_ni,
    .push_i  (mul_valid || div_valid),
    .data_i  (mul_valid ? mul_result : div_result),
    .valid_o,
    .ready_i,
    .data_o  (result_o)
  );

endmodule
