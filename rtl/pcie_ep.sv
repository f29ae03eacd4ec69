// PCIe endpoint of hmmu: everything between the TLP streams and the device.
//
// Towards the host: pcie_rx sorts what comes; pcie_completer serves BAR0 and BAR2; pcie_requester
//   reads and writes system memory; pcie_tx sends; msix tells the host. docs/tlp-ports.md describes
//   the streams for whoever attaches another root complex.
// Ordering: what is accepted (valid && ready) on sys_req, on the last data beat of a bwr burst or as
//   the completion of a host's read leaves on the transmit stream in that order. So a write is never
//   passed by a later read, message or completion.
// Liveness: rx_ready_o may wait for tx_ready_i, VRAM and the register bus, tx_valid_o for nothing
//   else than these; nothing on the transmit side waits for the receive side.
module pcie_ep
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import pcie_pkg::*;
#(
  parameter int unsigned Tags       = 64,
  parameter int unsigned Bursts     = 16,   // tags of the burst ports
  parameter int unsigned BurstBytes = 512,  // of a burst write at most, a power of two
  parameter int unsigned LinkW      = DataW, // bits of payload in a beat of the TLP streams: DataW or twice as many
  parameter bit          Compact    = 1'b0  // the form for an FPGA: a few cycles more on the way
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
  // Configuration, as a hard block gives it.
  input  logic [15:0]      cfg_bdf_i,
  input  logic [2:0]       cfg_mps_i,
  input  logic [2:0]       cfg_mrrs_i,
  input  logic             cfg_rcb_i,
  input  logic             cfg_msix_en_i,
  input  logic [63:0]      cfg_bar0_i,
  input  logic [63:0]      cfg_bar2_i,
  input  logic [39:0]      cfg_bar2_size_i,   // bytes, a power of two
  input  logic [31:0]      cpl_timeout_i,     // cycles, 0: never
  // Register bus, offsets below MsixTable. reg_rdata_i is taken the cycle after acceptance.
  output logic             reg_valid_o,
  input  logic             reg_ready_i,
  output logic             reg_write_o,
  output logic [15:0]      reg_addr_o,
  output logic [63:0]      reg_wdata_o,
  output logic [7:0]       reg_wstrb_o,
  input  logic [63:0]      reg_rdata_i,
  // BAR2 aperture: a client of the memory fabric (VRAM only).
  output logic             bar2_req_valid_o,
  input  logic             bar2_req_ready_i,
  output mem_req_t         bar2_req_o,
  input  logic             bar2_rsp_valid_i,
  input  mem_rsp_t         bar2_rsp_i,
  // System memory requests of the fabric.
  input  logic             sys_req_valid_i,
  output logic             sys_req_ready_o,
  input  mem_req_t         sys_req_i,
  input  logic [3:0]       sys_req_client_i,
  output logic             sys_rsp_valid_o,
  output mem_rsp_t         sys_rsp_o,
  output logic [3:0]       sys_rsp_client_o,
  // Bursts of the copy engine.
  input  logic             brd_valid_i,
  output logic             brd_ready_o,
  input  burst_t           brd_i,
  output logic             brd_rsp_valid_o,
  output burst_rsp_t       brd_rsp_o,
  input  logic             bwr_valid_i,
  output logic             bwr_ready_o,
  input  burst_t           bwr_i,
  input  logic             bwr_data_valid_i,
  output logic             bwr_data_ready_o,
  input  logic [DataW-1:0] bwr_data_i,
  // Interrupts in, their messages out: a client of the memory fabric (writes only).
  input  logic [7:0]       irq_i,
  output logic             msix_req_valid_o,
  input  logic             msix_req_ready_i,
  output mem_req_t         msix_req_o,
  // Reports.
  output logic             err_valid_o,
  output error_code_e      err_code_o,
  output client_e          err_client_o,
  output pa_t              err_addr_o,
  output logic [12:0]      cnt_link_rx_bytes_o,   // to add in this cycle
  output logic [12:0]      cnt_link_tx_bytes_o,
  output logic             cnt_link_reads_o,
  output logic             cnt_link_writes_o,
  output logic             cnt_link_atomics_o,
  output logic             cnt_interrupts_o,
  output logic             cnt_dropped_tlps_o
);

  logic             cpl_valid, cpl_next, cpl_ready, cpl_sop, cpl_eop, cpl_abort;
  cpl_hdr_t         cpl_hdr;
  logic [DataW-1:0] cpl_data;
  logic             req_valid, req_pop, dat_valid, dat_pop;
  req_hdr_t         req_hdr;
  logic [DataW-1:0] dat;
  logic             rx_drop, cmp_drop, tag_drop;
  logic [63:0]      cmp_drop_addr;

  // ------------------------------------------------------------------ width of the streams
  logic             rx_valid, rx_ready, tx_valid, tx_ready;
  tlp_beat_t        rx, tx;

  if (LinkW == DataW) begin : gen_same
    assign rx_valid   = rx_valid_i;
    assign rx         = '{sop: rx_sop_i, eop: rx_eop_i, hdr: rx_hdr_i, data: rx_data_i};
    assign rx_ready_o = rx_ready;
    assign tx_valid_o = tx_valid;
    assign tx_ready   = tx_ready_i;
    assign {tx_sop_o, tx_eop_o, tx_hdr_o, tx_data_o} = tx;
  end else begin : gen_twice
    tlp_narrow u_narrow (
      .clk_i, .rst_ni,
      .in_valid_i (rx_valid_i), .in_ready_o (rx_ready_o),
      .in_sop_i   (rx_sop_i), .in_eop_i (rx_eop_i), .in_hdr_i (rx_hdr_i), .in_data_i (rx_data_i),
      .out_valid_o(rx_valid), .out_ready_i(rx_ready),
      .out_sop_o  (rx.sop), .out_eop_o (rx.eop), .out_hdr_o (rx.hdr), .out_data_o (rx.data)
    );
    tlp_widen u_widen (
      .clk_i, .rst_ni,
      .in_valid_i (tx_valid), .in_ready_o (tx_ready),
      .in_sop_i   (tx.sop), .in_eop_i (tx.eop), .in_hdr_i (tx.hdr), .in_data_i (tx.data),
      .out_valid_o(tx_valid_o), .out_ready_i(tx_ready_i),
      .out_sop_o  (tx_sop_o), .out_eop_o (tx_eop_o), .out_hdr_o (tx_hdr_o), .out_data_o (tx_data_o)
    );
  end

  pcie_rx u_rx (
    .clk_i, .rst_ni, .cfg_mps_i,
    .rx_valid_i (rx_valid),
    .rx_ready_o (rx_ready),
    .rx_sop_i   (rx.sop),
    .rx_eop_i   (rx.eop),
    .rx_hdr_i   (rx.hdr),
    .rx_data_i  (rx.data),
    .cpl_valid_o(cpl_valid),
    .cpl_ready_i(cpl_ready),
    .cpl_next_o (cpl_next),
    .cpl_sop_o  (cpl_sop),
    .cpl_eop_o  (cpl_eop),
    .cpl_abort_o(cpl_abort),
    .cpl_hdr_o  (cpl_hdr),
    .cpl_data_o (cpl_data),
    .req_valid_o(req_valid),
    .req_pop_i  (req_pop),
    .req_hdr_o  (req_hdr),
    .dat_valid_o(dat_valid),
    .dat_pop_i  (dat_pop),
    .dat_o      (dat),
    .drop_o     (rx_drop),
    .bytes_o    (cnt_link_rx_bytes_o)
  );

  logic        msix_reg_valid;
  logic [63:0] msix_rdata;
  tlp_beat_t   c_tlp, r_tlp;
  logic        c_valid, c_ready, r_valid, r_ready, r_lock;

  pcie_completer #(.Compact(Compact)) u_completer (
    .clk_i, .rst_ni, .cfg_bdf_i, .cfg_mps_i, .cfg_bar0_i, .cfg_bar2_i, .cfg_bar2_size_i,
    .req_valid_i (req_valid),
    .req_pop_o   (req_pop),
    .req_hdr_i   (req_hdr),
    .dat_valid_i (dat_valid),
    .dat_pop_o   (dat_pop),
    .dat_i       (dat),
    .reg_valid_o, .reg_ready_i, .reg_write_o, .reg_addr_o, .reg_wdata_o, .reg_wstrb_o, .reg_rdata_i,
    .msix_valid_o(msix_reg_valid),
    .msix_rdata_i(msix_rdata),
    .bar2_req_valid_o, .bar2_req_ready_i, .bar2_req_o, .bar2_rsp_valid_i, .bar2_rsp_i,
    .tlp_valid_o (c_valid),
    .tlp_ready_i (c_ready),
    .tlp_sop_o   (c_tlp.sop),
    .tlp_eop_o   (c_tlp.eop),
    .tlp_hdr_o   (c_tlp.hdr),
    .tlp_data_o  (c_tlp.data),
    .drop_o      (cmp_drop),
    .drop_addr_o (cmp_drop_addr)
  );

  msix #(.Vectors(8)) u_msix (
    .clk_i, .rst_ni, .cfg_msix_en_i, .irq_i,
    .reg_valid_i(msix_reg_valid),
    .reg_write_i(reg_write_o),
    .reg_addr_i (reg_addr_o),
    .reg_wdata_i(reg_wdata_o),
    .reg_wstrb_i(reg_wstrb_o),
    .reg_rdata_o(msix_rdata),
    .req_valid_o(msix_req_valid_o),
    .req_ready_i(msix_req_ready_i),
    .req_o      (msix_req_o),
    .cnt_interrupts_o
  );

  logic        tag_err;
  error_code_e tag_code;
  client_e     tag_client;
  pa_t         tag_addr;

  pcie_requester #(.Tags(Tags), .Bursts(Bursts), .BurstBytes(BurstBytes), .Compact(Compact)) u_requester (
    .clk_i, .rst_ni, .cfg_bdf_i, .cfg_mps_i, .cfg_mrrs_i, .cfg_rcb_i, .cpl_timeout_i,
    .sys_req_valid_i, .sys_req_ready_o, .sys_req_i, .sys_req_client_i,
    .sys_rsp_valid_o, .sys_rsp_o, .sys_rsp_client_o,
    .brd_valid_i, .brd_ready_o, .brd_i, .brd_rsp_valid_o, .brd_rsp_o,
    .bwr_valid_i, .bwr_ready_o, .bwr_i, .bwr_data_valid_i, .bwr_data_ready_o, .bwr_data_i,
    .tlp_valid_o (r_valid),
    .tlp_ready_i (r_ready),
    .tlp_lock_o  (r_lock),
    .tlp_o       (r_tlp),
    .cpl_valid_i (cpl_valid),
    .cpl_next_i  (cpl_next),
    .cpl_ready_o (cpl_ready),
    .cpl_sop_i   (cpl_sop),
    .cpl_eop_i   (cpl_eop),
    .cpl_abort_i (cpl_abort),
    .cpl_hdr_i   (cpl_hdr),
    .cpl_data_i  (cpl_data),
    .drop_o      (tag_drop),
    .err_valid_o (tag_err),
    .err_code_o  (tag_code),
    .err_client_o(tag_client),
    .err_addr_o  (tag_addr),
    .cnt_reads_o (cnt_link_reads_o),
    .cnt_writes_o(cnt_link_writes_o),
    .cnt_atomics_o(cnt_link_atomics_o)
  );

  pcie_tx #(.Compact(Compact)) u_tx (
    .clk_i, .rst_ni,
    .req_valid_i(r_valid),
    .req_ready_o(r_ready),
    .req_lock_i (r_lock),
    .req_i      (r_tlp),
    .cpl_valid_i(c_valid),
    .cpl_ready_o(c_ready),
    .cpl_i      (c_tlp),
    .tx_valid_o (tx_valid),
    .tx_ready_i (tx_ready),
    .tx_sop_o   (tx.sop),
    .tx_eop_o   (tx.eop),
    .tx_hdr_o   (tx.hdr),
    .tx_data_o  (tx.data),
    .bytes_o    (cnt_link_tx_bytes_o)
  );

  // Dropped TLPs of the three places, counted one by one; the report of a failed request goes first.
  logic [1:0] drops;
  logic [5:0] drops_q;
  logic       lost_q;                   // a drop is still to be reported
  pa_t        lost_addr_q;

  assign drops = 2'(rx_drop) + 2'(cmp_drop) + 2'(tag_drop);
  assign cnt_dropped_tlps_o = drops_q != '0;

  assign err_valid_o  = tag_err || lost_q;
  assign err_code_o   = tag_err ? tag_code : ErrorCodeMalformed;
  assign err_client_o = tag_err ? tag_client : ClientHost;
  assign err_addr_o   = tag_err ? tag_addr : lost_addr_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      drops_q     <= '0;
      lost_q      <= 1'b0;
      lost_addr_q <= '0;
    end else begin
      // A TLP is dropped in one place, so there are no more of them than cycles; but the completer may drop the whole
      // of its buffer while broken ones come.
      drops_q <= drops_q + 6'(drops) - 6'(cnt_dropped_tlps_o);
      if (drops != '0) begin
        lost_q      <= 1'b1;
        lost_addr_q <= cmp_drop ? cmp_drop_addr[PaW-1:0] : '0;
      end else if (!tag_err) begin
        lost_q <= 1'b0;
      end
    end
  end

  logic unused;
  assign unused = ^cmp_drop_addr[63:PaW];

endmodule
