// Reads the state of a held warp out of a compute unit, beat by beat of its ThreadSave and ThreadRegs.
//
// rd_valid_i/rd_ready_o: a beat is taken in a cycle in which no instruction reads its registers
// (reads_i low); data_o is there in the cycle after. A beat that has waited for some cycles holds an
// issue back (hold_o), so that it waits 12 cycles at most.
// Beats 0 to 3 are put together here, 4 to 19 are register pairs (reg_o, rs1_i and rs2_i).
module cu_save
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import cu_pkg::*;
(
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         rd_valid_i,
  output logic         rd_ready_o,
  input  logic [4:0]   beat_i,
  output logic [127:0] data_o,
  input  logic         reads_i,
  output logic         hold_o,

  output logic [3:0]   pair_o,          // registers 2 * pair_o and the next one
  input  logic [63:0]  rs1_i,
  input  logic [63:0]  rs2_i,

  input  logic [31:0]  index_i,
  input  place_t       place_i,
  input  logic [63:0]  pc_i,
  input  logic         ended_i,
  input  logic [7:0]   status_i,
  input  logic [63:0]  instret_i,
  input  lsu_snap_t    snap_i           // accesses: those of the half beat_i[0]
);

  thread_save_t head;
  logic [127:0] state_q;
  logic         regs_q;
  logic [3:0]   wait_q;

  assign rd_ready_o = rd_valid_i && !reads_i;
  assign hold_o     = wait_q == 4'd8;
  assign pair_o     = 4'(beat_i - 5'd4);
  assign data_o     = regs_q ? {rs2_i, rs1_i} : state_q;

  always_comb begin
    head = '0;
    if (rd_ready_o) begin
      head.index    = index_i;
      head.place    = 8'(place_i);
      head.ended    = ended_i;
      head.accesses = snap_i.count;
      head.failed   = snap_i.failed;
      head.status   = ended_i ? status_i : '0;
      head.code     = snap_i.failed != '0 ? snap_i.code : '0;
      head.pc       = pc_i;
      head.instret  = instret_i;
      head.operand  = snap_i.operand;
      head.access0  = snap_i.first;
      head.access1  = snap_i.second;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni)                          wait_q <= '0;
    else if (rd_valid_i && !rd_ready_o) wait_q <= wait_q + 4'd1;
    else if (wait_q != '0)                wait_q <= '0;
  end

  always_ff @(posedge clk_i) begin
    if (rd_ready_o) begin
      regs_q <= beat_i >= 5'd4;
      unique case (beat_i[1:0])
        2'd0:    state_q <= head[127:0];
        2'd1:    state_q <= head[255:128];
        default: state_q <= head[383:256];
      endcase
    end
    if (rst_ni) begin
      assert (wait_q <= 4'd12) else $error("cu_save: a beat waits too long");
    end
  end

  logic unused;
  assign unused = ^head[511:384];

endmodule
