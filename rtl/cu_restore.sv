// Puts the words of a saved thread into the parts of a compute unit. Combinational but for what it keeps.
//
// loading_i is high from the cycle after the unit has taken the thread until load_done_o. Words come
// (load_*) registers first, from word 8 on, then words 0 to 7, and each goes on its way when it is
// taken: to the register file by wb_*, to the count of instructions, or, for an access, to
// the memory unit by inj_*, oldest first. load_done_o comes with the last word, with what becomes of
// the warp: it waits for its last access (blocked_o), it has ended (ended_o, status_o), or it is ready.
module cu_restore
  import hmmu_regs_pkg::*;
  import cu_pkg::*;
(
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        loading_i,
  input  warp_t       warp_i,

  input  logic        load_valid_i,
  output logic        load_ready_o,
  input  logic        load_ok_i,        // the count of instructions can be written
  input  logic [5:0]  load_word_i,
  input  logic [63:0] load_data_i,
  output logic        load_done_o,
  output logic        blocked_o,
  output logic        ended_o,
  output logic [7:0]  status_o,

  output logic        wb_valid_o,
  input  logic        wb_ready_i,
  output wb_t         wb_o,
  output logic        instret_o,        // load_data_i is the count of instructions
  output logic        inj_valid_o,
  input  logic        inj_ready_i,
  output lsu_req_t    inj_o
);

  localparam int unsigned FlagLsb  = 40;        // word 0 of ThreadSave, from `ended` on
  localparam int unsigned FlagW    = 24;

  logic [FlagW-1:0] flags_q;
  logic [63:0]      operand_q;
  logic             blocked_q;
  logic             here, is_reg, is_access;
  logic [2:0]       accesses;
  logic [3:0]       failed;
  access_save_t     access;

  assign {failed, accesses, ended_o} = flags_q[7:0];
  assign status_o                    = flags_q[15:8];

  assign here      = loading_i && load_valid_i;
  assign is_reg    = load_word_i >= 6'd8;
  assign is_access = load_word_i[5:2] == 4'd1 && {1'b0, load_word_i[1:0]} < accesses;
  assign access    = load_data_i;

  assign wb_valid_o  = here && is_reg && load_word_i != 6'd8;
  assign wb_o        = '{warp: warp_i, slot: '0, posted: 1'b0, rd: 5'(load_word_i - 6'd8), rd_we: 1'b1,
                         data: load_data_i};
  assign instret_o   = here && load_word_i == 6'd2;
  assign inj_valid_o = here && is_access;

  always_comb begin
    inj_o         = '0;
    inj_o.warp    = warp_i;
    inj_o.op.kind = mem_kind_e'(access.kind);
    inj_o.op.amo  = amo_e'(access.amo);
    inj_o.op.size = access.size;
    inj_o.op.zext = access.zext;
    inj_o.rd      = access.rd;
    inj_o.rd_we   = access.rd != '0;
    inj_o.va      = {{16{access.va[47]}}, access.va};
    inj_o.data    = operand_q;
    inj_o.failed  = failed[load_word_i[1:0]];
    inj_o.code    = flags_q[23:16];
  end

  assign load_ready_o = loading_i && load_ok_i && (!wb_valid_o || wb_ready_i) && (!inj_valid_o || inj_ready_i);
  assign load_done_o  = here && load_ready_o && load_word_i == 6'd7;
  assign blocked_o    = blocked_q || (inj_valid_o && inj_o.op.kind != MemLoad);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      flags_q   <= '0;
      blocked_q <= 1'b0;
    end else if (here) begin
      if (load_word_i == 6'd0) begin
        flags_q   <= load_data_i[FlagLsb+:FlagW];
        blocked_q <= 1'b0;
      end
      if (inj_valid_o && inj_ready_i && inj_o.op.kind != MemLoad) blocked_q <= 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (here && load_word_i == 6'd3) operand_q <= load_data_i;
  end

endmodule
