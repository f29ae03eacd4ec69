// Compute unit: a barrel of hardware warps, each one scalar RV64IMA thread.
//
// Every warp has one instruction in the pipeline, so there is no forwarding; 4 or more ready warps
// give one instruction per cycle. A warp goes on after a load until an instruction needs the
// register, up to 4 loads at once; then, and for everything else that takes time, it is out of the
// barrel and costs nothing.
//
//   S0 choose a warp, read the instruction cache     (cu_warps)
//   S1 instruction, or a miss that cu_fetch serves
//   S2 decode, read registers, ask the scoreboard    (cu_decode, cu_regfile, cu_score)
//   S3 execute; the warp is ready again in the next cycle, or waits for a unit or a load   (cu_exec)
//   S4 write the register; loads and stores look up their page in cu_lsu
//
// Latencies from S0 to the next S0 of a warp: 4 cycles, multiply 8, divide 70 (W forms 38), store 7,
// with an empty barrel and TLB and cache hits. From the S0 of a load to that of the first instruction
// that uses its result: 8 plus the memory's latency.
// Compact, the form for an FPGA: a register between the register file and S3, so an instruction takes a cycle more, as does
// a fetch that misses; an access takes three. A hold begins a cycle later.
//
// Late results (loads, atomics, multiply, divide, thread start) are written in cycles in which S4
// writes nothing. If they find none for some cycles, one issue is held back.
//
// Memory order is RVWMO's. Ends are precise: an access that fails (a Cancel, a bad address, a memory
// error) ends its thread when all earlier accesses have come in, and no later store was made, except
// after a load that fails in memory. Fences, atomics and the end of a thread wait for its accesses.
//
// Threads: thread_valid_i/thread_ready_o; their ends: end_valid_o/end_ready_i. kill_i is a level
// by job slot; EvStop ends the warps of its context with status Stopped. held_i, too: while it is
// high the warps of the job come to stand before their next instruction, and busy_o falls when all
// do. Accesses that wait for a translation are kept and ask again when held_i falls; what is on its
// way to memory completes first. A held job's warps can be saved (cu_save) and, in any unit, restored
// (cu_restore), with the accesses that were kept. Memory clients: data reads, writes and compare-and-swaps, tags are
// access numbers; fetch reads, tags are warp numbers.
module cu
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import cu_pkg::*;
#(
  parameter int unsigned Warps      = 16, // 1 to 16
  parameter int unsigned JobSlots   = 4,
  parameter int unsigned L1Entries  = 16, // of each L1 TLB
  parameter int unsigned DataSlots  = 16, // misses at once: of its data,
  parameter int unsigned FetchSlots = 8,  // and of its fetch
  parameter bit          Compact    = 1'b0
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic [63:0]            time_i,

  input  logic                   thread_valid_i,
  output logic                   thread_ready_o,
  input  thread_t                thread_i,
  output logic                   end_valid_o,
  input  logic                   end_ready_i,
  output thread_end_t            end_o,
  input  logic [JobSlots-1:0]    kill_i,
  input  logic [JobSlots-1:0]    held_i,
  output logic [JobSlots-1:0]    busy_o,

  // Save: a job that stands still, one of its warps after the other.
  input  logic [JobSlots-1:0]    save_i,
  output logic                   save_any_o,
  input  logic                   save_rd_valid_i,
  output logic                   save_rd_ready_o,
  input  logic [4:0]             save_beat_i,
  output logic [127:0]           save_data_o,     // in the next cycle
  input  logic                   save_take_i,
  // The state of a saved thread that was taken last.
  input  logic                   load_valid_i,
  output logic                   load_ready_o,
  input  logic [5:0]             load_word_i,
  input  logic [63:0]            load_data_i,

  output logic                   miss_data_valid_o,
  input  logic                   miss_data_ready_i,
  output miss_t                  miss_data_o,
  output logic                   miss_fetch_valid_o,
  input  logic                   miss_fetch_ready_i,
  output miss_t                  miss_fetch_o,
  input  mmu_event_t             event_i,
  output logic                   drain_done_data_o,
  output logic                   drain_done_fetch_o,

  output logic                   data_req_valid_o,
  input  logic                   data_req_ready_i,
  output mem_req_t               data_req_o,
  input  logic                   data_rsp_valid_i,
  input  mem_rsp_t               data_rsp_i,
  output logic                   fetch_req_valid_o,
  input  logic                   fetch_req_ready_i,
  output mem_req_t               fetch_req_o,
  input  logic                   fetch_rsp_valid_i,
  input  mem_rsp_t               fetch_rsp_i,

  input  warp_t                  warp_sel_i,
  output logic [63:0]            warp_state_o,    // of this warp, as WARP_STATE shows it
  output logic                   cnt_instructions_o,
  output logic                   cnt_cu_loads_o,
  output logic [1:0]             cnt_cu_stores_o,
  output logic                   cnt_cu_busy_o,
  output logic                   cnt_threads_o,
  output logic                   cnt_l1_lookups_o,
  output logic                   cnt_l1_hits_o,
  output logic                   cnt_l1_fetch_lookups_o,
  output logic                   cnt_l1_fetch_hits_o
);

  typedef logic [Warps-1:0] warps_t;

  // ---------------------------------------------------------------- warps (S0)
  logic                   hold, issue, issue_bad, start;
  warp_t                  issue_warp, start_warp, trap_warp;
  logic [47:0]            issue_pc, trap_va;
  ctx_t                   issue_ctx;
  logic                   step_valid;
  step_t                  step;
  warps_t                 fetch_release, fetch_trap, fetch_err, data_release;
  logic [7:0]             fetch_code, trap_code;
  logic                   trap;
  logic                   start_wb_valid, start_wb_ready;
  wb_t                    start_wb;
  warps_t                 run, ready, stall, report, kill, held;
  warps_t                 active, full, moving, waits, wake;
  logic [Warps-1:0][47:0] pc;
  ctx_t [Warps-1:0]       ctx;
  logic [Warps-1:0][3:0]  job;
  logic [31:0]            csr_index, csr_threads;
  place_t                 csr_place;
  logic                   late_release;
  wb_t                    late;
  warp_t                  save_warp, loading_warp;
  logic [31:0]            save_index;
  place_t                 save_place;
  logic [63:0]            save_pc;
  logic                   save_ended, save_hold, loading, load_done_all, load_blocked, load_ended;
  logic [7:0]             save_status, load_status;
  logic                   s3_valid_q;
  warp_t                  s3_warp_q;

  cu_warps #(
    .Warps    (Warps),
    .JobSlots (JobSlots),
    .Compact  (Compact)
  ) u_warps (
    .clk_i,
    .rst_ni,
    .thread_valid_i,
    .thread_ready_o,
    .thread_i,
    .start_o         (start),
    .start_warp_o    (start_warp),
    .end_valid_o,
    .end_ready_i,
    .end_o,
    .kill_i,
    .stop_i          (event_i.ev == EvStop),
    .stop_ctx_i      (event_i.ctx),
    .held_i,
    .busy_o,
    .save_i,
    .save_any_o,
    .save_warp_o     (save_warp),
    .save_index_o    (save_index),
    .save_place_o    (save_place),
    .save_pc_o       (save_pc),
    .save_ended_o    (save_ended),
    .save_status_o   (save_status),
    .save_take_i,
    .loading_o       (loading),
    .loading_warp_o  (loading_warp),
    .load_done_i     (load_done_all),
    .load_blocked_i  (load_blocked),
    .load_ended_i    (load_ended),
    .load_status_i   (load_status),
    .hold_i          (hold),
    .issue_o         (issue),
    .issue_warp_o    (issue_warp),
    .issue_pc_o      (issue_pc),
    .issue_ctx_o     (issue_ctx),
    .issue_bad_o     (issue_bad),
    .step_valid_i    (step_valid),
    .step_i          (step),
    .release_i       (fetch_release | data_release),
    .wb_release_i    (late_release),
    .wb_warp_i       (late.warp),
    .fetch_trap_i    (fetch_trap),
    .fetch_code_i    (fetch_code),
    .fetch_err_i     (fetch_err),
    .trap_valid_i    (trap),
    .trap_warp_i     (trap_warp),
    .trap_code_i     (trap_code),
    .trap_va_i       (trap_va),
    .active_i        (active),
    .moving_i        (moving),
    .waits_i         (waits),
    .wake_i          (wake),
    .wb_valid_o      (start_wb_valid),
    .wb_ready_i      (start_wb_ready),
    .wb_o            (start_wb),
    .run_o           (run),
    .ready_o         (ready),
    .stall_o         (stall),
    .report_o        (report),
    .kill_o          (kill),
    .held_o          (held),
    .pc_o            (pc),
    .ctx_o           (ctx),
    .job_o           (job),
    .csr_warp_i      (s3_warp_q),
    .csr_index_o     (csr_index),
    .csr_threads_o   (csr_threads),
    .csr_place_o     (csr_place),
    .cnt_thread_o    (cnt_threads_o)
  );

  // ---------------------------------------------------------------- fetch (S1)
  warps_t      save_gone;
  assign save_gone = save_take_i ? warps_t'(1) << save_warp : '0;

  logic        s1_valid_q, s1_bad_q;
  warp_t       s1_warp_q;
  logic        s1_hit, fence_i;
  logic [31:0] s1_instr;
  warps_t      fetch_parked, fetch_busy;

  cu_fetch #(
    .Warps   (Warps),
    .Entries (L1Entries),
    .Slots   (FetchSlots),
    .Compact (Compact)
  ) u_fetch (
    .clk_i,
    .rst_ni,
    .req_valid_i     (issue),
    .req_warp_i      (issue_warp),
    .req_ctx_i       (issue_ctx),
    .req_pc_i        (issue_pc),
    .rsp_hit_o       (s1_hit),
    .rsp_instr_o     (s1_instr),
    .rsp_ignore_i    (s1_bad_q),
    .pc_i            (pc),
    .ctx_i           (ctx),
    .kill_i          (kill | save_gone),
    .held_i          (held),
    .release_o       (fetch_release),
    .trap_o          (fetch_trap),
    .trap_code_o     (fetch_code),
    .mem_err_o       (fetch_err),
    .parked_o        (fetch_parked),
    .busy_o          (fetch_busy),
    .flush_i         (fence_i),
    .miss_valid_o    (miss_fetch_valid_o),
    .miss_ready_i    (miss_fetch_ready_i),
    .miss_o          (miss_fetch_o),
    .event_i,
    .drain_done_o    (drain_done_fetch_o),
    .mem_req_valid_o (fetch_req_valid_o),
    .mem_req_ready_i (fetch_req_ready_i),
    .mem_req_o       (fetch_req_o),
    .mem_rsp_valid_i (fetch_rsp_valid_i),
    .mem_rsp_i       (fetch_rsp_i),
    .cnt_lookup_o    (cnt_l1_fetch_lookups_o),
    .cnt_hit_o       (cnt_l1_fetch_hits_o)
  );

  // ---------------------------------------------------------------- decode (S2)
  logic        s2_valid_q, s2_bad_q;
  warp_t       s2_warp_q;
  logic [31:0] s2_instr_q;
  dec_t        dec;

  cu_decode u_decode (
    .instr_i (s2_instr_q),
    .dec_o   (dec)
  );

  // ---------------------------------------------------------------- execute (S3)
  logic        read_valid_q, read_bad_q;
  warp_t       read_warp_q;
  dec_t        dec_q, read_dec_q;
  logic [63:0] rs1, rs2, reg_rs1, reg_rs2;
  logic        reg_we;
  wb_t         reg_wb;
  logic [3:0]  save_pair;

  cu_regfile #(
    .Warps (Warps)
  ) u_regfile (
    .clk_i,
    .rst_ni,
    .clear_i      (start),
    .clear_warp_i (start_warp),
    .raddr_warp_i (s2_valid_q ? s2_warp_q : save_warp),
    .rs1_i        (s2_valid_q ? dec.rs1 : {save_pair, 1'b0}),
    .rs2_i        (s2_valid_q ? dec.rs2 : {save_pair, 1'b1}),
    .rs1_o        (reg_rs1),
    .rs2_o        (reg_rs2),
    .we_i         (reg_we),
    .waddr_warp_i (reg_wb.warp),
    .rd_i         (reg_wb.rd),
    .wdata_i      (reg_wb.data)
  );

  // What was read: S3, or in the cycle before it.
  typedef struct packed {
    logic        bad;
    warp_t       warp;
    dec_t        dec;
    logic [63:0] rs1, rs2;
  } read_t;
  read_t read_now, read;

  assign read_now  = '{bad: read_bad_q, warp: read_warp_q, dec: read_dec_q, rs1: reg_rs1, rs2: reg_rs2};
  assign s3_warp_q = read.warp;
  assign dec_q     = read.dec;
  assign rs1       = read.rs1;
  assign rs2       = read.rs2;

  late #(.On(Compact), .T(read_t)) u_read (
    .clk_i, .rst_ni,
    .valid_i (read_valid_q), .data_i (read_now),
    .valid_o (s3_valid_q),   .data_o (read)
  );

  logic [63:0] sum, result, instret;
  logic [63:0] instret_mem [Warps];
  warps_t      counted_q;   // instret_mem is of the present thread
  logic        run_alu, run_mem, run_muldiv;
  logic        hazard, regs_in, active_now, full_now, done_now, stall_now, stall_regs, stall_all;
  logic        load_done, load_last;
  wb_t         mem_wb, exec_wb;
  logic        inj_valid, inj_taken, load_wb_valid, load_instret, load_instret_word;
  lsu_req_t    inj;
  wb_t         load_wb;
  lsu_snap_t   snap;

  assign exec_wb = '{warp: s3_warp_q, slot: '0, posted: 1'b0, rd: dec_q.rd, rd_we: dec_q.rd_we,
                     data: result};
  assign instret = counted_q[s3_warp_q] ? instret_mem[s3_warp_q] : '0;

  cu_exec u_exec (
    .valid_i      (s3_valid_q),
    .bad_pc_i     (read.bad),
    .warp_i       (s3_warp_q),
    .dec_i        (dec_q),
    .rs1_i        (rs1),
    .rs2_i        (rs2),
    .pc_i         (pc[s3_warp_q]),
    .dead_i       (kill[s3_warp_q]),
    .hazard_i     (hazard),
    .regs_in_i    (regs_in),
    .active_i     (active_now),
    .full_i       (full_now),
    .stall_o      (stall_now),
    .stall_regs_o (stall_regs),
    .stall_all_o  (stall_all),
    .done_now_i   (done_now),
    .time_i,
    .instret_i    (instret),
    .index_i      (csr_index),
    .threads_i    (csr_threads),
    .place_i      (csr_place),
    .step_o       (step),
    .run_alu_o    (run_alu),
    .run_mem_o    (run_mem),
    .run_muldiv_o (run_muldiv),
    .sum_o        (sum),
    .result_o     (result)
  );

  cu_score #(
    .Warps   (Warps),
    .Compact (Compact)
  ) u_score (
    .clk_i,
    .rst_ni,
    .start_i      (start),
    .start_warp_i (start_warp),
    .look_valid_i (s2_valid_q),
    .look_warp_i  (s2_warp_q),
    .rs1_i        (dec.rs1),
    .rs2_i        (dec.rs2),
    .rd_i         (dec.rd),
    .rd_we_i      (dec.rd_we),
    .warp_i       (s3_warp_q),
    .active_i     (active),
    .full_i       (full),
    .hazard_o     (hazard),
    .regs_in_o    (regs_in),
    .active_now_o (active_now),
    .full_now_o   (full_now),
    .done_now_o   (done_now),
    .load_i       (run_mem && dec_q.mem.kind == MemLoad),
    .load_rd_i    (dec_q.rd),
    .load_rd_we_i (dec_q.rd_we),
    .stall_i      (stall_now),
    .stall_regs_i (stall_regs),
    .stall_all_i  (stall_all),
    .inj_i        (inj_taken && inj.op.kind == MemLoad),
    .inj_warp_i   (inj.warp),
    .inj_rd_i     (inj.rd),
    .inj_rd_we_i  (inj.rd_we),
    .done_i       (load_done),
    .done_warp_i  (mem_wb.warp),
    .done_rd_i    (mem_wb.rd),
    .done_rd_we_i (mem_wb.rd_we),
    .done_last_i  (load_last),
    .wake_o       (wake)
  );

  assign step_valid         = s3_valid_q;
  assign fence_i            = run_alu && dec_q.fence_i;
  assign cnt_instructions_o = run_alu || run_mem || run_muldiv;

  // ---------------------------------------------------------------- pipeline registers
  logic     s4_we_q, lsu_valid_q;
  wb_t      s4_wb_q;
  lsu_req_t lsu_req_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      s1_valid_q   <= 1'b0;
      s2_valid_q   <= 1'b0;
      read_valid_q <= 1'b0;
      s4_we_q      <= 1'b0;
      lsu_valid_q  <= 1'b0;
      s1_bad_q     <= 1'b0;
      s2_bad_q     <= 1'b0;
      read_bad_q   <= 1'b0;
    end else begin
      s1_valid_q   <= issue;
      s1_bad_q     <= issue && issue_bad;
      s2_valid_q   <= s1_valid_q && (s1_hit || s1_bad_q);
      s2_bad_q     <= s1_bad_q;
      read_valid_q <= s2_valid_q;
      read_bad_q   <= s2_bad_q;
      s4_we_q      <= run_alu && dec_q.rd_we;
      lsu_valid_q  <= run_mem;
    end
  end

  always_ff @(posedge clk_i) begin
    if (issue)      s1_warp_q <= issue_warp;
    if (s1_valid_q) begin
      s2_warp_q  <= s1_warp_q;
      s2_instr_q <= s1_instr;
    end
    if (s2_valid_q) begin
      read_warp_q <= s2_warp_q;
      read_dec_q  <= dec;
    end
    if (run_alu) s4_wb_q <= exec_wb;
    if (run_mem) lsu_req_q <= '{warp: s3_warp_q, op: dec_q.mem, rd: dec_q.rd, rd_we: dec_q.rd_we,
                                va: sum, data: rs2, failed: 1'b0, code: '0};
    if (cnt_instructions_o) instret_mem[s3_warp_q] <= instret + 64'd1;
    else if (load_instret)  instret_mem[loading_warp] <= load_data_i;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      counted_q <= '0;
    end else begin
      if (cnt_instructions_o) counted_q[s3_warp_q]  <= 1'b1;
      else if (load_instret)  counted_q[loading_warp] <= 1'b1;
      if (start)              counted_q[start_warp] <= 1'b0;
    end
  end

  // ---------------------------------------------------------------- units
  logic md_valid, md_ready, mem_wb_valid, mem_wb_ready;
  wb_t  md_wb;

  cu_muldiv #(
    .Warps (Warps)
  ) u_muldiv (
    .clk_i,
    .rst_ni,
    .valid_i  (run_muldiv),
    .op_i     (dec_q.funct3),
    .word_i   (dec_q.word),
    .dst_i    (exec_wb),
    .a_i      (rs1),
    .b_i      (rs2),
    .valid_o  (md_valid),
    .ready_i  (md_ready),
    .result_o (md_wb)
  );

  warps_t lsu_translate, lsu_parked, lsu_blocks;

  cu_lsu #(
    .Warps   (Warps),
    .Entries (L1Entries),
    .Slots   (DataSlots),
    .Compact (Compact)
  ) u_lsu (
    .clk_i,
    .rst_ni,
    .req_valid_i      (lsu_valid_q || inj_valid),
    .req_i            (lsu_valid_q ? lsu_req_q : inj),
    .ctx_i            (ctx),
    .kill_i           (kill),
    .held_i           (held),
    .start_i          (start),
    .start_warp_i     (start_warp),
    .active_o         (active),
    .full_o           (full),
    .moving_o         (moving),
    .waits_o          (waits),
    .release_o        (data_release),
    .trap_valid_o     (trap),
    .trap_warp_o      (trap_warp),
    .trap_code_o      (trap_code),
    .trap_va_o        (trap_va),
    .translate_o      (lsu_translate),
    .parked_o         (lsu_parked),
    .blocks_o         (lsu_blocks),
    .snap_i           (save_rd_valid_i),
    .snap_warp_i      (save_warp),
    .snap_half_i      (save_beat_i[0]),
    .snap_o           (snap),
    .forget_i         (save_take_i),
    .wb_valid_o       (mem_wb_valid),
    .wb_ready_i       (mem_wb_ready),
    .wb_o             (mem_wb),
    .wb_last_o        (load_last),
    .miss_valid_o     (miss_data_valid_o),
    .miss_ready_i     (miss_data_ready_i),
    .miss_o           (miss_data_o),
    .event_i,
    .drain_done_o     (drain_done_data_o),
    .mem_req_valid_o  (data_req_valid_o),
    .mem_req_ready_i  (data_req_ready_i),
    .mem_req_o        (data_req_o),
    .mem_rsp_valid_i  (data_rsp_valid_i),
    .mem_rsp_i        (data_rsp_i),
    .cnt_load_o       (cnt_cu_loads_o),
    .cnt_store_o      (cnt_cu_stores_o),
    .cnt_lookup_o     (cnt_l1_lookups_o),
    .cnt_hit_o        (cnt_l1_hits_o)
  );

  // ---------------------------------------------------------------- saved threads
  logic [3:0] load_wait_q;    // cycles that a word has waited for a free one
  logic       load_ok;

  cu_save u_save (
    .clk_i,
    .rst_ni,
    .rd_valid_i (save_rd_valid_i),
    .rd_ready_o (save_rd_ready_o),
    .beat_i     (save_beat_i),
    .data_o     (save_data_o),
    .reads_i    (s2_valid_q),
    .hold_o     (save_hold),
    .pair_o     (save_pair),
    .rs1_i      (reg_rs1),
    .rs2_i      (reg_rs2),
    .index_i    (save_index),
    .place_i    (save_place),
    .pc_i       (save_pc),
    .ended_i    (save_ended),
    .status_i   (save_status),
    .instret_i  (counted_q[save_warp] ? instret_mem[save_warp] : '0),
    .snap_i     (snap)
  );

  // The count of instructions takes a cycle in which none ends.
  assign load_ok      = !(load_instret_word && (Compact ? s3_valid_q : cnt_instructions_o));
  assign load_instret = load_instret_word && load_ok;
  assign inj_taken    = inj_valid && !lsu_valid_q;

  cu_restore u_restore (
    .clk_i,
    .rst_ni,
    .loading_i    (loading),
    .warp_i       (loading_warp),
    .load_valid_i,
    .load_ready_o,
    .load_ok_i    (load_ok),
    .load_word_i,
    .load_data_i,
    .load_done_o  (load_done_all),
    .blocked_o    (load_blocked),
    .ended_o      (load_ended),
    .status_o     (load_status),
    .wb_valid_o   (load_wb_valid),
    .wb_ready_i   (start_wb_ready),
    .wb_o         (load_wb),
    .instret_o    (load_instret_word),
    .inj_valid_o  (inj_valid),
    .inj_ready_i  (!lsu_valid_q),
    .inj_o        (inj)
  );

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni)                                             load_wait_q <= '0;
    else if (loading && load_valid_i && !load_ready_o) load_wait_q <= load_wait_q + 4'd1;
    else if (load_wait_q != '0)                              load_wait_q <= '0;
  end

  // ---------------------------------------------------------------- register write (S4)
  logic       waiting, load_first;
  logic [2:0] wait_q;

  assign waiting        = mem_wb_valid || md_valid || start_wb_valid || load_wb_valid;
  // A word of a saved thread that has waited for some cycles goes first.
  if (Compact) begin : gen_first_late
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) load_first <= 1'b0;
      else         load_first <= load_wb_valid && !start_wb_ready && load_wait_q >= 4'd7;
    end
  end else begin : gen_first_now
    assign load_first = load_wb_valid && load_wait_q >= 4'd8;
  end
  assign mem_wb_ready   = !s4_we_q && !load_first;
  assign md_ready       = !s4_we_q && !load_first && !mem_wb_valid;
  assign start_wb_ready = !s4_we_q && (load_first || (!mem_wb_valid && !md_valid));
  assign late           = load_first    ? load_wb
                        : mem_wb_valid  ? mem_wb
                        : md_valid      ? md_wb
                        : load_wb_valid ? load_wb : start_wb;
  assign reg_wb         = s4_we_q ? s4_wb_q : late;
  assign reg_we         = s4_we_q || (waiting && late.rd_we);
  assign load_done      = mem_wb_valid && mem_wb_ready && mem_wb.posted;
  assign late_release   = !s4_we_q && !load_first && (mem_wb_valid || md_valid) && !late.posted;
  assign hold           = wait_q == 3'd5 || save_hold || load_wait_q == 4'd8;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni)                   wait_q <= '0;
    else if (waiting && s4_we_q)   wait_q <= wait_q + 3'd1;
    else                           wait_q <= '0;
  end

  // ---------------------------------------------------------------- state to be shown
  cu_show #(
    .Warps (Warps)
  ) u_show (
    .clk_i,
    .rst_ni,
    .run_i            (run),
    .report_i         (report),
    .ready_i          (ready),
    .rests_i          (stall | lsu_blocks),
    .held_i           (held & (ready | stall | waits) & ~moving),
    .fetch_parked_i   (fetch_parked),
    .fetch_busy_i     (fetch_busy),
    .data_parked_i    (lsu_parked),
    .data_translate_i (lsu_translate),
    .s1_valid_i       (s1_valid_q),
    .s1_warp_i        (s1_warp_q),
    .s2_valid_i       (s2_valid_q),
    .s2_warp_i        (s2_warp_q),
    .pc_i             (pc),
    .ctx_i            (ctx),
    .job_i            (job),
    .sel_i            (warp_sel_i),
    .state_o          (warp_state_o)
  );

  assign cnt_cu_busy_o = run != '0;

  // A late result's write enable is part of reg_we; its slot is for the memory unit.
  logic unused;
  assign unused = ^{reg_wb.rd_we, reg_wb.slot, reg_wb.posted, late.slot, mem_wb.slot};

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(s3_valid_q && !run[s3_warp_q])) else $error("an idle warp executes");
      assert (!(late_release && !run[late.warp])) else $error("a result for an idle warp");
    end
  end

endmodule
