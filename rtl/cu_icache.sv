// Instruction cache of the compute unit: direct mapped, lines of 16 bytes, tagged with context and
// virtual address.
//
// Read: address in cycle t, hit and data in t+1. Fill: one line per cycle; a read in the cycle of a
// fill sees the state before it.
// Flush: an invalidation or stop that overlaps what the cache holds empties all of it. What it
// holds is known as a set of contexts and the bounds of their pages, so that events of other
// memory cost nothing. A read in the cycle of a flush sees the state before it.
module cu_icache
  import hmmu_pkg::*;
#(
  parameter int unsigned Lines = 128
) (
  input  logic         clk_i,
  input  logic         rst_ni,

  input  logic         rd_valid_i,
  input  ctx_t         rd_ctx_i,
  input  logic [47:0]  rd_va_i,
  output logic         rd_hit_o,
  output logic [127:0] rd_data_o,

  input  logic         fill_valid_i,
  input  ctx_t         fill_ctx_i,
  input  logic [47:0]  fill_va_i,
  input  logic [127:0] fill_data_i,

  input  logic         flush_i,        // all of it (FENCE.I)
  input  mmu_event_t   event_i
);

  localparam int unsigned IndexW = $clog2(Lines);
  localparam int unsigned VaTagW   = 48 - 4 - IndexW;

  typedef struct packed {
    ctx_t            ctx;
    logic [VaTagW-1:0] va;
  } line_tag_t;

  logic [127:0] data_mem [Lines];
  line_tag_t    tag_mem  [Lines];

  logic [127:0]     rd_data_q;
  line_tag_t        rd_tag_q, want_q;
  logic             rd_valid_q;
  logic [Lines-1:0] valid_q;

  logic [IndexW-1:0] rd_index, fill_index;
  assign rd_index   = rd_va_i[4+:IndexW];
  assign fill_index = fill_va_i[4+:IndexW];

  always_ff @(posedge clk_i) begin
    if (fill_valid_i) data_mem[fill_index] <= fill_data_i;
    if (rd_valid_i)   rd_data_q <= data_mem[rd_index];
  end

  always_ff @(posedge clk_i) begin
    if (fill_valid_i) tag_mem[fill_index] <= '{ctx: fill_ctx_i, va: fill_va_i[47-:VaTagW]};
    if (rd_valid_i) begin
      rd_tag_q <= tag_mem[rd_index];
      want_q   <= '{ctx: rd_ctx_i, va: rd_va_i[47-:VaTagW]};
    end
  end

  assign rd_hit_o  = rd_valid_q && rd_tag_q == want_q;
  assign rd_data_o = rd_data_q;

  // ---------------------------------------------------------------- what is held
  logic [NumCtx-1:0] held_q;      // contexts with a line here
  vpn_t              lo_q, hi_q;  // bounds of their pages, valid if held_q is not zero
  logic              drop;

  vpn_t fill_vpn;
  assign fill_vpn = fill_va_i[47:12];

  always_comb begin
    drop = flush_i;
    if (event_i.ev == EvStop && held_q[event_i.ctx]) drop = 1'b1;
    if (event_i.ev == EvInvalidate && held_q[event_i.ctx]
        && event_i.lo <= hi_q && event_i.hi >= lo_q) drop = 1'b1;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      rd_valid_q <= 1'b0;
      valid_q    <= '0;
      held_q     <= '0;
      lo_q       <= '0;
      hi_q       <= '0;
    end else begin
      if (rd_valid_i) rd_valid_q <= valid_q[rd_index];
      if (drop) begin
        valid_q <= '0;
        held_q  <= '0;
      end
      if (fill_valid_i) begin
        valid_q[fill_index] <= 1'b1;
        held_q[fill_ctx_i]  <= 1'b1;
        if (drop || held_q == '0 || fill_vpn < lo_q) lo_q <= fill_vpn;
        if (drop || held_q == '0 || fill_vpn > hi_q) hi_q <= fill_vpn;
      end
    end
  end

  // Only the kind, the context and the range of an event matter here.
  logic unused;
  assign unused = ^{event_i.access, event_i.code, event_i.xlat, rd_va_i[3:0], fill_va_i[3:0]};

endmodule
