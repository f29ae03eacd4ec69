// Loads, stores and atomics of the compute unit: translation, memory access, result.
//
// An access enters in any cycle (req_valid_i, always accepted; one per warp) and looks up its page
// in the same cycle. On a hit it goes to memory; on a miss the warp parks here and costs nothing
// until the L1 TLB wakes it. Ends:
//   - loads and atomics: the result by wb_valid_o/wb_ready_i; the warp goes on when it is taken;
//   - stores: release_o when the memory has accepted them;
//   - errors: trap_o with trap_code_o (a Cancel), addr_err_* (misaligned or not canonical),
//     mem_err_o (memory). va_o is the address of the access of warp va_warp_i.
//
// An AMO reads, then swaps in a loop until no other writer came between; it translates once.
// SC swaps against the value that LR loaded, and fails without an access if its address or size is
// not that of the LR.
//
// Kill: a parked warp is released at once, an AMO between two memory operations ends; anything
// that is on its way to memory completes. A late wake finds nobody.
// Hold: the same, but what was not done is done again: replay_o comes with release_o, and the
// caller issues the instruction anew. Registers and reservation are as before it.
//
// drain_done_o is low from the cycle after an invalidation or stop until every access that was
// translated before it has retired.
//
//   t      t+1   t+2
//   req    hit   mem_req ... mem_rsp   wb in the next cycle
module cu_lsu
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import cu_pkg::*;
#(
  parameter int unsigned Warps = 16,
  parameter int unsigned Slots = 16     // misses of the L1 TLB at once
) (
  input  logic              clk_i,
  input  logic              rst_ni,

  input  logic              req_valid_i,
  input  lsu_req_t          req_i,
  input  ctx_t [Warps-1:0]  ctx_i,
  input  logic [Warps-1:0]  kill_i,
  input  logic [Warps-1:0]  held_i,
  input  logic              start_i,         // a new thread: it holds no reservation
  input  warp_t             start_warp_i,

  output logic [Warps-1:0]  release_o,
  output logic [Warps-1:0]  replay_o,        // with release_o: the access did not take place
  output logic [Warps-1:0]  trap_o,
  output logic [7:0]        trap_code_o,
  output logic              addr_err_valid_o,
  output warp_t             addr_err_warp_o,
  output logic [7:0]        addr_err_code_o,
  output logic [Warps-1:0]  mem_err_o,
  output logic [Warps-1:0]  translate_o,     // state, to be shown
  output logic [Warps-1:0]  parked_o,
  output logic [Warps-1:0]  memory_o,
  input  warp_t             va_warp_i,
  output logic [47:0]       va_o,

  output logic              wb_valid_o,
  input  logic              wb_ready_i,
  output wb_t               wb_o,

  output logic              miss_valid_o,
  input  logic              miss_ready_i,
  output miss_t             miss_o,
  input  mmu_event_t        event_i,
  output logic              drain_done_o,

  output logic              mem_req_valid_o,
  input  logic              mem_req_ready_i,
  output mem_req_t          mem_req_o,
  input  logic              mem_rsp_valid_i,
  input  mem_rsp_t          mem_rsp_i,

  output logic              cnt_load_o,
  output logic [1:0]        cnt_store_o,
  output logic              cnt_lookup_o,
  output logic              cnt_hit_o
);

  typedef logic [Warps-1:0] warps_t;

  function automatic warps_t one(logic valid, warp_t warp);
    return valid ? warps_t'(1) << warp : '0;
  endfunction

  function automatic warp_t lowest(warps_t set);
    lowest = '0;
    for (int i = int'(Warps) - 1; i >= 0; i--) if (set[i]) lowest = warp_t'(i);
  endfunction

  function automatic access_e access_of(mem_kind_e kind);
    unique case (kind)
      MemLoad:  return AccessRead;
      MemStore: return AccessWrite;
      default:  return AccessAtomic;
    endcase
  endfunction

  // What an access is, kept while it is here.
  typedef struct packed {
    mem_op_t     op;
    logic [4:0]  rd;
    logic        rd_we;
  } meta_t;

  // One word for each warp: small memories with one write port.
  meta_t       meta_mem [Warps];
  logic [47:0] va_mem   [Warps];
  logic [63:0] data_mem [Warps];
  ppn_t        ppn_mem  [Warps];
  logic [63:0] old_mem  [Warps];      // AMO: the value that the next swap expects
  logic [63:0] resv_value_mem [Warps];
  logic [47:0] resv_va_mem    [Warps];
  logic        resv_word_mem  [Warps];
  warps_t      resv_q;                // holds a reservation

  assign va_o = va_mem[va_warp_i];

  // ---------------------------------------------------------------- where each warp stands
  warps_t want_q;      // wants to look up again
  warps_t look_q;      // its lookup is under way
  warps_t issue_q;     // translated: wants the memory port
  warps_t mem_q;       // in the request register or in memory
  warps_t swap_q;      // AMO: has its old value, the swap comes next
  warps_t fail_q;      // SC without its reservation: ends without an access

  assign translate_o = want_q | look_q;
  assign memory_o    = issue_q | mem_q;

  // ---------------------------------------------------------------- entry: checks and lookup
  logic  misaligned, sc_fail, bad, enter;
  always_comb begin
    unique case (req_i.op.size)
      2'd0:    misaligned = 1'b0;
      2'd1:    misaligned = req_i.va[0];
      2'd2:    misaligned = req_i.va[1:0] != '0;
      default: misaligned = req_i.va[2:0] != '0;
    endcase
    sc_fail = req_i.op.kind == MemSc
           && !(resv_q[req_i.warp] && canonical(req_i.va)
                && resv_va_mem[req_i.warp] == req_i.va[47:0]
                && resv_word_mem[req_i.warp] == (req_i.op.size == 2'd2));
    bad     = misaligned || (!canonical(req_i.va) && !sc_fail);
    enter   = req_valid_i && !bad;
  end

  assign addr_err_valid_o = req_valid_i && bad;
  assign addr_err_warp_o  = req_i.warp;
  assign addr_err_code_o  = misaligned ? 8'(JobStatusMisaligned) : 8'(JobStatusBadAddress);

  // A new access goes first; woken ones take the free cycles (a warp cannot enter every cycle).
  logic    again, lkp_valid;
  warp_t   again_warp, lkp_warp;
  vpn_t    lkp_vpn;
  access_e lkp_access;

  assign again      = !req_valid_i && want_q != '0;
  assign again_warp = lowest(want_q);
  assign lkp_valid  = (enter && !sc_fail) || again;
  assign lkp_warp   = req_valid_i ? req_i.warp : again_warp;
  assign lkp_vpn    = req_valid_i ? req_i.va[47:12] : va_mem[again_warp][47:12];
  assign lkp_access = req_valid_i ? access_of(req_i.op.kind)
                                  : access_of(meta_mem[again_warp].op.kind);

  logic       look_valid;
  lookup_e    look_status;
  ppn_t       look_ppn;
  logic [$clog2(Slots)-1:0] look_slot;
  logic [Slots-1:0] wake;
  logic       wake_err;
  logic [7:0] wake_code;
  warp_t      look_warp_q;

  l1_tlb #(
    .Entries (16),
    .Slots   (Slots),
    .Client  (ClientCuData)
  ) u_tlb (
    .clk_i,
    .rst_ni,
    .lkp_valid_i  (lkp_valid),
    .lkp_ctx_i    (ctx_i[lkp_warp]),
    .lkp_vpn_i    (lkp_vpn),
    .lkp_access_i (lkp_access),
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

  warps_t look_again, dropped;

  cu_park #(
    .Warps (Warps),
    .Slots (Slots)
  ) u_park (
    .clk_i,
    .rst_ni,
    .look_valid_i  (look_valid),
    .look_status_i (look_status),
    .look_slot_i   (look_slot),
    .look_warp_i   (look_warp_q),
    .wake_i        (wake),
    .wake_err_i    (wake_err),
    .drop_i        (kill_i | held_i),
    .parked_o,
    .again_o       (look_again),
    .trap_o
  );

  // Killed or held while nothing of it is on its way.
  assign dropped     = (kill_i | held_i) & (parked_o | (want_q & ~one(again, again_warp)));
  assign trap_code_o = wake_code;

  // ---------------------------------------------------------------- memory request
  // A hit goes straight into the request register if nothing waits for it.
  logic     slot_free, pick, bypass;
  warp_t    pick_warp;
  ppn_t     pick_ppn;
  meta_t    pick_meta;
  logic [47:0] pick_va;
  logic     pick_swap;

  logic     req_valid_q;
  warp_t    req_warp_q;
  mem_req_t req_q;

  assign slot_free = !req_valid_q || mem_req_ready_i;
  assign bypass    = look_hit && issue_q == '0 && slot_free;
  assign pick      = slot_free && (issue_q != '0 || look_hit);
  assign pick_warp = issue_q != '0 ? lowest(issue_q) : look_warp_q;
  assign pick_ppn  = issue_q != '0 ? ppn_mem[pick_warp] : look_ppn;
  assign pick_meta = meta_mem[pick_warp];
  assign pick_va   = va_mem[pick_warp];
  assign pick_swap = swap_q[pick_warp] || pick_meta.op.kind == MemSc;

  logic [63:0] pick_data, pick_old, amo_new;
  assign pick_data = data_mem[pick_warp];
  assign pick_old  = pick_meta.op.kind == MemSc ? resv_value_mem[pick_warp] : old_mem[pick_warp];

  cu_amo u_amo (
    .op_i      (pick_meta.op.amo),
    .word_i    (pick_meta.op.size == 2'd2),
    .old_i     (pick_old),
    .operand_i (pick_data),
    .new_o     (amo_new)
  );

  // Value and byte lanes of a store within its 16 bytes.
  logic [127:0] store_data;
  logic [7:0]   lanes;
  always_comb begin
    unique case (pick_meta.op.size)
      2'd0:    begin store_data = {16{pick_data[7:0]}};  lanes = 8'h01; end
      2'd1:    begin store_data = {8{pick_data[15:0]}};  lanes = 8'h03; end
      2'd2:    begin store_data = {4{pick_data[31:0]}};  lanes = 8'h0f; end
      default: begin store_data = {2{pick_data}};        lanes = 8'hff; end
    endcase
  end

  mem_req_t    pick_req;
  logic [63:0] swap_new;
  assign swap_new = pick_meta.op.kind == MemSc ? pick_data : amo_new;
  always_comb begin
    pick_req = '{op: MemRead, cas32: 1'b0, addr: {pick_ppn, pick_va[11:0]}, strb: '0, data: '0,
                 tag: TagW'(pick_warp)};
    if (pick_swap) begin
      pick_req.op    = MemCas;
      pick_req.cas32 = pick_meta.op.size == 2'd2;
      pick_req.data  = pick_req.cas32 ? {32'b0, swap_new[31:0], 32'b0, pick_old[31:0]}
                                      : {swap_new, pick_old};
    end else if (pick_meta.op.kind == MemStore) begin
      pick_req.op   = MemWrite;
      pick_req.strb = StrbW'({8'b0, lanes} << pick_va[3:0]);
      pick_req.data = store_data;
    end
  end

  assign mem_req_valid_o = req_valid_q;
  assign mem_req_o       = req_q;

  logic stored;
  assign stored = req_valid_q && mem_req_ready_i && req_q.op == MemWrite;

  // ---------------------------------------------------------------- memory response
  warp_t       rsp_warp;
  meta_t       rsp_meta;
  logic [3:0]  rsp_offset;
  logic [63:0] rsp_raw, rsp_value, rsp_expected;
  logic        rsp_swap, swapped, rsp_open, rsp_loops, rsp_undone, rsp_last;

  assign rsp_warp     = mem_rsp_i.tag[WarpW-1:0];
  assign rsp_meta     = meta_mem[rsp_warp];
  assign rsp_swap     = swap_q[rsp_warp] || rsp_meta.op.kind == MemSc;
  // A swap answers in the low bits, a read with the whole 16 bytes.
  assign rsp_offset   = rsp_swap ? 4'd0 : va_mem[rsp_warp][3:0];
  assign rsp_raw      = 64'(mem_rsp_i.data >> {rsp_offset, 3'b0});
  assign rsp_expected = rsp_meta.op.kind == MemSc ? resv_value_mem[rsp_warp] : old_mem[rsp_warp];
  assign swapped      = rsp_meta.op.size == 2'd2 ? rsp_raw[31:0] == rsp_expected[31:0]
                                                 : rsp_raw == rsp_expected;
  // An AMO goes on until its swap took place, unless its thread is killed or held.
  assign rsp_open     = mem_rsp_valid_i && rsp_meta.op.kind == MemAmo && !(rsp_swap && swapped)
                     && !mem_rsp_i.err && !kill_i[rsp_warp];
  assign rsp_loops    = rsp_open && !held_i[rsp_warp];
  assign rsp_undone   = rsp_open && held_i[rsp_warp];
  assign rsp_last     = mem_rsp_valid_i && !rsp_loops;
  assign mem_err_o    = one(mem_rsp_valid_i && mem_rsp_i.err, rsp_warp);

  always_comb begin
    unique case (rsp_meta.op.size)
      2'd0:    rsp_value = {{56{rsp_raw[7]  && !rsp_meta.op.zext}}, rsp_raw[7:0]};
      2'd1:    rsp_value = {{48{rsp_raw[15] && !rsp_meta.op.zext}}, rsp_raw[15:0]};
      2'd2:    rsp_value = {{32{rsp_raw[31] && !rsp_meta.op.zext}}, rsp_raw[31:0]};
      default: rsp_value = rsp_raw;
    endcase
    if (rsp_meta.op.kind == MemSc) rsp_value = {63'b0, !swapped};
  end

  // ---------------------------------------------------------------- results
  // A failed SC has no response: it takes a cycle in which none comes.
  logic  rsp_done, fail_now;
  warp_t fail_warp, done_warp;
  wb_t   done;
  assign rsp_done  = rsp_last && !rsp_undone && !mem_rsp_i.err;
  assign fail_now  = fail_q != '0 && !mem_rsp_valid_i;
  assign fail_warp = lowest(fail_q);
  assign done_warp = mem_rsp_valid_i ? rsp_warp : fail_warp;
  assign done      = '{warp: done_warp, rd: meta_mem[done_warp].rd,
                       rd_we: meta_mem[done_warp].rd_we,
                       data: mem_rsp_valid_i ? rsp_value : 64'd1};

  cu_fifo #(
    .Width ($bits(wb_t)),
    .Depth (Warps)
  ) u_results (
    .clk_i,
    .rst_ni,
    .push_i  (rsp_done || fail_now),
    .data_i  (done),
    .valid_o (wb_valid_o),
    .ready_i (wb_ready_i),
    .data_o  (wb_o)
  );

  assign replay_o  = dropped | one(rsp_undone, rsp_warp);
  assign release_o = replay_o | one(stored, req_warp_q);

  assign cnt_load_o  = rsp_done;
  // A store is accepted in the very cycle in which a swap answers: two.
  assign cnt_store_o = 2'(stored) + 2'(rsp_done && rsp_swap && swapped);

  // ---------------------------------------------------------------- next state
  warps_t lkp_set, hit_set, pick_set, retired, active_q, active_d, pending_q;
  assign lkp_set  = one(lkp_valid, lkp_warp);
  assign hit_set  = one(look_hit && !bypass, look_warp_q);
  assign pick_set = one(pick, pick_warp);
  assign retired  = one(stored, req_warp_q) | one(rsp_last, rsp_warp);
  assign active_d = (active_q | lkp_set) & ~(one(look_miss || look_full, look_warp_q) | retired);
  assign drain_done_o = pending_q == '0;

  logic draining;
  assign draining = event_i.ev == EvInvalidate || event_i.ev == EvStop;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      want_q      <= '0;
      look_q      <= '0;
      issue_q     <= '0;
      mem_q       <= '0;
      swap_q      <= '0;
      fail_q      <= '0;
      resv_q      <= '0;
      active_q    <= '0;
      pending_q   <= '0;
      req_valid_q <= 1'b0;
    end else begin
      want_q    <= (want_q & ~lkp_set & ~dropped) | look_again;
      look_q    <= lkp_set;
      issue_q   <= ((issue_q | hit_set) & ~pick_set) | one(rsp_loops, rsp_warp);
      mem_q     <= (mem_q & ~retired & ~one(mem_rsp_valid_i, rsp_warp)) | pick_set;
      swap_q    <= (swap_q & ~one(rsp_last, rsp_warp))
                 | one(rsp_loops, rsp_warp);
      fail_q    <= (fail_q & ~one(fail_now, fail_warp)) | one(enter && sc_fail, req_i.warp);
      resv_q    <= (resv_q | one(rsp_last && !mem_rsp_i.err && rsp_meta.op.kind == MemLr, rsp_warp))
                 & ~one(start_i, start_warp_i)
                 & ~one(rsp_last && rsp_meta.op.kind == MemSc, rsp_warp)
                 & ~one(fail_now, fail_warp);
      active_q  <= active_d;
      pending_q <= (draining ? '1 : pending_q) & active_d;
      if (pick)                 req_valid_q <= 1'b1;
      else if (mem_req_ready_i) req_valid_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (req_valid_i) begin
      meta_mem[req_i.warp] <= '{op: req_i.op, rd: req_i.rd, rd_we: req_i.rd_we};
      va_mem[req_i.warp]   <= req_i.va[47:0];
      data_mem[req_i.warp] <= req_i.data;
    end
    look_warp_q <= lkp_warp;
    if (look_hit)  ppn_mem[look_warp_q] <= look_ppn;
    if (pick) begin
      req_warp_q <= pick_warp;
      req_q      <= pick_req;
    end
    if (mem_rsp_valid_i) begin
      if (rsp_meta.op.kind == MemAmo) old_mem[rsp_warp] <= rsp_raw;
      if (rsp_meta.op.kind == MemLr) begin
        resv_value_mem[rsp_warp] <= rsp_raw;
        resv_va_mem[rsp_warp]    <= va_mem[rsp_warp];
        resv_word_mem[rsp_warp]  <= rsp_meta.op.size == 2'd2;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(req_valid_i && (memory_o[req_i.warp] || parked_o[req_i.warp]
                                || translate_o[req_i.warp])))
        else $error("a warp has two accesses");
      assert (!mem_rsp_valid_i || mem_q[rsp_warp]) else $error("a response for no access");
    end
  end

  // A port looks at parts of what is kept for a warp; tags are warp numbers.
  logic unused;
  assign unused = ^{pick_meta.rd, pick_meta.rd_we, pick_meta.op.zext, pick_va[47:12], rsp_meta.rd,
                    rsp_meta.rd_we, rsp_meta.op.amo, mem_rsp_i.tag[TagW-1:WarpW]};

endmodule
