// The memory request of an access: read, write, swap or AMO. Combinational.
//
// A store's bytes go to their lanes. Device memory does AMOs itself; one on system memory is a read
// first, then (swap_i) a swap of old_i for what its operation makes of it. SC is a swap of old_i for
// its data.
module cu_lsu_req
  import hmmu_pkg::*;
  import cu_pkg::*;
(
  input  mem_op_t         op_i,
  input  pa_t             addr_i,
  input  logic [TagW-1:0] tag_i,
  input  logic            swap_i,
  input  logic [63:0]     data_i,
  input  logic [63:0]     old_i,
  output mem_req_t        req_o
);

  logic         word;
  logic [63:0]  amo_new, swap_new;
  logic [127:0] store_data;
  logic [7:0]   lanes;

  assign word     = op_i.size == 2'd2;
  assign swap_new = op_i.kind == MemSc ? data_i : amo_new;

  cu_amo u_amo (
    .op_i      (op_i.amo),
    .word_i    (word),
    .old_i     (old_i),
    .operand_i (data_i),
    .new_o     (amo_new)
  );

  always_comb begin
    unique case (op_i.size)
      2'd0:    begin store_data = {16{data_i[7:0]}};  lanes = 8'h01; end
      2'd1:    begin store_data = {8{data_i[15:0]}};  lanes = 8'h03; end
      2'd2:    begin store_data = {4{data_i[31:0]}};  lanes = 8'h0f; end
      default: begin store_data = {2{data_i}};        lanes = 8'hff; end
    endcase
    req_o = '{op: MemRead, cas32: 1'b0, addr: addr_i, strb: '0, data: '0, tag: tag_i};
    if (swap_i || op_i.kind == MemSc) begin
      req_o.op    = MemCas;
      req_o.cas32 = word;
      req_o.data  = word ? {32'b0, swap_new[31:0], 32'b0, old_i[31:0]} : {swap_new, old_i};
    end else if (op_i.kind == MemAmo && addr_i[PaW-1]) begin
      req_o.op    = MemRmw;
      req_o.cas32 = word;
      req_o.strb  = StrbW'(op_i.amo);
      req_o.data  = {64'b0, data_i};
    end else if (op_i.kind == MemStore) begin
      req_o.op   = MemWrite;
      req_o.strb = StrbW'({8'b0, lanes} << addr_i[3:0]);
      req_o.data = store_data;
    end
  end

  // Loads: how they extend their value does not matter to the memory.
  logic unused;
  assign unused = op_i.zext;

endmodule
