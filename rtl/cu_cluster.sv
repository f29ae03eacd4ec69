// All compute units of the device, behind one port for threads and one for their ends.
//
// Threads: thread_valid_i/thread_ready_o; each goes to the unit with the fewest threads, in turn when
//   they are alike. A unit takes a thread in about ten cycles.
// Ends: end_valid_o/end_ready_i; units take turns. One that is shown stays until it is taken.
// Save and restore: of the units that have warps of the job save_i, the first one shows the state of
//   one (save_*); the words of a restored thread (load_*) go to the unit that takes them.
// Kill, hold and the MMU's events go to all units in the same cycle; busy_o is high as long as it is in one.
//
// Every unit has its own L1 TLBs, instruction cache and two memory ports:
//   miss_*, drain_done_o   clients of the MMU: data of each unit, then fetch of each unit
//   mem_*                  clients of the fabric: data and fetch of unit 0, of unit 1, ...
// Warps are numbered through the device: unit * Warps + warp. That is how warp_sel_i names them.
// Counter increments are sums over the units.
module cu_cluster
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import cu_pkg::*;
#(
  parameter int unsigned NumCu      = 2,  // 1 to 4
  parameter int unsigned Warps      = 16, // of each, 1 to 16
  parameter int unsigned JobSlots   = 4,
  parameter int unsigned L1Entries  = 16, // of each L1 TLB
  parameter int unsigned DataSlots  = 16, // misses at once: of a unit's data,
  parameter int unsigned FetchSlots = 8,  // and of its fetch
  parameter bit          Compact    = 1'b0
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic [63:0]                  time_i,
  // Launch unit.
  input  logic                         thread_valid_i,
  output logic                         thread_ready_o,
  input  thread_t                      thread_i,
  output logic                         end_valid_o,
  input  logic                         end_ready_i,
  output thread_end_t                  end_o,
  input  logic [JobSlots-1:0]          kill_i,
  input  logic [JobSlots-1:0]          held_i,
  output logic [JobSlots-1:0]          busy_o,
  input  logic [JobSlots-1:0]          save_i,
  output logic                         save_any_o,
  input  logic                         save_rd_valid_i,
  output logic                         save_rd_ready_o,
  input  logic [4:0]                   save_beat_i,
  output logic [127:0]                 save_data_o,
  input  logic                         save_take_i,
  input  logic                         load_valid_i,
  output logic                         load_ready_o,
  input  logic [5:0]                   load_word_i,
  input  logic [63:0]                  load_data_i,
  // MMU.
  output logic  [2*NumCu-1:0]          miss_valid_o,
  input  logic  [2*NumCu-1:0]          miss_ready_i,
  output miss_t [2*NumCu-1:0]          miss_o,
  input  mmu_event_t                   event_i,
  output logic  [2*NumCu-1:0]          drain_done_o,
  // Memory.
  output logic     [2*NumCu-1:0]       mem_req_valid_o,
  input  logic     [2*NumCu-1:0]       mem_req_ready_i,
  output mem_req_t [2*NumCu-1:0]       mem_req_o,
  input  logic     [2*NumCu-1:0]       mem_rsp_valid_i,
  input  mem_rsp_t [2*NumCu-1:0]       mem_rsp_i,
  // State and counters.
  input  logic [WarpNumW-1:0]          warp_sel_i,
  output logic [63:0]                  warp_state_o,    // of this warp, as WARP_STATE shows it
  output logic [CntW-1:0]              cnt_instructions_o,
  output logic [CntW-1:0]              cnt_cu_loads_o,
  output logic [CntW-1:0]              cnt_cu_stores_o,
  output logic                         cnt_cu_busy_o,
  output logic [CntW-1:0]              cnt_threads_o,
  output logic [CntW-1:0]              cnt_l1_lookups_o,
  output logic [CntW-1:0]              cnt_l1_hits_o,
  output logic [CntW-1:0]              cnt_l1_fetch_lookups_o,
  output logic [CntW-1:0]              cnt_l1_fetch_hits_o
);

  localparam int unsigned UnitW = NumCu > 1 ? $clog2(NumCu) : 1;
  localparam int unsigned LoadW = $clog2(Warps + 1);

  typedef logic [UnitW-1:0] unit_t;
  typedef logic [NumCu-1:0] units_t;

  // The unit after `last`, `step` further.
  function automatic unit_t turn(unit_t last, int unsigned step);
    return unit_t'((32'(last) + step) % NumCu);
  endfunction

  units_t                           thread_valid, thread_ready, end_valid, end_ready;
  thread_end_t [NumCu-1:0]          ends;
  logic [NumCu-1:0][JobSlots-1:0]   busy;
  units_t                           take;      // a saved warp leaves

  // ---------------------------------------------------------------- threads
  logic [NumCu-1:0][LoadW-1:0] load_q;     // threads in each unit
  unit_t                       last_q, pick;
  logic                        taken;

  always_comb begin
    pick = '0;
    if (thread_valid_i) begin
      automatic logic found = 1'b0;
      for (int unsigned i = 1; i <= NumCu; i++) begin
        automatic unit_t u = turn(last_q, i);
        if (!found || load_q[u] < load_q[pick]) begin
          found = 1'b1;
          pick  = u;
        end
      end
    end
    thread_valid       = '0;
    thread_valid[pick] = thread_valid_i;
  end

  assign thread_ready_o = thread_ready[pick];
  assign taken          = thread_valid_i && thread_ready_o;

  // ---------------------------------------------------------------- ends
  unit_t end_last_q, end_pick, end_held_q;
  logic  end_hold_q;     // the end that is shown waits

  always_comb begin
    end_pick = end_held_q;
    if (!end_hold_q) begin
      automatic logic found = 1'b0;
      end_pick = '0;
      for (int unsigned i = 1; i <= NumCu; i++) begin
        automatic unit_t u = turn(end_last_q, i);
        if (end_valid[u] && !found) begin
          found    = 1'b1;
          end_pick = u;
        end
      end
    end
    end_ready           = '0;
    end_ready[end_pick] = end_ready_i;
  end

  assign end_valid_o = end_valid != '0;
  assign end_o       = ends[end_pick];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      load_q     <= '0;
      last_q     <= unit_t'(NumCu - 1);
      end_last_q <= '0;
      end_held_q <= '0;
      end_hold_q <= 1'b0;
    end else begin
      for (int unsigned u = 0; u < NumCu; u++) begin
        load_q[u] <= load_q[u] + LoadW'(thread_valid[u] && thread_ready[u])
                               - LoadW'(end_valid[u] && end_ready[u]) - LoadW'(take[u]);
      end
      if (taken) last_q <= pick;
      if (end_valid_o) begin
        end_last_q <= end_pick;
        end_held_q <= end_pick;
      end
      end_hold_q <= end_valid_o && !end_ready_i;
    end
  end

  // ---------------------------------------------------------------- save and restore
  units_t                   save_any, save_pick, rd_ready, load_ready;
  logic [NumCu-1:0][127:0]  save_data;

  // A unit is done with before the next one's turn, so the data is of the unit whose beat was taken.
  assign save_any_o      = save_any != '0;
  assign save_pick       = save_any & (~save_any + units_t'(1));
  assign take            = save_take_i ? save_pick : '0;
  assign save_rd_ready_o = (rd_ready & save_pick) != '0;
  assign load_ready_o    = load_ready != '0;

  always_comb begin
    save_data_o = '0;
    if (save_any_o) begin
      for (int unsigned u = 0; u < NumCu; u++) if (save_pick[u]) save_data_o = save_data[u];
    end
  end

  always_comb begin
    busy_o = '0;
    for (int unsigned u = 0; u < NumCu; u++) busy_o |= busy[u];
  end

  // ---------------------------------------------------------------- units
  warp_t                  sel_warp;
  logic [NumCu-1:0][63:0] warp_state;
  units_t                n_instructions, n_loads, n_busy, n_threads;
  units_t                n_lookups, n_hits, n_fetch_lookups, n_fetch_hits;
  logic [NumCu-1:0][1:0] n_stores;

  for (genvar u = 0; u < int'(NumCu); u++) begin : gen_cu
    cu #(
      .Warps      (Warps),
      .JobSlots   (JobSlots),
      .L1Entries  (L1Entries),
      .DataSlots  (DataSlots),
      .FetchSlots (FetchSlots),
      .Compact    (Compact)
    ) u_cu (
      .clk_i,
      .rst_ni,
      .time_i,
      .thread_valid_i         (thread_valid[u]),
      .thread_ready_o         (thread_ready[u]),
      .thread_i,
      .end_valid_o            (end_valid[u]),
      .end_ready_i            (end_ready[u]),
      .end_o                  (ends[u]),
      .kill_i,
      .held_i,
      .busy_o                 (busy[u]),
      .save_i,
      .save_any_o             (save_any[u]),
      .save_rd_valid_i        (save_rd_valid_i && save_pick[u]),
      .save_rd_ready_o        (rd_ready[u]),
      .save_beat_i,
      .save_data_o            (save_data[u]),
      .save_take_i            (take[u]),
      .load_valid_i,
      .load_ready_o           (load_ready[u]),
      .load_word_i,
      .load_data_i,
      .miss_data_valid_o      (miss_valid_o[u]),
      .miss_data_ready_i      (miss_ready_i[u]),
      .miss_data_o            (miss_o[u]),
      .miss_fetch_valid_o     (miss_valid_o[NumCu+u]),
      .miss_fetch_ready_i     (miss_ready_i[NumCu+u]),
      .miss_fetch_o           (miss_o[NumCu+u]),
      .event_i,
      .drain_done_data_o      (drain_done_o[u]),
      .drain_done_fetch_o     (drain_done_o[NumCu+u]),
      .data_req_valid_o       (mem_req_valid_o[2*u]),
      .data_req_ready_i       (mem_req_ready_i[2*u]),
      .data_req_o             (mem_req_o[2*u]),
      .data_rsp_valid_i       (mem_rsp_valid_i[2*u]),
      .data_rsp_i             (mem_rsp_i[2*u]),
      .fetch_req_valid_o      (mem_req_valid_o[2*u+1]),
      .fetch_req_ready_i      (mem_req_ready_i[2*u+1]),
      .fetch_req_o            (mem_req_o[2*u+1]),
      .fetch_rsp_valid_i      (mem_rsp_valid_i[2*u+1]),
      .fetch_rsp_i            (mem_rsp_i[2*u+1]),
      .warp_sel_i             (sel_warp),
      .warp_state_o           (warp_state[u]),
      .cnt_instructions_o     (n_instructions[u]),
      .cnt_cu_loads_o         (n_loads[u]),
      .cnt_cu_stores_o        (n_stores[u]),
      .cnt_cu_busy_o          (n_busy[u]),
      .cnt_threads_o          (n_threads[u]),
      .cnt_l1_lookups_o       (n_lookups[u]),
      .cnt_l1_hits_o          (n_hits[u]),
      .cnt_l1_fetch_lookups_o (n_fetch_lookups[u]),
      .cnt_l1_fetch_hits_o    (n_fetch_hits[u])
    );
  end

  // ---------------------------------------------------------------- state of one warp
  always_comb begin
    sel_warp     = '0;
    warp_state_o = '0;
    for (int unsigned u = 0; u < NumCu; u++) begin
      if (32'(warp_sel_i) >= u * Warps && 32'(warp_sel_i) < (u + 1) * Warps) begin
        sel_warp     = warp_t'(32'(warp_sel_i) - u * Warps);
        warp_state_o = warp_state[u];
      end
    end
  end

  // ---------------------------------------------------------------- counters
  function automatic logic [CntW-1:0] count(units_t set);
    count = '0;
    for (int unsigned u = 0; u < NumCu; u++) count += CntW'(set[u]);
  endfunction

  always_comb begin
    cnt_cu_stores_o = '0;
    for (int unsigned u = 0; u < NumCu; u++) cnt_cu_stores_o += CntW'(n_stores[u]);
  end

  assign cnt_cu_busy_o          = n_busy != '0;
  assign cnt_instructions_o     = count(n_instructions);
  assign cnt_cu_loads_o         = count(n_loads);
  assign cnt_threads_o          = count(n_threads);
  assign cnt_l1_lookups_o       = count(n_lookups);
  assign cnt_l1_hits_o          = count(n_hits);
  assign cnt_l1_fetch_lookups_o = count(n_fetch_lookups);
  assign cnt_l1_fetch_hits_o    = count(n_fetch_hits);

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      for (int unsigned u = 0; u < NumCu; u++) begin
        assert (32'(load_q[u]) <= Warps) else $error("cu_cluster: more threads than warps in unit %0d", u);
      end
    end
  end

endmodule
