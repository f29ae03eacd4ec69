// What an atomic memory operation writes: the new value from the old one and the operand.
// Combinational. Word operations use and give the low 32 bits; the upper half of the result is
// void then.
module cu_amo
  import cu_pkg::*;
(
  input  amo_e        op_i,
  input  logic        word_i,
  input  logic [63:0] old_i,
  input  logic [63:0] operand_i,
  output logic [63:0] new_o
);

  logic [63:0] a, b;
  logic        is_signed, less;

  always_comb begin
    is_signed = op_i == AmoMin || op_i == AmoMax;
    a = word_i ? {{32{is_signed && old_i[31]}}, old_i[31:0]} : old_i;
    b = word_i ? {{32{is_signed && operand_i[31]}}, operand_i[31:0]} : operand_i;
    less = is_signed && a[63] != b[63] ? a[63] : a < b;
    unique case (op_i)
      AmoSwap:          new_o = b;
      AmoXor:           new_o = a ^ b;
      AmoOr:            new_o = a | b;
      AmoAnd:           new_o = a & b;
      AmoMin, AmoMinu:  new_o = less ? a : b;
      AmoMax, AmoMaxu:  new_o = less ? b : a;
      default:          new_o = a + b;
    endcase
  end

endmodule
