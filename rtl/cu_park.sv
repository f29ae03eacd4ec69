// Waits of a unit's warps for their translations: who is parked in which slot of the L1 TLB, who
// found no slot, and who has to look up again.
//
// A lookup's answer comes with the warp it was for (look_*). From a Miss on the warp waits for the
// wake of its slot, which may come with the answer; from a Full on it waits for any wake, or for up
// to 16 cycles. Then again_o pulses for it, or, when the wake brings an error, trap_o.
// Drop: a warp of drop_i that waits here is forgotten at once, without again_o and trap_o;
// parked_o & drop_i tells which. A late wake finds nobody.
//
//   look      miss 3
//   parked_o         ~~~~~~~~~~~~~\__
//   wake_i                    3
//   again_o                   ^
module cu_park
  import hmmu_pkg::*;
  import cu_pkg::*;
#(
  parameter int unsigned Warps = 16,
  parameter int unsigned Slots = 8
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     look_valid_i,
  input  lookup_e                  look_status_i,
  input  logic [$clog2(Slots)-1:0] look_slot_i,
  input  warp_t                    look_warp_i,
  input  logic [Slots-1:0]         wake_i,
  input  logic                     wake_err_i,
  input  logic [Warps-1:0]         drop_i,
  output logic [Warps-1:0]         parked_o,
  output logic [Warps-1:0]         again_o,
  output logic [Warps-1:0]         trap_o
);

  typedef logic [Warps-1:0] warps_t;

  warps_t                   parked_q;    // waits in a slot
  warps_t                   full_q;      // found no free slot
  logic [$clog2(Slots)-1:0] slot_q [Warps];
  logic [3:0]               timer_q;

  warps_t look, missed, full, woken, retry, dropped;
  assign look   = warps_t'(1) << look_warp_i;
  assign missed = look_valid_i && look_status_i == LkpMiss ? look : '0;
  assign full   = look_valid_i && look_status_i == LkpFull ? look : '0;

  always_comb begin
    woken = '0;
    if (wake_i != '0) begin
      for (int unsigned w = 0; w < Warps; w++) woken[w] = parked_q[w] && wake_i[slot_q[w]];
      if (wake_i[look_slot_i]) woken |= missed;
    end
  end

  assign retry    = wake_i != '0 || timer_q == '0 ? full_q : '0;
  assign parked_o = parked_q | full_q;
  assign dropped  = drop_i & parked_o;
  assign again_o  = ((wake_err_i ? '0 : woken) | retry) & ~dropped;
  assign trap_o   = wake_err_i ? woken & ~dropped : '0;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      parked_q <= '0;
      full_q   <= '0;
      timer_q  <= '0;
    end else begin
      timer_q  <= timer_q + 4'd1;
      parked_q <= (parked_q | missed) & ~woken & ~dropped;
      full_q   <= (full_q & ~retry & ~dropped) | full;
    end
  end

  always_ff @(posedge clk_i) begin
    if (missed != '0) slot_q[look_warp_i] <= look_slot_i;
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!look_valid_i || !parked_o[look_warp_i]) else $error("a warp that waits looks up");
    end
  end

endmodule
