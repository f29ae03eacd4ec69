// Builds the completions of the completer.
//
// Promise: one Cpl (Unsupported Request) or as many CplD as MPS asks for (at most 256 bytes each,
//   all but the last end on a 128-byte boundary, so on every RCB). A CplD starts only when all of
//   its data is buffered: it then goes out without a gap.
// Throughput: a beat per cycle; one cycle between two requests.
// Compact: the form for an FPGA. Each piece is cut off in a cycle of its own before it goes.
module pcie_cpl
  import hmmu_pkg::*;
  import pcie_pkg::*;
#(
  parameter int unsigned CntW    = 7,
  parameter bit          Compact = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [15:0]      cfg_bdf_i,
  input  logic [2:0]       cfg_mps_i,
  input  logic             meta_valid_i,
  output logic             meta_pop_o,
  input  cpl_meta_t        meta_i,
  // Address-aligned data beats.
  input  logic [CntW-1:0]  dat_count_i,
  input  logic             dat_valid_i,
  input  logic [DataW-1:0] dat_i,
  output logic             dat_pop_o,
  output logic             tlp_valid_o,
  input  logic             tlp_ready_i,
  output logic             tlp_sop_o,
  output logic             tlp_eop_o,
  output tlp_hdr_t         tlp_hdr_o,
  output logic [DataW-1:0] tlp_data_o
);

  logic        busy_q, mid_q;
  cpl_meta_t   m_q;              // addr and bytes run on from TLP to TLP
  chunk_t      c, c_d;
  logic        cut;              // c is of addr and bytes
  logic [4:0]  beats;            // data beats of this TLP
  logic        go, pk_valid, pk_first, pk_last, done;

  assign c_d = next_chunk(m_q.addr[8:0], m_q.bytes, cfg_mps_i == '0 ? Piece128 : Piece256, 1'b0);

  if (Compact) begin : gen_cut
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) cut <= 1'b0;
      else         cut <= busy_q && !done && !meta_pop_o;
    end
    always_ff @(posedge clk_i) c <= c_d;
  end else begin : gen_now
    assign cut = 1'b1;
    assign c   = c_d;
  end

  assign beats = 5'((c.dws + {6'd0, m_q.addr[3:2]} + 8'd3) >> 2);
  assign go    = busy_q && m_q.ok && cut && (mid_q || 32'(dat_count_i) >= 32'(beats));

  dw_pack u_pack (
    .clk_i, .rst_ni,
    .en_i       (go),
    .off_i      (m_q.addr[3:2]),
    .dws_i      (c.dws),
    .in_valid_i (dat_valid_i),
    .in_data_i  (dat_i),
    .in_pop_o   (dat_pop_o),
    .out_valid_o(pk_valid),
    .out_ready_i(tlp_ready_i),
    .out_first_o(pk_first),
    .out_last_o (pk_last),
    .out_data_o (tlp_data_o)
  );

  assign tlp_valid_o = m_q.ok ? pk_valid : busy_q;
  assign tlp_sop_o   = !m_q.ok || pk_first;
  assign tlp_eop_o   = !m_q.ok || pk_last;
  assign tlp_hdr_o   = {1'b0, m_q.ok, 1'b0, TypeCpl,
                        m_q.t9, m_q.tc, m_q.t8, m_q.attr[2], 2'b00,
                        2'b00, m_q.attr[1:0], 2'b00, m_q.ok ? {2'd0, c.dws} : 10'd0,
                        cfg_bdf_i, m_q.ok ? CplSc : CplUr, 1'b0, m_q.bytes[11:0],
                        m_q.requester, m_q.tag, 1'b0, m_q.addr[6:0], 32'd0};

  assign done       = tlp_valid_o && tlp_ready_i && tlp_eop_o;
  assign meta_pop_o = meta_valid_i && (!busy_q || (done && (!m_q.ok || c.last)));

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      mid_q  <= 1'b0;
      m_q    <= '0;
    end else begin
      // Once started (the load of dw_pack included) the data is known to be there.
      if (go) mid_q <= !done;
      if (meta_pop_o) begin
        busy_q <= 1'b1;
        m_q    <= meta_i;
      end else if (done) begin
        busy_q    <= m_q.ok && !c.last;
        m_q.addr  <= m_q.addr + 12'(c.bytes);
        m_q.bytes <= m_q.bytes - 13'(c.bytes);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!busy_q || m_q.bytes != '0) else $error("pcie_cpl: a completion without bytes");
    end
  end

  // Completions carry no byte enables.
  logic unused;
  assign unused = ^{c.first_be, c.last_be};

endmodule
