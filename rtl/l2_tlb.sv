// L2 TLB shared by all clients, for every page size.
//   small: Sets x Ways entries, set associative, 4 KiB and 64 KiB pages. An entry has one key for two
//          neighbouring pages, each with a translation of its own that may be there or not. Read at
//          two sets at once, one indexed by the pair of 4 KiB pages and one by the pair of 64 KiB
//          pages, so that one lookup finds either.
//   large: Large entries, fully associative, 2 MiB and 1 GiB pages; needs no sweep.
//
// Lookup: one a cycle. A request accepted in cycle t is compared in t+1; in t+2 the result is
//   offered: a hit that allows the access on hit_*, which asks for a Fill event, or else a miss on
//   miss_* for the walker. A result that waits holds up those behind it.
// Fill:   fill_valid_i only together with fill_ready_o, in the cycle of its Fill event; it takes the
//   place of a lookup. A second copy of a page is replaced in place, its neighbour is joined.
// Sweep:  an Invalidate or Stop event starts a sweep of the small array: of at most Sets/2 pairs of
//   pages only the sets that can hold them, else every set, two sets a cycle. sweep_busy_o is high from
//   the next cycle, for n + 1 cycles for a range that touches n <= Sets/2 pairs, else for Sets/2 + 1.
//   No lookup or fill starts meanwhile. A lookup of the context that was in flight at the event counts
//   as a miss, so that no old entry leaves after it.
// A request that an event answers (Fill, Cancel, Stop) is dropped: nobody waits for it any more.
// Compact: the form for an FPGA. A lookup is compared in one cycle and what it hits is read in the next one.
// off_i: every lookup misses. Contents are kept and swept as ever.
//
//            t     t+1      t+2
//   req      A     B
//   stage          A        B
//   result                  A: hit_valid_o or miss_valid_o
module l2_tlb
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned Sets    = 256,
  parameter int unsigned Ways    = 4,
  parameter int unsigned Large   = 32,
  parameter bit          Compact = 1'b0
) (
  input  logic       clk_i,
  input  logic       rst_ni,
  input  logic       off_i,
  input  logic       req_valid_i,
  output logic       req_ready_o,
  input  miss_t      req_i,
  output logic       hit_valid_o,
  input  logic       hit_ready_i,
  output xlat_t      hit_o,
  output logic       miss_valid_o,
  input  logic       miss_ready_i,
  output miss_t      miss_o,
  input  logic       fill_valid_i,
  output logic       fill_ready_o,
  input  xlat_t      fill_i,
  // verilator lint_off UNUSEDSIGNAL
  // The code of a Cancel concerns only the L1 TLBs.
  input  mmu_event_t event_i,
  // verilator lint_on UNUSEDSIGNAL
  output logic       sweep_busy_o,
  output logic       cnt_lookup_o,
  output logic       cnt_hit_o
);

  localparam int unsigned SetW   = $clog2(Sets);
  localparam int unsigned WayW   = $clog2(Ways);
  localparam int unsigned LargeW = $clog2(Large);
  localparam int unsigned KeyW   = CtxW + VpnW;
  localparam int unsigned Spread = SetW > CtxW ? SetW - CtxW : 0;

  typedef logic [SetW-1:0]   set_t;
  typedef logic [WayW-1:0]   way_t;
  typedef logic [LargeW-1:0] large_t;
  typedef logic [KeyW-1:0]   key_t;     // {context, page}, the bits within a larger page zero
  typedef logic [VpnW-2:0]   pair_t;    // a pair of 4 KiB pages

  // Key of an entry of the small array.
  typedef struct packed {
    logic  napot;                       // two pages of 64 KiB, not of 4 KiB
    ctx_t  ctx;
    pair_t pair;                        // the bits within a pair of 64 KiB pages zero
  } tag_t;

  // What an entry holds besides its key, for each page.
  typedef struct packed {
    ppn_t       ppn;
    page_size_e size;
    logic       r;
    logic       w;
    logic       x;
    logic       d;
    logic       atomic;
  } body_t;

  // Consecutive pairs use consecutive sets, so that a sweep of a few pages reads a few sets. The
  // context moves the start: processes use the same addresses.
  function automatic set_t index(ctx_t ctx, set_t pair);
    return pair ^ (set_t'(ctx) << Spread);
  endfunction

  function automatic tag_t tag_of(ctx_t ctx, vpn_t vpn, logic napot);
    return '{napot: napot, ctx: ctx, pair: pair_t'(vpn >> 1) & (napot ? ~pair_t'(15) : '1)};
  endfunction

  // Which page of its pair.
  function automatic logic half_of(vpn_t vpn, logic napot);
    return (vpn & (napot ? vpn_t'(16) : vpn_t'(1))) != '0;
  endfunction

  function automatic key_t key_of(ctx_t ctx, vpn_t vpn, page_size_e size);
    return {ctx, vpn & page_tag_mask(size)};
  endfunction

  function automatic xlat_t xlat_of(ctx_t ctx, vpn_t vpn, body_t b);
    return '{ctx: ctx, vpn: vpn, ppn: b.ppn, size: b.size, r: b.r, w: b.w, x: b.x, d: b.d,
             atomic: b.atomic};
  endfunction

  // Does the event of this cycle end the wait for a request?
  function automatic logic ended(ctx_t ctx, vpn_t vpn, access_e access);
    unique case (event_i.ev)
      EvFill:   return xlat_covers(event_i.xlat, ctx, vpn) && xlat_allows(event_i.xlat, access);
      EvCancel: return event_i.ctx == ctx && event_i.lo == vpn && event_i.access == access;
      EvStop:   return event_i.ctx == ctx;
      default:  return 1'b0;
    endcase
  endfunction

  // ---------------------------------------------------------------- small array
  typedef logic [Ways-1:0][1:0] halves_t;

  logic    rd_en, wr_en, wr_joins;
  set_t    rd_set [2];                   // by the pair of 4 KiB pages, by that of 64 KiB pages
  logic    rd_half [2];
  set_t    rd_set_q [2];
  halves_t rd_valid_q [2];               // valid bits as of the read
  tag_t    rd_tag [2][Ways];
  body_t   rd_body [2][Ways];
  halves_t valid_q [Sets];
  way_t    wr_way, victim_q;

  logic    fillb_q, fillb_half_q;        // second cycle of a fill: choose a way and write
  tag_t    fillb_tag_q;
  body_t   fillb_body_q, fill_body;
  key_t    fill_key;

  for (genvar w = 0; w < int'(Ways); w++) begin : g_way
    (* ram_style = "block" *) tag_t  tag_mem  [Sets];
    (* ram_style = "block" *) body_t body_mem [2*Sets];
    // Packed: synthesis sees registers at the memories' outputs, as block RAM has them.
    tag_t  [1:0] tag_q;
    body_t [1:0] body_q;
    always_ff @(posedge clk_i) begin
      if (rd_en) begin
        tag_q[0]  <= tag_mem[rd_set[0]];
        tag_q[1]  <= tag_mem[rd_set[1]];
        body_q[0] <= body_mem[{rd_set[0], rd_half[0]}];
        body_q[1] <= body_mem[{rd_set[1], rd_half[1]}];
      end
      if (wr_en && wr_way == way_t'(w)) begin
        tag_mem[rd_set_q[0]]                  <= fillb_tag_q;
        body_mem[{rd_set_q[0], fillb_half_q}] <= fillb_body_q;
      end
    end
    assign rd_tag[0][w]  = tag_q[0];
    assign rd_tag[1][w]  = tag_q[1];
    assign rd_body[0][w] = body_q[0];
    assign rd_body[1][w] = body_q[1];
  end

  // ---------------------------------------------------------------- large array
  logic [Large-1:0] large_valid_q;
  key_t             large_key_q  [Large];
  key_t             large_mask_q [Large];
  body_t            large_body_q [Large];
  large_t           large_victim_q, large_entry;
  logic             fill_large;

  assign fill_large = fill_valid_i && (fill_i.size == Page2M || fill_i.size == Page1G);

  always_comb begin
    fill_key    = '0;
    fill_body   = '0;
    large_entry = large_victim_q;
    if (fill_valid_i) begin
      fill_key  = key_of(fill_i.ctx, fill_i.vpn, fill_i.size);
      fill_body = '{ppn: fill_i.ppn, size: fill_i.size, r: fill_i.r, w: fill_i.w, x: fill_i.x,
                    d: fill_i.d, atomic: fill_i.atomic};
      if (fill_large) begin
        for (int unsigned i = 0; i < Large; i++) if (!large_valid_q[i]) large_entry = large_t'(i);
        for (int unsigned i = 0; i < Large; i++) begin
          if (large_valid_q[i] && large_body_q[i].size == fill_i.size && large_key_q[i] == fill_key)
            large_entry = large_t'(i);
        end
      end
    end
  end

  // ---------------------------------------------------------------- lookup
  logic  s1_valid_q, s1_lost_q;          // compared now; what was read for it is gone
  miss_t s1_q;
  logic  s2_valid_q, s2_hit_q;           // the result
  miss_t s2_q;
  body_t s2_body_q;

  logic  sweep_start, distrust1, distrust2, drop1, drop2;
  logic  req_fire, s2_leaves, s1_known, s1_moves, s1_hit;
  body_t s1_body;
  key_t  s1_key;
  tag_t  s1_tag;

  assign sweep_start = event_i.ev == EvInvalidate || event_i.ev == EvStop;
  assign drop1       = s1_valid_q && ended(s1_q.ctx, s1_q.vpn, s1_q.access);
  assign drop2       = s2_valid_q && ended(s2_q.ctx, s2_q.vpn, s2_q.access);
  assign distrust1   = event_i.ev == EvInvalidate && event_i.ctx == s1_q.ctx;
  assign distrust2   = event_i.ev == EvInvalidate && event_i.ctx == s2_q.ctx;

  if (Compact) begin : gen_two_steps
    typedef logic [2*Ways+Large-1:0] places_t;   // small by 4 KiB pairs, small by 64 KiB pairs, large

    places_t hits, hits_q, chosen;
    logic    known_q;

    always_comb begin
      hits   = '0;
      s1_key = {s1_q.ctx, s1_q.vpn};
      s1_tag = '0;
      for (int unsigned p = 0; p < 2; p++) begin
        s1_tag = tag_of(s1_q.ctx, s1_q.vpn, p == 1);
        for (int unsigned w = 0; w < Ways; w++) begin
          hits[p*Ways+w] = rd_valid_q[p][w][half_of(s1_q.vpn, p == 1)] && rd_tag[p][w] == s1_tag
                        && xlat_allows(xlat_of('0, '0, rd_body[p][w]), s1_q.access);
        end
      end
      for (int unsigned i = 0; i < Large; i++) begin
        hits[2*Ways+i] = large_valid_q[i] && ((large_key_q[i] ^ s1_key) & large_mask_q[i]) == '0
                      && xlat_allows(xlat_of('0, '0, large_body_q[i]), s1_q.access);
      end
    end

    assign chosen   = hits_q & (~hits_q + places_t'(1));
    assign s1_known = known_q;
    assign s1_hit   = hits_q != '0 && !s1_lost_q && !off_i;

    always_comb begin
      s1_body = '0;
      for (int unsigned p = 0; p < 2; p++) begin
        for (int unsigned w = 0; w < Ways; w++) if (chosen[p*Ways+w]) s1_body |= rd_body[p][w];
      end
      for (int unsigned i = 0; i < Large; i++) if (chosen[2*Ways+i]) s1_body |= large_body_q[i];
    end

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) known_q <= 1'b0;
      else         known_q <= s1_valid_q && !s1_moves;
    end
    always_ff @(posedge clk_i) hits_q <= hits;
  end else begin : gen_one_step
    assign s1_known = 1'b1;

    always_comb begin
      s1_hit  = 1'b0;
      s1_body = '0;
      s1_key  = {s1_q.ctx, s1_q.vpn};
      s1_tag  = '0;
      if (s1_valid_q && !s1_lost_q && !off_i) begin
        s1_tag = tag_of(s1_q.ctx, s1_q.vpn, 1'b1);
        for (int unsigned w = 0; w < Ways; w++) begin
          if (rd_valid_q[1][w][half_of(s1_q.vpn, 1'b1)] && rd_tag[1][w] == s1_tag
              && xlat_allows(xlat_of('0, '0, rd_body[1][w]), s1_q.access)) begin
            s1_hit  = 1'b1;
            s1_body = rd_body[1][w];
          end
        end
        s1_tag = tag_of(s1_q.ctx, s1_q.vpn, 1'b0);
        for (int unsigned w = 0; w < Ways; w++) begin
          if (rd_valid_q[0][w][half_of(s1_q.vpn, 1'b0)] && rd_tag[0][w] == s1_tag
              && xlat_allows(xlat_of('0, '0, rd_body[0][w]), s1_q.access)) begin
            s1_hit  = 1'b1;
            s1_body = rd_body[0][w];
          end
        end
        if (large_valid_q != '0) begin
          for (int unsigned i = 0; i < Large; i++) begin
            if (large_valid_q[i] && ((large_key_q[i] ^ s1_key) & large_mask_q[i]) == '0
                && xlat_allows(xlat_of('0, '0, large_body_q[i]), s1_q.access)) begin
              s1_hit  = 1'b1;
              s1_body = large_body_q[i];
            end
          end
        end
      end
    end
  end

  assign hit_valid_o  = s2_valid_q && s2_hit_q;
  assign hit_o        = xlat_of(s2_q.ctx, s2_q.vpn, s2_body_q);
  assign miss_valid_o = s2_valid_q && !s2_hit_q && !drop2;
  assign miss_o       = s2_q;
  assign s2_leaves    = (hit_valid_o && hit_ready_i) || (miss_valid_o && miss_ready_i) || drop2;
  assign s1_moves     = s1_valid_q && s1_known && (!s2_valid_q || s2_leaves);

  assign req_ready_o  = (!s1_valid_q || s1_moves) && !sweep_start && !sweep_busy_o && !fill_valid_i;
  assign req_fire     = req_valid_i && req_ready_o;
  assign fill_ready_o = !sweep_busy_o && !fillb_q;
  assign cnt_lookup_o = req_fire && !off_i;
  assign cnt_hit_o    = hit_valid_o && hit_ready_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      s1_valid_q <= 1'b0;
      s1_lost_q  <= 1'b0;
      s2_valid_q <= 1'b0;
      s2_hit_q   <= 1'b0;
    end else begin
      if (s2_leaves) s2_valid_q <= 1'b0;
      if (distrust2) s2_hit_q   <= 1'b0;
      if (s1_moves) begin
        s2_valid_q <= !drop1;
        s2_hit_q   <= s1_hit && !distrust1;
      end
      if (req_fire) begin
        s1_valid_q <= 1'b1;
        s1_lost_q  <= 1'b0;
      end else begin
        if (s1_moves || drop1)         s1_valid_q <= 1'b0;
        // The ports read for something else, or an old entry was read: it shall walk.
        if (fill_valid_i || distrust1 || sweep_busy_o) s1_lost_q <= 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (req_fire) s1_q <= req_i;
    if (s1_moves) begin
      s2_q      <= s1_q;
      s2_body_q <= s1_body;
    end
  end

  // ---------------------------------------------------------------- sweep
  logic            sw_run_q, sw_check_q, sw_all_q, sw_few;
  ctx_t            sw_ctx_q;
  vpn_t            sw_lo_q, sw_hi_q;
  set_t            sw_pos_q;             // sets read so far
  set_t            sw_last_q;
  halves_t         sw_gone [2];
  pair_t           sw_span, sw_first, sw_last;

  // Pairs that the range touches, less one.
  assign sw_span      = event_i.hi[VpnW-1:1] - event_i.lo[VpnW-1:1];
  assign sw_few       = event_i.ev == EvInvalidate && sw_span < pair_t'(Sets) >> 1;
  assign sweep_busy_o = sw_run_q || sw_check_q;

  always_comb begin
    sw_gone[0] = '0;
    sw_gone[1] = '0;
    sw_first   = '0;
    sw_last    = '0;
    if (sw_check_q) begin
      for (int unsigned p = 0; p < 2; p++) begin
        for (int unsigned w = 0; w < Ways; w++) begin
          // The range in pairs of this entry's pages; of its first and last pair it may have one page only.
          sw_first = tag_of('0, sw_lo_q, rd_tag[p][w].napot).pair;
          sw_last  = tag_of('0, sw_hi_q, rd_tag[p][w].napot).pair;
          if (rd_tag[p][w].ctx == sw_ctx_q && rd_tag[p][w].pair >= sw_first
              && rd_tag[p][w].pair <= sw_last) begin
            sw_gone[p][w][0] = rd_valid_q[p][w][0]
              && !(rd_tag[p][w].pair == sw_first && half_of(sw_lo_q, rd_tag[p][w].napot));
            sw_gone[p][w][1] = rd_valid_q[p][w][1]
              && !(rd_tag[p][w].pair == sw_last && !half_of(sw_hi_q, rd_tag[p][w].napot));
          end
        end
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      sw_run_q   <= 1'b0;
      sw_check_q <= 1'b0;
      sw_all_q   <= 1'b0;
      sw_ctx_q   <= '0;
      sw_lo_q    <= '0;
      sw_hi_q    <= '0;
      sw_pos_q   <= '0;
      sw_last_q  <= '0;
    end else begin
      sw_check_q <= sw_run_q;
      if (sw_run_q) begin
        sw_pos_q <= sw_pos_q + 1'b1;
        sw_run_q <= sw_pos_q != sw_last_q;
      end
      if (sweep_start) begin
        sw_run_q  <= 1'b1;
        sw_ctx_q  <= event_i.ctx;
        sw_lo_q   <= event_i.ev == EvStop ? '0 : event_i.lo;
        sw_hi_q   <= event_i.ev == EvStop ? '1 : event_i.hi;
        sw_all_q  <= !sw_few;
        sw_pos_q  <= '0;
        sw_last_q <= sw_few ? set_t'(sw_span) : set_t'(Sets / 2 - 1);
      end
    end
  end

  // ---------------------------------------------------------------- memory ports
  // A pair of 64 KiB pages of the range is met after at most as many steps as the range has pairs of pages.
  always_comb begin
    rd_en      = 1'b1;
    rd_set[0]  = index(req_i.ctx, req_i.vpn[1 +: SetW]);
    rd_set[1]  = index(req_i.ctx, req_i.vpn[5 +: SetW]);
    rd_half[0] = half_of(req_i.vpn, 1'b0);
    rd_half[1] = half_of(req_i.vpn, 1'b1);
    if (sw_run_q) begin
      if (sw_all_q) begin
        rd_set[0] = {sw_pos_q[SetW-2:0], 1'b0};
        rd_set[1] = {sw_pos_q[SetW-2:0], 1'b1};
      end else begin
        rd_set[0] = index(sw_ctx_q, sw_lo_q[1 +: SetW] + sw_pos_q);
        rd_set[1] = index(sw_ctx_q, sw_lo_q[5 +: SetW] + sw_pos_q);
      end
    end else if (fill_valid_i) begin
      rd_set[0] = index(fill_i.ctx, fill_i.size == Page64K ? fill_i.vpn[5 +: SetW]
                                                           : fill_i.vpn[1 +: SetW]);
    end else begin
      rd_en = req_fire && !off_i;
    end
  end

  // Where a fill goes: to its pair, else into an invalid way, else the next victim.
  always_comb begin
    wr_en    = fillb_q;
    wr_way   = victim_q;
    wr_joins = 1'b0;
    if (fillb_q) begin
      for (int unsigned w = 0; w < Ways; w++) if (rd_valid_q[0][w] == '0) wr_way = way_t'(w);
      for (int unsigned w = 0; w < Ways; w++) begin
        if (rd_valid_q[0][w] != '0 && rd_tag[0][w] == fillb_tag_q) begin
          wr_way   = way_t'(w);
          wr_joins = 1'b1;
        end
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      fillb_q        <= 1'b0;
      victim_q       <= '0;
      large_victim_q <= '0;
      large_valid_q  <= '0;
      for (int unsigned p = 0; p < 2; p++) rd_set_q[p]   <= '0;
      for (int unsigned p = 0; p < 2; p++) rd_valid_q[p] <= '0;
      for (int unsigned i = 0; i < Sets; i++) valid_q[i] <= '0;
    end else begin
      fillb_q <= fill_valid_i && !fill_large;
      if (rd_en) begin
        for (int unsigned p = 0; p < 2; p++) begin
          rd_set_q[p]   <= rd_set[p];
          rd_valid_q[p] <= valid_q[rd_set[p]];
        end
      end
      if (sw_check_q) begin
        for (int unsigned p = 0; p < 2; p++) begin
          for (int unsigned w = 0; w < Ways; w++) begin
            if (sw_gone[p][w][0]) valid_q[rd_set_q[p]][w][0] <= 1'b0;
            if (sw_gone[p][w][1]) valid_q[rd_set_q[p]][w][1] <= 1'b0;
          end
        end
      end
      if (fillb_q) begin
        if (!wr_joins) valid_q[rd_set_q[0]][wr_way] <= '0;
        valid_q[rd_set_q[0]][wr_way][fillb_half_q] <= 1'b1;
        victim_q <= victim_q + 1'b1;
      end
      if (fill_large) begin
        large_valid_q[large_entry] <= 1'b1;
        if (large_entry == large_victim_q) large_victim_q <= large_victim_q + 1'b1;
      end
      if (sweep_start && large_valid_q != '0) begin
        for (int unsigned i = 0; i < Large; i++) begin
          if (large_key_q[i][KeyW-1:VpnW] == event_i.ctx
              && (event_i.ev == EvStop
                  || (large_key_q[i][VpnW-1:0] <= event_i.hi
                      && (large_key_q[i][VpnW-1:0] | ~large_mask_q[i][VpnW-1:0]) >= event_i.lo)))
            large_valid_q[i] <= 1'b0;
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (fill_valid_i) begin
      fillb_tag_q  <= tag_of(fill_i.ctx, fill_i.vpn, fill_i.size == Page64K);
      fillb_half_q <= half_of(fill_i.vpn, fill_i.size == Page64K);
      fillb_body_q <= fill_body;
    end
    if (fill_large) begin
      large_key_q[large_entry]  <= fill_key;
      large_mask_q[large_entry] <= {{CtxW{1'b1}}, page_tag_mask(fill_i.size)};
      large_body_q[large_entry] <= fill_body;
    end
  end

  // ---------------------------------------------------------------- checks
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!fill_valid_i || fill_ready_o) else $error("a fill without ready");
      assert (!(fillb_q && sw_check_q)) else $error("a fill during a sweep");
      assert (!(sweep_start && sweep_busy_o)) else $error("two sweeps at once");
    end
  end
endmodule
