// MSI-X: the vector table and the pending bits (PCI Express Base Specification, section 6.1.4 and
// 7.7.2), and the messages.
//
// Promise: a pulse on irq_i[v] is latched; when the vector is not masked and MSI-X is enabled, one
//   memory write of 4 bytes with the vector's data goes out, accepted later than everything that was
//   accepted up to the pulse. Pulses that come before the message is accepted share it.
// Table: vector v at MsixTable + 16 v: address (64 bits), data (32), control (bit 0: mask, 1 after
//   reset). Pending bits at MsixPba. Everything else above reads as 0.
// Access port: one access per cycle; rdata_o belongs to the last access, from the cycle after it on.
// Throughput: one message every two cycles. Vectors take turns.
// Addresses and data are in memories with a registered read (block RAM): void until they are written.
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

  (* ram_style = "block" *) logic [63:0] addr_mem [Vectors];
  (* ram_style = "block" *) logic [31:0] data_mem [Vectors];
  logic [Vectors-1:0]       mask_q, pend_q, ready, first;
  logic [IdxW-1:0]          vec_q, pick, reg_vec;
  logic                     send_q, in_table, in_pba, write, sent;
  logic [63:0]              msg_addr_q;
  logic [31:0]              msg_data_q;

  // What was read last: a word of the table, or one of the bits.
  logic [63:0]              rd_addr_q;
  logic [31:0]              rd_data_q;
  logic                     rd_first_q, rd_second_q, rd_mask_q;
  logic [Vectors-1:0]       rd_pend_q;

  assign in_table = reg_addr_i >= MsixTable && reg_addr_i < MsixTable + 16'(16 * Vectors);
  assign in_pba   = reg_addr_i == MsixPba;
  assign reg_vec  = reg_addr_i[4 +: IdxW];
  assign sent     = send_q && req_ready_i;
  assign write    = reg_valid_i && reg_write_i && in_table;

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
      mask_q <= '1;
      pend_q <= '0;
      vec_q  <= '0;
      send_q <= 1'b0;
      rd_first_q  <= 1'b0;
      rd_second_q <= 1'b0;
      rd_mask_q   <= 1'b0;
      rd_pend_q   <= '0;
    end else begin
      if (write && reg_addr_i[3] && reg_wstrb_i[4]) mask_q[reg_vec] <= reg_wdata_i[32];
      if (reg_valid_i) begin
        rd_first_q  <= in_table && !reg_addr_i[3];
        rd_second_q <= in_table && reg_addr_i[3];
        rd_mask_q   <= mask_q[reg_vec];
        rd_pend_q   <= in_pba ? pend_q : '0;
      end

      pend_q <= pend_q | irq_i;
      if (sent) begin
        send_q <= 1'b0;
        // A pulse in this very cycle may announce something accepted in it: it sends again.
        if (!irq_i[vec_q]) pend_q[vec_q] <= 1'b0;
      end
      if (!send_q && ready != '0) begin
        send_q <= 1'b1;
        vec_q  <= pick;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    // Rare: not unrolled, it costs simulation nothing in other cycles.
    if (write && !reg_addr_i[3]) begin
      /* verilator unroll_disable */
      for (int unsigned i = 0; i < 8; i++) if (reg_wstrb_i[i]) addr_mem[reg_vec][8*i +: 8] <= reg_wdata_i[8*i +: 8];
    end
    if (write && reg_addr_i[3]) begin
      /* verilator unroll_disable */
      for (int unsigned i = 0; i < 4; i++) if (reg_wstrb_i[i]) data_mem[reg_vec][8*i +: 8] <= reg_wdata_i[8*i +: 8];
    end
    if (reg_valid_i) begin
      rd_addr_q <= addr_mem[reg_vec];
      rd_data_q <= data_mem[reg_vec];
    end
    if (!send_q && ready != '0) begin
      msg_addr_q <= addr_mem[pick];
      msg_data_q <= data_mem[pick];
    end
  end

  assign reg_rdata_o = 64'(rd_pend_q) | (rd_first_q ? rd_addr_q : '0)
                     | (rd_second_q ? {31'd0, rd_mask_q, rd_data_q} : '0);

  assign req_valid_o = send_q;
  assign req_o = '{op: MemWrite, cas32: 1'b0, addr: {1'b0, msg_addr_q[54:2], 2'b00},
                   strb: 16'h000f << {msg_addr_q[3:2], 2'd0}, data: {4{msg_data_q}}, tag: '0};
  assign cnt_interrupts_o = sent;

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!send_q || pend_q[vec_q]) else $error("msix: a message without cause");
    end
  end

  // A message has an address of the link, of whole words.
  logic unused;
  assign unused = ^{msg_addr_q[63:55], msg_addr_q[1:0]};

endmodule
