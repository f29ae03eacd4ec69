// Performance counters (enum Counter), free running from reset, with a readable shadow.
//
// Promise: snapshot_i copies every counter to its shadow in the same cycle; what happens in that
//   cycle counts from the next value on. value_o is the shadow of index_i in the cycle after read_i; 0 past the
//   last counter. Nothing waits here (`counters_compact`, which takes fewer LUTs, does).
// inc_i[n] is added to counter n in each cycle. InvalidateCycles and InvalidateWorst take
// inv_cycles_i with inv_done_i instead: the sum and the maximum.
module counters
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned CounterW = 48,
  parameter int unsigned IncW     = 13
) (
  input  logic                             clk_i,
  input  logic                             rst_ni,
  input  logic [NumCounters-1:0][IncW-1:0] inc_i,
  input  logic                             inv_done_i,
  input  logic [31:0]                      inv_cycles_i,
  input  logic                             snapshot_i,
  output logic                             snapshot_ready_o,
  input  logic                             read_i,
  output logic                             read_ready_o,
  input  logic [5:0]                       index_i,
  output logic [63:0]                      value_o
);

  typedef logic [CounterW-1:0] count_t;

  // Unpacked: single words of native width are what makes simulation fast.
  count_t count_q  [NumCounters];
  count_t shadow_q [NumCounters];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      for (int unsigned i = 0; i < NumCounters; i++) begin
        count_q[i] <= '0;
      end
    end else begin
      for (int unsigned i = 0; i < NumCounters; i++) begin
        if (i == 32'(CounterInvalidateCycles)) begin
          if (inv_done_i) count_q[i] <= count_q[i] + count_t'(inv_cycles_i);
        end else if (i == 32'(CounterInvalidateWorst)) begin
          if (inv_done_i && count_t'(inv_cycles_i) > count_q[i]) count_q[i] <= count_t'(inv_cycles_i);
        end else if (inc_i[i] != '0) begin
          count_q[i] <= count_q[i] + count_t'(inc_i[i]);
        end
      end
    end
  end

  // Rare: not unrolled, it costs simulation nothing in other cycles.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      /* verilator unroll_disable */
      for (int unsigned i = 0; i < NumCounters; i++) shadow_q[i] <= '0;
    end else if (snapshot_i) begin
      /* verilator unroll_disable */
      for (int unsigned i = 0; i < NumCounters; i++) shadow_q[i] <= count_q[i];
    end
  end

  assign snapshot_ready_o = 1'b1;
  assign read_ready_o     = 1'b1;

  always_ff @(posedge clk_i) begin
    if (read_i) value_o <= 32'(index_i) < NumCounters ? 64'(shadow_q[index_i]) : '0;
  end

  // These two have inputs of their own.
  logic unused;
  assign unused = ^{inc_i[CounterInvalidateCycles], inc_i[CounterInvalidateWorst]};

endmodule
