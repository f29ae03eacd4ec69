// Runs the control ring: one command at a time, in ring order.
//
// Promise: a command is complete, and its Fence written and interrupt raised, only when
//   - CtxSet, Invalidate, Replay, Cancel: the MMU has acknowledged it;
//   - Stop: no warp and no copy of the context runs, the MMU has acknowledged, and what had begun
//     in between has ended too;
//   - KillJob: no warp of the job runs;
//   - Suspend: its warps stand still; Resume: they go on; Save: its state is in memory;
//   - HarvestBits: its result was accepted by the memory (bound: harvest.sv). It shares the memory port.
//   A range that does not fit the 48-bit space is widened to all of it; an empty one is a Nop.
// A bad entry (version, opcode, mode, sizes and alignment of a harvest) stops the ring: error BadEntry, CONS stays at it, no Fence.
// Handshakes: cmd_valid_o/cmd_ready_i, then a pulse on cmd_done_i. kill_*_valid_o stays until its
//   kill_*_done_i, which may come in the same cycle; so does hold_valid_o.
// Latency: 3 cycles for a Nop without Fence once fetched, else by the units asked.
module ctrl_unit
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned RingDepth = 2   // entries that the ring's fetch holds
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        enable_i,
  input  logic [63:0] time_i,
  input  ring_cfg_t   ring_i,
  output logic [31:0] cons_o,
  output logic        stopped_o,
  output logic        idle_o,
  output logic        irq_ctrl_o,
  output logic        err_valid_o,
  output error_code_e err_code_o,
  output pa_t         err_addr_o,
  // Ring and fences.
  output logic        mem_req_valid_o,
  input  logic        mem_req_ready_i,
  output mem_req_t    mem_req_o,
  input  logic        mem_rsp_valid_i,
  input  mem_rsp_t    mem_rsp_i,
  // MMU.
  output logic        cmd_valid_o,
  input  logic        cmd_ready_i,
  output mmu_cmd_t    cmd_o,
  input  logic        cmd_done_i,
  // Launch unit: kill a job by its id, or the jobs of a context.
  output logic        kill_launch_valid_o,
  output logic        kill_launch_by_ctx_o,
  output logic [31:0] kill_launch_job_o,
  input  logic        kill_launch_done_i,
  // Launch unit: hold the job kill_launch_job_o, or let it go on; save it.
  output logic        hold_valid_o,
  output logic        hold_on_o,
  output logic        hold_save_o,
  output pa_t         hold_area_o,
  input  logic        hold_done_i,
  // Copy engine: kill the descriptor of a context.
  output logic        kill_copy_valid_o,
  input  logic        kill_copy_done_i,
  output ctx_t        kill_ctx_o
);

  typedef enum logic [2:0] {
    CtrlIdle   = 3'd0,
    CtrlKill   = 3'd1,   // waits for the launch unit and the copy engine (kill, hold)
    CtrlCmd    = 3'd2,   // shows the command to the MMU
    CtrlWait   = 3'd3,   // waits for its acknowledgement
    CtrlPost   = 3'd4,   // fence and interrupt
    CtrlBad    = 3'd5,   // the ring stops
    CtrlBits   = 3'd6    // A and D bits are harvested
  } ctrl_e;

  ctrl_e       state_q;
  logic        kill_launch_q, kill_copy_q, hold_q;
  logic        stopped_ctx_q;      // Stop: the MMU has acknowledged
  logic        entry_valid, post_ready, fetch_err, fetch_stop;
  logic        known, bad, empty;
  logic [511:0] entry_bits;
  ctrl_entry_t entry;
  pa_t         fetch_err_addr;

  assign entry      = entry_bits;
  assign fetch_stop = state_q == CtrlIdle && entry_valid && bad;

  // ------------------------------------------------------------------ ring, fence
  logic     rd_valid, rd_ready, wr_valid, wr_ready, hv_valid, hv_ready, in_valid, in_ready, bits_done;
  mem_req_t rd_req, wr_req, hv_req, in_req;

  ring_fetch #(.Depth(RingDepth)) u_ring (
    .clk_i, .rst_ni, .enable_i, .ring_i, .cons_o,
    .entry_valid_o   (entry_valid),
    .entry_ready_i   (post_ready),
    .entry_o         (entry_bits),
    .stop_i          (fetch_stop),
    .stopped_o,
    .idle_o,
    .err_o           (fetch_err),
    .err_addr_o      (fetch_err_addr),
    .mem_req_valid_o (rd_valid),
    .mem_req_ready_i (rd_ready),
    .mem_req_o       (rd_req),
    .mem_rsp_valid_i (mem_rsp_valid_i && !mem_rsp_i.tag[TagW-1]),
    .mem_rsp_i
  );

  harvest u_harvest (
    .clk_i, .rst_ni,
    .req_valid_i     (state_q == CtrlBits),
    .req_ready_o     (bits_done),
    .table_i         (entry.arg0[PaW-1:0]),
    .count_i         (entry.arg1[9:0]),
    .clear_i         (entry.arg1[16]),
    .result_i        (entry.arg2[PaW-1:0]),
    .mem_req_valid_o (hv_valid),
    .mem_req_ready_i (hv_ready),
    .mem_req_o       (hv_req),
    .mem_rsp_valid_i (mem_rsp_valid_i && mem_rsp_i.tag[TagW-1]),
    .mem_rsp_i
  );

  post_writer u_post (
    .clk_i, .rst_ni, .time_i,
    .req_valid_i     (state_q == CtrlPost),
    .req_ready_o     (post_ready),
    .long_i          (1'b0),
    .irq_i           (entry.irq),
    .addr_i          (entry.fence_addr),
    .value_i         (entry.fence_value),
    .result_i        ('0),
    .status_i        ('0),
    .info_i          ('0),
    .irq_o           (irq_ctrl_o),
    .mem_req_valid_o (wr_valid),
    .mem_req_ready_i (wr_ready),
    .mem_req_o       (wr_req)
  );

  mem_merge u_merge_in (
    .clk_i, .rst_ni,
    .rd_valid_i (rd_valid), .rd_ready_o (rd_ready), .rd_req_i (rd_req),
    .wr_valid_i (hv_valid), .wr_ready_o (hv_ready), .wr_req_i (hv_req),
    .mem_req_valid_o (in_valid), .mem_req_ready_i (in_ready), .mem_req_o (in_req)
  );

  mem_merge u_merge (
    .clk_i, .rst_ni,
    .rd_valid_i (in_valid), .rd_ready_o (in_ready), .rd_req_i (in_req),
    .wr_valid_i (wr_valid), .wr_ready_o (wr_ready), .wr_req_i (wr_req),
    .mem_req_valid_o, .mem_req_ready_i, .mem_req_o
  );

  // ------------------------------------------------------------------ decode
  mmu_cmd_t cmd;

  always_comb begin
    unique case (entry.op)
      CtrlOpNop, CtrlOpInvalidate, CtrlOpReplay, CtrlOpCancel, CtrlOpStop,
      CtrlOpKillJob, CtrlOpSuspend, CtrlOpResume, CtrlOpSave: known = 1'b1;
      CtrlOpCtxSet:  known = entry.arg1[1:0] != 2'd3;
      CtrlOpHarvestBits: begin
        known = entry.arg1[15:0] != '0 && entry.arg1[15:0] <= 16'd512
             && {entry.arg1[2:0], entry.arg0[5:0], entry.arg2[5:0]} == '0;
      end
      default:       known = 1'b0;
    endcase
  end
  assign bad   = entry.version != FormatVersion || !known;
  assign empty = entry.len == '0 && (entry.op == CtrlOpInvalidate || entry.op == CtrlOpReplay);

  // Last byte of the range within the 48-bit space; the carry tells that it does not fit.
  logic [VaW:0] last;
  assign last = {1'b0, entry.addr[VaW-1:0]} + {1'b0, entry.len[VaW-1:0]} - (VaW + 1)'(1);

  always_comb begin
    cmd.op       = ctrl_op_e'(entry.op);
    cmd.ctx      = entry.ctx;
    cmd.lo       = entry.addr[VaW-1:12];
    cmd.hi       = last[VaW-1:12];
    cmd.cfg.mode = ctx_mode_e'(entry.arg1[1:0]);
    cmd.cfg.log  = entry.arg1[2];
    cmd.cfg.root = entry.arg0[PaW-1:12];
    cmd.access   = access_e'(entry.arg0[1:0]);
    cmd.code     = entry.arg1[7:0];
    if (entry.op == CtrlOpCancel) begin
      cmd.hi = cmd.lo;
    end else if (entry.len[63:VaW] != '0 || last[VaW]) begin
      cmd.lo = '0;
      cmd.hi = '1;
    end
  end

  assign cmd_valid_o          = state_q == CtrlCmd;
  assign cmd_o                = cmd;
  assign kill_launch_valid_o  = state_q == CtrlKill && kill_launch_q;
  assign kill_launch_by_ctx_o = entry.op == CtrlOpStop;
  assign kill_launch_job_o    = entry.arg0[31:0];
  assign kill_copy_valid_o    = state_q == CtrlKill && kill_copy_q;
  assign kill_ctx_o           = entry.ctx;
  assign hold_valid_o         = state_q == CtrlKill && hold_q;
  assign hold_on_o            = entry.op != CtrlOpResume;
  assign hold_save_o          = entry.op == CtrlOpSave;
  assign hold_area_o          = {entry.arg1[PaW-1:6], 6'd0};

  assign err_valid_o = fetch_err || state_q == CtrlBad;
  assign err_code_o  = fetch_err ? ErrorCodeRingFetch : ErrorCodeBadEntry;
  assign err_addr_o  = fetch_err_addr;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q       <= CtrlIdle;
      kill_launch_q <= 1'b0;
      kill_copy_q   <= 1'b0;
      hold_q        <= 1'b0;
      stopped_ctx_q <= 1'b0;
    end else begin
      unique case (state_q)
        CtrlIdle: if (entry_valid) begin
          kill_launch_q <= entry.op == CtrlOpStop || entry.op == CtrlOpKillJob;
          kill_copy_q   <= entry.op == CtrlOpStop;
          hold_q        <= entry.op == CtrlOpSuspend || entry.op == CtrlOpResume
                        || entry.op == CtrlOpSave;
          stopped_ctx_q <= 1'b0;
          if (bad) state_q <= CtrlBad;
          else begin
            unique case (entry.op)
              CtrlOpNop:                 state_q <= CtrlPost;
              CtrlOpHarvestBits:         state_q <= CtrlBits;
              CtrlOpStop, CtrlOpKillJob, CtrlOpSuspend, CtrlOpResume,
              CtrlOpSave:                state_q <= CtrlKill;
              default:                   state_q <= empty ? CtrlPost : CtrlCmd;
            endcase
          end
        end
        CtrlKill: begin
          if (kill_launch_done_i) kill_launch_q <= 1'b0;
          if (kill_copy_done_i)   kill_copy_q   <= 1'b0;
          if (hold_done_i)        hold_q        <= 1'b0;
          if (!kill_launch_q && !kill_copy_q && !hold_q) begin
            state_q <= entry.op == CtrlOpStop && !stopped_ctx_q ? CtrlCmd : CtrlPost;
          end
        end
        CtrlCmd:  if (cmd_ready_i) state_q <= CtrlWait;
        CtrlWait: if (cmd_done_i) begin
          state_q <= CtrlPost;
          // A job or copy may have begun between the first kill and the Stop event.
          if (entry.op == CtrlOpStop) begin
            state_q       <= CtrlKill;
            kill_launch_q <= 1'b1;
            kill_copy_q   <= 1'b1;
            stopped_ctx_q <= 1'b1;
          end
        end
        CtrlBits: if (bits_done)   state_q <= CtrlPost;
        CtrlPost: if (post_ready)  state_q <= CtrlIdle;
        default:                   state_q <= CtrlIdle;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (state_q == CtrlIdle || state_q == CtrlBad || entry_valid)
        else $error("ctrl_unit: entry lost while it ran");
      assert (!cmd_done_i || state_q == CtrlWait)
        else $error("ctrl_unit: acknowledgement without command");
    end
  end

  // Fields without meaning, alignment bits and address bits above the physical and virtual space.
  logic unused;
  assign unused = ^{entry.pad0, entry.pad1, entry.arg1[63:PaW], entry.arg0[63:PaW], entry.arg2[63:PaW],
                    entry.addr[63:VaW], entry.addr[11:0], last[11:0]};

endmodule
