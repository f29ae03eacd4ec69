// Instruction fetch of the compute unit: instruction cache, translation and refill.
//
// A fetch is presented in cycle t (req_*) and answered in t+1 (rsp_*). On a hit the instruction is
// there. On a miss the warp stays here: it translates its program counter through the fetch L1 TLB,
// reads the line and is released (release_o), to be fetched again; or it ends with an error
// (trap_o and its code, or mem_err_o). Warps that miss the line that another one already brings wait for that
// one. The caller keeps pc_i and ctx_i of a waiting warp.
// A warp's own instruction is kept for it when its line comes: warps whose lines push each other out
// of the cache all get on.
//
// Kill: a warp that waits for a translation, or for another warp, is released at once; one that
// reads memory is released when the data has come. A late wake of its slot finds nobody.
// Hold: the same; the warp is fetched again when its job goes on.
//
// Invalidation: a line that was translated before an overlapping event is dropped when it arrives
// and asked for again. drain_done_o is low until all reads of that time have come back.
//
//   t      t+1    t+2      t+3    t+4
//   req    miss   lookup   hit    mem_req ...  mem_rsp: line written, release in the next cycle
//
// Compact: the form for an FPGA. What looks up was chosen in the cycle before.
module cu_fetch
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import cu_pkg::*;
#(
  parameter int unsigned Warps   = 16,
  parameter int unsigned Entries = 16,   // of the L1 TLB
  parameter int unsigned Slots   = 8,    // misses of the L1 TLB at once
  parameter bit          Compact = 1'b0
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,

  input  logic                    req_valid_i,
  input  warp_t                   req_warp_i,
  input  ctx_t                    req_ctx_i,
  input  logic [47:0]             req_pc_i,
  output logic                    rsp_hit_o,
  output logic [31:0]             rsp_instr_o,
  input  logic                    rsp_ignore_i,   // the answer is void: a miss starts nothing

  input  logic [Warps-1:0][47:0]  pc_i,
  input  ctx_t [Warps-1:0]        ctx_i,
  input  logic [Warps-1:0]        kill_i,
  input  logic [Warps-1:0]        held_i,
  output logic [Warps-1:0]        release_o,
  output logic [Warps-1:0]        trap_o,         // translation ended with trap_code_o
  output logic [7:0]              trap_code_o,
  output logic [Warps-1:0]        mem_err_o,      // the line could not be read
  output logic [Warps-1:0]        parked_o,       // waits for a translation
  output logic [Warps-1:0]        busy_o,
  input  logic                    flush_i,        // FENCE.I

  output logic                    miss_valid_o,
  input  logic                    miss_ready_i,
  output miss_t                   miss_o,
  input  mmu_event_t              event_i,
  output logic                    drain_done_o,

  output logic                    mem_req_valid_o,
  input  logic                    mem_req_ready_i,
  output mem_req_t                mem_req_o,
  input  logic                    mem_rsp_valid_i,
  input  mem_rsp_t                mem_rsp_i,

  output logic                    cnt_lookup_o,
  output logic                    cnt_hit_o
);

  typedef logic [Warps-1:0] warps_t;

  function automatic warps_t one(logic valid, warp_t warp);
    return valid ? warps_t'(1) << warp : '0;
  endfunction

  function automatic warp_t lowest(warps_t set);
    lowest = '0;
    for (int i = int'(Warps) - 1; i >= 0; i--) if (set[i]) lowest = warp_t'(i);
  endfunction

  // ---------------------------------------------------------------- cache
  logic         fill, cache_hit;
  warp_t        rsp_warp;
  logic [127:0] line;

  cu_icache u_icache (
    .clk_i,
    .rst_ni,
    .rd_valid_i   (req_valid_i),
    .rd_ctx_i     (req_ctx_i),
    .rd_va_i      (req_pc_i),
    .rd_hit_o     (cache_hit),
    .rd_data_o    (line),
    .fill_valid_i (fill),
    .fill_ctx_i   (ctx_i[rsp_warp]),
    .fill_va_i    (pc_i[rsp_warp]),
    .fill_data_i  (mem_rsp_i.data),
    .flush_i,
    .event_i
  );

  logic        s1_valid_q;
  warp_t       s1_warp_q;
  ctx_t        s1_ctx_q;
  logic [47:0] s1_pc_q;
  logic        s1_kept_q;
  logic [31:0] s1_word_q, keep_word;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) s1_valid_q <= 1'b0;
    else         s1_valid_q <= req_valid_i;
  end

  always_ff @(posedge clk_i) begin
    if (req_valid_i) begin
      s1_warp_q <= req_warp_i;
      s1_ctx_q  <= req_ctx_i;
      s1_pc_q   <= req_pc_i;
    end
  end

  // ---------------------------------------------------------------- kept instructions
  warps_t      kept_q, stale_now;
  logic [31:0] word_mem [Warps];

  assign keep_word   = mem_rsp_i.data[{pc_i[rsp_warp][3:2], 5'b0}+:32];
  assign rsp_hit_o   = cache_hit || s1_kept_q;
  assign rsp_instr_o = s1_kept_q ? s1_word_q : line[{s1_pc_q[3:2], 5'b0}+:32];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      kept_q    <= '0;
      s1_kept_q <= 1'b0;
    end else begin
      // Where an event takes its page it is fetched again.
      kept_q <= ((kept_q & ~one(req_valid_i, req_warp_i)) | one(fill, rsp_warp)) & ~stale_now & ~kill_i;
      if (req_valid_i) s1_kept_q <= kept_q[req_warp_i];
    end
  end

  always_ff @(posedge clk_i) begin
    if (fill)        word_mem[rsp_warp] <= keep_word;
    if (req_valid_i) s1_word_q <= word_mem[req_warp_i];
  end

  // ---------------------------------------------------------------- where each warp stands
  warps_t want_q;      // wants a lookup
  warps_t asked;       // Compact: looks up in this cycle
  warps_t look_q;      // its lookup is under way
  warps_t read_q;      // translated: wants to read its line
  warps_t mem_q;       // its read is in the request register or under way
  warps_t merged_q;    // waits for the line of another warp
  warps_t stale_q;     // translated before an event that took its page
  ppn_t   ppn_q [Warps];

  warps_t owner;
  assign owner    = want_q | asked | look_q | parked_o | read_q | mem_q;
  assign busy_o   = owner | merged_q;

  // ---------------------------------------------------------------- miss
  logic miss, merge;
  assign miss = s1_valid_q && !rsp_hit_o && !rsp_ignore_i;

  always_comb begin
    merge = 1'b0;
    if (miss) begin
      for (int unsigned w = 0; w < Warps; w++) begin
        if (owner[w] && ctx_i[w] == s1_ctx_q && pc_i[w][47:4] == s1_pc_q[47:4]) merge = 1'b1;
      end
    end
  end

  // ---------------------------------------------------------------- translation
  logic       lkp_valid;
  warp_t      lkp_warp;
  logic       look_valid;
  lookup_e    look_status;
  ppn_t       look_ppn;
  logic       wake_err;
  logic [7:0] wake_code;
  warp_t      look_warp_q;
  logic [$clog2(Slots)-1:0] look_slot;
  logic [Slots-1:0]         wake;

  assign lkp_valid = want_q != '0;
  assign lkp_warp  = lowest(want_q);

  typedef struct packed {
    warp_t warp;
    ctx_t  ctx;
    vpn_t  vpn;
  } ask_t;
  logic tlb_valid;
  ask_t ask, tlb;

  assign ask = '{warp: lkp_warp, ctx: ctx_i[lkp_warp], vpn: pc_i[lkp_warp][47:12]};
  late #(.On(Compact), .T(ask_t)) u_ask (
    .clk_i, .rst_ni, .valid_i(lkp_valid), .data_i(ask), .valid_o(tlb_valid), .data_o(tlb)
  );
  assign asked = Compact ? one(tlb_valid, tlb.warp) : '0;

  l1_tlb #(
    .Entries (Entries),
    .Slots   (Slots),
    .Client  (ClientCuFetch),
    .Compact (Compact)
  ) u_tlb (
    .clk_i,
    .rst_ni,
    .lkp_valid_i  (tlb_valid),
    .lkp_ctx_i    (tlb.ctx),
    .lkp_vpn_i    (tlb.vpn),
    .lkp_access_i (AccessExecute),
    .rsp_valid_o  (look_valid),
    .rsp_status_o (look_status),
    .rsp_ppn_o    (look_ppn),
    .rsp_slot_o   (look_slot),
    .wake_o       (wake),
    .wake_err_o   (wake_err),
    .wake_code_o  (wake_code),
    .miss_valid_o,
    .miss_ready_i,
    .miss_o,
    .event_i,
    .cnt_lookup_o,
    .cnt_hit_o
  );

  logic look_hit, look_miss, look_full;
  assign look_hit  = look_valid && look_status == LkpHit;
  assign look_miss = look_valid && look_status == LkpMiss;
  assign look_full = look_valid && look_status == LkpFull;

  warps_t look_woken, look_retry;

  cu_park #(
    .Ids   (Warps),
    .Slots (Slots)
  ) u_park (
    .clk_i,
    .rst_ni,
    .look_valid_i  (look_valid),
    .look_status_i (look_status),
    .look_slot_i   (look_slot),
    .look_id_i     ($clog2(Warps)'(look_warp_q)),
    .wake_i        (wake),
    .wake_err_i    (wake_err),
    .drop_i        (kill_i | held_i),
    .quiet_i       (want_q == '0),
    .parked_o,
    .woken_o       (look_woken),
    .retry_o       (look_retry),
    .trap_o
  );

  // ---------------------------------------------------------------- line read
  logic        req_valid_q;
  warp_t       req_warp_q;
  pa_t         req_addr_q;
  logic        pick;
  warp_t       pick_warp;

  assign pick      = read_q != '0 && (!req_valid_q || mem_req_ready_i);
  assign pick_warp = lowest(read_q);

  assign mem_req_valid_o = req_valid_q;
  assign mem_req_o = '{op: MemRead, cas32: 1'b0, addr: req_addr_q, strb: '0, data: '0,
                       tag: TagW'(req_warp_q)};

  logic rsp_err, rsp_stale;
  assign rsp_warp  = mem_rsp_i.tag[WarpW-1:0];
  assign rsp_err   = mem_rsp_valid_i && mem_rsp_i.err;
  assign rsp_stale = stale_q[rsp_warp] || stale_now[rsp_warp];
  assign fill      = mem_rsp_valid_i && !mem_rsp_i.err && !rsp_stale;

  // ---------------------------------------------------------------- events
  // Warps whose page an event of this cycle takes.
  always_comb begin
    stale_now = '0;
    if (flush_i) stale_now = '1;
    if (event_i.ev == EvInvalidate || event_i.ev == EvStop) begin
      for (int unsigned w = 0; w < Warps; w++) begin
        if (ctx_i[w] == event_i.ctx
            && (event_i.ev == EvStop
                || (pc_i[w][47:12] >= event_i.lo && pc_i[w][47:12] <= event_i.hi))) begin
          stale_now[w] = 1'b1;
        end
      end
    end
  end

  // ---------------------------------------------------------------- next state
  warps_t lkp_set, tlb_set, hit_set, miss_set, full_set, rsp_set, pick_set, dropped, ended;
  logic   end_any;
  assign lkp_set  = one(lkp_valid, lkp_warp);
  assign tlb_set  = one(tlb_valid, tlb.warp);
  assign hit_set  = one(look_hit, look_warp_q);
  assign miss_set = one(look_miss, look_warp_q);
  assign full_set = one(look_full, look_warp_q);
  assign rsp_set  = one(mem_rsp_valid_i, rsp_warp);
  assign pick_set = one(pick, pick_warp);
  // Killed or held while nothing of it is on its way.
  assign dropped  = (kill_i | held_i) & (parked_o | (want_q & ~lkp_set) | merged_q);

  assign trap_code_o = wake_code;
  assign mem_err_o   = one(rsp_err, rsp_warp);

  // Who leaves: owners that are done, and with any of them all that waited for a line.
  assign ended     = rsp_set | (dropped & ~merged_q) | trap_o;
  assign end_any   = ended != '0;
  assign release_o = (rsp_set & ~mem_err_o) | dropped | (end_any ? merged_q : '0)
                   | one(miss && merge && end_any, s1_warp_q);

  // Reads under way, for drain_done_o.
  warps_t active_q, active_d, pending_q;
  assign active_d = (active_q | tlb_set) & ~(miss_set | full_set | rsp_set);
  assign drain_done_o = pending_q == '0;

  logic draining;
  assign draining = event_i.ev == EvInvalidate || event_i.ev == EvStop;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      want_q      <= '0;
      look_q      <= '0;
      read_q      <= '0;
      mem_q       <= '0;
      merged_q    <= '0;
      stale_q     <= '0;
      active_q    <= '0;
      pending_q   <= '0;
      req_valid_q <= 1'b0;
    end else begin
      want_q   <= (want_q & ~lkp_set & ~dropped) | one(miss && !merge, s1_warp_q)
                | look_woken | look_retry;
      look_q   <= tlb_set;
      read_q   <= (read_q | hit_set) & ~pick_set;
      mem_q    <= (mem_q | pick_set) & ~rsp_set;
      merged_q <= (merged_q & {Warps{!end_any}} & ~dropped)
                | one(miss && merge && !end_any, s1_warp_q);
      stale_q  <= (stale_q & ~tlb_set) | stale_now;
      active_q  <= active_d;
      pending_q <= (draining ? '1 : pending_q) & active_d;
      if (pick)                 req_valid_q <= 1'b1;
      else if (mem_req_ready_i) req_valid_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    look_warp_q <= tlb.warp;
    if (look_hit) ppn_q[look_warp_q] <= look_ppn;
    if (pick) begin
      req_warp_q <= pick_warp;
      req_addr_q <= {ppn_q[pick_warp], pc_i[pick_warp][11:4], 4'b0};
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!miss || !busy_o[s1_warp_q]) else $error("a warp fetches twice");
      assert (!mem_rsp_valid_i || mem_q[rsp_warp]) else $error("a response for no fetch");
    end
  end

  // Instructions are aligned; tags are warp numbers.
  logic unused;
  assign unused = ^{s1_pc_q[1:0], mem_rsp_i.tag[TagW-1:WarpW]};

endmodule
