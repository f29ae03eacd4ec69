// What a memory response means to its access: the value for the register, and whether a swap took
// place. Combinational.
//
// A swap answers in the low bits, a read with the whole 16 bytes.
module cu_lsu_rsp
  import hmmu_pkg::*;
  import cu_pkg::*;
(
  input  mem_op_t          op_i,
  input  logic             swap_i,
  input  logic [3:0]       offset_i,
  input  logic [63:0]      expected_i,
  input  logic [DataW-1:0] data_i,
  output logic [63:0]      raw_o,
  output logic [63:0]      value_o,
  output logic             swapped_o
);

  assign raw_o     = 64'(data_i >> {swap_i ? 4'd0 : offset_i, 3'b0});
  assign swapped_o = op_i.size == 2'd2 ? raw_o[31:0] == expected_i[31:0] : raw_o == expected_i;

  always_comb begin
    unique case (op_i.size)
      2'd0:    value_o = {{56{raw_o[7]  && !op_i.zext}}, raw_o[7:0]};
      2'd1:    value_o = {{48{raw_o[15] && !op_i.zext}}, raw_o[15:0]};
      2'd2:    value_o = {{32{raw_o[31] && !op_i.zext}}, raw_o[31:0]};
      default: value_o = raw_o;
    endcase
    if (op_i.kind == MemSc) value_o = {63'b0, !swapped_o};
  end

  // The operation of an AMO went with the request.
  logic unused;
  assign unused = ^op_i.amo;

endmodule
