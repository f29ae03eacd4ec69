// L2 TLB shared by all clients: set associative, 4 KiB and 2 MiB translations in one array.
//
// Lookup: a request accepted in cycle t probes the set of its 4 KiB page (compared in t+1) and, if
//   that misses, the set of its 2 MiB page (t+2). The result is offered from t+2 (4 KiB hit) or
//   t+3: a hit that allows the access on hit_*, which asks for a Fill event, or else a miss on
//   miss_* for the walker. One lookup is in flight; the next is accepted when its result leaves.
// Fill:   fill_valid_i only together with fill_ready_o, in the cycle of its Fill event. A second
//   copy of a page is replaced in place.
// Sweep:  an Invalidate or Stop event starts a sweep: for fewer pages than sets only the sets that
//   can hold them, else every set, one set per cycle. sweep_busy_o is high from the next cycle for
//   at most Sets + 3 cycles. No lookup or fill starts meanwhile. A lookup of the context that was
//   in flight at the event counts as a miss, so that no old entry leaves after it.
// A request that an event answers (Fill, Cancel, Stop) is dropped: nobody waits for it any more.
//
//            t     t+1    t+2    t+3
//   req      A
//   state    idle  4k     2m     result    hit_valid_o or miss_valid_o
module l2_tlb
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned Sets = 64,
  parameter int unsigned Ways = 4
) (
  input  logic       clk_i,
  input  logic       rst_ni,
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

  localparam int unsigned SetW = $clog2(Sets);
  localparam int unsigned WayW = $clog2(Ways);

  typedef logic [SetW-1:0] set_t;
  typedef logic [WayW-1:0] way_t;

  // Consecutive pages use consecutive sets, so that a sweep of a few pages reads a few sets. The
  // context moves the start: processes use the same addresses.
  function automatic set_t index(ctx_t ctx, logic [SetW-1:0] page);
    return page ^ set_t'({ctx, 2'b00});
  endfunction

  typedef enum logic [1:0] {
    LkIdle   = 2'd0,
    Lk4K     = 2'd1,
    Lk2M     = 2'd2,
    LkResult = 2'd3
  } lk_e;

  typedef enum logic [1:0] {
    SwIdle = 2'd0,
    SwRun  = 2'd1,   // the sets of 4 KiB pages, or all
    Sw2MLo = 2'd2,   // the set of the first page's 2 MiB page
    Sw2MHi = 2'd3    // and of the last one's
  } sw_e;

  // ---------------------------------------------------------------- memory, one read and one write port
  logic                rd_en, wr_en;
  set_t                rd_set, wr_set;
  way_t                wr_way;
  xlat_t               rd_data [Ways];
  logic [Ways-1:0]     valid_q [Sets];
  logic [Ways-1:0]     rd_valid_q;       // valid bits as of the read
  set_t                rd_set_q;

  logic                fillb_q;          // second cycle of a fill: choose a way and write
  xlat_t               fillb_xlat_q;
  way_t                victim_q;

  for (genvar w = 0; w < int'(Ways); w++) begin : g_way
    xlat_t mem [Sets];
    xlat_t rd_q;
    always_ff @(posedge clk_i) begin
      if (rd_en) rd_q <= mem[rd_set];
      if (wr_en && wr_way == way_t'(w)) mem[wr_set] <= fillb_xlat_q;
    end
    assign rd_data[w] = rd_q;
  end

  // ---------------------------------------------------------------- events
  logic sweep_start, dropped, distrust;
  lk_e   lk_q, lk_d;
  miss_t req_q;
  logic  hit_q, hit_d;
  xlat_t hit_xlat_q, hit_xlat;

  assign sweep_start = event_i.ev == EvInvalidate || event_i.ev == EvStop;

  always_comb begin
    dropped  = 1'b0;
    distrust = 1'b0;
    if (lk_q != LkIdle && event_i.ev != EvNone && event_i.ctx == req_q.ctx) begin
      unique case (event_i.ev)
        EvFill:       dropped  = xlat_covers(event_i.xlat, req_q.ctx, req_q.vpn)
                              && xlat_allows(event_i.xlat, req_q.access);
        EvCancel:     dropped  = event_i.lo == req_q.vpn && event_i.access == req_q.access;
        EvStop:       dropped  = 1'b1;
        EvInvalidate: distrust = 1'b1;
        default: ;
      endcase
    end
  end

  // ---------------------------------------------------------------- lookup
  logic req_fire, leaves, probe_hit;
  sw_e  sw_q;
  logic sw_check_q;

  // Compare the set that was read with the request.
  always_comb begin
    probe_hit = 1'b0;
    hit_xlat  = hit_xlat_q;
    if (lk_q == Lk4K || lk_q == Lk2M) begin
      for (int unsigned w = 0; w < Ways; w++) begin
        if (rd_valid_q[w] && rd_data[w].size == (lk_q == Lk2M)
            && xlat_covers(rd_data[w], req_q.ctx, req_q.vpn)
            && xlat_allows(rd_data[w], req_q.access)) begin
          probe_hit = 1'b1;
          hit_xlat  = rd_data[w];
        end
      end
    end
  end

  assign hit_valid_o  = lk_q == LkResult && hit_q;
  assign hit_o        = hit_xlat_q;
  assign miss_valid_o = lk_q == LkResult && !hit_q && !dropped;
  assign miss_o       = req_q;
  assign leaves       = (hit_valid_o && hit_ready_i) || (miss_valid_o && miss_ready_i);

  assign req_ready_o  = (lk_q == LkIdle || leaves) && !sweep_start && !sweep_busy_o && !fill_valid_i;
  assign req_fire     = req_valid_i && req_ready_o;
  assign fill_ready_o = !sweep_busy_o && lk_q != Lk4K && !fillb_q;
  assign cnt_lookup_o = req_fire;
  assign cnt_hit_o    = hit_valid_o && hit_ready_i;

  always_comb begin
    lk_d  = lk_q;
    hit_d = hit_q;
    unique case (lk_q)
      Lk4K: begin
        hit_d = probe_hit;
        lk_d  = probe_hit ? LkResult : Lk2M;
      end
      Lk2M: begin
        hit_d = probe_hit;
        lk_d  = LkResult;
      end
      LkResult: if (leaves) lk_d = LkIdle;
      default: ;
    endcase
    if (distrust) begin
      lk_d  = LkResult;
      hit_d = 1'b0;
      // A miss may leave in this very cycle: its walk starts after the event.
      if (leaves) lk_d = LkIdle;
    end
    if (dropped)  lk_d = LkIdle;
    if (req_fire) lk_d = Lk4K;
  end

  // ---------------------------------------------------------------- sweep
  ctx_t             sw_ctx_q;
  vpn_t             sw_lo_q, sw_hi_q;
  logic             sw_all_q;
  logic [SetW-1:0]  sw_pos_q;    // low bits of the page whose set is read
  logic [SetW-1:0]  sw_left_q;   // sets to read after this one
  logic             sw_few;      // fewer pages than sets
  set_t             sw_set;
  logic [Ways-1:0]  sw_gone;

  assign sw_few       = event_i.hi - event_i.lo < vpn_t'(Sets) - vpn_t'(1);
  assign sweep_busy_o = sw_q != SwIdle || sw_check_q;

  always_comb begin
    unique case (sw_q)
      Sw2MLo:  sw_set = index(sw_ctx_q, sw_lo_q[9 +: SetW]);
      Sw2MHi:  sw_set = index(sw_ctx_q, sw_hi_q[9 +: SetW]);
      default: sw_set = index(sw_ctx_q, sw_pos_q);
    endcase
    sw_gone = '0;
    if (sw_check_q) begin
      for (int unsigned w = 0; w < Ways; w++) begin
        sw_gone[w] = rd_valid_q[w] && rd_data[w].ctx == sw_ctx_q
                  && xlat_overlaps(rd_data[w], sw_lo_q, sw_hi_q);
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      sw_q       <= SwIdle;
      sw_check_q <= 1'b0;
      sw_ctx_q   <= '0;
      sw_lo_q    <= '0;
      sw_hi_q    <= '0;
      sw_all_q   <= 1'b0;
      sw_pos_q   <= '0;
      sw_left_q  <= '0;
    end else begin
      sw_check_q <= sw_q != SwIdle;
      unique case (sw_q)
        SwRun: begin
          sw_pos_q  <= sw_pos_q + 1'b1;
          sw_left_q <= sw_left_q - 1'b1;
          if (sw_left_q == '0) sw_q <= sw_all_q ? SwIdle : Sw2MLo;
        end
        Sw2MLo:  sw_q <= Sw2MHi;
        Sw2MHi:  sw_q <= SwIdle;
        default: ;
      endcase
      if (sweep_start) begin
        sw_q      <= SwRun;
        sw_ctx_q  <= event_i.ctx;
        sw_lo_q   <= event_i.ev == EvStop ? '0 : event_i.lo;
        sw_hi_q   <= event_i.ev == EvStop ? '1 : event_i.hi;
        sw_all_q  <= event_i.ev == EvStop || !sw_few;
        sw_pos_q  <= event_i.lo[SetW-1:0];
        sw_left_q <= event_i.ev == EvStop || !sw_few ? '1 : SetW'(event_i.hi - event_i.lo);
      end
    end
  end

  // ---------------------------------------------------------------- memory ports
  always_comb begin
    rd_en  = 1'b1;
    rd_set = index(req_i.ctx, req_i.vpn[SetW-1:0]);
    if (sw_q != SwIdle)    rd_set = sw_set;
    else if (lk_q == Lk4K) rd_set = index(req_q.ctx, req_q.vpn[9 +: SetW]);
    else if (fill_valid_i) rd_set = index(fill_i.ctx, fill_i.size == Page2M ? fill_i.vpn[9 +: SetW]
                                                                         : fill_i.vpn[SetW-1:0]);
    else                   rd_en = req_fire;
  end

  // Where a fill goes: over the same page, else into an invalid way, else the next victim.
  always_comb begin
    wr_en  = fillb_q;
    wr_set = rd_set_q;
    wr_way = victim_q;
    if (fillb_q) begin
      for (int unsigned w = 0; w < Ways; w++) if (!rd_valid_q[w]) wr_way = way_t'(w);
      for (int unsigned w = 0; w < Ways; w++) begin
        if (rd_valid_q[w] && rd_data[w].size == fillb_xlat_q.size
            && xlat_covers(rd_data[w], fillb_xlat_q.ctx, fillb_xlat_q.vpn)) wr_way = way_t'(w);
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      lk_q       <= LkIdle;
      hit_q      <= 1'b0;
      fillb_q    <= 1'b0;
      victim_q   <= '0;
      rd_set_q   <= '0;
      rd_valid_q <= '0;
      for (int unsigned i = 0; i < Sets; i++) valid_q[i] <= '0;
    end else begin
      lk_q    <= lk_d;
      hit_q   <= hit_d;
      fillb_q <= fill_valid_i;
      if (rd_en) begin
        rd_set_q   <= rd_set;
        rd_valid_q <= valid_q[rd_set];
      end
      if (sw_check_q) valid_q[rd_set_q] <= valid_q[rd_set_q] & ~sw_gone;
      if (fillb_q) begin
        valid_q[wr_set][wr_way] <= 1'b1;
        victim_q <= victim_q + 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (req_fire)     req_q        <= req_i;
    if (probe_hit)    hit_xlat_q   <= hit_xlat;
    if (fill_valid_i) fillb_xlat_q <= fill_i;
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
