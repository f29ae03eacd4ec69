// Book-keeping of the bursts under way: a ring of slots that bursts enter in order (push), have
// their reads sent in order (read side), fill in any order (done) and leave in order: the write side
// takes one (wr_take_i), and says when the last byte has left (wr_end_i), in the same order.
//
// Rules: push only while !full_o; rd_pop_i only with rd_valid_o; wr_take_i only with wr_valid_o; each
//   wr_end_i follows its wr_take_i or comes with it.
// Drain: drain_done_o is low from the cycle after an Invalidate or Stop event until every translated
//   burst that was under way in the event's cycle has left.
module copy_slots
  import hmmu_pkg::*;
  import copy_pkg::*;
#(
  parameter int unsigned NumBursts = 8,             // a power of two, 2..256
  localparam int unsigned SlotW = $clog2(NumBursts)
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  mmu_ev_e          ev_i,
  output logic             drain_done_o,
  // Bursts in.
  input  logic             push_i,
  input  copy_slot_t       push_slot_i,
  output logic             full_o,
  // The oldest burst whose reads have not been sent; rd_skip_i: it needs none.
  output logic             rd_valid_o,
  output copy_slot_t       rd_slot_o,
  output logic [SlotW-1:0] rd_idx_o,
  input  logic             rd_pop_i,
  input  logic             rd_skip_i,
  // All data of a slot is there, or it failed.
  input  logic             link_done_i,
  input  logic             link_err_i,              // with any beat, also before done
  input  logic [SlotW-1:0] link_idx_i,
  input  logic             vram_done_i,
  input  logic             vram_err_i,
  input  logic [SlotW-1:0] vram_idx_i,
  // The oldest burst that the write side has not taken, when its data is there.
  output logic             wr_valid_o,
  output logic             wr_err_o,
  output copy_slot_t       wr_slot_o,
  output logic [SlotW-1:0] wr_idx_o,
  input  logic             wr_take_i,
  input  logic             wr_end_i
);

  copy_slot_t           slot_q [NumBursts];
  logic [SlotW-1:0]     push_q, read_q, take_q, tail_q;
  logic [SlotW:0]       held_q, unread_q;
  logic [NumBursts-1:0] done_q, err_q, xlat_q, drain_q;
  logic                 drop;

  assign drop         = ev_i == EvInvalidate || ev_i == EvStop;
  assign drain_done_o = drain_q == '0;
  assign full_o       = held_q == (SlotW + 1)'(NumBursts);
  assign rd_valid_o   = unread_q != '0;
  assign rd_slot_o    = slot_q[read_q];
  assign rd_idx_o     = read_q;
  assign wr_valid_o   = done_q[take_q];
  assign wr_err_o     = err_q[take_q];
  assign wr_slot_o    = slot_q[take_q];
  assign wr_idx_o     = take_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      push_q   <= '0;
      read_q   <= '0;
      take_q   <= '0;
      tail_q   <= '0;
      held_q   <= '0;
      unread_q <= '0;
      done_q   <= '0;
      err_q    <= '0;
      xlat_q   <= '0;
      drain_q  <= '0;
    end else begin
      if (push_i != wr_end_i)  held_q   <= push_i ? held_q + 1'b1 : held_q - 1'b1;
      if (push_i != rd_pop_i)  unread_q <= push_i ? unread_q + 1'b1 : unread_q - 1'b1;
      if (drop) drain_q <= xlat_q;
      if (rd_pop_i) begin
        read_q <= read_q + 1'b1;
        if (rd_skip_i) done_q[read_q] <= 1'b1;
      end
      if (link_done_i) done_q[link_idx_i] <= 1'b1;
      if (link_err_i)  err_q[link_idx_i]  <= 1'b1;
      if (vram_done_i) done_q[vram_idx_i] <= 1'b1;
      if (vram_err_i)  err_q[vram_idx_i]  <= 1'b1;
      if (wr_take_i) begin
        take_q         <= take_q + 1'b1;
        done_q[take_q] <= 1'b0;
        err_q[take_q]  <= 1'b0;
      end
      if (wr_end_i) begin
        tail_q          <= tail_q + 1'b1;
        xlat_q[tail_q]  <= 1'b0;
        drain_q[tail_q] <= 1'b0;
      end
      if (push_i) begin
        push_q         <= push_q + 1'b1;
        xlat_q[push_q] <= push_slot_i.xlat;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (push_i) slot_q[push_q] <= push_slot_i;
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(push_i && full_o)) else $error("copy_slots: push into a full ring");
      assert (!(push_i && push_slot_i.xlat && drop))
        else $error("copy_slots: burst from a translation dropped in this cycle");
      assert (!rd_pop_i || rd_valid_o) else $error("copy_slots: read side popped when empty");
      assert (!wr_take_i || wr_valid_o) else $error("copy_slots: burst taken before its data");
      assert (!wr_end_i || take_q != tail_q || wr_take_i || full_o) else $error("copy_slots: end of no burst");
      assert (!link_done_i || !done_q[link_idx_i]) else $error("copy_slots: data after the last");
    end
  end

endmodule
