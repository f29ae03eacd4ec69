// Integer ALU of the compute unit. Combinational.
//
// Word operations use the low 32 bits of both operands and extend the sign of the result. The
// comparisons (eq, lt, ltu of the whole operands) also serve the branches.
module cu_alu
  import cu_pkg::*;
(
  input  alu_op_e     op_i,
  input  logic        word_i,
  input  logic [63:0] a_i,
  input  logic [63:0] b_i,
  output logic [63:0] y_o,
  output logic        eq_o,
  output logic        lt_o,
  output logic        ltu_o
);

  assign eq_o  = a_i == b_i;
  assign ltu_o = a_i < b_i;
  assign lt_o  = a_i[63] != b_i[63] ? a_i[63] : ltu_o;

  logic [5:0]  shamt;
  logic        fill;
  logic [63:0] a_shift;
  logic [63:0] y;

  assign shamt   = {b_i[5] && !word_i, b_i[4:0]};
  assign fill    = op_i == AluSra && (word_i ? a_i[31] : a_i[63]);
  assign a_shift = word_i ? {{32{fill}}, a_i[31:0]} : a_i;

  always_comb begin
    unique case (op_i)
      AluSub:  y = a_i - b_i;
      AluSll:  y = a_i << shamt;
      AluSlt:  y = {63'b0, lt_o};
      AluSltu: y = {63'b0, ltu_o};
      AluXor:  y = a_i ^ b_i;
      AluSrl:  y = a_shift >> shamt;
      AluSra:  y = $unsigned($signed({fill, a_shift[62:0]}) >>> shamt);
      AluOr:   y = a_i | b_i;
      AluAnd:  y = a_i & b_i;
      default: y = a_i + b_i;
    endcase
    y_o = word_i ? {{32{y[31]}}, y[31:0]} : y;
  end

endmodule
