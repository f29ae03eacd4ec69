// Age and place of a unit's accesses: which hit has to wait for older accesses of its warp, and which
// failure is the oldest one. Holds the physical pages.
//
// Enter: an access is younger than all of its warp that are here (here_i) but for one whose result is
// taken in this cycle. taken_i forgets an access. Only loads have anything younger behind them.
// Hit (look_*): clash_o in the same cycle if an older access of the warp that is not over yet (live_i)
// has a byte in common, in physical memory. One whose page is not known yet (untranslated_i) clashes if the
// offsets in the page overlap.
// Failures (fail_i): trap_o names one that has nothing older before it, if there is any; not of a
// warp of dead_i.
// Rank (rank_i): rank_o names the accesses rank_here_i of a warp by age, oldest first.
module cu_lsu_order
  import hmmu_pkg::*;
  import cu_pkg::*;
#(
  parameter int unsigned Warps = 16
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,

  input  logic                      enter_i,
  input  acc_t                      enter_acc_i,
  input  logic [11:0]               enter_offset_i,    // in the page
  input  logic [1:0]                enter_size_i,      // log2 of the bytes
  input  slots_t                    here_i,
  input  logic                      taken_i,
  input  acc_t                      taken_acc_i,

  input  logic                      look_hit_i,
  input  acc_t                      look_acc_i,
  input  ppn_t                      look_ppn_i,
  input  slots_t                    live_i,            // of the warp of look_acc_i
  input  slots_t                    untranslated_i,
  output logic                      clash_o,

  input  acc_t                      ppn_acc_i,
  output ppn_t                      ppn_o,

  input  logic [Warps*WarpAccs-1:0] fail_i,
  input  logic [Warps-1:0]          dead_i,
  output logic [Warps-1:0]          due_o,             // warps of which one is to be named
  output logic                      trap_o,
  output acc_t                      trap_acc_o,

  input  logic                      rank_i,
  input  warp_t                     rank_warp_i,
  input  slots_t                    rank_here_i,
  output logic [WarpAccs-1:0][AccW-1:0] rank_o
);

  localparam int unsigned Accs = Warps * WarpAccs;

  // The bytes of an access: 8-byte word in the page, and which of its bytes.
  typedef struct packed {
    logic [8:0] word;
    logic [7:0] bytes;
  } span_t;

  function automatic logic [7:0] bytes_of(logic [1:0] size, logic [2:0] offset);
    unique case (size)
      2'd0:    return 8'h01 << offset;
      2'd1:    return 8'h03 << offset;
      2'd2:    return 8'h0f << offset;
      default: return 8'hff;
    endcase
  endfunction

  span_t place_mem [Accs];
  ppn_t   ppn_mem   [Accs];
  slots_t older_q [Accs];     // of its warp: those that were here before it

  assign ppn_o = ppn_mem[ppn_acc_i];

  // ---------------------------------------------------------------- hits
  span_t mine;
  slots_t earlier;

  always_comb begin
    clash_o = 1'b0;
    mine    = '0;
    earlier  = '0;
    if (look_hit_i && live_i != '0) begin
      mine   = place_mem[look_acc_i];
      earlier = older_q[look_acc_i] & live_i;
      for (int unsigned s = 0; s < WarpAccs; s++) begin
        automatic acc_t   other = '{warp: look_acc_i.warp, slot: AccW'(s)};
        automatic span_t place = place_mem[other];
        if (earlier[s] && place.word == mine.word && (place.bytes & mine.bytes) != '0
            && (untranslated_i[s] || ppn_mem[other] == look_ppn_i)) begin
          clash_o = 1'b1;
        end
      end
    end
  end

  // ---------------------------------------------------------------- failures
  always_comb begin
    trap_o     = 1'b0;
    due_o      = '0;
    trap_acc_o = '0;
    if (fail_i != '0) begin
      for (int unsigned w = 0; w < Warps; w++) begin
        for (int unsigned s = 0; s < WarpAccs; s++) begin
          if (fail_i[w*WarpAccs+s] && !dead_i[w] && older_q[w*WarpAccs+s] == '0) begin
            trap_o     = 1'b1;
            due_o[w]   = 1'b1;
            trap_acc_o = '{warp: warp_t'(w), slot: AccW'(s)};
          end
        end
      end
    end
  end

  // ---------------------------------------------------------------- age
  always_comb begin
    rank_o = '0;
    if (rank_i) begin
      for (int unsigned s = 0; s < WarpAccs; s++) begin
        automatic acc_t   acc   = '{warp: rank_warp_i, slot: AccW'(s)};
        automatic slots_t older = older_q[acc] & rank_here_i;
        if (rank_here_i[s]) rank_o[AccW'($countones(older))] = AccW'(s);
      end
    end
  end

  // ---------------------------------------------------------------- state
  slots_t taken_here;
  assign taken_here = taken_i && taken_acc_i.warp == enter_acc_i.warp
                    ? slots_t'(1) << taken_acc_i.slot : '0;

  always_ff @(posedge clk_i) begin
    if (taken_i) begin
      for (int unsigned s = 0; s < WarpAccs; s++) begin
        automatic acc_t other = '{warp: taken_acc_i.warp, slot: AccW'(s)};
        older_q[other] <= older_q[other] & ~(slots_t'(1) << taken_acc_i.slot);
      end
    end
    if (enter_i) begin
      older_q[enter_acc_i]   <= here_i & ~taken_here;
      place_mem[enter_acc_i] <= '{word:  enter_offset_i[11:3],
                                  bytes: bytes_of(enter_size_i, enter_offset_i[2:0])};
    end
    if (look_hit_i) ppn_mem[look_acc_i] <= look_ppn_i;
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(enter_i && here_i[enter_acc_i.slot])) else $error("an access takes another one's place");
    end
  end

endmodule
