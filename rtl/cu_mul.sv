// Pipelined multiplier of the compute unit: MUL, MULH, MULHSU, MULHU, MULW.
//
// One operation per cycle, always accepted; the result is valid three cycles later and has no
// back-pressure.
//
//   t      operands in
//   t+1    four 32x32 products
//   t+2    sum, and the correction of the upper half for signed operands
//   t+3    result out
module cu_mul
  import cu_pkg::*;
(
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        valid_i,
  input  logic [1:0]  op_i,      // funct3[1:0]: MUL, MULH, MULHSU, MULHU
  input  logic        word_i,
  input  wb_t         dst_i,     // destination; its data is void
  input  logic [63:0] a_i,
  input  logic [63:0] b_i,
  output logic        valid_o,
  output wb_t         result_o
);

  // Stage 1: operands.
  logic        v1_q;
  logic [1:0]  op1_q;
  logic        word1_q;
  wb_t         dst1_q;
  logic [63:0] a_q, b_q;

  // Stage 2: products, and what a signed operand takes off the upper half.
  logic        v2_q;
  logic        high2_q, word2_q;
  wb_t         dst2_q;
  logic [63:0] ll_q, lh_q, hl_q, hh_q;
  logic [63:0] fix_q;

  logic a_neg, b_neg;
  assign a_neg = a_q[63] && (op1_q == 2'd1 || op1_q == 2'd2);
  assign b_neg = b_q[63] && op1_q == 2'd1;

  // Stage 3: result.
  logic        v3_q;
  wb_t         dst3_q;

  logic [65:0] middle;
  logic [63:0] low, high, result;
  always_comb begin
    middle = {2'b0, lh_q} + {2'b0, hl_q} + {34'b0, ll_q[63:32]};
    low    = {middle[31:0], ll_q[31:0]};
    high   = hh_q + {30'b0, middle[65:32]} - fix_q;
    result = word2_q ? {{32{low[31]}}, low[31:0]} : high2_q ? high : low;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      v1_q <= 1'b0;
      v2_q <= 1'b0;
      v3_q <= 1'b0;
    end else begin
      v1_q <= valid_i;
      v2_q <= v1_q;
      v3_q <= v2_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid_i) begin
      op1_q   <= op_i;
      word1_q <= word_i;
      dst1_q  <= dst_i;
      a_q     <= a_i;
      b_q     <= b_i;
    end
    if (v1_q) begin
      high2_q <= op1_q != 2'd0;
      word2_q <= word1_q;
      dst2_q  <= dst1_q;
      ll_q    <= {32'b0, a_q[31:0]}  * {32'b0, b_q[31:0]};
      lh_q    <= {32'b0, a_q[31:0]}  * {32'b0, b_q[63:32]};
      hl_q    <= {32'b0, a_q[63:32]} * {32'b0, b_q[31:0]};
      hh_q    <= {32'b0, a_q[63:32]} * {32'b0, b_q[63:32]};
      fix_q   <= (a_neg ? b_q : '0) + (b_neg ? a_q : '0);
    end
    if (v2_q) begin
      dst3_q      <= dst2_q;
      dst3_q.data <= result;
    end
  end

  assign valid_o  = v3_q;
  assign result_o = dst3_q;

endmodule
