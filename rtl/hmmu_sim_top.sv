// hmmu for simulation: the device, and what its driver does beside it in the same waves.
//
// The host_*_i inputs change nothing: they are registered into host_state_q, host_page_q and
// host_fault_id_q so that a wave shows driver and device together. So do the texts (ASCII, the last character in the
// lowest byte), inputs of their own each because Verilator traces no array as large as all of them: host_log*_i hold
// lines of the event log in turns, each with its number, host_thread*_i what each host thread did last.
// host_page_*_i and host_home_q tell where pages live. Not for synthesis.
// The event log gets the steps of translations from a probe in the MMU.
module hmmu_sim_top
  import hmmu_pkg::*;
#(
  // Those of hmmu_top.
  parameter int unsigned NumCu        = 2,
  parameter int unsigned Warps        = 16,
  parameter int unsigned Walkers      = 16,
  parameter int unsigned L2Sets       = 256,
  parameter int unsigned L2Large      = 32,
  parameter int unsigned FaultEntries = 64,
  parameter int unsigned CopyChannels = 4,
  parameter int unsigned CopyBursts   = 64,
  parameter int unsigned CopyList     = 8,
  parameter int unsigned LinkTags     = 256,
  parameter int unsigned LinkW        = DataW,
  parameter int unsigned L1Entries    = 16,
  parameter int unsigned DataSlots    = 16,
  parameter int unsigned FetchSlots   = 8,
  parameter int unsigned CacheTables  = 32,
  parameter int unsigned CacheMiddle  = 8,
  parameter int unsigned CacheTop     = 4,
  parameter int unsigned RingDepth    = 2,
  parameter int unsigned JobSlots     = 4,
  parameter bit          Compact      = 1'b0,
  // How much of the host the waves show, and characters of a line.
  parameter int unsigned HostPages    = 32,
  parameter int unsigned HostText     = 160
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             rx_valid_i,
  output logic             rx_ready_o,
  input  logic             rx_sop_i,
  input  logic             rx_eop_i,
  input  logic [127:0]     rx_hdr_i,
  input  logic [LinkW-1:0] rx_data_i,
  output logic             tx_valid_o,
  input  logic             tx_ready_i,
  output logic             tx_sop_o,
  output logic             tx_eop_o,
  output logic [127:0]     tx_hdr_o,
  output logic [LinkW-1:0] tx_data_o,
  input  logic [15:0]      cfg_bdf_i,
  input  logic [2:0]       cfg_mps_i,
  input  logic [2:0]       cfg_mrrs_i,
  input  logic             cfg_rcb_i,
  input  logic             cfg_msix_en_i,
  input  logic [63:0]      cfg_bar0_i,
  input  logic [63:0]      cfg_bar2_i,
  input  logic [39:0]      vram_size_i,
  output logic             vram_req_valid_o,
  input  logic             vram_req_ready_i,
  output logic             vram_req_write_o,
  output logic [39:0]      vram_req_addr_o,
  output logic [DataW-1:0] vram_req_wdata_o,
  output logic [StrbW-1:0] vram_req_wstrb_o,
  input  logic             vram_rsp_valid_i,
  output logic             vram_rsp_ready_o,
  input  logic [DataW-1:0] vram_rsp_rdata_i,
  input  logic [7:0]       host_state_i,
  input  logic [51:0]      host_page_i,
  input  logic [31:0]      host_fault_id_i,
  // Nothing reads the texts but a viewer of waves.
  /* verilator lint_off UNUSEDSIGNAL */
  input  logic [8*HostText-1:0] host_log0_i,
  input  logic [8*HostText-1:0] host_log1_i,
  input  logic [8*HostText-1:0] host_log2_i,
  input  logic [8*HostText-1:0] host_log3_i,
  input  logic [8*HostText-1:0] host_log4_i,
  input  logic [8*HostText-1:0] host_log5_i,
  input  logic [8*HostText-1:0] host_log6_i,
  input  logic [8*HostText-1:0] host_log7_i,
  input  logic [8*HostText-1:0] host_thread0_i,
  input  logic [8*HostText-1:0] host_thread1_i,
  input  logic [8*HostText-1:0] host_thread2_i,
  input  logic [8*HostText-1:0] host_thread3_i,
  input  logic [8*HostText-1:0] host_thread4_i,
  input  logic [8*HostText-1:0] host_thread5_i,
  input  logic [63:0]           host_page_addr_i [HostPages],
  input  logic [15:0]           host_page_mm_i   [HostPages],
  /* verilator lint_on UNUSEDSIGNAL */
  input  logic [7:0]            host_page_home_i [HostPages],
  // What happened in the MMU in the cycle before: mmu_probe.
  output logic [7:0]        steps_o,
  output logic [7:0][127:0] step_o
);

  // What the driver does.
  typedef enum logic [7:0] {
    HostIdle       = 8'd0,
    HostFaultFetch = 8'd1,    // takes records from the fault ring
    HostRangeFault = 8'd2,    // asks the memory manager for pages
    HostMapPages   = 8'd3,    // writes page-table entries
    HostMigrate    = 8'd4,    // moves pages
    HostInvalidate = 8'd5,    // takes a mapping away
    HostReplay     = 8'd6,
    HostCancel     = 8'd7,
    HostLaunch     = 8'd8,
    HostCopy       = 8'd9,
    HostHarvest    = 8'd10    // reads accessed and dirty bits
  } host_state_e;

  host_state_e host_state_q    /* verilator public_flat_rd */;
  logic [51:0] host_page_q     /* verilator public_flat_rd */;
  logic [31:0] host_fault_id_q /* verilator public_flat_rd */;

  // Where a page lives.
  typedef enum logic [7:0] {
    HomeNone    = 8'd0,    // nowhere: not touched yet, or no more
    HomeSystem  = 8'd1,
    HomeSwap    = 8'd2,
    HomeDevice0 = 8'd16,
    HomeDevice1 = 8'd17,
    HomeDevice2 = 8'd18,
    HomeDevice3 = 8'd19
  } host_home_e;

  host_home_e host_home_q [HostPages] /* verilator public_flat_rd */;

  always_ff @(posedge clk_i) begin
    host_state_q    <= host_state_e'(host_state_i);
    host_page_q     <= host_page_i;
    host_fault_id_q <= host_fault_id_i;
    for (int unsigned k = 0; k < HostPages; k++) host_home_q[k] <= host_home_e'(host_page_home_i[k]);
  end

  bind mmu mmu_probe u_probe (
    .clk_i,
    .rst_ni,
    .event_i        (event_bus),
    .miss_valid_i   (l2_req_valid && l2_req_ready),
    .miss_i         (l2_req),
    .hit_valid_i    (hit_valid && hit_ready),
    .hit_i          (hit),
    .walk_valid_i   (walk_req_valid && walk_req_ready),
    .walk_i         (walk_req),
    .read_valid_i   (mem_req_valid_o && mem_req_ready_i),
    .read_op_i      (mem_req_o.op),
    .read_i         (u_walker.miss_q[mem_req_o.tag[$clog2(Walkers)-1:0]]),
    .read_level_i   (u_walker.level_q[mem_req_o.tag[$clog2(Walkers)-1:0]]),
    .data_valid_i   (mem_rsp_valid_i),
    .data_i         (u_walker.miss_q[u_walker.rsp]),
    .data_level_i   (u_walker.level_q[u_walker.rsp]),
    .fault_valid_i  (fault_valid && fault_ready),
    .fault_i        (fault),
    .fault_reason_i (fault_reason),
    // FwLow: with parameters of the fault unit Verilator does not find the name from here.
    .record_valid_i (u_fault_unit.fw_q == 2'd2 && rec_ready && !u_fault_unit.void_q),
    .record_i       (u_fault_unit.rec_q)
  );

  assign steps_o = u_hmmu.u_mmu.u_probe.steps_q;
  assign step_o  = u_hmmu.u_mmu.u_probe.step_q;

  // BAR2 is the power of two that holds the memory. Only reset computes it.
  logic [39:0] bar2_size_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      bar2_size_q <= 40'd1;
      for (int unsigned b = 0; b < 39; b++) begin
        if (vram_size_i > (40'd1 << b)) bar2_size_q <= 40'd1 << (b + 1);
      end
    end
  end

  hmmu_top #(
    .NumCu(NumCu), .Warps(Warps), .Walkers(Walkers), .L2Sets(L2Sets), .L2Large(L2Large), .FaultEntries(FaultEntries),
    .CopyChannels(CopyChannels), .CopyBursts(CopyBursts), .CopyList(CopyList), .LinkTags(LinkTags), .LinkW(LinkW), .L1Entries(L1Entries), .DataSlots(DataSlots),
    .FetchSlots(FetchSlots), .CacheTables(CacheTables), .CacheMiddle(CacheMiddle), .CacheTop(CacheTop),
    .RingDepth(RingDepth), .JobSlots(JobSlots), .Compact(Compact)
  ) u_hmmu (
    .clk_i, .rst_ni,
    .rx_valid_i, .rx_ready_o, .rx_sop_i, .rx_eop_i, .rx_hdr_i, .rx_data_i,
    .tx_valid_o, .tx_ready_i, .tx_sop_o, .tx_eop_o, .tx_hdr_o, .tx_data_o,
    .cfg_bdf_i, .cfg_mps_i, .cfg_mrrs_i, .cfg_rcb_i, .cfg_msix_en_i, .cfg_bar0_i, .cfg_bar2_i,
    .cfg_bar2_size_i (bar2_size_q),
    .vram_size_i,
    .vram_req_valid_o, .vram_req_ready_i, .vram_req_write_o, .vram_req_addr_o, .vram_req_wdata_o,
    .vram_req_wstrb_o, .vram_rsp_valid_i, .vram_rsp_ready_o, .vram_rsp_rdata_i
  );

endmodule
