// What the bytes that came for an access mean to it: the value for the register, and whether a swap took
// place. Combinational.
module cu_lsu_rsp
  import cu_pkg::*;
(
  input  mem_op_t     op_i,
  input  logic [63:0] raw_i,        // from the access's first byte on
  input  logic [63:0] expected_i,
  output logic [63:0] value_o,
  output logic        swapped_o
);

  assign swapped_o = op_i.size == 2'd2 ? raw_i[31:0] == expected_i[31:0] : raw_i == expected_i;

  always_comb begin
    unique case (op_i.size)
      2'd0:    value_o = {{56{raw_i[7]  && !op_i.zext}}, raw_i[7:0]};
      2'd1:    value_o = {{48{raw_i[15] && !op_i.zext}}, raw_i[15:0]};
      2'd2:    value_o = {{32{raw_i[31] && !op_i.zext}}, raw_i[31:0]};
      default: value_o = raw_i;
    endcase
    if (op_i.kind == MemSc) value_o = {63'b0, !swapped_o};
  end

  // The operation of an AMO went with the request.
  logic unused;
  assign unused = ^op_i.amo;

endmodule
