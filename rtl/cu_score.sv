// Scoreboard of the compute unit: which registers wait for loads, and who waits for them.
//
// An instruction asks in S2 (look_*: the registers that it reads and writes); in S3 hazard_o tells
// whether one of them was not in, so that what S2 read is void, and regs_in_o whether all are in now.
// A load is entered in S3 (load_*). Its result clears its register (done_*) in the cycle in which it
// is written. Results are seen in the cycle in which they come: active_now_o and full_now_o are
// active_i and full_i of the warp in S3 with that.
//
// Stall: stall_i in S3 puts its warp down for what it waits for: registers, all its accesses
// (stall_all_i), or any result (neither). wake_o names a warp whose result has come and ended its wait; it
// counts for warps that wait, from the cycle after stall_i.
// Compact: a cycle lies between S2 and S3. Results of the cycle are not seen in it: done_now_o tells that there is one for
// the warp in S3, which then is not put down but tries again.
module cu_score
  import cu_pkg::*;
#(
  parameter int unsigned Warps   = 16,
  parameter bit          Compact = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             start_i,          // a new thread: nothing waits
  input  warp_t            start_warp_i,

  input  logic             look_valid_i,     // S2
  input  warp_t            look_warp_i,
  input  logic [4:0]       rs1_i,
  input  logic [4:0]       rs2_i,
  input  logic [4:0]       rd_i,
  input  logic             rd_we_i,

  input  warp_t            warp_i,           // S3
  input  logic [Warps-1:0] active_i,
  input  logic [Warps-1:0] full_i,
  output logic             hazard_o,
  output logic             regs_in_o,
  output logic             active_now_o,
  output logic             full_now_o,
  output logic             done_now_o,       // Compact
  input  logic             load_i,
  input  logic [4:0]       load_rd_i,
  input  logic             load_rd_we_i,
  input  logic             stall_i,
  input  logic             stall_regs_i,
  input  logic             stall_all_i,

  input  logic             inj_i,            // a load of a saved thread
  input  warp_t            inj_warp_i,
  input  logic [4:0]       inj_rd_i,
  input  logic             inj_rd_we_i,

  input  logic             done_i,           // a load's result
  input  warp_t            done_warp_i,
  input  logic [4:0]       done_rd_i,
  input  logic             done_rd_we_i,
  input  logic             done_last_i,      // the warp has no other access
  output logic [Warps-1:0] wake_o
);

  function automatic logic [31:0] bit_of(logic valid, logic [4:0] register);
    return valid ? 32'd1 << register : '0;
  endfunction

  logic [31:0] pending_q [Warps];
  logic [31:0] mask_q    [Warps];      // registers that a stalled warp waits for
  logic        all_q     [Warps];

  // ---------------------------------------------------------------- S2
  logic [31:0] need, need_q, need_s3;
  logic        hazard_q, hazard_s3;
  assign need = bit_of(1'b1, rs1_i) | bit_of(1'b1, rs2_i) | bit_of(rd_we_i, rd_i);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni)           hazard_q <= 1'b0;
    else if (look_valid_i) hazard_q <= (pending_q[look_warp_i] & need) != '0;
  end

  always_ff @(posedge clk_i) begin
    if (look_valid_i) need_q <= need;
  end

  late #(.On(Compact), .T(logic [31:0])) u_read (
    .clk_i, .rst_ni, .valid_i(hazard_q), .data_i(need_q), .valid_o(hazard_s3), .data_o(need_s3)
  );

  // ---------------------------------------------------------------- S3
  logic        done_here;
  logic [31:0] done_bit, left, done_left;
  assign done_here    = done_i && done_warp_i == warp_i;
  assign done_bit     = bit_of(done_i && done_rd_we_i, done_rd_i);
  assign left         = pending_q[warp_i] & ~(done_here ? done_bit : '0);
  assign done_left    = pending_q[done_warp_i] & ~done_bit;
  assign hazard_o     = hazard_s3;
  assign regs_in_o    = ((Compact ? pending_q[warp_i] : left) & need_s3) == '0;
  assign active_now_o = active_i[warp_i] && (Compact || !(done_here && done_last_i));
  assign full_now_o   = full_i[warp_i] && (Compact || !done_here);
  assign done_now_o   = Compact && done_here;

  always_comb begin
    wake_o = '0;
    if (done_i && (done_left & mask_q[done_warp_i]) == '0 && (done_last_i || !all_q[done_warp_i])) begin
      wake_o[done_warp_i] = 1'b1;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      for (int unsigned w = 0; w < Warps; w++) pending_q[w] <= '0;
    end else begin
      if (done_i)  pending_q[done_warp_i]  <= done_left;
      if (load_i)  pending_q[warp_i]       <= left | bit_of(load_rd_we_i, load_rd_i);
      // The warp of a saved thread is not in S3.
      if (inj_i) begin
        pending_q[inj_warp_i] <= (done_i && done_warp_i == inj_warp_i ? done_left : pending_q[inj_warp_i])
                               | bit_of(inj_rd_we_i, inj_rd_i);
      end
      if (start_i) pending_q[start_warp_i] <= '0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (stall_i) begin
      mask_q[warp_i] <= stall_regs_i ? need_s3 : '0;
      all_q[warp_i]  <= stall_all_i;
    end
  end

endmodule
