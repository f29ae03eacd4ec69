// MMU: what the L1 TLBs of all clients share. L2 TLB, page-table walker, fault unit, context table
// and commands.
//
// A miss of a client goes to the L2 TLB, from there to the walker, and from there, if the table does
// not allow it, to the fault unit, where it waits for the host. Answers come on event_o only, one
// event a cycle, which all clients see in the same cycle and the same order.
//
// What keeps answers exact: every request inside the MMU has a waiting L1 slot behind it. An event
// that wakes the slot drops the request wherever it is (L2 pipeline, walk, parked fault).
//
// Invalidate, bound. Cycles from a command's acceptance to cmd_done_o are at most
//     max(S, Lw + 2, Lc + 1)
//   S     n + 3 for a range that touches n <= Sets/2 pairs of pages, else Sets/2 + 3 (Sets: sets of the L2),
//   Lw    longest time of one walker operation, from mem_req_valid_o to its response,
//   Lc    longest time from the event to when a client has retired what it had translated.
// Walks under way, parked faults, back-pressure at the fault ring and queued misses do not enter:
// a walk gives up after the one operation that it has outstanding. Commands other than Invalidate,
// Stop and CtxSet take 2 cycles. The limit InvBound is asserted.
//
// Latency of a walk of k table reads of L cycles each (acceptance to response), nothing else under way:
//   miss_valid_i to the Fill event k * (L + 1) + 3, plus L + 1 if A or D has to be set. k is 1 with a warm
//   walk cache, else 4 for 4 KiB and 64 KiB, 3 for 2 MiB, 2 for 1 GiB.
// Throughput: one L2 lookup a cycle, one walk read a cycle.
// Compact: the form for an FPGA. Registers before the L2 and the walker (miss_reg), behind the sources of Fill events
//   (mmu_ctrl) and within a walk (walker). A miss to the Fill event takes k * (L + 2) + 8 cycles, an L2 hit 5;
//   the L2 takes a lookup each two cycles. The bound of Invalidate is the same.
module mmu
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned NumClients   = 3,
  parameter int unsigned Walkers      = 16,
  parameter int unsigned L2Sets       = 256,
  parameter int unsigned L2Ways       = 4,
  parameter int unsigned L2Large      = 32,   // entries for 2 MiB and 1 GiB pages
  parameter int unsigned CacheTables  = 32,   // pointers in the walk cache: to tables of 4 KiB leaves,
  parameter int unsigned CacheMiddle  = 8,    // to those above them,
  parameter int unsigned CacheTop     = 4,    // and to those above these
  // Faults parked, and misses that wait for a walk slot: no fewer than the miss slots of all clients.
  parameter int unsigned FaultEntries = 64,
  parameter int unsigned LogDepth     = 16,
  parameter int unsigned InvBound     = 200000,
  parameter bit          Compact      = 1'b0
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  // Clients.
  input  logic  [NumClients-1:0] miss_valid_i,
  output logic  [NumClients-1:0] miss_ready_o,
  input  miss_t [NumClients-1:0] miss_i,
  output mmu_event_t             event_o,
  input  logic  [NumClients-1:0] drain_done_i,
  // Commands.
  input  logic                   cmd_valid_i,
  output logic                   cmd_ready_o,
  input  mmu_cmd_t               cmd_i,
  output logic                   cmd_done_o,
  // Limits to measure with: they change no result, only speed.
  input  xlat_limits_t           limits_i,
  // Memory of the walker.
  output logic                   mem_req_valid_o,
  input  logic                   mem_req_ready_i,
  output mem_req_t               mem_req_o,
  input  logic                   mem_rsp_valid_i,
  input  mem_rsp_t               mem_rsp_i,
  // Fault ring and dirty log, which share a memory port; the fault ring goes first.
  input  ring_cfg_t              fault_ring_i,
  output logic [31:0]            fault_prod_o,
  output logic                   fault_full_o,
  output logic                   fault_irq_o,
  input  ring_cfg_t              dirty_ring_i,
  output logic [31:0]            dirty_prod_o,
  output logic [31:0]            dirty_next_o,
  output logic                   dirty_full_o,
  output logic                   dirty_irq_o,
  output logic                   fault_req_valid_o,
  input  logic                   fault_req_ready_i,
  output mem_req_t               fault_req_o,
  input  logic [63:0]            time_i,
  // Counter pulses.
  output logic                   cnt_l2_lookups_o,
  output logic                   cnt_l2_hits_o,
  output logic                   cnt_walks_o,
  output logic                   cnt_walk_reads_o,
  output logic                   cnt_walk_merges_o,
  output logic                   cnt_walk_restarts_o,
  output logic                   cnt_ad_updates_o,
  output logic                   cnt_d_updates_o,
  output logic                   cnt_faults_o,
  output logic                   cnt_fault_merges_o,
  output logic                   cnt_dirty_o,
  output logic                   cnt_replays_o,
  output logic                   cnt_cancels_o,
  output logic                   cnt_invalidations_o,
  output logic                   inv_done_o,
  output logic [31:0]            inv_cycles_o
);

  localparam int unsigned ClientW = NumClients > 1 ? $clog2(NumClients) : 1;
  typedef logic [ClientW-1:0] client_idx_t;

  ctx_cfg_t [NumCtx-1:0] ctx_cfg;
  mmu_event_t            event_bus;

  logic  any_valid, any_ready, l2_req_valid, l2_req_ready;
  miss_t any_miss, l2_req;
  logic  hit_valid, hit_ready;
  xlat_t hit;
  logic  l2_miss_valid, l2_miss_ready, walk_req_valid, walk_req_ready;
  miss_t l2_miss, walk_req;
  logic  walk_ev_valid, walk_ev_ready;
  mmu_event_t walk_ev;
  logic  fill_valid, fill_ready;
  logic  fault_valid, fault_ready;
  miss_t fault;
  fault_reason_e fault_reason;
  logic  sweep_busy, walks_quiet;
  logic  log_credit, log_take, log_give, log_valid;
  ctx_t  log_ctx;
  vpn_t  log_vpn;
  page_size_e log_size;
  logic     rec_valid, rec_ready, log_req_valid, log_req_ready;
  mem_req_t rec, log_req;

  assign event_o = event_bus;

  // ---------------------------------------------------------------- round robin over the clients
  client_idx_t pick, last_q;

  always_comb begin
    any_valid = 1'b0;
    pick      = '0;
    if (miss_valid_i != '0) begin
      for (int unsigned i = 1; i <= NumClients; i++) begin
        automatic client_idx_t c = client_idx_t'((32'(last_q) + i) % NumClients);
        if (!any_valid && miss_valid_i[c]) begin
          any_valid = 1'b1;
          pick      = c;
        end
      end
    end
    any_miss           = miss_i[pick];
    miss_ready_o       = '0;
    miss_ready_o[pick] = any_valid && any_ready;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni)                           last_q <= '0;
    else if (any_valid && any_ready) last_q <= pick;
  end

  if (Compact) begin : gen_regs
    miss_reg u_l2_req (
      .clk_i, .rst_ni,
      .in_valid_i (any_valid), .in_ready_o (any_ready), .in_i (any_miss),
      .out_valid_o (l2_req_valid), .out_ready_i (l2_req_ready), .out_o (l2_req), .event_i (event_bus)
    );
    miss_reg u_walk_req (
      .clk_i, .rst_ni,
      .in_valid_i (l2_miss_valid), .in_ready_o (l2_miss_ready), .in_i (l2_miss),
      .out_valid_o (walk_req_valid), .out_ready_i (walk_req_ready), .out_o (walk_req), .event_i (event_bus)
    );
  end else begin : gen_through
    assign l2_req_valid   = any_valid;
    assign any_ready      = l2_req_ready;
    assign l2_req         = any_miss;
    assign walk_req_valid = l2_miss_valid;
    assign l2_miss_ready  = walk_req_ready;
    assign walk_req       = l2_miss;
  end

  // ---------------------------------------------------------------- parts
  l2_tlb #(
    .Sets(L2Sets),
    .Ways(L2Ways),
    .Large(L2Large),
    .Compact(Compact)
  ) u_l2_tlb (
    .clk_i,
    .rst_ni,
    .off_i        (limits_i.l2_off),
    .req_valid_i  (l2_req_valid),
    .req_ready_o  (l2_req_ready),
    .req_i        (l2_req),
    .hit_valid_o  (hit_valid),
    .hit_ready_i  (hit_ready),
    .hit_o        (hit),
    .miss_valid_o (l2_miss_valid),
    .miss_ready_i (l2_miss_ready),
    .miss_o       (l2_miss),
    .fill_valid_i (fill_valid),
    .fill_ready_o (fill_ready),
    .fill_i       (Compact ? event_bus.xlat : walk_ev.xlat),
    .event_i      (event_bus),
    .sweep_busy_o (sweep_busy),
    .cnt_lookup_o (cnt_l2_lookups_o),
    .cnt_hit_o    (cnt_l2_hits_o)
  );

  walker #(
    .Walkers    (Walkers),
    .Waiting    (FaultEntries),
    .CacheTables(CacheTables),
    .CacheMiddle(CacheMiddle),
    .CacheTop   (CacheTop),
    .Compact    (Compact)
  ) u_walker (
    .clk_i,
    .rst_ni,
    .ctx_cfg_i       (ctx_cfg),
    .limits_i,
    .req_valid_i     (walk_req_valid),
    .req_ready_o     (walk_req_ready),
    .req_i           (walk_req),
    .ev_valid_o      (walk_ev_valid),
    .ev_ready_i      (walk_ev_ready),
    .ev_o            (walk_ev),
    .fault_valid_o   (fault_valid),
    .fault_ready_i   (fault_ready),
    .fault_o         (fault),
    .fault_reason_o  (fault_reason),
    .mem_req_valid_o,
    .mem_req_ready_i,
    .mem_req_o,
    .mem_rsp_valid_i,
    .mem_rsp_i,
    .event_i         (event_bus),
    .quiet_o         (walks_quiet),
    .log_on_i        (dirty_ring_i.size_log2 != '0),
    .log_credit_i    (log_credit),
    .log_take_o      (log_take),
    .log_give_o      (log_give),
    .log_valid_o     (log_valid),
    .log_ctx_o       (log_ctx),
    .log_vpn_o       (log_vpn),
    .log_size_o      (log_size),
    .cnt_walk_o      (cnt_walks_o),
    .cnt_read_o      (cnt_walk_reads_o),
    .cnt_merge_o     (cnt_walk_merges_o),
    .cnt_restart_o   (cnt_walk_restarts_o),
    .cnt_ad_o        (cnt_ad_updates_o),
    .cnt_d_o         (cnt_d_updates_o)
  );

  fault_unit #(
    .Entries(FaultEntries),
    .Compact(Compact)
  ) u_fault_unit (
    .clk_i,
    .rst_ni,
    .rpt_valid_i     (fault_valid),
    .rpt_ready_o     (fault_ready),
    .rpt_i           (fault),
    .rpt_reason_i    (fault_reason),
    .event_i         (event_bus),
    .ring_i          (fault_ring_i),
    .prod_o          (fault_prod_o),
    .full_o          (fault_full_o),
    .mem_req_valid_o (rec_valid),
    .mem_req_ready_i (rec_ready),
    .mem_req_o       (rec),
    .irq_o           (fault_irq_o),
    .time_i,
    .cnt_fault_o     (cnt_faults_o),
    .cnt_merge_o     (cnt_fault_merges_o)
  );

  dirty_log #(
    .Depth(LogDepth)
  ) u_dirty_log (
    .clk_i,
    .rst_ni,
    .credit_o        (log_credit),
    .take_i          (log_take),
    .give_i          (log_give),
    .log_i           (log_valid),
    .log_ctx_i       (log_ctx),
    .log_vpn_i       (log_vpn),
    .log_size_i      (log_size),
    .ring_i          (dirty_ring_i),
    .prod_o          (dirty_prod_o),
    .next_o          (dirty_next_o),
    .full_o          (dirty_full_o),
    .mem_req_valid_o (log_req_valid),
    .mem_req_ready_i (log_req_ready),
    .mem_req_o       (log_req),
    .irq_o           (dirty_irq_o),
    .time_i          (time_i[31:0])
  );

  assign cnt_dirty_o = log_req_valid && log_req_ready;

  mem_merge u_records (
    .clk_i,
    .rst_ni,
    .rd_valid_i      (log_req_valid),
    .rd_ready_o      (log_req_ready),
    .rd_req_i        (log_req),
    .wr_valid_i      (rec_valid),
    .wr_ready_o      (rec_ready),
    .wr_req_i        (rec),
    .mem_req_valid_o (fault_req_valid_o),
    .mem_req_ready_i (fault_req_ready_i),
    .mem_req_o       (fault_req_o)
  );

  mmu_ctrl #(
    .NumClients(NumClients),
    .InvBound  (InvBound),
    .Compact   (Compact)
  ) u_mmu_ctrl (
    .clk_i,
    .rst_ni,
    .cmd_valid_i,
    .cmd_ready_o,
    .cmd_i,
    .cmd_done_o,
    .ctx_cfg_o     (ctx_cfg),
    .hit_valid_i   (hit_valid),
    .hit_ready_o   (hit_ready),
    .hit_i         (hit),
    .walk_valid_i  (walk_ev_valid),
    .walk_ready_o  (walk_ev_ready),
    .walk_i        (walk_ev),
    .fill_ready_i  (fill_ready),
    .fill_valid_o  (fill_valid),
    .event_o       (event_bus),
    .sweep_busy_i  (sweep_busy),
    .walks_quiet_i (walks_quiet),
    .drain_done_i,
    .cnt_replay_o  (cnt_replays_o),
    .cnt_cancel_o  (cnt_cancels_o),
    .inv_done_o,
    .inv_cycles_o
  );

  assign cnt_invalidations_o = inv_done_o;
endmodule
