// Reads the A and D bits of up to 512 table entries into bitmaps in memory, and clears the A bits if asked to.
//
// Promise: bits 0..count_i-1 of the result are those of the entries, as they were at some moment since
//   req_valid_i; A and D of an entry that is not a valid leaf, and bits beyond, are 0. An A bit that was cleared
//   is in the result; nothing but A is ever changed.
// Result: 64 bytes of A bits, 64 of D bits, then a HarvestEnd.
// Clearing: a compare-and-swap of each leaf that was read with A set. One that is lost is tried again with what is
//   there now, at most Tries times in all: beside walkers, which only ever set D of such an entry, the second one
//   wins. What still has A then keeps it, and is in the result too.
// Errors: after the first answer with err nothing more is begun; the result says MemoryError and holds what was
//   found. Who serves the memory reports the error itself.
// Throughput: with a memory that answers after L cycles and takes Swaps swaps at once, nobody else at it, n
//   entries of which s have A set: at most
//     20 + ceil(n / 128) * (L + 4) + n / 2 * max(1, (L + 1) / Reads) + s * (L + 3) / Swaps
//   cycles, and (L + 3) / Swaps more for each swap that is lost.
// Memory: at most Reads reads and Swaps swaps are outstanding; tags have bit 7 set.
// Handshake: the request stays until req_ready_o, high for one cycle once the last write of the result was accepted.
//
//   req_valid_i __/~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\__
//   mem_req       r0 r1 r2 ... swaps ... A0 D0  r64 ... End
//   req_ready_o _____________________________________/~\__
module harvest
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned Reads = 8,    // a power of two
  parameter int unsigned Swaps = 2,
  parameter int unsigned Tries = 4     // at most 4
) (
  input  logic       clk_i,
  input  logic       rst_ni,
  input  logic       req_valid_i,
  output logic       req_ready_o,
  input  pa_t        table_i,          // first entry, 64-byte aligned
  input  logic [9:0] count_i,          // a multiple of 8, 8 to 512
  input  logic       clear_i,
  input  pa_t        result_i,         // 64-byte aligned
  output logic       mem_req_valid_o,
  input  logic       mem_req_ready_i,
  output mem_req_t   mem_req_o,
  input  logic       mem_rsp_valid_i,  // of tags with bit 7 set
  input  mem_rsp_t   mem_rsp_i
);

  // The work is done in blocks of 128 entries: 64 beats, and a beat of each bitmap.
  localparam int unsigned BusyW = $clog2(Reads) + 1;
  localparam int unsigned SlotW = Swaps > 1 ? $clog2(Swaps) : 1;

  typedef enum logic [2:0] {
    HvIdle  = 3'd0,
    HvScan  = 3'd1,   // reads and swaps of a block
    HvPutA  = 3'd2,
    HvPutD  = 3'd3,
    HvPutEnd = 3'd4,
    HvDone  = 3'd5    // the last write waits to be accepted
  } hv_e;

  typedef enum logic [1:0] {
    SwIdle = 2'd0,
    SwWant = 2'd1,    // to be issued
    SwWait = 2'd2
  } sw_e;

  typedef struct packed {
    logic [5:0]       beat;
    logic [1:0]       young;  // which of its two entries are to be cleared
    logic [DataW-1:0] data;
  } found_t;

  hv_e              state_q;
  logic [1:0]       block_q;
  logic [6:0]       next_q;        // beats of the block that were asked for
  logic [BusyW-1:0] busy_q;        // of these, not yet dealt with
  logic [127:0]     a_q, d_q;
  logic             err_q;
  logic             half_q;        // the first entry of the oldest found beat has been dealt with

  sw_e              sw_q    [Swaps];
  logic [6:0]       entry_q [Swaps];   // number within the block
  pte_t             old_q   [Swaps];
  logic [1:0]       tries_q [Swaps];

  // verilator lint_off UNUSEDSIGNAL
  // The other fields mean nothing here.
  function automatic logic is_leaf(pte_t pte);
    return pte.v && (pte.r || pte.x) && (pte.r || !pte.w) && pte.revoked == '0 && pte.pbmt == '0;
  endfunction
  // verilator lint_on UNUSEDSIGNAL

  // ------------------------------------------------------------------ what is left of the block
  logic [9:0] left;
  logic [6:0] beats;

  always_comb begin
    left  = {1'b0, count_i[9:1]} - {2'd0, block_q, 6'd0};
    beats = '0;
    if ({2'd0, block_q, 6'd0} < {1'b0, count_i[9:1]}) beats = left > 10'd64 ? 7'd64 : left[6:0];
  end

  // ------------------------------------------------------------------ answers to reads
  logic       rd_rsp, sw_rsp, keep, f_valid, f_ready, f_room;
  logic [1:0] rsp_a, rsp_d;
  pte_t       rsp_lo, rsp_hi;
  found_t     found, head;
  logic [BusyW-1:0] f_count;

  assign rd_rsp = mem_rsp_valid_i && !mem_rsp_i.tag[6];
  assign sw_rsp = mem_rsp_valid_i && mem_rsp_i.tag[6];
  assign rsp_lo = pte_t'(mem_rsp_i.data[63:0]);
  assign rsp_hi = pte_t'(mem_rsp_i.data[127:64]);

  always_comb begin
    rsp_a = '0;
    rsp_d = '0;
    if (rd_rsp && !mem_rsp_i.err) begin
      rsp_a = {is_leaf(rsp_hi) && rsp_hi.a, is_leaf(rsp_lo) && rsp_lo.a};
      rsp_d = {is_leaf(rsp_hi) && rsp_hi.d, is_leaf(rsp_lo) && rsp_lo.d};
    end
  end

  assign keep  = clear_i && !err_q && rsp_a != '0;
  assign found = '{beat: mem_rsp_i.tag[5:0], young: rsp_a, data: mem_rsp_i.data};

  sync_fifo #(.Width($bits(found_t)), .Depth(Reads)) u_found (
    .clk_i, .rst_ni,
    .in_valid_i  (keep),
    .in_ready_o  (f_room),
    .in_i        (found),
    .out_valid_o (f_valid),
    .out_ready_i (f_ready),
    .out_o       (head),
    .count_o     (f_count)
  );

  // ------------------------------------------------------------------ swaps
  logic             free_any, want_any, begins, second, slots_idle;
  logic [SlotW-1:0] free_slot, want_slot, rsp_slot;
  logic             won, again;
  pte_t             now;

  always_comb begin
    free_any   = 1'b0;
    free_slot  = '0;
    want_any   = 1'b0;
    want_slot  = '0;
    slots_idle = 1'b1;
    for (int i = int'(Swaps) - 1; i >= 0; i--) begin
      if (sw_q[i] == SwIdle) begin
        free_any  = 1'b1;
        free_slot = SlotW'(i);
      end else begin
        slots_idle = 1'b0;
      end
      if (sw_q[i] == SwWant) begin
        want_any  = 1'b1;
        want_slot = SlotW'(i);
      end
    end
  end

  // One entry of the oldest found beat a cycle; after an error all of them are let go.
  assign second  = half_q || !head.young[0];
  assign begins  = f_valid && free_any && !err_q;
  assign f_ready = err_q || (begins && (second || !head.young[1]));

  assign rsp_slot = SlotW'(mem_rsp_i.tag[5:0]);
  assign now      = rsp_lo;
  assign won      = now == old_q[rsp_slot];
  assign again    = is_leaf(now) && now.a && 32'(tries_q[rsp_slot]) + 1 < Tries && !err_q;

  // ------------------------------------------------------------------ issue to memory
  logic     out_valid_q, out_free, want_read, put, issue_swap, issue_read;
  mem_req_t out_q, out_d;
  pte_t     cleared;

  assign out_free   = !out_valid_q || mem_req_ready_i;
  assign want_read  = state_q == HvScan && !err_q && next_q < beats && busy_q < BusyW'(Reads);
  assign put        = state_q == HvPutA || state_q == HvPutD || state_q == HvPutEnd;
  assign issue_swap = out_free && want_any && !err_q;
  assign issue_read = out_free && !want_any && want_read;

  assign mem_req_valid_o = out_valid_q;
  assign mem_req_o       = out_q;

  logic [7:0] put_at;   // in the result

  always_comb begin
    cleared = '0;
    put_at  = '0;
    out_d   = '0;
    if (issue_swap) begin
      cleared    = old_q[want_slot];
      cleared.a  = 1'b0;
      out_d.op   = MemCas;
      out_d.addr = table_i + PaW'({block_q, entry_q[want_slot], 3'd0});
      out_d.strb = entry_q[want_slot][0] ? 16'hff00 : 16'h00ff;
      out_d.data = {cleared, old_q[want_slot]};
      out_d.tag  = TagW'(want_slot) | TagW'('hc0);
    end else if (issue_read) begin
      out_d.op   = MemRead;
      out_d.addr = table_i + PaW'({block_q, next_q[5:0], 4'd0});
      out_d.tag  = {2'b10, next_q[5:0]};
    end else if (put) begin
      unique case (state_q)
        HvPutA:  put_at = {2'd0, block_q, 4'd0};
        HvPutD:  put_at = {2'd1, block_q, 4'd0};
        default: put_at = 8'h80;
      endcase
      out_d.op   = MemWrite;
      out_d.addr = result_i + PaW'(put_at);
      out_d.strb = '1;
      unique case (state_q)
        HvPutA:  out_d.data = a_q;
        HvPutD:  out_d.data = d_q;
        default: out_d.data = DataW'(err_q ? JobStatusMemoryError : JobStatusOk);
      endcase
    end
  end

  // ------------------------------------------------------------------ state
  assign req_ready_o = state_q == HvDone && !out_valid_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q     <= HvIdle;
      block_q     <= '0;
      next_q      <= '0;
      busy_q      <= '0;
      err_q       <= 1'b0;
      half_q      <= 1'b0;
      out_valid_q <= 1'b0;
    end else begin
      if (out_free) out_valid_q <= issue_swap || issue_read || put;
      busy_q <= busy_q + BusyW'(issue_read) - BusyW'(rd_rsp && !keep) - BusyW'(f_valid && f_ready);
      if (issue_read) next_q <= next_q + 7'd1;
      if (f_valid && f_ready) half_q <= 1'b0;
      else if (begins)        half_q <= 1'b1;
      if (mem_rsp_valid_i && mem_rsp_i.err) err_q <= 1'b1;
      unique case (state_q)
        HvIdle: if (req_valid_i) begin
          state_q <= HvScan;
          block_q <= '0;
          next_q  <= '0;
          err_q   <= 1'b0;
        end
        HvScan:   if ((next_q == beats || err_q) && busy_q == '0 && slots_idle) state_q <= HvPutA;
        HvPutA:   if (out_free) state_q <= HvPutD;
        HvPutD:   if (out_free) begin
          state_q <= block_q == 2'd3 ? HvPutEnd : HvScan;
          block_q <= block_q + 2'd1;
          next_q  <= '0;
        end
        HvPutEnd: if (out_free) state_q <= HvDone;
        default:  if (!out_valid_q) state_q <= HvIdle;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (out_free && (issue_swap || issue_read || put)) out_q <= out_d;
  end

  // The bitmaps of the block.
  always_ff @(posedge clk_i) begin
    if (state_q == HvIdle || (state_q == HvPutD && out_free)) begin
      a_q <= '0;
      d_q <= '0;
    end else begin
      if (rd_rsp && !mem_rsp_i.err) begin
        a_q[{mem_rsp_i.tag[5:0], 1'b0} +: 2] <= rsp_a;
        d_q[{mem_rsp_i.tag[5:0], 1'b0} +: 2] <= rsp_d;
      end
      if (sw_rsp && !mem_rsp_i.err && !won && is_leaf(now) && now.d) d_q[entry_q[rsp_slot]] <= 1'b1;
    end
  end

  // Swap slots.
  for (genvar g = 0; g < int'(Swaps); g++) begin : g_swap
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        sw_q[g] <= SwIdle;
      end else begin
        unique case (sw_q[g])
          SwIdle: if (begins && free_slot == SlotW'(g)) sw_q[g] <= SwWant;
          SwWant: if (err_q) sw_q[g] <= SwIdle;
                  else if (issue_swap && want_slot == SlotW'(g)) sw_q[g] <= SwWait;
          default: if (sw_rsp && rsp_slot == SlotW'(g)) begin
            sw_q[g] <= !mem_rsp_i.err && !won && again ? SwWant : SwIdle;
          end
        endcase
      end
    end

    always_ff @(posedge clk_i) begin
      if (sw_q[g] == SwIdle) begin
        entry_q[g] <= {head.beat, second};
        old_q[g]   <= pte_t'(second ? head.data[127:64] : head.data[63:0]);
        tries_q[g] <= '0;
      end else if (sw_rsp && rsp_slot == SlotW'(g)) begin
        old_q[g]   <= now;
        tries_q[g] <= tries_q[g] + 2'd1;
      end
    end
  end

  // ------------------------------------------------------------------ checks
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!keep || f_room) else $error("harvest: a beat without a place");
      assert (state_q == HvIdle || req_valid_i) else $error("harvest: request withdrawn");
      assert (busy_q <= BusyW'(Reads)) else $error("harvest: too many reads");
      assert (!mem_rsp_valid_i || (mem_rsp_i.tag[7] && state_q == HvScan))
        else $error("harvest: answer without request");
      assert (!sw_rsp || sw_q[rsp_slot] == SwWait) else $error("harvest: answer to no swap");
    end
  end

  // A beat's address is aligned, its number is even.
  logic unused;
  assign unused = ^{f_count, count_i[0], left[9:7]};

endmodule
