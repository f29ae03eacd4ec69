// Table of the hardware warps: which thread each runs, where it stands, whose turn it is.
//
// Issue: each cycle the next ready warp after the last one, round robin, those without accesses under
// way first: the others may find that a load is not in yet. hold_i skips a cycle. pc_o is the address
// of a warp's present instruction. A warp is ready again when step_* (execute stage) says so, or when the unit
// that works for it releases it. StepStall: when wake_i says so.
// Start: one thread at a time goes to the lowest idle warp. Its registers are written through
// wb_* (a0, a1, a2, sp), then it is ready; about ten cycles.
// End: decided by the execute stage, by a fetch that fails, or by an access that fails (trap_*); told
// when no access of the warp is left (active_i): end_valid_o/end_ready_i, one thread at a time, and
// only then the warp is idle again. The failure of an access, being of an earlier instruction, comes
// before the others.
// Kill and stop: a ready warp ends instead of being issued; units release the others by kill_o.
// An end that was decided before stands. A trap ends a warp in the same way.
// Hold: a ready warp of a held job (held_i) is not issued; units release the others by held_o, or
// keep what they must do again (waits_i). busy_o tells by job which ones are not there yet. A kill
// ends held warps too. Held warps whose end is decided tell it; those that wait for accesses do not.
//
// Save: save_i names a job that stands still; save_any_o and save_warp_o its lowest warp, with what is to be
// saved of it (save_*_o). save_take_i frees that warp.
// Restore: a thread with `restore` takes a warp as any other (start_o); loading_o is high until
// load_done_i says what becomes of it.
module cu_warps
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import cu_pkg::*;
#(
  parameter int unsigned Warps    = 16,
  parameter int unsigned JobSlots = 4,
  parameter bit          Compact  = 1'b0
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,

  input  logic                    thread_valid_i,
  output logic                    thread_ready_o,
  input  thread_t                 thread_i,
  output logic                    start_o,          // pulse: clear what the last thread left
  output warp_t                   start_warp_o,
  output logic                    end_valid_o,
  input  logic                    end_ready_i,
  output thread_end_t             end_o,
  input  logic [JobSlots-1:0]     kill_i,
  input  logic                    stop_i,
  input  ctx_t                    stop_ctx_i,
  input  logic [JobSlots-1:0]     held_i,
  output logic [JobSlots-1:0]     busy_o,           // held, and a warp is within an instruction
  input  logic [JobSlots-1:0]     save_i,
  output logic                    save_any_o,
  output warp_t                   save_warp_o,
  output logic [31:0]             save_index_o,
  output place_t                  save_place_o,
  output logic [63:0]             save_pc_o,
  output logic                    save_ended_o,
  output logic [7:0]              save_status_o,
  input  logic                    save_take_i,
  output logic                    loading_o,
  output warp_t                   loading_warp_o,
  input  logic                    load_done_i,
  input  logic                    load_blocked_i,
  input  logic                    load_ended_i,
  input  logic [7:0]              load_status_i,

  input  logic                    hold_i,
  output logic                    issue_o,
  output warp_t                   issue_warp_o,
  output logic [47:0]             issue_pc_o,
  output ctx_t                    issue_ctx_o,
  output logic                    issue_bad_o,      // the program counter left the address space

  input  logic                    step_valid_i,
  input  step_t                   step_i,
  input  logic [Warps-1:0]        release_i,
  input  logic                    wb_release_i,
  input  warp_t                   wb_warp_i,
  input  logic [Warps-1:0]        fetch_trap_i,
  input  logic [7:0]              fetch_code_i,
  input  logic [Warps-1:0]        fetch_err_i,
  input  logic                    trap_valid_i,     // an access has failed
  input  warp_t                   trap_warp_i,
  input  logic [7:0]              trap_code_i,
  input  logic [47:0]             trap_va_i,
  input  logic [Warps-1:0]        active_i,         // accesses are under way
  input  logic [Warps-1:0]        moving_i,         // held: not all has come to rest
  input  logic [Warps-1:0]        waits_i,          // held: a unit keeps its instruction
  input  logic [Warps-1:0]        wake_i,           // a stalled warp may try again

  output logic                    wb_valid_o,
  input  logic                    wb_ready_i,
  output wb_t                     wb_o,

  output logic [Warps-1:0]        run_o,
  output logic [Warps-1:0]        ready_o,
  output logic [Warps-1:0]        stall_o,
  output logic [Warps-1:0]        report_o,
  output logic [Warps-1:0]        kill_o,
  output logic [Warps-1:0]        held_o,
  output logic [Warps-1:0][47:0]  pc_o,
  output ctx_t [Warps-1:0]        ctx_o,
  output logic [Warps-1:0][3:0]   job_o,
  input  warp_t                   csr_warp_i,
  output logic [31:0]             csr_index_o,
  output logic [31:0]             csr_threads_o,
  output place_t                  csr_place_o,
  output logic                    cnt_thread_o
);

  typedef logic [Warps-1:0] warps_t;

  function automatic warps_t one(logic valid, warp_t warp);
    return valid ? warps_t'(1) << warp : '0;
  endfunction

  function automatic warp_t lowest(warps_t set);
    lowest = '0;
    for (int i = int'(Warps) - 1; i >= 0; i--) if (set[i]) lowest = warp_t'(i);
  endfunction

  warps_t                 run_q, ready_q, stall_q, report_q, killed_q, stopped_q, trapped_q;
  warps_t                 next_q;           // the next instruction is the one after pc_q
  logic [Warps-1:0][47:0] pc_q;
  ctx_t [Warps-1:0]       ctx_q;
  logic [Warps-1:0][3:0]  job_q;
  // Packed: loops over unpacked arrays cost simulation every cycle.
  logic  [Warps-1:0][7:0] status_q;
  info_e [Warps-1:0]      info_q;
  logic [63:0]            result_mem [Warps];
  logic [47:0]            va_mem     [Warps];   // InfoVa
  logic [63:0]            thread_mem [Warps];   // thread index and number of threads
  place_t                 place_mem  [Warps];

  assign run_o    = run_q;
  assign ready_o  = ready_q;
  assign stall_o  = stall_q;
  assign report_o = report_q;
  assign kill_o   = killed_q | stopped_q | trapped_q;
  assign pc_o     = pc_q;
  assign ctx_o    = ctx_q;
  assign job_o    = job_q;

  assign {csr_index_o, csr_threads_o} = thread_mem[csr_warp_i];
  assign csr_place_o = place_mem[csr_warp_i];

  // ---------------------------------------------------------------- issue
  warps_t able, candidates, behind, held, held_now;
  warp_t  last_q;
  assign able         = ready_q & ~kill_o & ~held;
  assign candidates   = (able & ~active_i) != '0 ? able & ~active_i : able;
  assign behind       = candidates & ~((warps_t'(2) << last_q) - warps_t'(1));
  assign issue_o      = candidates != '0 && !hold_i;
  assign issue_warp_o = behind != '0 ? lowest(behind) : lowest(candidates);
  assign issue_ctx_o  = ctx_q[issue_warp_o];
  assign issue_pc_o   = pc_q[issue_warp_o] + {45'b0, next_q[issue_warp_o], 2'b0};
  // 4 bytes past the end of the lower half: no address of Sv48.
  assign issue_bad_o  = next_q[issue_warp_o] && pc_q[issue_warp_o] == 48'h7fff_ffff_fffc;

  // ---------------------------------------------------------------- hold
  function automatic logic of_job(logic [3:0] slot, logic [JobSlots-1:0] jobs);
    return slot < 4'(JobSlots) && jobs[slot[$clog2(JobSlots)-1:0]];
  endfunction

  // Worth a look only while a job is held.
  always_comb begin
    held_now = '0;
    busy_o   = '0;
    if (held_i != '0) begin
      for (int unsigned w = 0; w < Warps; w++) begin
        held_now[w] = run_q[w] && of_job(job_q[w], held_i);
        for (int unsigned j = 0; j < JobSlots; j++) begin
          if (held_now[w] && job_q[w] == 4'(j)
              && (!(ready_q[w] || stall_q[w] || waits_i[w] || (report_q[w] && active_i[w]))
                  || moving_i[w] || kill_o[w] || (loading_o && loading_warp_o == warp_t'(w)))) begin
            busy_o[j] = 1'b1;
          end
        end
      end
    end
  end

  // Compact: a cycle later; launch_unit knows. A warp that ends or leaves has no use for it.
  if (Compact) begin : gen_late
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) held <= '0;
      else         held <= held_now;
    end
  end else begin : gen_now
    assign held = held_now;
  end

  // ---------------------------------------------------------------- save
  warps_t saved, taken_set;

  always_comb begin
    saved         = '0;
    save_warp_o   = '0;
    save_index_o  = '0;
    save_place_o  = '0;
    save_pc_o     = '0;
    save_ended_o  = 1'b0;
    save_status_o = '0;
    if (save_i != '0) begin
      for (int unsigned w = 0; w < Warps; w++) saved[w] = run_q[w] && of_job(job_q[w], save_i);
      save_warp_o   = lowest(saved);
      save_index_o  = thread_mem[save_warp_o][63:32];
      save_place_o  = place_mem[save_warp_o];
      save_pc_o     = {{16{pc_q[save_warp_o][47]}}, pc_q[save_warp_o]} + {61'b0, next_q[save_warp_o], 2'b0};
      save_ended_o  = report_q[save_warp_o];
      save_status_o = status_q[save_warp_o];
    end
  end

  assign save_any_o = saved != '0;
  assign taken_set  = one(save_take_i, save_warp_o);

  assign held_o = held;

  // ---------------------------------------------------------------- start of a thread
  typedef enum logic [2:0] {
    StartIdle = 3'd0,
    StartA0   = 3'd1,
    StartA1   = 3'd2,
    StartA2   = 3'd3,
    StartSp   = 3'd4,
    StartLoad = 3'd5    // a saved thread
  } start_e;

  start_e      start_q;
  warp_t       start_warp_q;
  logic [PlaceW:0] stacks_q;            // stack sizes still to be added, in units of stack_size_q
  logic        adding;
  logic [63:0] arg_q, sp_q, stack_size_q;
  logic [31:0] index_q, threads_q;
  logic        accept, started, entry_bad, entry_misaligned, beyond;
  warp_t       free_warp;

  assign thread_ready_o   = start_q == StartIdle && run_q != '1;
  assign accept           = thread_valid_i && thread_ready_o;
  assign free_warp        = lowest(~run_q);
  assign entry_misaligned = thread_i.entry[1:0] != '0;
  assign entry_bad        = !thread_i.restore && (entry_misaligned || !canonical(thread_i.entry));
  assign loading_o        = start_q == StartLoad;
  assign loading_warp_o   = start_warp_q;
  assign beyond           = !canonical(thread_i.entry);   // a saved thread past the end of the lower half
  assign start_o          = accept;
  assign start_warp_o     = free_warp;
  assign wb_valid_o       = start_q != StartIdle && start_q != StartLoad && !(start_q == StartSp && adding);
  assign adding           = stacks_q != '0;
  assign started          = start_q == StartSp && wb_valid_o && wb_ready_i;

  always_comb begin
    wb_o = '{warp: start_warp_q, slot: '0, posted: 1'b0, rd: 5'd10, rd_we: 1'b1, data: arg_q};
    unique case (start_q)
      StartA1: begin wb_o.rd = 5'd11; wb_o.data = {32'b0, index_q}; end
      StartA2: begin wb_o.rd = 5'd12; wb_o.data = {32'b0, threads_q}; end
      StartSp: begin wb_o.rd = 5'd2;  wb_o.data = sp_q; end
      default: ;
    endcase
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      start_q <= StartIdle;
    end else begin
      unique case (start_q)
        StartIdle: if (accept && !entry_bad) start_q <= thread_i.restore ? StartLoad : StartA0;
        StartA0:   if (wb_ready_i) start_q <= StartA1;
        StartA1:   if (wb_ready_i) start_q <= StartA2;
        StartA2:   if (wb_ready_i) start_q <= StartSp;
        StartSp:   if (started)    start_q <= StartIdle;
        StartLoad: if (load_done_i) start_q <= StartIdle;
        default:   start_q <= StartIdle;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (accept) begin
      start_warp_q <= free_warp;
      stacks_q     <= (PlaceW + 1)'(thread_i.place) + (PlaceW + 1)'(1);
      arg_q        <= thread_i.arg;
      index_q      <= thread_i.index;
      threads_q    <= thread_i.threads;
      sp_q         <= thread_i.stack_base;
      stack_size_q <= thread_i.stack_size;
      thread_mem[free_warp] <= {thread_i.index, thread_i.threads};
      place_mem[free_warp]  <= thread_i.place;
    end else if (adding) begin
      // Multiplied bit by bit.
      if (stacks_q[0]) sp_q <= sp_q + stack_size_q;
      stack_size_q <= stack_size_q << 1;
      stacks_q     <= stacks_q >> 1;
    end
  end

  // ---------------------------------------------------------------- end of a thread
  warps_t      kill_now, killed_ready, ending_set;
  logic        end_valid_q;
  warp_t       end_warp_q, report_warp;
  thread_end_t end_q;
  logic        load_end;

  always_comb begin
    kill_now = '0;
    if (kill_i != '0) begin
      for (int unsigned w = 0; w < Warps; w++) kill_now[w] = run_q[w] && of_job(job_q[w], kill_i);
    end
  end

  warps_t over;
  assign killed_ready = (ready_q | stall_q) & kill_o;
  assign ending_set   = end_valid_q ? one(1'b1, end_warp_q) : '0;
  assign over         = report_q & ~active_i & ~ending_set;
  assign load_end     = over != '0 && !end_valid_q;

  always_comb begin
    report_warp = '0;
    if (load_end) report_warp = lowest(over);
  end

  assign end_valid_o  = end_valid_q;
  assign end_o        = end_q;
  assign cnt_thread_o = end_valid_q && end_ready_i;

  always_ff @(posedge clk_i) begin
    if (load_end) begin
      end_warp_q   <= report_warp;
      end_q.job    <= job_q[report_warp];
      end_q.status <= status_q[report_warp];
      end_q.place  <= place_mem[report_warp];
      end_q.result <= status_q[report_warp] == 8'(JobStatusOk) ? result_mem[report_warp] : '1;
      unique case (info_q[report_warp])
        InfoPc:  end_q.info <= pc_q[report_warp] + {45'b0, next_q[report_warp], 2'b0};
        InfoVa:  end_q.info <= va_mem[report_warp];
        default: end_q.info <= '0;
      endcase
    end
  end

  // ---------------------------------------------------------------- next state
  warps_t step_ready, step_stall, step_end, traps, finished, load_ready, load_end_set;
  assign step_ready = one(step_valid_i && (step_i.step == StepNext || step_i.step == StepJump
                                           || step_i.step == StepAgain),
                          step_i.warp);
  assign step_stall = one(step_valid_i && step_i.step == StepStall, step_i.warp);
  assign step_end   = one(step_valid_i && step_i.step == StepEnd, step_i.warp);
  assign traps      = fetch_trap_i | fetch_err_i;
  assign finished   = one(cnt_thread_o, end_warp_q);
  assign load_ready   = one(load_done_i && !load_blocked_i && !load_ended_i, start_warp_q);
  assign load_end_set = one(load_done_i && load_ended_i, start_warp_q);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      run_q       <= '0;
      ready_q     <= '0;
      stall_q     <= '0;
      trapped_q   <= '0;
      report_q    <= '0;
      killed_q    <= '0;
      stopped_q   <= '0;
      next_q      <= '0;
      pc_q        <= '0;
      ctx_q       <= '0;
      job_q       <= '0;
      last_q      <= '0;
      end_valid_q <= 1'b0;
    end else begin
      run_q    <= (run_q | one(accept, free_warp)) & ~finished & ~taken_set;
      ready_q  <= (ready_q & ~killed_ready & ~taken_set & ~one(issue_o, issue_warp_o))
                | step_ready | (stall_q & wake_i & ~kill_o) | release_i | one(wb_release_i, wb_warp_i)
                | one(started, start_warp_q) | load_ready;
      stall_q  <= (stall_q & ~wake_i & ~killed_ready & ~taken_set) | step_stall;
      report_q <= (report_q & ~finished & ~taken_set) | killed_ready | step_end | traps | load_end_set
                | one(accept && entry_bad, free_warp);
      killed_q <= (killed_q | kill_now) & ~finished;
      trapped_q <= (trapped_q | one(trap_valid_i, trap_warp_i)) & ~finished;
      // A thread may come in the very cycle of its context's stop.
      if (stop_i) begin
        for (int unsigned w = 0; w < Warps; w++) begin
          if (run_q[w] && ctx_q[w] == stop_ctx_i) stopped_q[w] <= 1'b1;
        end
        if (accept && thread_i.ctx == stop_ctx_i) stopped_q[free_warp] <= 1'b1;
      end
      if (cnt_thread_o) stopped_q[end_warp_q] <= 1'b0;

      if (issue_o) begin
        last_q               <= issue_warp_o;
        // One that left the address space may have to try again, and is still outside then.
        if (!issue_bad_o) begin
          pc_q[issue_warp_o]   <= issue_pc_o;
          next_q[issue_warp_o] <= 1'b0;
        end
      end
      if (step_valid_i) begin
        if (step_i.step == StepNext || step_i.step == StepWait) next_q[step_i.warp] <= 1'b1;
        if (step_i.set_pc) pc_q[step_i.warp] <= step_i.target;
      end
      if (accept) begin
        pc_q[free_warp]   <= thread_i.entry[47:0];
        if (thread_i.restore) pc_q[free_warp] <= beyond ? 48'h7fff_ffff_fffc : {thread_i.entry[47:2], 2'b0};
        ctx_q[free_warp]  <= thread_i.ctx;
        job_q[free_warp]  <= thread_i.job;
        next_q[free_warp] <= thread_i.restore && beyond;
      end

      if (load_end)          end_valid_q <= 1'b1;
      else if (cnt_thread_o) end_valid_q <= 1'b0;
    end
  end

  // How a thread ends. Of several causes in a cycle the last one here counts: it is the earliest in the
  // program. After an access has failed nothing else does.
  always_ff @(posedge clk_i) begin
    if (load_done_i && load_ended_i && !trapped_q[start_warp_q]) begin
      status_q[start_warp_q] <= load_status_i;
      info_q[start_warp_q]   <= InfoPc;
    end
    if (killed_ready != '0) begin
      for (int unsigned w = 0; w < Warps; w++) begin
        if (killed_ready[w] && !trapped_q[w]) begin
          status_q[w] <= stopped_q[w] ? 8'(JobStatusStopped) : 8'(JobStatusKilled);
          info_q[w]   <= InfoNone;
        end
      end
    end
    if (traps != '0) begin
      for (int unsigned w = 0; w < Warps; w++) begin
        if (traps[w] && !trapped_q[w]) begin
          status_q[w] <= fetch_err_i[w] ? 8'(JobStatusMemoryError) : fetch_code_i;
          info_q[w]   <= InfoPc;
        end
      end
    end
    if (step_end != '0) begin
      status_q[step_i.warp]   <= step_i.status;
      info_q[step_i.warp]     <= step_i.info;
      result_mem[step_i.warp] <= step_i.result;
    end
    if (trap_valid_i) begin
      status_q[trap_warp_i] <= trap_code_i;
      info_q[trap_warp_i]   <= InfoVa;
      va_mem[trap_warp_i]   <= trap_va_i;
    end
    if (accept && entry_bad) begin
      status_q[free_warp] <= entry_misaligned ? 8'(JobStatusMisaligned) : 8'(JobStatusBadAddress);
      info_q[free_warp]   <= InfoPc;
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert ((ready_q & ~run_q) == '0) else $error("an idle warp is ready");
      assert ((ready_q & report_q) == '0) else $error("a warp that ended is ready");
      assert ((stall_q & (ready_q | report_q)) == '0) else $error("a stalled warp is elsewhere too");
      assert (!(trap_valid_i && !active_i[trap_warp_i])) else $error("a failure of no access");
      assert (!save_take_i || (kill_o & taken_set) == '0) else $error("a warp that ends is saved");
      assert (!(step_valid_i && ready_q[step_i.warp])) else $error("a ready warp is in the pipeline");
    end
  end

endmodule
