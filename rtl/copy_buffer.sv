// Data of the bursts under way, in 16-byte beats: two simple dual-port memories with byte lanes, one
// for the even beats of each burst and one for the odd ones, so that two neighbours are read at once.
//
// Promise: even_o and odd_o hold the beats asked for from the cycle after ren_i until the next ren_i; a
//   beat written in the same cycle as it is read comes out old.
module copy_buffer
  import hmmu_pkg::*;
#(
  parameter int unsigned SlotW = 3
) (
  input  logic             clk_i,
  input  logic             we_i,
  input  logic [StrbW-1:0] strb_i,
  input  logic [SlotW-1:0] wslot_i,
  input  logic [4:0]       wbeat_i,
  input  logic [DataW-1:0] wdata_i,
  input  logic             ren_i,
  input  logic [SlotW-1:0] rslot_i,
  input  logic [3:0]       reven_i,    // half the number of the even beat
  input  logic [3:0]       rodd_i,     // half the number, rounded down, of the odd one
  output logic [DataW-1:0] even_o,
  output logic [DataW-1:0] odd_o
);

  // Few bursts make a shallow memory, which would take logic instead of a block RAM.
  (* ram_style = "block" *) logic [DataW-1:0] even_q [1 << (SlotW + 4)];
  (* ram_style = "block" *) logic [DataW-1:0] odd_q  [1 << (SlotW + 4)];

  always_ff @(posedge clk_i) begin
    if (we_i && !wbeat_i[0]) begin
      for (int unsigned l = 0; l < StrbW; l++) begin
        if (strb_i[l]) even_q[{wslot_i, wbeat_i[4:1]}][8*l +: 8] <= wdata_i[8*l +: 8];
      end
    end
    if (ren_i) even_o <= even_q[{rslot_i, reven_i}];
  end

  always_ff @(posedge clk_i) begin
    if (we_i && wbeat_i[0]) begin
      for (int unsigned l = 0; l < StrbW; l++) begin
        if (strb_i[l]) odd_q[{wslot_i, wbeat_i[4:1]}][8*l +: 8] <= wdata_i[8*l +: 8];
      end
    end
    if (ren_i) odd_o <= odd_q[{rslot_i, rodd_i}];
  end

endmodule
