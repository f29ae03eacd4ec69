// Registers of BAR0 below the MSI-X table (regs/hmmu.toml), behind the register bus; those of the copy
// channels are in copy_regs.
//
// Bus: one access a cycle, never waits (reg_ready_o is high; with Compact a snapshot and counters behind it wait
//   for up to 40 cycles); reg_rdata_o is valid in the cycle after a read was taken and until the next. Writes honour byte enables. An unknown address reads 0 and
//   ignores writes; so do read-only registers.
// Rings: a write to *_SIZE clears the ring's host index and pulses ring_o.reset in the next cycle,
//   when the new size shows. A size above 15 keeps its low 4 bits.
// Errors: the first reported error stays in ERROR_INFO until it is written; later ones are lost; of
//   several in one cycle the lowest number wins. irq_error_o pulses when ERROR_INFO becomes non-zero.
module dev_regs
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned NumErrors    = 4,
  parameter int unsigned Units        = 2,
  parameter int unsigned Warps        = 16,   // per unit
  parameter int unsigned Walkers      = 16,
  parameter int unsigned FaultEntries = 64,
  parameter int unsigned CopyChannels = 1,
  parameter int unsigned L2Sets       = 256,
  parameter int unsigned JobSlots     = 4,
  parameter int unsigned IncW         = 13,
  parameter bit          Compact      = 1'b0    // counters in fewer LUTs
) (
  input  logic                             clk_i,
  input  logic                             rst_ni,
  // Register bus.
  input  logic                             reg_valid_i,
  output logic                             reg_ready_o,
  input  logic                             reg_write_i,
  input  logic [15:0]                      reg_addr_i,
  input  logic [63:0]                      reg_wdata_i,
  input  logic [7:0]                       reg_wstrb_i,
  output logic [63:0]                      reg_rdata_o,
  // To the device.
  output logic                             enable_o,
  output logic [63:0]                      time_o,
  output logic [31:0]                      cpl_timeout_o,
  output xlat_limits_t                     xlat_limits_o,
  output ring_cfg_t                        ctrl_ring_o,
  output ring_cfg_t                        launch_ring_o,
  output ring_cfg_t                        fault_ring_o,
  output ring_cfg_t                        dirty_ring_o,
  output logic                             irq_error_o,
  // From the device.
  input  logic [39:0]                      vram_size_i,
  input  logic [31:0]                      ctrl_cons_i,
  input  logic [31:0]                      launch_cons_i,
  input  logic [31:0]                      fault_prod_i,
  input  logic [31:0]                      dirty_prod_i,
  input  logic [31:0]                      dirty_next_i,
  input  logic                             ctrl_idle_i,
  input  logic                             copy_idle_i,
  input  logic                             launch_idle_i,
  input  logic                             ctrl_stopped_i,
  input  logic                             copy_stopped_i,
  input  logic                             launch_stopped_i,
  input  logic                             fault_full_i,
  input  logic                             dirty_full_i,
  output logic [6:0]                       warp_sel_o,      // the warp that is asked for ...
  input  logic [63:0]                      warp_state_i,    // ... and its state, at once
  input  logic [JobSlots-1:0][63:0]        job_state_i,
  input  logic [NumErrors-1:0]             err_valid_i,
  input  error_code_e [NumErrors-1:0]      err_code_i,
  input  client_e [NumErrors-1:0]          err_unit_i,
  input  pa_t [NumErrors-1:0]              err_addr_i,
  // Counters.
  input  logic [NumCounters-1:0][IncW-1:0] inc_i,
  input  logic                             inv_done_i,
  input  logic [31:0]                      inv_cycles_i
);

  // Rings, in the order of their registers; number 1 does not exist. Of the last two the device is the producer: the words of
  // producer and consumer are in the same places, but the host writes the other one.
  localparam int unsigned NumRings = 5;
  localparam int unsigned RingFault = 3;
  localparam int unsigned RingDirty = 4;

  localparam int unsigned AllWarps = Units * Warps;

  logic [63:0]               time_q, error_q;
  logic                      enable_q;
  logic [31:0]               timeout_q;
  xlat_limits_t              limits_q;
  ring_cfg_t [NumRings-1:0]  ring_q;

  assign time_o        = time_q;
  assign enable_o      = enable_q;
  assign cpl_timeout_o = timeout_q;
  assign xlat_limits_o = limits_q;
  assign ctrl_ring_o   = ring_q[0];
  assign launch_ring_o = ring_q[2];
  assign fault_ring_o  = ring_q[RingFault];
  assign dirty_ring_o  = ring_q[RingDirty];

  // ------------------------------------------------------------------ decode
  logic        write, is_ring, is_warp, is_job, is_counter;
  logic        is_dirty, from_device;
  logic [2:0]  ring;
  logic [1:0]  ring_word;
  logic [12:0] word;       // 64-bit word of BAR0
  logic [63:0] mask, rdata_d, counter;

  function automatic logic [63:0] merge(logic [63:0] old);
    return (old & ~mask) | (reg_wdata_i & mask);
  endfunction

  always_comb begin
    for (int unsigned b = 0; b < 8; b++) mask[8*b +: 8] = {8{reg_wstrb_i[b]}};
  end

  assign write      = reg_valid_i && reg_write_i;
  assign word       = reg_addr_i[15:3];
  // 0x100..0x1ff: eight words a ring, of which the first four are used.
  assign is_dirty   = word[12:2] == RegDirtyBase[15:5];
  assign is_ring    = word[12:5] == RegCtrlBase[15:8] && !word[2] && word[4:3] != 2'd1 || is_dirty;
  assign ring       = is_dirty ? 3'(RingDirty) : {1'b0, word[4:3]};
  assign from_device = ring == 3'(RingFault) || ring == 3'(RingDirty);
  assign ring_word  = word[1:0];
  assign is_warp    = word >= RegWarpState[15:3] && word < RegWarpState[15:3] + 13'(AllWarps);
  assign warp_sel_o = word[6:0] - RegWarpState[9:3];
  assign is_job     = word >= RegJobState[15:3] && word < RegJobState[15:3] + 13'(JobSlots);
  assign is_counter = word[12:6] == RegCounter[15:9];

  // ------------------------------------------------------------------ read
  logic [NumRings-1:0][31:0] cons;     // the index that the device keeps
  assign cons = {dirty_prod_i, fault_prod_i, launch_cons_i, 32'd0, ctrl_cons_i};

  always_comb begin
    rdata_d = '0;
    unique case ({word, 3'd0})
      RegId:         rdata_d = Id;
      RegCaps:       rdata_d = {8'(JobSlots), 8'($clog2(L2Sets)), 8'(CopyChannels), 8'(FaultEntries),
                                8'(Walkers), 8'(NumCtx), 8'(Warps), 8'(Units)};
      RegVramSize:   rdata_d = {24'd0, vram_size_i};
      RegControl:    rdata_d = {63'd0, enable_q};
      RegStatus:     rdata_d = {53'd0, launch_stopped_i, copy_stopped_i, ctrl_stopped_i, 3'd0, dirty_full_i,
                                fault_full_i, launch_idle_i, copy_idle_i, ctrl_idle_i};
      RegTime:       rdata_d = time_q;
      RegErrorInfo:  rdata_d = error_q;
      RegCplTimeout: rdata_d = {32'd0, timeout_q};
      RegDirtyNext:  rdata_d = {32'd0, dirty_next_i};
      RegXlatLimits: rdata_d = {53'd0, limits_q.merge_off, limits_q.l2_off, limits_q.cache_off, 2'd0,
                                limits_q.walkers};
      default: begin
        if (is_ring) begin
          unique case (ring_word)
            2'd0:    rdata_d = ring_q[ring].base;
            2'd1:    rdata_d = {60'd0, ring_q[ring].size_log2};
            2'd2:    rdata_d = {32'd0, from_device ? cons[ring] : ring_q[ring].index};
            default: rdata_d = {32'd0, from_device ? ring_q[ring].index : cons[ring]};
          endcase
        end else if (is_warp) begin
          rdata_d = warp_state_i;
        end else if (is_job) begin
          rdata_d = job_state_i[$clog2(JobSlots)'(word - RegJobState[15:3])];
        end
      end
    endcase
  end

  logic        read, counter_q;     // counter_q: the last read was of a counter
  logic [63:0] rdata_q;
  assign read = reg_valid_i && !reg_write_i;

  always_ff @(posedge clk_i) begin
    if (read) begin
      rdata_q   <= rdata_d;
      counter_q <= is_counter;
    end
  end

  assign reg_rdata_o = counter_q ? counter : rdata_q;

  // ------------------------------------------------------------------ write
  logic [63:0] timeout_d, index_d;
  assign timeout_d = merge({32'd0, timeout_q});
  assign index_d   = merge({32'd0, ring_q[ring].index});

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      time_q    <= '0;
      enable_q  <= 1'b0;
      timeout_q <= ResetCplTimeout[31:0];
      limits_q  <= '0;
      ring_q    <= '0;
    end else begin
      time_q <= time_q + 64'd1;
      for (int unsigned r = 0; r < NumRings; r++) ring_q[r].reset <= 1'b0;
      if (write) begin
        if ({word, 3'd0} == RegControl && reg_wstrb_i[0]) enable_q <= reg_wdata_i[0];
        if ({word, 3'd0} == RegCplTimeout)                timeout_q <= timeout_d[31:0];
        if ({word, 3'd0} == RegXlatLimits) begin
          if (reg_wstrb_i[0]) limits_q.walkers <= reg_wdata_i[5:0];
          if (reg_wstrb_i[1]) begin
            limits_q.cache_off <= reg_wdata_i[8];
            limits_q.l2_off    <= reg_wdata_i[9];
            limits_q.merge_off <= reg_wdata_i[10];
          end
        end
        if (is_ring) begin
          if (ring_word == 2'd0) ring_q[ring].base <= merge(ring_q[ring].base);
          if (ring_word == 2'd1 && reg_wstrb_i[0]) begin
            ring_q[ring].size_log2 <= reg_wdata_i[3:0];
            ring_q[ring].index     <= '0;
            ring_q[ring].reset     <= 1'b1;
          end
          if (ring_word == (from_device ? 2'd3 : 2'd2)) begin
            ring_q[ring].index <= index_d[31:0];
          end
        end
      end
    end
  end

  // ------------------------------------------------------------------ errors
  logic        report;
  logic [63:0] report_value;
  logic        error_clear;

  assign error_clear = write && {word, 3'd0} == RegErrorInfo && reg_wstrb_i != '0;

  always_comb begin
    report       = 1'b0;
    report_value = '0;
    for (int unsigned e = 0; e < NumErrors; e++) begin
      if (err_valid_i[e] && !report) begin
        report       = 1'b1;
        report_value = {8'd0, err_addr_i[e][PaW-1:16], 4'd0, 4'(err_unit_i[e]), 8'(err_code_i[e])};
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      error_q     <= '0;
      irq_error_o <= 1'b0;
    end else begin
      irq_error_o <= 1'b0;
      if (error_clear) error_q <= '0;
      if (report && (error_q == '0 || error_clear)) begin
        error_q     <= report_value;
        irq_error_o <= 1'b1;
      end
    end
  end

  // ------------------------------------------------------------------ counters
  logic snapshot, snapshot_ready, counter_ready;
  assign snapshot    = write && {word, 3'd0} == RegSnapshot && reg_wstrb_i != '0;
  assign reg_ready_o = (snapshot_ready || !snapshot) && (counter_ready || !(read && is_counter));

  if (Compact) begin : gen_compact
    counters_compact #(.IncW(IncW)) u_counters (
      .clk_i, .rst_ni, .inc_i, .inv_done_i, .inv_cycles_i,
      .snapshot_i (snapshot), .snapshot_ready_o (snapshot_ready),
      .read_i     (read && is_counter), .read_ready_o (counter_ready),
      .index_i    (word[5:0]),
      .value_o    (counter)
    );
  end else begin : gen_fast
    counters #(.IncW(IncW)) u_counters (
      .clk_i, .rst_ni, .inc_i, .inv_done_i, .inv_cycles_i,
      .snapshot_i (snapshot), .snapshot_ready_o (snapshot_ready),
      .read_i     (read && is_counter), .read_ready_o (counter_ready),
      .index_i    (word[5:0]),
      .value_o    (counter)
    );
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      for (int unsigned e = 0; e < NumErrors; e++) begin
        assert (!err_valid_i[e] || err_code_i[e] != ErrorCodeNone)
          else $error("dev_regs: error without a code");
      end
    end
  end

  // Accesses are to whole words with byte enables.
  logic unused;
  assign unused = ^{reg_addr_i[2:0], timeout_d[63:32], index_d[63:32]};

endmodule
