// A register on the way of misses through the MMU (its form for FPGAs).
//
// What is in it is part of the MMU: an event that answers it (Fill, Cancel, Stop) drops it. One that comes in
// is checked against the event of that cycle by whoever sends it.
// Throughput: one each two cycles; latency: one cycle. in_ready_o and out_valid_o do not wait for the other side.
module miss_reg
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
(
  input  logic       clk_i,
  input  logic       rst_ni,
  input  logic       in_valid_i,
  output logic       in_ready_o,
  input  miss_t      in_i,
  output logic       out_valid_o,
  input  logic       out_ready_i,
  output miss_t      out_o,
  // verilator lint_off UNUSEDSIGNAL
  // The code of a Cancel concerns only the L1 TLBs.
  input  mmu_event_t event_i
  // verilator lint_on UNUSEDSIGNAL
);

  logic  valid_q, dropped;
  miss_t miss_q;

  always_comb begin
    unique case (event_i.ev)
      EvFill:   dropped = xlat_covers(event_i.xlat, miss_q.ctx, miss_q.vpn)
                       && xlat_allows(event_i.xlat, miss_q.access);
      EvCancel: dropped = event_i.ctx == miss_q.ctx && event_i.lo == miss_q.vpn && event_i.access == miss_q.access;
      EvStop:   dropped = event_i.ctx == miss_q.ctx;
      default:  dropped = 1'b0;
    endcase
  end

  assign in_ready_o  = !valid_q;
  assign out_valid_o = valid_q && !dropped;
  assign out_o       = miss_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni)                                 valid_q <= 1'b0;
    else if (!valid_q)                           valid_q <= in_valid_i;
    else if (out_ready_i || dropped) valid_q <= 1'b0;
  end

  always_ff @(posedge clk_i) begin
    if (!valid_q) miss_q <= in_i;
  end

endmodule
