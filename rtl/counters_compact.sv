// Performance counters (enum Counter) for an FPGA: the same values as those of `counters`, in a quarter of the
// LUTs, for a wait of up to SweepLen cycles at a snapshot and behind it.
//
// Each counter has a short sum of its own. Every SweepLen cycles all short sums are taken in one cycle, then
// added one by one to the totals, which are in block RAM. A snapshot is a turn in which the totals also go to
// the shadows: it waits for the turn's first cycle, and is of that one cycle.
//
// snapshot_i waits for snapshot_ready_o, read_i for read_ready_o (the shadows are being written). value_o is the
//   shadow of index_i in the cycle after read_i; 0 past the last counter.
// Caller: increments but those of the counters of bytes are below 16; reset lasts for one clock edge or more.
module counters_compact
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

  localparam int unsigned SweepLen = NumCounters + 2;
  localparam int unsigned NarrowW  = 4;     // of most increments

  // Widest short sum: InvalidateCycles, of which a turn may see several.
  localparam int unsigned SumW = 36;

  typedef logic [CounterW-1:0] count_t;
  typedef logic [SumW-1:0]     sum_t;
  typedef logic [5:0]          step_t;

  function automatic logic is_wide(int unsigned i);
    return i == 32'(CounterCopyBytes) || i == 32'(CounterLinkRxBytes) || i == 32'(CounterLinkTxBytes);
  endfunction

  localparam step_t LastStep = step_t'(SweepLen - 1);

  // The last step of a turn takes the sums; steps 1 to NumCounters of the next one read a total each, which is
  // written in the step after.
  step_t step_q;
  logic  begun_q;         // sums were taken
  logic  first_q;         // the first turn: the totals are void
  logic  shadow_q;        // of this turn the totals go to the shadows
  logic  taken_q;         // a snapshot was taken since reset
  logic  take, write;

  assign take             = step_q == LastStep;
  assign write            = step_q > step_t'(1);
  assign snapshot_ready_o = step_q == '0;
  assign read_ready_o     = !shadow_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      step_q   <= LastStep;
      begun_q  <= 1'b0;
      first_q  <= 1'b1;
      shadow_q <= 1'b0;
      taken_q  <= 1'b0;
    end else begin
      step_q <= take ? '0 : step_q + step_t'(1);
      if (snapshot_ready_o && snapshot_i) begin
        shadow_q <= 1'b1;
        taken_q  <= 1'b1;
      end
      if (take) begin
        begun_q  <= 1'b1;
        first_q  <= !begun_q;
        shadow_q <= 1'b0;
      end
    end
  end

  // ------------------------------------------------------------------ short sums
  sum_t [NumCounters-1:0] held;    // as taken

  for (genvar i = 0; i < int'(NumCounters); i++) begin : gen_sum
    if (i == int'(CounterInvalidateWorst)) begin : gen_worst
      logic [31:0] worst_q, held_q;

      always_ff @(posedge clk_i) begin
        if (!rst_ni)                                     worst_q <= '0;
        else if (inv_done_i && inv_cycles_i > worst_q) worst_q <= inv_cycles_i;
        if (take) held_q <= inv_done_i && inv_cycles_i > worst_q ? inv_cycles_i : worst_q;
      end
      assign held[i] = sum_t'(held_q);
    end else begin : gen_add
      localparam int unsigned W = i == int'(CounterInvalidateCycles) ? SumW : 6 + (is_wide(i) ? IncW : NarrowW);
      logic [W-1:0] sum, sum_q, held_q;

      assign sum = sum_q + (i == int'(CounterInvalidateCycles) ? W'(inv_done_i ? inv_cycles_i : '0) : W'(inc_i[i]));

      always_ff @(posedge clk_i) begin
        if (!rst_ni || take) sum_q <= '0;
        else                 sum_q <= sum;
        if (take) held_q <= sum;
      end
      assign held[i] = sum_t'(held_q);
    end
  end

  // ------------------------------------------------------------------ totals and shadows
  // No word is read in the cycle in which it is written, but for shadows that nobody gets.
  (* ram_style = "block", no_rw_check *) count_t total_mem  [2**$bits(step_t)];
  (* ram_style = "block", no_rw_check *) count_t shadow_mem [2**$bits(step_t)];
  count_t old_q, total, read_q;
  sum_t   add_q;
  step_t  at;             // the counter that is read
  logic   fresh_q, past_q;

  assign at    = step_q - step_t'(1);
  assign total = (fresh_q ? '0 : old_q) + count_t'(add_q);

  always_ff @(posedge clk_i) begin
    old_q   <= total_mem[at];
    add_q   <= at < step_t'(NumCounters) ? held[at] : '0;
    fresh_q <= first_q || at == step_t'(CounterInvalidateWorst);
    if (write) total_mem[step_q - step_t'(2)] <= total;
  end

  always_ff @(posedge clk_i) begin
    if (write && shadow_q) shadow_mem[step_q - step_t'(2)] <= total;
    if (read_i) begin
      read_q <= shadow_mem[index_i];
      past_q <= 32'(index_i) >= NumCounters || !taken_q;
    end
  end

  assign value_o = past_q ? '0 : 64'(read_q);

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      for (int unsigned i = 0; i < NumCounters; i++)
        assert (is_wide(i) || inc_i[i] < IncW'(1 << NarrowW)) else $error("counters_compact: counter %0d adds too much", i);
    end
  end

  // These two have inputs of their own.
  logic unused;
  assign unused = ^{inc_i[CounterInvalidateCycles], inc_i[CounterInvalidateWorst]};

endmodule
