// Registers of the copy channels, beside dev_regs on the register bus: eight words a channel from
// COPY_BASE on (regs/hmmu.toml).
//
// Bus: as dev_regs; reg_rdata_o is 0 for an address that is not here, so that the answers can be ORed.
// A write to *_SIZE clears the ring's host index and the error record, and pulses ring_o.reset in the next
// cycle. The error record keeps the first error; an error in the cycle in which it is cleared is kept.
module copy_regs
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import copy_pkg::*;
#(
  parameter int unsigned Channels = 4
) (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  logic                           reg_valid_i,
  input  logic                           reg_write_i,
  input  logic [15:0]                    reg_addr_i,
  input  logic [63:0]                    reg_wdata_i,
  input  logic [7:0]                     reg_wstrb_i,
  output logic [63:0]                    reg_rdata_o,
  output ring_cfg_t [Channels-1:0]       ring_o,
  output copy_ctl_t [Channels-1:0]       ctl_o,
  input  logic      [Channels-1:0][31:0] cons_i,
  input  copy_sta_t [Channels-1:0]       sta_i,
  input  copy_rec_t [Channels-1:0]       rec_i,
  output logic                           idle_o,      // all of them
  output logic                           stopped_o    // one of them
);

  localparam int unsigned CW = Channels > 1 ? $clog2(Channels) : 1;

  typedef enum logic [2:0] {
    WordBase = 3'd0, WordSize = 3'd1, WordProd = 3'd2, WordCons = 3'd3,
    WordControl = 3'd4, WordStatus = 3'd5, WordError = 3'd6, WordErrorAddr = 3'd7
  } word_e;

  ring_cfg_t [Channels-1:0]       ring_q;
  copy_ctl_t [Channels-1:0]       ctl_q;
  copy_rec_t [Channels-1:0]       rec_q;      // valid: there is one
  logic      [Channels-1:0][31:0] index_q;    // its descriptor
  logic          here, write;
  logic [CW-1:0] chan;
  word_e         word;
  logic [63:0]   mask, rdata_d, base_d, prod_d;

  assign ring_o = ring_q;
  assign ctl_o  = ctl_q;
  assign here   = reg_addr_i[15:10] == RegCopyBase[15:10] && 32'(reg_addr_i[9:6]) < Channels;
  assign write  = reg_valid_i && reg_write_i && here;
  assign chan   = reg_addr_i[6 +: CW];
  assign word   = word_e'(reg_addr_i[5:3]);

  always_comb begin
    for (int unsigned b = 0; b < 8; b++) mask[8*b +: 8] = {8{reg_wstrb_i[b]}};
    idle_o    = 1'b1;
    stopped_o = 1'b0;
    for (int unsigned c = 0; c < Channels; c++) begin
      idle_o    &= sta_i[c].idle;
      stopped_o |= sta_i[c].stopped;
    end
  end

  always_comb begin
    rdata_d = '0;
    if (here) begin
      unique case (word)
        WordBase:    rdata_d = ring_q[chan].base;
        WordSize:    rdata_d = {60'd0, ring_q[chan].size_log2};
        WordProd:    rdata_d = {32'd0, ring_q[chan].index};
        WordCons:    rdata_d = {32'd0, cons_i[chan]};
        WordControl: rdata_d = {58'd0, ctl_q[chan].prio, 1'b0, ctl_q[chan].halt, 1'b0, ctl_q[chan].suspend};
        WordStatus:  rdata_d = {55'd0, sta_i[chan].lists, 3'd0, sta_i[chan].polls, sta_i[chan].parks,
                                sta_i[chan].quiet, sta_i[chan].stopped, sta_i[chan].idle};
        WordError:   rdata_d = rec_q[chan].valid ? {index_q[chan], 23'd0, 1'b1, rec_q[chan].status} : '0;
        default:     rdata_d = rec_q[chan].valid ? {8'd0, rec_q[chan].addr} : '0;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (reg_valid_i && !reg_write_i) reg_rdata_o <= rdata_d;
  end

  assign base_d = (ring_q[chan].base & ~mask) | (reg_wdata_i & mask);
  assign prod_d = ({32'd0, ring_q[chan].index} & ~mask) | (reg_wdata_i & mask);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      ring_q  <= '0;
      ctl_q   <= '0;
      rec_q   <= '0;
      index_q <= '0;
    end else begin
      for (int unsigned c = 0; c < Channels; c++) begin
        ring_q[c].reset <= 1'b0;
        ctl_q[c].cancel <= 1'b0;
      end
      if (write) begin
        unique case (word)
          WordBase: ring_q[chan].base <= base_d;
          WordSize: if (reg_wstrb_i[0]) begin
            ring_q[chan].size_log2 <= reg_wdata_i[3:0];
            ring_q[chan].index     <= '0;
            ring_q[chan].reset     <= 1'b1;
            rec_q[chan].valid      <= 1'b0;
          end
          WordProd: ring_q[chan].index <= prod_d[31:0];
          WordControl: if (reg_wstrb_i[0]) begin
            ctl_q[chan] <= '{cancel: reg_wdata_i[1], suspend: reg_wdata_i[0], halt: reg_wdata_i[2],
                             prio: reg_wdata_i[5:4]};
          end
          WordError: if (reg_wstrb_i != '0) rec_q[chan].valid <= 1'b0;
          default: ;
        endcase
      end
      for (int unsigned c = 0; c < Channels; c++) begin
        if (rec_i[c].valid && (!rec_q[c].valid || (write && chan == CW'(c) && word == WordError))) begin
          rec_q[c]   <= rec_i[c];
          index_q[c] <= cons_i[c];
        end
      end
    end
  end

  // Accesses are to whole words with byte enables.
  logic unused;
  assign unused = ^{reg_addr_i[2:0], prod_d[63:32]};

endmodule
