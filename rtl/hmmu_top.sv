// hmmu: a compute device on PCIe whose programs follow a process's own pointers.
//
//   rx/tx TLPs -- pcie_ep -- dev_regs (BAR0), BAR2 -> VRAM, MSI-X
//                    |
//                mem_fabric -- vram_ctrl -- external VRAM
//                    |
//     ctrl_unit   launch_unit -- cu_cluster      copy_engine       queues and their clients
//         |            threads    | data, fetch      |
//         +-------- commands --- mmu ----------------+              translation, faults
//
// Ports: a pair of TLP streams (docs/tlp-ports.md), the configuration that a PCIe hard block gives,
// and a memory port for VRAM (byte address, 16-byte aligned; requests apply in the order of
// acceptance, read data in order). VRAM size and BAR2's window are constant after reset.
// What comes in from outside is registered first (one cycle), so no path leads through the device;
// the same keeps a simulation from working through it again for every input that changes.
module hmmu_top
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned NumCu        = 2,    // compute units, 1 to 4
  parameter int unsigned Warps        = 16,   // of each unit, 1 to 16
  parameter int unsigned JobSlots     = 4,
  parameter int unsigned Walkers      = 16,
  parameter int unsigned L2Sets       = 256,
  parameter int unsigned L2Ways       = 4,
  parameter int unsigned L2Large      = 32,
  parameter int unsigned FaultEntries = 64,   // no fewer than the miss slots of all L1 TLBs
  parameter int unsigned CopyChannels = 4,    // 1 to 8
  parameter int unsigned CopyBursts   = 64,   // of 512 (Compact: 256) bytes that are under way at once
  parameter int unsigned CopyList     = 8,    // segments of a list that a channel holds; 0: no lists
  parameter int unsigned LinkTags     = 256,  // of these three quarters are for bursts
  parameter int unsigned LinkW        = DataW, // bits of payload in a beat of the TLP streams: 128 or 256
  parameter int unsigned L1Entries    = 16,   // of each L1 TLB
  parameter int unsigned DataSlots    = 16,   // misses at once of a unit's data,
  parameter int unsigned FetchSlots   = 8,    // and of its fetch
  parameter int unsigned CacheTables  = 32,   // pointers in the walk cache, by level
  parameter int unsigned CacheMiddle  = 8,
  parameter int unsigned CacheTop     = 4,
  parameter int unsigned RingDepth    = 2,    // entries that each ring's fetch holds
  parameter bit          Compact      = 1'b0  // the form for an FPGA: smaller, with shorter paths, in more cycles
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  // TLP streams.
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
  // Configuration.
  input  logic [15:0]      cfg_bdf_i,
  input  logic [2:0]       cfg_mps_i,
  input  logic [2:0]       cfg_mrrs_i,
  input  logic             cfg_rcb_i,
  input  logic             cfg_msix_en_i,
  input  logic [63:0]      cfg_bar0_i,
  input  logic [63:0]      cfg_bar2_i,
  input  logic [39:0]      cfg_bar2_size_i,     // bytes, a power of two
  input  logic [39:0]      vram_size_i,         // bytes
  // VRAM.
  output logic             vram_req_valid_o,
  input  logic             vram_req_ready_i,
  output logic             vram_req_write_o,
  output logic [39:0]      vram_req_addr_o,
  output logic [DataW-1:0] vram_req_wdata_o,
  output logic [StrbW-1:0] vram_req_wstrb_o,
  input  logic             vram_rsp_valid_i,
  output logic             vram_rsp_ready_o,
  input  logic [DataW-1:0] vram_rsp_rdata_i
);

  // Clients of the memory fabric; their numbers go with the requests (pcie_pkg::client_of).
  localparam int unsigned PortWalker   = 0;
  localparam int unsigned PortCtrl     = 1;
  localparam int unsigned PortLaunch   = 2;
  localparam int unsigned PortFault    = 3;
  localparam int unsigned PortCopyRing = 4;
  localparam int unsigned PortMsix     = 5;
  localparam int unsigned PortCopyVram = 6;
  localparam int unsigned PortHost     = 7;
  localparam int unsigned PortCu       = 8;    // data and fetch of unit 0, of unit 1, ...
  localparam int unsigned NumPorts     = PortCu + 2 * NumCu;

  // Clients of the MMU: data of each unit, fetch of each unit, then the copy engine.
  localparam int unsigned XlatCopy = 2 * NumCu;
  localparam int unsigned NumXlat  = XlatCopy + 1;

  // Reporters of errors, by precedence.
  localparam int unsigned ErrLink   = 0;
  localparam int unsigned ErrCtrl   = 1;
  localparam int unsigned ErrCopy   = 2;
  localparam int unsigned ErrLaunch = 3;
  localparam int unsigned ErrVram   = 4;
  localparam int unsigned NumErrors = 5;

  localparam int unsigned IncW = 13;
  localparam int unsigned BurstBytes = Compact ? 256 : 512;
  localparam int unsigned CntW = cu_pkg::CntW;

  // ------------------------------------------------------------------ wires
  logic     [NumPorts-1:0] req_valid, req_ready, rsp_valid;
  mem_req_t [NumPorts-1:0] req;
  mem_rsp_t [NumPorts-1:0] rsp;

  logic     vreq_valid, vreq_ready, vswap_room, vrsp_valid, vrsp_ready, sreq_valid, sreq_ready, srsp_valid;
  mem_req_t vreq, sreq;
  mem_rsp_t vrsp, srsp;
  logic [3:0] vreq_client, vrsp_client, sreq_client, srsp_client;

  logic        reg_valid, reg_ready, reg_write;
  logic [15:0] reg_addr;
  logic [63:0] reg_wdata, reg_rdata, dev_rdata, copy_rdata, dev_time;
  logic [7:0]  reg_wstrb;

  logic        enable;
  logic [31:0] cpl_timeout;
  xlat_limits_t xlat_limits;
  ring_cfg_t   ctrl_ring, launch_ring, fault_ring, dirty_ring;
  logic [31:0] ctrl_cons, launch_cons, fault_prod, dirty_prod, dirty_next;
  logic        ctrl_idle, copy_idle, launch_idle, ctrl_stopped, copy_stopped, launch_stopped;
  logic        fault_full, dirty_full;
  logic [7:0]  irq;
  logic [63:0] warp_state;
  logic [cu_pkg::WarpNumW-1:0] warp_sel;
  logic [JobSlots-1:0][63:0] job_state;

  logic        [NumErrors-1:0] err_valid;
  error_code_e [NumErrors-1:0] err_code;
  client_e     [NumErrors-1:0] err_unit;
  pa_t         [NumErrors-1:0] err_addr;

  logic  [NumXlat-1:0] miss_valid, miss_ready, drain_done;
  miss_t [NumXlat-1:0] miss;
  mmu_event_t          mmu_event;
  logic                cmd_valid, cmd_ready, cmd_done;
  mmu_cmd_t            cmd;

  logic        kill_launch_valid, kill_launch_by_ctx, kill_launch_done, kill_copy_valid, kill_copy_done;
  logic [31:0] kill_launch_job;
  ctx_t        kill_ctx;
  logic [JobSlots-1:0] kill_mask, held_mask, job_busy;
  logic                hold_valid, hold_on, hold_save, hold_done;
  pa_t                 hold_area;
  logic [JobSlots-1:0] save_job;
  logic                save_any, save_rd_valid, save_rd_ready, save_take, load_valid, load_ready;
  logic [4:0]          save_beat;
  logic [127:0]        save_data;
  logic [5:0]          load_word;
  logic [63:0]         load_data;
  logic        thread_valid, thread_ready, end_valid, end_ready;
  thread_t     thread;
  thread_end_t thread_end;

  logic             brd_valid, brd_ready, brd_rsp_valid, bwr_valid, bwr_ready;
  logic             bwr_data_valid, bwr_data_ready;
  burst_t           brd, bwr;
  burst_rsp_t       brd_rsp;
  logic [DataW-1:0] bwr_data;

  logic [NumCounters-1:0][IncW-1:0] inc;
  logic        inv_done;
  logic [31:0] inv_cycles;

  // ------------------------------------------------------------------ counters
  logic [12:0] n_rx_bytes, n_tx_bytes;
  logic [9:0]  n_copy_bytes;
  logic        n_link_reads, n_link_writes, n_link_atomics, n_interrupts, n_dropped;
  logic        n_vram_reads, n_vram_writes;
  logic        n_l2_lookups, n_l2_hits, n_walks, n_walk_reads, n_walk_merges, n_walk_restarts;
  logic        n_ad, n_d, n_faults, n_fault_merges, n_dirty, n_replays, n_cancels, n_invalidations;
  logic        n_cu_busy, n_jobs, n_copy_lookups, n_copy_hits;
  logic [CntW-1:0] n_instructions, n_cu_loads, n_cu_stores, n_threads;
  logic [CntW-1:0] n_data_lookups, n_data_hits, n_fetch_lookups, n_fetch_hits;

  always_comb begin
    inc = '0;
    inc[CounterCycles]         = IncW'(1);
    inc[CounterL1Lookups]      = IncW'(n_data_lookups) + IncW'(n_copy_lookups);
    inc[CounterL1Hits]         = IncW'(n_data_hits) + IncW'(n_copy_hits);
    inc[CounterL1FetchLookups] = IncW'(n_fetch_lookups);
    inc[CounterL1FetchHits]    = IncW'(n_fetch_hits);
    inc[CounterL2Lookups]      = IncW'(n_l2_lookups);
    inc[CounterL2Hits]         = IncW'(n_l2_hits);
    inc[CounterWalks]          = IncW'(n_walks);
    inc[CounterWalkReads]      = IncW'(n_walk_reads);
    inc[CounterWalkMerges]     = IncW'(n_walk_merges);
    inc[CounterWalkRestarts]   = IncW'(n_walk_restarts);
    inc[CounterAdUpdates]      = IncW'(n_ad);
    inc[CounterDUpdates]       = IncW'(n_d);
    inc[CounterFaults]         = IncW'(n_faults);
    inc[CounterFaultMerges]    = IncW'(n_fault_merges);
    inc[CounterDirtyRecords]   = IncW'(n_dirty);
    inc[CounterReplays]        = IncW'(n_replays);
    inc[CounterCancels]        = IncW'(n_cancels);
    inc[CounterInvalidations]  = IncW'(n_invalidations);
    inc[CounterInstructions]   = IncW'(n_instructions);
    inc[CounterCuLoads]        = IncW'(n_cu_loads);
    inc[CounterCuStores]       = IncW'(n_cu_stores);
    inc[CounterCuBusy]         = IncW'(n_cu_busy);
    inc[CounterVramReads]      = IncW'(n_vram_reads);
    inc[CounterVramWrites]     = IncW'(n_vram_writes);
    inc[CounterCopyBytes]      = IncW'(n_copy_bytes);
    inc[CounterLinkRxBytes]    = n_rx_bytes;
    inc[CounterLinkTxBytes]    = n_tx_bytes;
    inc[CounterLinkReads]      = IncW'(n_link_reads);
    inc[CounterLinkWrites]     = IncW'(n_link_writes);
    inc[CounterLinkAtomics]    = IncW'(n_link_atomics);
    inc[CounterJobs]           = IncW'(n_jobs);
    inc[CounterThreads]        = IncW'(n_threads);
    inc[CounterInterrupts]     = IncW'(n_interrupts);
    inc[CounterDroppedTlps]    = IncW'(n_dropped);
  end

  // ------------------------------------------------------------------ boundary
  logic             rx_valid, rx_ready, rx_sop, rx_eop;
  logic [127:0]     rx_hdr;
  logic [LinkW-1:0] rx_data;
  logic             xreq_valid, xreq_ready, xreq_write, xrsp_valid, xrsp_ready;
  logic [39:0]      xreq_addr;
  logic [DataW-1:0] xreq_wdata, xrsp_rdata;
  logic [StrbW-1:0] xreq_wstrb;
  logic [1:0]       rx_count, xreq_count, xrsp_count;
  logic [15:0]      bdf_q;
  logic [2:0]       mps_q, mrrs_q;
  logic             rcb_q, msix_en_q;
  logic [63:0]      bar0_q, bar2_q;
  logic [39:0]      bar2_size_q, vram_size_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      bdf_q       <= '0;
      mps_q       <= '0;
      mrrs_q      <= '0;
      rcb_q       <= 1'b0;
      msix_en_q   <= 1'b0;
      bar0_q      <= '0;
      bar2_q      <= '0;
      bar2_size_q <= '0;
      vram_size_q <= '0;
    end else begin
      bdf_q       <= cfg_bdf_i;
      mps_q       <= cfg_mps_i;
      mrrs_q      <= cfg_mrrs_i;
      rcb_q       <= cfg_rcb_i;
      msix_en_q   <= cfg_msix_en_i;
      bar0_q      <= cfg_bar0_i;
      bar2_q      <= cfg_bar2_i;
      bar2_size_q <= cfg_bar2_size_i;
      vram_size_q <= vram_size_i;
    end
  end

  sync_fifo #(.Width(2 + 128 + LinkW), .Depth(2)) u_rx_in (
    .clk_i, .rst_ni,
    .in_valid_i  (rx_valid_i),
    .in_ready_o  (rx_ready_o),
    .in_i        ({rx_sop_i, rx_eop_i, rx_hdr_i, rx_data_i}),
    .out_valid_o (rx_valid),
    .out_ready_i (rx_ready),
    .out_o       ({rx_sop, rx_eop, rx_hdr, rx_data}),
    .count_o     (rx_count)
  );

  sync_fifo #(.Width(1 + 40 + DataW + StrbW), .Depth(2)) u_vram_out (
    .clk_i, .rst_ni,
    .in_valid_i  (xreq_valid),
    .in_ready_o  (xreq_ready),
    .in_i        ({xreq_write, xreq_addr, xreq_wdata, xreq_wstrb}),
    .out_valid_o (vram_req_valid_o),
    .out_ready_i (vram_req_ready_i),
    .out_o       ({vram_req_write_o, vram_req_addr_o, vram_req_wdata_o, vram_req_wstrb_o}),
    .count_o     (xreq_count)
  );

  sync_fifo #(.Width(DataW), .Depth(2)) u_vram_in (
    .clk_i, .rst_ni,
    .in_valid_i  (vram_rsp_valid_i),
    .in_ready_o  (vram_rsp_ready_o),
    .in_i        (vram_rsp_rdata_i),
    .out_valid_o (xrsp_valid),
    .out_ready_i (xrsp_ready),
    .out_o       (xrsp_rdata),
    .count_o     (xrsp_count)
  );

  // ------------------------------------------------------------------ bus
  pcie_ep #(
    .Tags(LinkTags), .Bursts(CopyBursts < 16 ? 16 : CopyBursts), .BurstBytes(BurstBytes), .LinkW(LinkW), .Compact(Compact)
  ) u_pcie_ep (
    .clk_i, .rst_ni,
    .rx_valid_i           (rx_valid),
    .rx_ready_o           (rx_ready),
    .rx_sop_i             (rx_sop),
    .rx_eop_i             (rx_eop),
    .rx_hdr_i             (rx_hdr),
    .rx_data_i            (rx_data),
    .tx_valid_o, .tx_ready_i, .tx_sop_o, .tx_eop_o, .tx_hdr_o, .tx_data_o,
    .cfg_bdf_i            (bdf_q),
    .cfg_mps_i            (mps_q),
    .cfg_mrrs_i           (mrrs_q),
    .cfg_rcb_i            (rcb_q),
    .cfg_msix_en_i        (msix_en_q),
    .cfg_bar0_i           (bar0_q),
    .cfg_bar2_i           (bar2_q),
    .cfg_bar2_size_i      (bar2_size_q),
    .cpl_timeout_i        (cpl_timeout),
    .reg_valid_o          (reg_valid),
    .reg_ready_i          (reg_ready),
    .reg_write_o          (reg_write),
    .reg_addr_o           (reg_addr),
    .reg_wdata_o          (reg_wdata),
    .reg_wstrb_o          (reg_wstrb),
    .reg_rdata_i          (reg_rdata),
    .bar2_req_valid_o     (req_valid[PortHost]),
    .bar2_req_ready_i     (req_ready[PortHost]),
    .bar2_req_o           (req[PortHost]),
    .bar2_rsp_valid_i     (rsp_valid[PortHost]),
    .bar2_rsp_i           (rsp[PortHost]),
    .sys_req_valid_i      (sreq_valid),
    .sys_req_ready_o      (sreq_ready),
    .sys_req_i            (sreq),
    .sys_req_client_i     (sreq_client),
    .sys_rsp_valid_o      (srsp_valid),
    .sys_rsp_o            (srsp),
    .sys_rsp_client_o     (srsp_client),
    .brd_valid_i          (brd_valid),
    .brd_ready_o          (brd_ready),
    .brd_i                (brd),
    .brd_rsp_valid_o      (brd_rsp_valid),
    .brd_rsp_o            (brd_rsp),
    .bwr_valid_i          (bwr_valid),
    .bwr_ready_o          (bwr_ready),
    .bwr_i                (bwr),
    .bwr_data_valid_i     (bwr_data_valid),
    .bwr_data_ready_o     (bwr_data_ready),
    .bwr_data_i           (bwr_data),
    .irq_i                (irq),
    .msix_req_valid_o     (req_valid[PortMsix]),
    .msix_req_ready_i     (req_ready[PortMsix]),
    .msix_req_o           (req[PortMsix]),
    .err_valid_o          (err_valid[ErrLink]),
    .err_code_o           (err_code[ErrLink]),
    .err_client_o         (err_unit[ErrLink]),
    .err_addr_o           (err_addr[ErrLink]),
    .cnt_link_rx_bytes_o  (n_rx_bytes),
    .cnt_link_tx_bytes_o  (n_tx_bytes),
    .cnt_link_reads_o     (n_link_reads),
    .cnt_link_writes_o    (n_link_writes),
    .cnt_link_atomics_o   (n_link_atomics),
    .cnt_interrupts_o     (n_interrupts),
    .cnt_dropped_tlps_o   (n_dropped)
  );

  mem_fabric #(.NumClients(NumPorts), .Compact(Compact)) u_fabric (
    .clk_i, .rst_ni,
    .req_valid_i       (req_valid),
    .req_ready_o       (req_ready),
    .req_i             (req),
    .rsp_valid_o       (rsp_valid),
    .rsp_o             (rsp),
    .vram_req_valid_o  (vreq_valid),
    .vram_req_ready_i  (vreq_ready),
    .vram_swap_room_i  (vswap_room),
    .vram_req_o        (vreq),
    .vram_req_client_o (vreq_client),
    .vram_rsp_valid_i  (vrsp_valid),
    .vram_rsp_ready_o  (vrsp_ready),
    .vram_rsp_i        (vrsp),
    .vram_rsp_client_i (vrsp_client),
    .sys_req_valid_o   (sreq_valid),
    .sys_req_ready_i   (sreq_ready),
    .sys_req_o         (sreq),
    .sys_req_client_o  (sreq_client),
    .sys_rsp_valid_i   (srsp_valid),
    .sys_rsp_i         (srsp),
    .sys_rsp_client_i  (srsp_client)
  );

  logic [3:0] vram_err_client;

  vram_ctrl #(.Compact(Compact)) u_vram (
    .clk_i, .rst_ni,
    .vram_size_i       (vram_size_q),
    .req_valid_i       (vreq_valid),
    .req_ready_o       (vreq_ready),
    .req_i             (vreq),
    .req_client_i      (vreq_client),
    .swap_room_o       (vswap_room),
    .rsp_valid_o       (vrsp_valid),
    .rsp_ready_i       (vrsp_ready),
    .rsp_o             (vrsp),
    .rsp_client_o      (vrsp_client),
    .vram_req_valid_o  (xreq_valid),
    .vram_req_ready_i  (xreq_ready),
    .vram_req_write_o  (xreq_write),
    .vram_req_addr_o   (xreq_addr),
    .vram_req_wdata_o  (xreq_wdata),
    .vram_req_wstrb_o  (xreq_wstrb),
    .vram_rsp_valid_i  (xrsp_valid),
    .vram_rsp_ready_o  (xrsp_ready),
    .vram_rsp_rdata_i  (xrsp_rdata),
    .err_o             (err_valid[ErrVram]),
    .err_client_o      (vram_err_client),
    .err_addr_o        (err_addr[ErrVram]),
    .cnt_vram_reads_o  (n_vram_reads),
    .cnt_vram_writes_o (n_vram_writes)
  );
  assign err_code[ErrVram] = ErrorCodeVramRange;
  assign err_unit[ErrVram] = pcie_pkg::client_of(vram_err_client);

  // ------------------------------------------------------------------ registers
  dev_regs #(
    .NumErrors(NumErrors), .Units(NumCu), .Warps(Warps), .Walkers(Walkers), .FaultEntries(FaultEntries),
    .CopyChannels(CopyChannels), .L2Sets(L2Sets), .JobSlots(JobSlots), .IncW(IncW), .Compact(Compact)
  ) u_regs (
    .clk_i, .rst_ni,
    .reg_valid_i      (reg_valid),
    .reg_ready_o      (reg_ready),
    .reg_write_i      (reg_write),
    .reg_addr_i       (reg_addr),
    .reg_wdata_i      (reg_wdata),
    .reg_wstrb_i      (reg_wstrb),
    .reg_rdata_o      (dev_rdata),
    .enable_o         (enable),
    .time_o           (dev_time),
    .cpl_timeout_o    (cpl_timeout),
    .xlat_limits_o    (xlat_limits),
    .ctrl_ring_o      (ctrl_ring),
    .launch_ring_o    (launch_ring),
    .fault_ring_o     (fault_ring),
    .dirty_ring_o     (dirty_ring),
    .irq_error_o      (irq[VectorError]),
    .vram_size_i      (vram_size_q),
    .ctrl_cons_i      (ctrl_cons),
    .launch_cons_i    (launch_cons),
    .fault_prod_i     (fault_prod),
    .dirty_prod_i     (dirty_prod),
    .dirty_next_i     (dirty_next),
    .ctrl_idle_i      (ctrl_idle),
    .copy_idle_i      (copy_idle),
    .launch_idle_i    (launch_idle),
    .ctrl_stopped_i   (ctrl_stopped),
    .copy_stopped_i   (copy_stopped),
    .launch_stopped_i (launch_stopped),
    .fault_full_i     (fault_full),
    .dirty_full_i     (dirty_full),
    .warp_sel_o       (warp_sel),
    .warp_state_i     (warp_state),
    .job_state_i      (job_state),
    .err_valid_i      (err_valid),
    .err_code_i       (err_code),
    .err_unit_i       (err_unit),
    .err_addr_i       (err_addr),
    .inc_i            (inc),
    .inv_done_i       (inv_done),
    .inv_cycles_i     (inv_cycles)
  );
  assign irq[7:6] = '0;

  // ------------------------------------------------------------------ queues
  ctrl_unit #(.RingDepth(RingDepth)) u_ctrl (
    .clk_i, .rst_ni,
    .enable_i             (enable),
    .time_i               (dev_time),
    .ring_i               (ctrl_ring),
    .cons_o               (ctrl_cons),
    .stopped_o            (ctrl_stopped),
    .idle_o               (ctrl_idle),
    .irq_ctrl_o           (irq[VectorCtrl]),
    .err_valid_o          (err_valid[ErrCtrl]),
    .err_code_o           (err_code[ErrCtrl]),
    .err_addr_o           (err_addr[ErrCtrl]),
    .mem_req_valid_o      (req_valid[PortCtrl]),
    .mem_req_ready_i      (req_ready[PortCtrl]),
    .mem_req_o            (req[PortCtrl]),
    .mem_rsp_valid_i      (rsp_valid[PortCtrl]),
    .mem_rsp_i            (rsp[PortCtrl]),
    .cmd_valid_o          (cmd_valid),
    .cmd_ready_i          (cmd_ready),
    .cmd_o                (cmd),
    .cmd_done_i           (cmd_done),
    .kill_launch_valid_o  (kill_launch_valid),
    .kill_launch_by_ctx_o (kill_launch_by_ctx),
    .kill_launch_job_o    (kill_launch_job),
    .kill_launch_done_i   (kill_launch_done),
    .hold_valid_o         (hold_valid),
    .hold_on_o            (hold_on),
    .hold_save_o          (hold_save),
    .hold_area_o          (hold_area),
    .hold_done_i          (hold_done),
    .kill_copy_valid_o    (kill_copy_valid),
    .kill_copy_done_i     (kill_copy_done),
    .kill_ctx_o           (kill_ctx)
  );
  assign err_unit[ErrCtrl] = ClientCtrl;

  ring_cfg_t          [CopyChannels-1:0]       copy_ring;
  logic               [CopyChannels-1:0][31:0] copy_cons;
  copy_pkg::copy_ctl_t [CopyChannels-1:0]      copy_ctl;
  copy_pkg::copy_sta_t [CopyChannels-1:0]      copy_sta;
  copy_pkg::copy_rec_t [CopyChannels-1:0]      copy_rec;

  copy_regs #(.Channels(CopyChannels)) u_copy_regs (
    .clk_i, .rst_ni,
    .reg_valid_i (reg_valid),
    .reg_write_i (reg_write),
    .reg_addr_i  (reg_addr),
    .reg_wdata_i (reg_wdata),
    .reg_wstrb_i (reg_wstrb),
    .reg_rdata_o (copy_rdata),
    .ring_o      (copy_ring),
    .ctl_o       (copy_ctl),
    .cons_i      (copy_cons),
    .sta_i       (copy_sta),
    .rec_i       (copy_rec),
    .idle_o      (copy_idle),
    .stopped_o   (copy_stopped)
  );
  assign reg_rdata = dev_rdata | copy_rdata;

  copy_engine #(
    .Channels(CopyChannels), .NumBursts(CopyBursts), .BurstBytes(BurstBytes), .TlbEntries(L1Entries),
    .RingDepth(RingDepth), .ListDepth(CopyList)
  ) u_copy (
    .clk_i, .rst_ni,
    .enable_i         (enable),
    .time_i           (dev_time),
    .ring_i           (copy_ring),
    .cons_o           (copy_cons),
    .ctl_i            (copy_ctl),
    .sta_o            (copy_sta),
    .rec_o            (copy_rec),
    .irq_copy_o       (irq[VectorCopy]),
    .err_valid_o      (err_valid[ErrCopy]),
    .err_code_o       (err_code[ErrCopy]),
    .err_addr_o       (err_addr[ErrCopy]),
    .miss_valid_o     (miss_valid[XlatCopy]),
    .miss_ready_i     (miss_ready[XlatCopy]),
    .miss_o           (miss[XlatCopy]),
    .event_i          (mmu_event),
    .drain_done_o     (drain_done[XlatCopy]),
    .kill_valid_i     (kill_copy_valid),
    .kill_ctx_i       (kill_ctx),
    .kill_done_o      (kill_copy_done),
    .ring_req_valid_o (req_valid[PortCopyRing]),
    .ring_req_ready_i (req_ready[PortCopyRing]),
    .ring_req_o       (req[PortCopyRing]),
    .ring_rsp_valid_i (rsp_valid[PortCopyRing]),
    .ring_rsp_i       (rsp[PortCopyRing]),
    .vram_req_valid_o (req_valid[PortCopyVram]),
    .vram_req_ready_i (req_ready[PortCopyVram]),
    .vram_req_o       (req[PortCopyVram]),
    .vram_rsp_valid_i (rsp_valid[PortCopyVram]),
    .vram_rsp_i       (rsp[PortCopyVram]),
    .brd_valid_o      (brd_valid),
    .brd_ready_i      (brd_ready),
    .brd_o            (brd),
    .brd_rsp_valid_i  (brd_rsp_valid),
    .brd_rsp_i        (brd_rsp),
    .bwr_valid_o      (bwr_valid),
    .bwr_ready_i      (bwr_ready),
    .bwr_o            (bwr),
    .bwr_data_valid_o (bwr_data_valid),
    .bwr_data_ready_i (bwr_data_ready),
    .bwr_data_o       (bwr_data),
    .cnt_lookup_o     (n_copy_lookups),
    .cnt_hit_o        (n_copy_hits),
    .cnt_bytes_o      (n_copy_bytes)
  );
  assign err_unit[ErrCopy] = ClientCopy;

  launch_unit #(.JobSlots(JobSlots), .Places(NumCu * Warps), .RingDepth(RingDepth), .Compact(Compact)) u_launch (
    .clk_i, .rst_ni,
    .enable_i        (enable),
    .time_i          (dev_time),
    .ring_i          (launch_ring),
    .cons_o          (launch_cons),
    .stopped_o       (launch_stopped),
    .idle_o          (launch_idle),
    .irq_job_o       (irq[VectorJob]),
    .err_valid_o     (err_valid[ErrLaunch]),
    .err_code_o      (err_code[ErrLaunch]),
    .err_addr_o      (err_addr[ErrLaunch]),
    .mem_req_valid_o (req_valid[PortLaunch]),
    .mem_req_ready_i (req_ready[PortLaunch]),
    .mem_req_o       (req[PortLaunch]),
    .mem_rsp_valid_i (rsp_valid[PortLaunch]),
    .mem_rsp_i       (rsp[PortLaunch]),
    .kill_valid_i    (kill_launch_valid),
    .kill_by_ctx_i   (kill_launch_by_ctx),
    .kill_job_i      (kill_launch_job),
    .kill_ctx_i      (kill_ctx),
    .kill_done_o     (kill_launch_done),
    .hold_valid_i    (hold_valid),
    .hold_on_i       (hold_on),
    .hold_save_i     (hold_save),
    .hold_area_i     (hold_area),
    .hold_done_o     (hold_done),
    .job_state_o     (job_state),
    .thread_valid_o  (thread_valid),
    .thread_ready_i  (thread_ready),
    .thread_o        (thread),
    .end_valid_i     (end_valid),
    .end_ready_o     (end_ready),
    .end_i           (thread_end),
    .kill_mask_o     (kill_mask),
    .held_mask_o     (held_mask),
    .busy_i          (job_busy),
    .save_o          (save_job),
    .save_any_i      (save_any),
    .save_rd_valid_o (save_rd_valid),
    .save_rd_ready_i (save_rd_ready),
    .save_beat_o     (save_beat),
    .save_data_i     (save_data),
    .save_take_o     (save_take),
    .load_valid_o    (load_valid),
    .load_ready_i    (load_ready),
    .load_word_o     (load_word),
    .load_data_o     (load_data),
    .cnt_jobs_o      (n_jobs)
  );
  assign err_unit[ErrLaunch] = ClientLaunch;

  // ------------------------------------------------------------------ compute
  cu_cluster #(
    .NumCu(NumCu), .Warps(Warps), .JobSlots(JobSlots), .L1Entries(L1Entries), .DataSlots(DataSlots),
    .FetchSlots(FetchSlots), .Compact(Compact)
  ) u_cluster (
    .clk_i, .rst_ni,
    .time_i                 (dev_time),
    .thread_valid_i         (thread_valid),
    .thread_ready_o         (thread_ready),
    .thread_i               (thread),
    .end_valid_o            (end_valid),
    .end_ready_i            (end_ready),
    .end_o                  (thread_end),
    .kill_i                 (kill_mask),
    .held_i                 (held_mask),
    .busy_o                 (job_busy),
    .save_i                 (save_job),
    .save_any_o             (save_any),
    .save_rd_valid_i        (save_rd_valid),
    .save_rd_ready_o        (save_rd_ready),
    .save_beat_i            (save_beat),
    .save_data_o            (save_data),
    .save_take_i            (save_take),
    .load_valid_i           (load_valid),
    .load_ready_o           (load_ready),
    .load_word_i            (load_word),
    .load_data_i            (load_data),
    .miss_valid_o           (miss_valid[2*NumCu-1:0]),
    .miss_ready_i           (miss_ready[2*NumCu-1:0]),
    .miss_o                 (miss[2*NumCu-1:0]),
    .event_i                (mmu_event),
    .drain_done_o           (drain_done[2*NumCu-1:0]),
    .mem_req_valid_o        (req_valid[PortCu+:2*NumCu]),
    .mem_req_ready_i        (req_ready[PortCu+:2*NumCu]),
    .mem_req_o              (req[PortCu+:2*NumCu]),
    .mem_rsp_valid_i        (rsp_valid[PortCu+:2*NumCu]),
    .mem_rsp_i              (rsp[PortCu+:2*NumCu]),
    .warp_sel_i             (warp_sel),
    .warp_state_o           (warp_state),
    .cnt_instructions_o     (n_instructions),
    .cnt_cu_loads_o         (n_cu_loads),
    .cnt_cu_stores_o        (n_cu_stores),
    .cnt_cu_busy_o          (n_cu_busy),
    .cnt_threads_o          (n_threads),
    .cnt_l1_lookups_o       (n_data_lookups),
    .cnt_l1_hits_o          (n_data_hits),
    .cnt_l1_fetch_lookups_o (n_fetch_lookups),
    .cnt_l1_fetch_hits_o    (n_fetch_hits)
  );

  // ------------------------------------------------------------------ translation
  mmu #(
    .NumClients(NumXlat), .Walkers(Walkers), .L2Sets(L2Sets), .L2Ways(L2Ways),
    .L2Large(L2Large), .CacheTables(CacheTables), .CacheMiddle(CacheMiddle), .CacheTop(CacheTop),
    .FaultEntries(FaultEntries), .Compact(Compact)
  ) u_mmu (
    .clk_i, .rst_ni,
    .miss_valid_i        (miss_valid),
    .miss_ready_o        (miss_ready),
    .miss_i              (miss),
    .event_o             (mmu_event),
    .drain_done_i        (drain_done),
    .cmd_valid_i         (cmd_valid),
    .cmd_ready_o         (cmd_ready),
    .cmd_i               (cmd),
    .cmd_done_o          (cmd_done),
    .limits_i            (xlat_limits),
    .mem_req_valid_o     (req_valid[PortWalker]),
    .mem_req_ready_i     (req_ready[PortWalker]),
    .mem_req_o           (req[PortWalker]),
    .mem_rsp_valid_i     (rsp_valid[PortWalker]),
    .mem_rsp_i           (rsp[PortWalker]),
    .fault_ring_i        (fault_ring),
    .fault_prod_o        (fault_prod),
    .fault_full_o        (fault_full),
    .fault_req_valid_o   (req_valid[PortFault]),
    .fault_req_ready_i   (req_ready[PortFault]),
    .fault_req_o         (req[PortFault]),
    .fault_irq_o         (irq[VectorFault]),
    .dirty_ring_i        (dirty_ring),
    .dirty_prod_o        (dirty_prod),
    .dirty_next_o        (dirty_next),
    .dirty_full_o        (dirty_full),
    .dirty_irq_o         (irq[VectorDirty]),
    .time_i              (dev_time),
    .cnt_l2_lookups_o    (n_l2_lookups),
    .cnt_l2_hits_o       (n_l2_hits),
    .cnt_walks_o         (n_walks),
    .cnt_walk_reads_o    (n_walk_reads),
    .cnt_walk_merges_o   (n_walk_merges),
    .cnt_walk_restarts_o (n_walk_restarts),
    .cnt_ad_updates_o    (n_ad),
    .cnt_d_updates_o     (n_d),
    .cnt_faults_o        (n_faults),
    .cnt_fault_merges_o  (n_fault_merges),
    .cnt_dirty_o         (n_dirty),
    .cnt_replays_o       (n_replays),
    .cnt_cancels_o       (n_cancels),
    .cnt_invalidations_o (n_invalidations),
    .inv_done_o          (inv_done),
    .inv_cycles_o        (inv_cycles)
  );

  // The fault unit and MSI-X only write.
  logic unused;
  assign unused = ^{rsp_valid[PortFault], rsp[PortFault], rsp_valid[PortMsix], rsp[PortMsix],
                    rx_count, xreq_count, xrsp_count};

endmodule
