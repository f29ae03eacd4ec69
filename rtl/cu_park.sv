// Waits of a unit's accesses for their translations: who is parked in which slot of the L1 TLB, who
// found no slot, and who has to look up again.
//
// A lookup's answer comes with the access it was for (look_*). From a Miss on the access waits for the
// wake of its slot, which may come with the answer. From a Full on it waits for a wake, or up to 16
// cycles; then those that wait like it look up again, one after the other, until one is Full. They
// give way (quiet_i low) to those that were woken, whose translation another one's may push out.
// woken_o pulses for who was woken and retry_o for who tries again; with an error, trap_o instead.
// Drop: an access of drop_i that waits here is forgotten at once, without a pulse;
// parked_o & drop_i tells which. A late wake finds nobody.
//
//   look      miss 3
//   parked_o         ~~~~~~~~~~~~~\__
//   wake_i                    3
//   woken_o                   ^
module cu_park
  import hmmu_pkg::*;
#(
  parameter int unsigned Ids   = 16,
  parameter int unsigned Slots = 8
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     look_valid_i,
  input  lookup_e                  look_status_i,
  input  logic [$clog2(Slots)-1:0] look_slot_i,
  input  logic [$clog2(Ids)-1:0]   look_id_i,
  input  logic [Slots-1:0]         wake_i,
  input  logic                     wake_err_i,
  input  logic [Ids-1:0]           drop_i,
  input  logic                     quiet_i,       // nobody waits for a lookup
  output logic [Ids-1:0]           parked_o,
  output logic [Ids-1:0]           woken_o,
  output logic [Ids-1:0]           retry_o,
  output logic [Ids-1:0]           trap_o
);

  typedef logic [Ids-1:0] ids_t;

  ids_t                     parked_q;    // waits in a slot
  ids_t                     full_q;      // found no free slot
  ids_t                     last_q;      // which of these looked up last
  logic                     drain_q;     // they look up again
  logic [$clog2(Slots)-1:0] slot_q [Ids];
  logic [3:0]               timer_q;

  ids_t look, missed, full, woken, behind, retry, dropped;
  logic any_wake;
  assign look     = ids_t'(1) << look_id_i;
  assign missed   = look_valid_i && look_status_i == LkpMiss ? look : '0;
  assign full     = look_valid_i && look_status_i == LkpFull ? look : '0;
  assign any_wake = wake_i != '0;

  always_comb begin
    woken = '0;
    if (any_wake) begin
      for (int unsigned i = 0; i < Ids; i++) woken[i] = parked_q[i] && wake_i[slot_q[i]];
      if (wake_i[look_slot_i]) woken |= missed;
    end
  end

  always_comb begin
    behind = '0;
    retry  = '0;
    if (drain_q && quiet_i && full_q != '0) begin
      behind = full_q & ~(last_q | (last_q - ids_t'(1)));
      retry  = behind != '0 ? behind & (~behind + ids_t'(1)) : full_q & (~full_q + ids_t'(1));
    end
  end

  assign parked_o = parked_q | full_q;
  assign dropped  = drop_i & parked_o;
  assign woken_o  = wake_err_i ? '0 : woken & ~dropped;
  assign retry_o  = retry & ~dropped;
  assign trap_o   = wake_err_i ? woken & ~dropped : '0;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      parked_q <= '0;
      full_q   <= '0;
      last_q   <= ids_t'(1);
      drain_q  <= 1'b0;
      timer_q  <= '0;
    end else begin
      timer_q  <= timer_q + 4'd1;
      parked_q <= (parked_q | missed) & ~woken & ~dropped;
      full_q   <= (full_q & ~retry & ~dropped) | full;
      if (retry != '0) last_q <= retry;
      if (any_wake || timer_q == '0)         drain_q <= 1'b1;
      else if (full != '0 || full_q == '0) drain_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (missed != '0) slot_q[look_id_i] <= look_slot_i;
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!look_valid_i || (parked_o & look) == '0) else $error("an access that waits looks up");
    end
  end

endmodule
