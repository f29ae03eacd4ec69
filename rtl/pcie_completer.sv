// Serves the requests of the host: BAR0 (register bus, MSI-X table) and the BAR2 aperture onto VRAM.
//
// Promise: requests take effect in the order in which they came: a register access is made after
//   all earlier aperture writes were accepted by VRAM. Completions come out in request order.
//   BAR0 takes 4 bytes, or 8 bytes aligned to 8, with byte enables. BAR2 takes any length and
//   alignment. What is not implemented (other BARs, other BAR0 sizes, I/O, configuration, AtomicOps,
//   locked reads) is answered with Unsupported Request; such writes, and poisoned ones, are dropped
//   (drop_o with drop_addr_o). Messages are ignored.
//   BAR2 reads beyond the memory give ones.
// Compact: the form for an FPGA. A request takes a cycle more to begin with, as does each piece of a completion.
// Throughput: one beat per cycle to or from VRAM with up to RdBeats reads in flight; a register
//   access takes 3 cycles.
// Handshake: reg_valid_o/reg_ready_i; reg_rdata_i is taken in the cycle after acceptance. The MSI-X
//   port is the same without ready. bar2: memory port; its responses must come in order.
module pcie_completer
  import hmmu_pkg::*;
  import pcie_pkg::*;
  import hmmu_regs_pkg::MsixTable;
#(
  parameter int unsigned RdBeats = 64,     // aperture read beats in flight or buffered
  parameter bit          Compact = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [15:0]      cfg_bdf_i,
  input  logic [2:0]       cfg_mps_i,
  input  logic [63:0]      cfg_bar0_i,
  input  logic [63:0]      cfg_bar2_i,
  input  logic [39:0]      cfg_bar2_size_i,   // bytes, a power of two
  // From pcie_rx.
  input  logic             req_valid_i,
  output logic             req_pop_o,
  input  req_hdr_t         req_hdr_i,
  input  logic             dat_valid_i,
  output logic             dat_pop_o,
  input  logic [DataW-1:0] dat_i,
  // Register bus.
  output logic             reg_valid_o,
  input  logic             reg_ready_i,
  output logic             reg_write_o,
  output logic [15:0]      reg_addr_o,
  output logic [63:0]      reg_wdata_o,
  output logic [7:0]       reg_wstrb_o,
  input  logic [63:0]      reg_rdata_i,
  // MSI-X table and PBA (same address, data and strobes).
  output logic             msix_valid_o,
  input  logic [63:0]      msix_rdata_i,
  // VRAM.
  output logic             bar2_req_valid_o,
  input  logic             bar2_req_ready_i,
  output mem_req_t         bar2_req_o,
  input  logic             bar2_rsp_valid_i,
  input  mem_rsp_t         bar2_rsp_i,
  // Completions.
  output logic             tlp_valid_o,
  input  logic             tlp_ready_i,
  output logic             tlp_sop_o,
  output logic             tlp_eop_o,
  output tlp_hdr_t         tlp_hdr_o,
  output logic [DataW-1:0] tlp_data_o,
  output logic             drop_o,
  output logic [63:0]      drop_addr_o
);

  localparam int unsigned CntW = $clog2(RdBeats) + 1;

  typedef enum logic [2:0] {
    CmpIdle  = 3'd0,
    CmpReg   = 3'd1,   // a BAR0 access waits for the bus
    CmpRdata = 3'd2,   // its read data is there
    CmpWrite = 3'd3,   // aperture write
    CmpRead  = 3'd4,   // aperture read
    CmpDrop  = 3'd5    // payload of a request that is not served
  } cmp_e;

  cmp_e        state_q, state_d;
  req_hdr_t    h;
  logic [63:0] addr;
  logic [10:0] dws;
  logic        hit0_d, hit2_d, hit0, hit2, seen, is_mem, is_msg, posted, reg_ok;
  logic [39:0] bar2_offset;

  assign h      = req_hdr_i;
  assign addr   = req_addr(h);
  assign dws    = dw_length(h.dw0);
  assign is_mem = h.dw0.kind == TypeMem;
  assign is_msg = h.dw0.kind[4:3] == 2'b10;
  assign posted = is_msg || (is_mem && h.dw0.data);
  assign hit0_d = addr[63:16] == cfg_bar0_i[63:16];
  assign bar2_offset = addr[39:0] & (cfg_bar2_size_i - 40'd1);
  assign hit2_d = cfg_bar2_size_i != '0 && (addr & ~{24'd0, cfg_bar2_size_i - 40'd1}) == cfg_bar2_i;

  // Compact: a request is looked at in the cycle after it came to the head.
  if (Compact) begin : gen_look
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) seen <= 1'b0;
      else         seen <= state_q == CmpIdle && req_valid_i && !req_pop_o;
    end
    always_ff @(posedge clk_i) begin
      hit0 <= hit0_d;
      hit2 <= hit2_d;
    end
  end else begin : gen_now
    assign seen = 1'b1;
    assign hit0 = hit0_d;
    assign hit2 = hit2_d;
  end
  assign reg_ok = hit0 && (dws == 11'd1 || (dws == 11'd2 && !addr[2]));

  // ------------------------------------------------------------------ what a completion needs
  // Bytes from the first to the last enabled one; a read of no bytes counts as one.
  logic [1:0]  lead, trail;
  logic [12:0] span;
  logic [3:0]  end_be;
  assign end_be = dws == 11'd1 ? h.first_be : h.last_be;
  always_comb begin
    unique casez (h.first_be)
      4'b???1, 4'b0000: lead = 2'd0;
      4'b??10:          lead = 2'd1;
      4'b?100:          lead = 2'd2;
      default:          lead = 2'd3;
    endcase
    unique casez (end_be)
      4'b1???:          trail = 2'd0;
      4'b01??:          trail = 2'd1;
      4'b001?:          trail = 2'd2;
      default:          trail = 2'd3;
    endcase
    span = {dws, 2'd0} - {11'd0, lead} - {11'd0, trail};
  end

  cpl_meta_t meta;
  logic      meta_push, meta_room;
  always_comb begin
    meta = '{ok: 1'b0, addr: {addr[11:2], 2'b00}, bytes: 13'd4, requester: h.requester,
             tag: h.tag, tc: h.dw0.tc, attr: {h.dw0.attr2, h.dw0.attr}, t9: h.dw0.t9, t8: h.dw0.t8};
    if (is_mem || h.dw0.kind == TypeMemLk) begin
      meta.ok    = is_mem && (reg_ok || hit2);
      meta.addr  = {addr[11:2], lead};
      meta.bytes = span;
    end else begin
      meta.addr = '0;
      if (h.dw0.kind == TypeCas) meta.bytes = {1'b0, dws, 1'd0};                // half of the payload
      else if (h.dw0.kind == TypeFetchAdd || h.dw0.kind == TypeSwap) meta.bytes = {dws, 2'd0};
    end
  end

  // ------------------------------------------------------------------ read data
  logic [CntW-1:0] used_q;             // beats asked for and not yet sent
  logic [CntW-1:0] fill;               // beats in the buffer
  logic [DataW-1:0] rd_data, rd_in;
  logic            rd_valid, rd_pop, rd_push, rd_room, ask, space;

  assign space   = used_q != CntW'(RdBeats);
  assign rd_push = bar2_rsp_valid_i || state_q == CmpRdata;
  assign rd_in   = state_q == CmpRdata ? {2{addr[15:0] < MsixTable ? reg_rdata_i : msix_rdata_i}}
                 : bar2_rsp_i.err ? '1 : bar2_rsp_i.data;

  sync_fifo #(.Width(DataW), .Depth(RdBeats)) u_rdata (
    .clk_i, .rst_ni,
    .in_valid_i (rd_push),
    .in_ready_o (rd_room),
    .in_i       (rd_in),
    .out_valid_o(rd_valid),
    .out_ready_i(rd_pop),
    .out_o      (rd_data),
    .count_o    (fill)
  );

  // ------------------------------------------------------------------ requests
  logic [39:4] beat_q;                 // VRAM beat of the aperture access
  logic [8:0]  left_q;                 // beats or payload beats left
  logic        sp_valid, sp_first, sp_last, sp_in_ready, sp_flush;
  logic [3:0]  sp_dwen;
  logic [DataW-1:0] sp_data;
  logic [StrbW-1:0] sp_strb;
  logic [8:0]  read_beats, payload_beats;
  logic [1:0]  last_dw;                // place of the last DW in its beat

  assign read_beats    = 9'(({2'd0, dws} + {11'd0, addr[3:2]} + 13'd3) >> 2);
  assign payload_beats = 9'((dws + 11'd3) >> 2);
  assign last_dw       = addr[3:2] + dws[1:0] - 2'd1;

  dw_spread u_spread (
    .clk_i, .rst_ni,
    .en_i       (state_q == CmpWrite),
    .abort_i    (1'b0),
    .off_i      (addr[3:2]),
    .dws_i      (dws),
    .in_valid_i (dat_valid_i),
    .in_ready_o (sp_in_ready),
    .in_data_i  (dat_i),
    .out_valid_o(sp_valid),
    .out_ready_i(bar2_req_ready_i),
    .out_first_o(sp_first),
    .out_last_o (sp_last),
    .out_flush_o(sp_flush),
    .out_dwen_o (sp_dwen),
    .out_data_o (sp_data)
  );

  always_comb begin
    for (int i = 0; i < 4; i++) begin
      sp_strb[4*i +: 4] = {4{sp_dwen[i]}};
      if (sp_first && addr[3:2] == 2'(i))                  sp_strb[4*i +: 4] &= h.first_be;
      if (sp_last && dws != 11'd1 && last_dw == 2'(i))     sp_strb[4*i +: 4] &= h.last_be;
    end
  end

  assign bar2_req_valid_o = state_q == CmpWrite ? sp_valid : state_q == CmpRead && space;
  assign bar2_req_o = '{op: state_q == CmpWrite ? MemWrite : MemRead, cas32: 1'b0,
                        addr: {1'b1, 15'd0, beat_q, 4'd0}, strb: sp_strb, data: sp_data, tag: '0};

  assign reg_write_o = h.dw0.data;
  assign reg_addr_o  = {addr[15:3], 3'b000};
  assign reg_wdata_o = addr[2] ? {dat_i[31:0], 32'd0} : dat_i[63:0];
  assign reg_wstrb_o = addr[2] ? {h.first_be, 4'd0} : {h.last_be, h.first_be};

  always_comb begin
    state_d      = state_q;
    req_pop_o    = 1'b0;
    dat_pop_o    = 1'b0;
    meta_push    = 1'b0;
    reg_valid_o  = 1'b0;
    msix_valid_o = 1'b0;
    drop_o       = 1'b0;
    ask          = 1'b0;
    unique case (state_q)
      CmpIdle: if (req_valid_i && seen) begin
        if (posted) begin
          if (is_mem && reg_ok && !h.dw0.ep)    state_d = CmpReg;
          else if (is_mem && hit2 && !h.dw0.ep) state_d = CmpWrite;
          else begin
            drop_o    = is_mem;
            state_d   = h.dw0.data ? CmpDrop : CmpIdle;
            req_pop_o = !h.dw0.data;
          end
        end else if (meta.ok && reg_ok) begin
          // Behind every aperture read, so that the data stays in order.
          if (used_q == '0 && meta_room) state_d = CmpReg;
        end else if (meta_room) begin
          meta_push = 1'b1;
          state_d   = meta.ok ? CmpRead : h.dw0.data ? CmpDrop : CmpIdle;
          req_pop_o = !meta.ok && !h.dw0.data;
        end
      end
      CmpReg: if (!h.dw0.data || dat_valid_i) begin
        reg_valid_o  = addr[15:0] < MsixTable;
        msix_valid_o = addr[15:0] >= MsixTable;
        if (reg_ready_i || msix_valid_o) begin
          dat_pop_o = h.dw0.data;
          req_pop_o = h.dw0.data;
          meta_push = !h.dw0.data;
          ask       = !h.dw0.data;
          state_d   = h.dw0.data ? CmpIdle : CmpRdata;
        end
      end
      CmpRdata: begin
        req_pop_o = 1'b1;
        state_d   = CmpIdle;
      end
      CmpWrite: begin
        dat_pop_o = dat_valid_i && sp_in_ready;
        if (sp_valid && bar2_req_ready_i && sp_last) begin
          req_pop_o = 1'b1;
          state_d   = CmpIdle;
        end
      end
      CmpRead: begin
        ask = bar2_req_valid_o && bar2_req_ready_i;
        if (ask && left_q == 9'd1) begin
          req_pop_o = 1'b1;
          state_d   = CmpIdle;
        end
      end
      default: begin
        dat_pop_o = dat_valid_i;
        if (dat_valid_i && left_q == 9'd1) begin
          req_pop_o = 1'b1;
          state_d   = CmpIdle;
        end
      end
    endcase
  end

  assign drop_addr_o = addr;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= CmpIdle;
      beat_q  <= '0;
      left_q  <= '0;
      used_q  <= '0;
    end else begin
      state_q <= state_d;
      used_q  <= used_q + CntW'(ask) - CntW'(rd_pop);
      if (state_q == CmpIdle) begin
        beat_q <= bar2_offset[39:4];
        left_q <= meta.ok && !h.dw0.data ? read_beats : payload_beats;
      end else begin
        if (bar2_req_valid_o && bar2_req_ready_i) beat_q <= beat_q + 36'd1;
        if (state_q == CmpRead ? ask : dat_pop_o) left_q <= left_q - 9'd1;
      end
    end
  end

  // ------------------------------------------------------------------ completions
  cpl_meta_t q_meta;
  logic      q_valid, q_pop;
  logic [3:0] q_count;

  sync_fifo #(.Width($bits(cpl_meta_t)), .Depth(8)) u_meta (
    .clk_i, .rst_ni,
    .in_valid_i (meta_push),
    .in_ready_o (meta_room),
    .in_i       (meta),
    .out_valid_o(q_valid),
    .out_ready_i(q_pop),
    .out_o      (q_meta),
    .count_o    (q_count)
  );

  pcie_cpl #(.CntW(CntW), .Compact(Compact)) u_cpl (
    .clk_i, .rst_ni, .cfg_bdf_i, .cfg_mps_i,
    .meta_valid_i(q_valid),
    .meta_pop_o  (q_pop),
    .meta_i      (q_meta),
    .dat_count_i (fill),
    .dat_valid_i (rd_valid),
    .dat_i       (rd_data),
    .dat_pop_o   (rd_pop),
    .tlp_valid_o, .tlp_ready_i, .tlp_sop_o, .tlp_eop_o, .tlp_hdr_o, .tlp_data_o
  );

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!bar2_rsp_valid_i || state_q != CmpRdata) else $error("pcie_completer: VRAM answers in a register read");
      assert (!rd_push || rd_room) else $error("pcie_completer: read data overflows");
      assert (fill <= used_q) else $error("pcie_completer: more read data than asked for");
    end
  end

  // Fields of the header that a completer need not look at; order makes tags needless.
  logic unused;
  assign unused = ^{bar2_rsp_i.tag, sp_flush, q_count, h.dw0.prefix, h.dw0.four, h.dw0.ln, h.dw0.th,
                    h.dw0.td, h.dw0.at, h.dw3[1:0], h.dw2[1:0], cfg_bar0_i[15:0], bar2_offset[3:0]};

endmodule
