// MSI-X: the vector table and the pending bits (PCI Express Base Specification, section 6.1.4 and
// 7.7.2), and the messages.
//
// Promise: a pulse on irq_i[v] is latched; when the vector is not masked and MSI-X is enabled, one
//   memory write of 4 bytes with the vector's data goes out, accepted later than everything that was
//   accepted up to the pulse. Pulses that come before the message is accepted share it.
// Table: vector v at MsixTable + 16 v: address (64 bits), data (32), control (bit 0: mask, 1 after
//   reset). Pending bits at MsixPba. Everything else above reads as 0.
// Access port: one access per cycle; rdata_o belongs to the access of the cycle before.
// Throughput: one message every two cycles. Vectors take turns.
module msix
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned Vectors = 8
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic               cfg_msix_en_i,
  input  logic [Vectors-1:0] irq_i,
  // Table and pending bits.
  input  logic               reg_valid_i,
  input  logic               reg_write_i,
  input  logic [15:0]        reg_addr_i,     // 8-byte aligned
  input  logic [63:0]        reg_wdata_i,
  input  logic [7:0]         reg_wstrb_i,
  output logic [63:0]        reg_rdata_o,
  // Messages: memory writes.
  output logic               req_valid_o,
  input  logic               req_ready_i,
  output mem_req_t           req_o,
  output logic               cnt_interrupts_o
);

  localparam int unsigned IdxW = $clog2(Vectors);

  logic [Vectors-1:0][63:0] addr_q;
  logic [Vectors-1:0][31:0] data_q;
  logic [Vectors-1:0]       mask_q, pend_q, ready, first;
  logic [IdxW-1:0]          vec_q, pick, reg_vec;
  logic                     send_q, in_table, in_pba, sent;
  pa_t                      msg_addr_q;
  logic [31:0]              msg_data_q;

  assign in_table = reg_addr_i >= MsixTable && reg_addr_i < MsixTable + 16'(16 * Vectors);
  assign in_pba   = reg_addr_i == MsixPba;
  assign reg_vec  = reg_addr_i[4 +: IdxW];
  assign sent     = send_q && req_ready_i;

  // Vectors that may send, those after the last sender first.
  assign ready = cfg_msix_en_i ? pend_q & ~mask_q : '0;
  always_comb begin
    for (int unsigned i = 0; i < Vectors; i++) first[i] = ready[i] && i > 32'(vec_q);
    pick = '0;
    for (int i = int'(Vectors) - 1; i >= 0; i--)
      if (first != '0 ? first[i] : ready[i]) pick = IdxW'(i);
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      addr_q <= '0;
      data_q <= '0;
      mask_q <= '1;
      pend_q <= '0;
      vec_q  <= '0;
      send_q <= 1'b0;
      msg_addr_q  <= '0;
      msg_data_q  <= '0;
      reg_rdata_o <= '0;
    end else begin
      for (int i = 0; i < 8; i++) begin
        if (reg_valid_i && reg_write_i && in_table && reg_wstrb_i[i]) begin
          if (!reg_addr_i[3]) addr_q[reg_vec][8*i +: 8] <= reg_wdata_i[8*i +: 8];
          else if (i < 4)     data_q[reg_vec][8*i +: 8] <= reg_wdata_i[8*i +: 8];
          else if (i == 4)    mask_q[reg_vec]           <= reg_wdata_i[32];
        end
      end
      if (reg_valid_i) begin
        reg_rdata_o <= in_pba ? 64'(pend_q)
                     : !in_table ? '0
                     : reg_addr_i[3] ? {31'd0, mask_q[reg_vec], data_q[reg_vec]} : addr_q[reg_vec];
      end

      pend_q <= pend_q | irq_i;
      if (sent) begin
        send_q <= 1'b0;
        // A pulse in this very cycle may announce something accepted in it: it sends again.
        if (!irq_i[vec_q]) pend_q[vec_q] <= 1'b0;
      end
      if (!send_q && ready != '0) begin
        send_q     <= 1'b1;
        vec_q      <= pick;
        msg_addr_q <= {1'b0, addr_q[pick][54:2], 2'b00};
        msg_data_q <= data_q[pick];
      end
    end
  end

  assign req_valid_o = send_q;
  assign req_o = '{op: MemWrite, cas32: 1'b0, addr: msg_addr_q,
                   strb: 16'h000f << {msg_addr_q[3:2], 2'd0}, data: {4{msg_data_q}}, tag: '0};
  assign cnt_interrupts_o = sent;

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!send_q || pend_q[vec_q]) else $error("msix: a message without cause");
    end
  end

endmodule
