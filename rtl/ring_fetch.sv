// Reads the entries of one host-to-device ring, in order, ahead of their use.
//
// Promise: entries come out once each, in ring order, and stay stable on entry_o until taken.
//   cons_o counts the entries taken (entry_valid_o && entry_ready_i) since the ring's last reset:
//   a unit that pops an entry when its work is done makes cons_o "entries completed".
// Throughput: one entry per round trip of the memory port (4 reads of 16 bytes, all in flight
//   together); up to Depth entries are held, so that the next one arrives while one is worked on.
// Ends: an entry that cannot be read pulses err_o (err_addr_o: its address) and stops the ring; the
//   entries before it are still offered. The owner stops the ring by a pulse on stop_i (a bad entry;
//   do not pop it in the same cycle, so that cons_o keeps pointing at it): nothing more is offered,
//   and err_addr_o names that entry from the next cycle on (err_o stays low).
//   A stopped ring fetches nothing until ring_i.reset.
// Reset: ring_i.reset restarts both indices at 0. An entry on offer at that moment is still handed
//   over, uncounted; entries behind it are dropped.
// A ring with size_log2 0 is off. enable_i low stops the fetch of further entries only.
//
//   entry_valid_o ___/~~~~~~~~~~~\___      taken in the cycle where both are high
//   entry_ready_i __________/~~~~\___
module ring_fetch
  import hmmu_pkg::*;
#(
  parameter int unsigned Depth = 2   // entries held, a power of two
) (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         enable_i,
  input  ring_cfg_t    ring_i,
  output logic [31:0]  cons_o,
  output logic         entry_valid_o,
  input  logic         entry_ready_i,
  output logic [511:0] entry_o,
  input  logic         stop_i,
  output logic         stopped_o,
  output logic         idle_o,
  output logic         err_o,
  output pa_t          err_addr_o,
  // Reads only; tags 0..3 name the beat of the entry.
  output logic         mem_req_valid_o,
  input  logic         mem_req_ready_i,
  output mem_req_t     mem_req_o,
  input  logic         mem_rsp_valid_i,
  input  mem_rsp_t     mem_rsp_i
);

  localparam int unsigned CountW = $clog2(Depth) + 1;
  localparam int unsigned PtrW   = Depth > 1 ? $clog2(Depth) : 1;

  typedef enum logic [1:0] {
    FetchIdle = 2'd0,
    FetchReq  = 2'd1,   // the four reads go out
    FetchWait = 2'd2    // some of them have not come back
  } fetch_e;

  fetch_e                        state_q;
  logic [31:0]                   cons_q, fetch_q;     // entries taken, entries fetched
  logic [1:0]                    beat_q;              // next read
  logic [2:0]                    left_q;              // responses still to come
  logic                          err_q;               // a response of this entry was bad
  logic                          drop_q;              // the ring was reset or stopped meanwhile
  pa_t                           addr_q;              // of the entry under way
  logic                          stopped_q;
  logic                          uncounted_q;         // the entry on offer precedes the reset
  logic [PtrW-1:0]               rd_q, wr_q;
  logic [CountW-1:0]             held_q;

  logic        want, pop, done, push;

  function automatic pa_t entry_address(logic [31:0] index);
    logic [31:0] mask = (32'd1 << ring_i.size_log2) - 32'd1;
    return {ring_i.base[PaW-1:6], 6'd0} + {18'd0, index & mask, 6'd0};
  endfunction

  // The place after one, or the same place.
  function automatic logic [PtrW-1:0] next(logic [PtrW-1:0] ptr, logic step);
    return Depth > 1 ? ptr + PtrW'(step) : '0;
  endfunction

  assign want = enable_i && !stopped_q && ring_i.size_log2 != '0 && ring_i.index != fetch_q;
  assign pop  = entry_valid_o && entry_ready_i;
  // The last response of the entry under way.
  assign done = state_q == FetchWait && mem_rsp_valid_i && left_q == 3'd1;
  assign push = done && !drop_q && !err_q && !mem_rsp_i.err && !ring_i.reset && !stop_i;

  assign entry_valid_o = held_q != '0;
  assign cons_o        = cons_q;
  assign stopped_o     = stopped_q;
  assign idle_o        = held_q == '0 && state_q == FetchIdle && !want;

  assign mem_req_valid_o = state_q == FetchReq;
  assign mem_req_o = '{op: MemRead, cas32: 1'b0, addr: {addr_q[PaW-1:6], beat_q, 4'd0},
                       strb: '0, data: '0, tag: TagW'(beat_q)};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q     <= FetchIdle;
      cons_q      <= '0;
      fetch_q     <= '0;
      beat_q      <= '0;
      left_q      <= '0;
      err_q       <= 1'b0;
      drop_q      <= 1'b0;
      addr_q      <= '0;
      stopped_q   <= 1'b0;
      uncounted_q <= 1'b0;
      rd_q        <= '0;
      wr_q        <= '0;
      held_q      <= '0;
      err_o       <= 1'b0;
      err_addr_o  <= '0;
    end else begin
      err_o <= 1'b0;

      unique case (state_q)
        FetchIdle: if (want && !ring_i.reset && !stop_i && held_q < CountW'(Depth)) begin
          state_q <= FetchReq;
          addr_q  <= entry_address(fetch_q);
          beat_q  <= '0;
          left_q  <= 3'd4;
          err_q   <= 1'b0;
          drop_q  <= 1'b0;
        end
        FetchReq: if (mem_req_ready_i) begin
          beat_q <= beat_q + 2'd1;
          if (beat_q == 2'd3) state_q <= FetchWait;
        end
        default: if (done) state_q <= FetchIdle;
      endcase

      if (mem_rsp_valid_i) begin
        left_q <= left_q - 3'd1;
        err_q  <= err_q || mem_rsp_i.err;
      end
      if (done && !drop_q && (err_q || mem_rsp_i.err)) begin
        err_o      <= 1'b1;
        err_addr_o <= addr_q;
        stopped_q  <= 1'b1;
      end

      if (pop) begin
        rd_q        <= next(rd_q, 1'b1);
        uncounted_q <= 1'b0;
        if (!uncounted_q) cons_q <= cons_q + 32'd1;
      end
      if (push) begin
        wr_q    <= next(wr_q, 1'b1);
        fetch_q <= fetch_q + 32'd1;
      end
      held_q <= held_q + CountW'(push) - CountW'(pop);

      if (stop_i) begin
        err_addr_o  <= entry_address(cons_q);
        stopped_q   <= 1'b1;
        drop_q      <= 1'b1;
        uncounted_q <= 1'b0;
        held_q      <= '0;
        rd_q        <= wr_q;
      end
      if (ring_i.reset) begin
        cons_q      <= '0;
        fetch_q     <= '0;
        stopped_q   <= 1'b0;
        err_o       <= 1'b0;
        drop_q      <= 1'b1;
        uncounted_q <= entry_valid_o && !pop && !stop_i;
        held_q      <= CountW'(entry_valid_o && !pop && !stop_i);
        wr_q        <= stop_i ? wr_q : next(rd_q, entry_valid_o);
      end
    end
  end

  // The data of the entry under way goes straight into its place. No reset: held_q guards it.
  if (Depth > 1) begin : gen_ring
    logic [DataW-1:0] buf_q [4 * Depth];   // four beats each

    always_ff @(posedge clk_i) begin
      if (mem_rsp_valid_i && !drop_q) buf_q[{wr_q, mem_rsp_i.tag[1:0]}] <= mem_rsp_i.data;
    end
    assign entry_o = {buf_q[{rd_q, 2'd3}], buf_q[{rd_q, 2'd2}], buf_q[{rd_q, 2'd1}], buf_q[{rd_q, 2'd0}]};
  end else begin : gen_one
    logic [3:0][DataW-1:0] buf_q;

    always_ff @(posedge clk_i) begin
      if (mem_rsp_valid_i && !drop_q) buf_q[mem_rsp_i.tag[1:0]] <= mem_rsp_i.data;
    end
    assign entry_o = buf_q;
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!mem_rsp_valid_i || left_q != '0) else $error("ring_fetch: response without request");
      assert (!(stop_i && pop)) else $error("ring_fetch: an entry is stopped and taken at once");
      assert (!(push && held_q == CountW'(Depth))) else $error("ring_fetch: too many entries held");
    end
  end

  // The alignment bits of the base and address bits above the physical space say nothing; only the
  // beat number of a tag is used.
  logic unused;
  assign unused = ^{ring_i.base[63:PaW], ring_i.base[5:0], mem_rsp_i.tag[TagW-1:2], addr_q[5:0]};

endmodule
