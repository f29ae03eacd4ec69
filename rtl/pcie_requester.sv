// Issues the device's own requests: reads, writes and compare-and-swaps of the memory fabric (at
// most 16 bytes each), and the bursts of the copy engine.
//
// Promise: requests go out in the order of their acceptance. Reads and swaps hold a tag (Tags of
//   them; bursts leave at least a quarter to the fabric); what becomes of them is pcie_tags' job.
//   A burst read that fits MRRS is one request, else it is cut at multiples of MRRS; brd_ready_o comes
//   with its last request. A burst write counts as accepted when its last data beat is.
//   The fabric's read asks for the aligned 16 bytes; a write's strobes must be contiguous.
// Throughput: one single-beat request per cycle; bursts one beat per cycle.
// Compact: the form for an FPGA. Each piece of a burst is cut off in the cycle before it goes.
module pcie_requester
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import pcie_pkg::*;
#(
  parameter int unsigned Tags       = 64,
  parameter int unsigned Bursts     = 16,
  parameter int unsigned BurstBytes = 512,  // of a burst write at most
  parameter bit          Compact    = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [15:0]      cfg_bdf_i,
  input  logic [2:0]       cfg_mps_i,
  input  logic [2:0]       cfg_mrrs_i,
  input  logic             cfg_rcb_i,
  input  logic [31:0]      cpl_timeout_i,
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
  // To the transmit stage, and completions from the receive stage.
  output logic             tlp_valid_o,
  input  logic             tlp_ready_i,
  output logic             tlp_lock_o,
  output tlp_beat_t        tlp_o,
  input  logic             cpl_valid_i,
  input  logic             cpl_next_i,
  output logic             cpl_ready_o,
  input  logic             cpl_sop_i,
  input  logic             cpl_eop_i,
  input  logic             cpl_abort_i,
  input  cpl_hdr_t         cpl_hdr_i,
  input  logic [DataW-1:0] cpl_data_i,
  // Reports.
  output logic             drop_o,
  output logic             err_valid_o,
  output error_code_e      err_code_o,
  output client_e          err_client_o,
  output pa_t              err_addr_o,
  output logic             cnt_reads_o,
  output logic             cnt_writes_o,
  output logic             cnt_atomics_o
);

  typedef enum logic [1:0] {
    SrcSys = 2'd0,
    SrcBrd = 2'd1,
    SrcBwr = 2'd2
  } src_e;

  src_e last_q, src;
  logic s_want, r_want, tag_any, tag_burst, fire, alloc;

  // ------------------------------------------------------------------ single beats
  tlp_beat_t   s_tlp;
  logic [3:0]  nibbles;                // DWs that the strobes touch
  logic [1:0]  s_first, s_last;
  logic [7:0]  s_dws;
  logic [3:0]  s_fbe, s_lbe;
  logic        s_read, s_cas, s_tagged;
  logic [63:0] s_addr;

  assign s_read   = sys_req_i.op == MemRead;
  assign s_cas    = sys_req_i.op == MemCas;
  assign s_tagged = s_read || s_cas;

  always_comb begin
    for (int i = 0; i < 4; i++) nibbles[i] = |sys_req_i.strb[4*i +: 4];
    unique casez (nibbles)
      4'b???1, 4'b0000: s_first = 2'd0;
      4'b??10:          s_first = 2'd1;
      4'b?100:          s_first = 2'd2;
      default:          s_first = 2'd3;
    endcase
    unique casez (nibbles)
      4'b1???:          s_last = 2'd3;
      4'b01??:          s_last = 2'd2;
      4'b001?:          s_last = 2'd1;
      default:          s_last = 2'd0;
    endcase
  end

  logic [7:0] tag;
  always_comb begin
    s_addr = {9'd0, sys_req_i.addr[54:4], 4'd0};
    s_dws  = 8'd4;
    s_fbe  = 4'hf;
    s_lbe  = 4'hf;
    s_tlp.data = sys_req_i.data;
    if (s_cas) begin
      s_addr[3:2] = sys_req_i.addr[3:2];
      if (sys_req_i.cas32) begin
        s_dws = 8'd2;
        s_tlp.data = {64'd0, sys_req_i.data[95:64], sys_req_i.data[31:0]};
      end
    end else if (!s_read) begin
      s_addr[3:2] = s_first;
      s_dws = {6'd0, s_last - s_first} + 8'd1;
      s_fbe = sys_req_i.strb[{s_first, 2'd0} +: 4];
      s_lbe = s_dws == 8'd1 ? 4'h0 : sys_req_i.strb[{s_last, 2'd0} +: 4];
      s_tlp.data = sys_req_i.data >> {s_first, 5'd0};
    end
    s_tlp.sop = 1'b1;
    s_tlp.eop = 1'b1;
    s_tlp.hdr = make_req(!s_read, s_cas ? TypeCas : TypeMem, s_dws, cfg_bdf_i, s_tagged ? tag : 8'd0,
                         s_lbe, s_fbe, s_addr);
  end

  // ------------------------------------------------------------------ burst reads
  logic [9:0]  r_done_q;               // bytes of the burst already asked for
  logic [54:0] r_addr, r_addr_d;
  logic [9:0]  r_left;
  chunk_t      r_c, r_c_d;
  tlp_beat_t   r_tlp;
  piece_e      r_size;
  logic        r_cut;

  assign r_size   = piece_size(cfg_mrrs_i);
  assign r_addr_d = brd_i.addr[54:0] + 55'(r_done_q);
  assign r_left   = brd_i.len - r_done_q;
  assign r_c_d    = next_chunk(r_addr_d[8:0], {3'd0, r_left}, r_size, 1'b1);

  if (Compact) begin : gen_cut
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) r_cut <= 1'b0;
      else         r_cut <= r_cut ? !(fire && src == SrcBrd) : brd_valid_i;
    end
    always_ff @(posedge clk_i) begin
      if (!r_cut) begin
        r_addr <= r_addr_d;
        r_c    <= r_c_d;
      end
    end
  end else begin : gen_now
    assign r_cut  = 1'b1;
    assign r_addr = r_addr_d;
    assign r_c    = r_c_d;
  end

  assign r_tlp   = '{sop: 1'b1, eop: 1'b1, data: '0,
                     hdr: make_req(1'b0, TypeMem, r_c.dws, cfg_bdf_i, tag, r_c.last_be,
                                   r_c.first_be, {9'd0, r_addr})};

  // ------------------------------------------------------------------ burst writes
  logic      w_ready, w_take, w_lock, w_valid;
  tlp_beat_t w_tlp;

  pcie_bwr #(.BurstBytes(BurstBytes), .Compact(Compact)) u_bwr (
    .clk_i, .rst_ni, .cfg_bdf_i, .cfg_mps_i,
    .bwr_valid_i, .bwr_ready_o, .bwr_i, .bwr_data_valid_i, .bwr_data_ready_o, .bwr_data_i,
    .ready_o    (w_ready),
    .take_i     (w_take),
    .lock_o     (w_lock),
    .tlp_valid_o(w_valid),
    .tlp_ready_i(tlp_ready_i),
    .tlp_o      (w_tlp)
  );

  // ------------------------------------------------------------------ choice
  assign s_want = sys_req_valid_i && (!s_tagged || tag_any);
  assign r_want = brd_valid_i && tag_burst && r_cut;

  always_comb begin
    unique case (last_q)
      SrcSys:  src = r_want ? SrcBrd : w_ready ? SrcBwr : SrcSys;
      SrcBrd:  src = w_ready ? SrcBwr : s_want ? SrcSys : SrcBrd;
      default: src = s_want ? SrcSys : r_want ? SrcBrd : SrcBwr;
    endcase
    if (w_lock) src = SrcBwr;
  end

  always_comb begin
    unique case (src)
      SrcSys: begin
        tlp_valid_o = s_want;
        tlp_o       = s_tlp;
      end
      SrcBrd: begin
        tlp_valid_o = r_want;
        tlp_o       = r_tlp;
      end
      default: begin
        tlp_valid_o = w_valid;
        tlp_o       = w_tlp;
      end
    endcase
  end

  assign w_take          = src == SrcBwr && w_ready;
  assign tlp_lock_o      = w_lock;
  assign fire            = tlp_valid_o && tlp_ready_i;
  assign alloc           = fire && (src == SrcBrd || (src == SrcSys && s_tagged));
  assign sys_req_ready_o = tlp_ready_i && src == SrcSys && s_want;
  assign brd_ready_o     = tlp_ready_i && src == SrcBrd && r_want && r_c.last;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      last_q   <= SrcBwr;
      r_done_q <= '0;
    end else begin
      if (fire) last_q <= src;
      if (fire && src == SrcBrd) r_done_q <= r_c.last ? '0 : r_done_q + r_c.bytes;
    end
  end

  // ------------------------------------------------------------------ tags and completions
  tag_info_t info;
  assign info = src == SrcBrd
    ? '{burst: 1'b1, cas: 1'b0, client: 4'd6, mtag: brd_i.tag, addr: r_addr, bytes: r_c.bytes,
        beat: 5'(({6'd0, brd_i.addr[3:0]} + r_done_q) >> 4)}
    : '{burst: 1'b0, cas: s_cas, client: sys_req_client_i, mtag: sys_req_i.tag, addr: s_addr[54:0],
        bytes: s_read ? 10'd16 : sys_req_i.cas32 ? 10'd4 : 10'd8, beat: '0};

  pcie_tags #(.Tags(Tags), .Bursts(Bursts), .Compact(Compact)) u_tags (
    .clk_i, .rst_ni, .cfg_bdf_i, .cfg_rcb_i, .cpl_timeout_i,
    .alloc_i       (alloc),
    .alloc_first_i (r_done_q == '0),
    .alloc_pieces_i(whole_pieces(brd_i.addr[8:0], brd_i.len, r_size)),
    .alloc_info_i  (info),
    .tag_o         (tag),
    .any_o         (tag_any),
    .burst_o       (tag_burst),
    .cpl_valid_i, .cpl_next_i, .cpl_ready_o, .cpl_sop_i, .cpl_eop_i, .cpl_abort_i, .cpl_hdr_i, .cpl_data_i,
    .sys_rsp_valid_o, .sys_rsp_o, .sys_rsp_client_o, .brd_rsp_valid_o, .brd_rsp_o,
    .drop_o, .err_valid_o, .err_code_o, .err_client_o, .err_addr_o
  );

  assign cnt_reads_o   = fire && (src == SrcBrd || (src == SrcSys && s_read));
  assign cnt_writes_o  = fire && tlp_o.sop && (src == SrcBwr || (src == SrcSys && !s_tagged));
  assign cnt_atomics_o = fire && src == SrcSys && s_cas;

  always_ff @(posedge clk_i) begin
    if (rst_ni && sys_req_valid_i) begin
      assert (!sys_req_i.addr[55]) else $error("pcie_requester: VRAM address");
      assert (!s_cas || sys_req_i.addr[1:0] == '0) else $error("pcie_requester: misaligned swap");
      assert (!s_cas || sys_req_i.cas32 || !sys_req_i.addr[2]) else $error("pcie_requester: misaligned swap");
      assert (sys_req_i.op != MemWrite || ((sys_req_i.strb | (sys_req_i.strb - 16'd1)) & (16'd1 + (sys_req_i.strb | (sys_req_i.strb - 16'd1)))) == '0
              || sys_req_i.strb == '0) else $error("pcie_requester: strobes with a hole");
    end
    if (rst_ni && brd_valid_i) begin
      assert (brd_i.len != '0 && brd_i.len <= 10'd512) else $error("pcie_requester: burst length");
      assert ({1'b0, brd_i.addr[11:0]} + 13'(brd_i.len) <= 13'd4096) else $error("pcie_requester: burst crosses 4 KiB");
      assert (!brd_i.addr[55]) else $error("pcie_requester: burst from VRAM");
    end
  end

  // A beat is the same whichever of its 16 bytes is named.
  logic unused;
  assign unused = ^{sys_req_i.addr[1:0], sys_req_i.addr[55], brd_i.addr[55]};

endmodule
