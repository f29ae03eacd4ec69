// Runs the launch ring: takes jobs into job slots, deals their threads to the compute unit, collects
// the ends, writes Completions.
//
// Promise: the threads of all jobs in slots are dealt in turn, one per job, in index order within a
//   job. A job ends when all its threads have ended: its result is the unsigned minimum over the
//   threads that ended with status Ok (all ones if none did), its status and info are those of the
//   first thread that ended otherwise. The Completion is written, then irq_job_o pulses if the entry
//   asks for it, then the slot is free.
// Places: a thread has the lowest place that no other thread of its job has, from its deal to its end;
//   at most Places of a job's threads have one, the others wait.
// Bad entry (version, or no threads): the ring stops, error BadEntry, CONS stays at it.
// Kill: kill_valid_i, by job id or by context, stays until kill_done_o, which may come in the same
//   cycle. The jobs deal no more threads, kill_mask_o ends their warps, their status is Killed (by
//   id) or Stopped (by context). kill_done_o comes when their Completions are written. No entry is
//   taken meanwhile. A job that is still in the ring is not found.
// Hold: hold_valid_i, by job id, stays until hold_done_o, which may come in the same cycle. With
//   hold_on_i the job deals no more threads and held_mask_o holds its warps; hold_done_o comes when
//   busy_i says that all of them stand still. A thread that nobody has taken goes back. Without
//   hold_on_i the job goes on. A kill ends a held job as any other.
// Save: hold_save_i with a hold. When the warps stand still and what has ended is told, the job's state
//   goes to hold_area_i (job_state) and its slot is free; hold_done_o comes then. A job that ends instead
//   writes its Completion as ever.
// Restore: an entry with `restore` gives a job the state of a save area. Its saved threads are dealt
//   before those that have not started, each to any warp. An area that cannot be one stops the ring
//   like a bad entry; one that cannot be read, with error RingFetch. A thread that cannot be read or
//   has no right place ends the job as a failed thread does, with the address of its record.
// thread_valid_o/thread_ready_i: a thread of a job that is killed may be withdrawn. Ends are always
//   accepted.
// Compact: the form for an FPGA. busy_i, save_o and what a kill or a hold names have a register: they take a few
//   cycles more.
module launch_unit
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned JobSlots  = 4,
  parameter int unsigned Places    = 32,  // hardware warps of the device, 1 to 64
  parameter int unsigned RingDepth = 2,   // entries that the ring's fetch holds
  parameter bit          Compact   = 1'b0
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                enable_i,
  input  logic [63:0]         time_i,
  input  ring_cfg_t           ring_i,
  output logic [31:0]         cons_o,
  output logic                stopped_o,
  output logic                idle_o,        // no entry and no job
  output logic                irq_job_o,
  output logic                err_valid_o,
  output error_code_e         err_code_o,
  output pa_t                 err_addr_o,
  // Ring and completions.
  output logic                mem_req_valid_o,
  input  logic                mem_req_ready_i,
  output mem_req_t            mem_req_o,
  input  logic                mem_rsp_valid_i,
  input  mem_rsp_t            mem_rsp_i,
  // Kill.
  input  logic                kill_valid_i,
  input  logic                kill_by_ctx_i,
  input  logic [31:0]         kill_job_i,
  input  ctx_t                kill_ctx_i,
  output logic                kill_done_o,
  // Hold: names its job by kill_job_i.
  input  logic                hold_valid_i,
  input  logic                hold_on_i,
  input  logic                hold_save_i,
  input  pa_t                 hold_area_i,
  output logic                hold_done_o,
  output logic [JobSlots-1:0][63:0] job_state_o,
  // Compute unit.
  output logic                thread_valid_o,
  input  logic                thread_ready_i,
  output thread_t             thread_o,
  input  logic                end_valid_i,
  output logic                end_ready_o,
  input  thread_end_t         end_i,
  output logic [JobSlots-1:0] kill_mask_o,
  output logic [JobSlots-1:0] held_mask_o,
  input  logic [JobSlots-1:0] busy_i,        // held, and a warp is within an instruction
  output logic [JobSlots-1:0] save_o,        // the job that is being saved
  input  logic                save_any_i,
  output logic                save_rd_valid_o,
  input  logic                save_rd_ready_i,
  output logic [4:0]          save_beat_o,
  input  logic [127:0]        save_data_i,
  output logic                save_take_o,
  output logic                load_valid_o,
  input  logic                load_ready_i,
  output logic [5:0]          load_word_o,
  output logic [63:0]         load_data_o,
  output logic                cnt_jobs_o
);

  localparam int unsigned SlotW = JobSlots > 1 ? $clog2(JobSlots) : 1;
  localparam int unsigned SeatW = Places > 1 ? $clog2(Places) : 1;   // of a place here

  typedef logic [JobSlots-1:0] slots_t;
  typedef logic [SlotW-1:0]    slot_t;
  typedef logic [Places-1:0]   places_t;

  function automatic slot_t lowest(slots_t set);
    lowest = '0;
    for (int i = int'(JobSlots) - 1; i >= 0; i--) if (set[i]) lowest = slot_t'(i);
  endfunction

  function automatic place_t lowest_place(places_t set);
    lowest_place = '0;
    for (int i = int'(Places) - 1; i >= 0; i--) if (set[i]) lowest_place = place_t'(i);
  endfunction

  function automatic slots_t one(logic valid, slot_t slot);
    return valid ? slots_t'(1) << slot : '0;
  endfunction

  // ---------------------------------------------------------------- job slots
  slots_t        valid_q, killed_q, held_q;
  logic [31:0]   next_q    [JobSlots];   // index of the next thread to deal
  logic [31:0]   threads_q [JobSlots];
  logic [31:0]   id_q      [JobSlots];
  ctx_t          ctx_q     [JobSlots];
  logic [7:0]    running_q [JobSlots];   // threads dealt and not ended
  places_t       places_q  [JobSlots];   // theirs
  logic [7:0]    left_q    [JobSlots];   // saved threads that have not come back
  pa_t           left_at_q [JobSlots];   // record of the next one
  logic [63:0]   result_q  [JobSlots];
  logic [7:0]    status_q  [JobSlots];
  logic [47:0]   info_q    [JobSlots];

  // Of save and restore, below.
  localparam pa_t RecordBytes = PaW'(320);
  localparam pa_t HeadBytes   = PaW'(128);

  slots_t       saves, saving, busy;
  slot_t        save_slot;
  logic         save_valid, save_done, save_entry;
  logic         head_valid, head_have, head_err, head_take, head_good, head_stop, head_bad_q, head_busy_q, head_rsp;
  logic [2:0]   head_beat;
  logic [127:0] head_data;
  slot_t        head_slot_q, rec_slot, rec_slot_q;
  slots_t       rec_want;
  logic         rec_valid, rec_ack, rec_have, rec_err, rec_drop, rec_send, rec_bad, rec_fail;
  logic [127:0] rec;
  launch_entry_t deal_entry, post_entry;   // of the slot that deals, and of the one that completes

  // ---------------------------------------------------------------- ring
  logic          entry_valid, take, bad, fetch_stop, fetch_err, ring_idle;
  logic [511:0]  entry_bits;
  launch_entry_t entry;
  slot_t         free_slot, take_slot;
  logic          bad_q, unread_q;

  assign entry      = entry_bits;
  assign bad        = entry.version != FormatVersion || (entry.threads == '0 && !entry.restore);
  assign fetch_stop = (entry_valid && bad) || head_stop;
  assign free_slot  = lowest(~valid_q);
  assign take       = (entry_valid && !bad && !entry.restore && valid_q != '1 && !kill_valid_i) || head_take;
  assign take_slot  = entry.restore ? head_slot_q : free_slot;
  assign idle_o     = ring_idle && valid_q == '0;

  assign err_valid_o = fetch_err || bad_q;
  assign err_code_o  = fetch_err || unread_q ? ErrorCodeRingFetch : ErrorCodeBadEntry;

  logic     rd_valid, rd_ready, wr_valid, wr_ready, own_valid, own_ready, state_valid, state_ready;
  mem_req_t rd_req, wr_req, own_req, state_req;
  logic     state_rsp;
  assign    state_rsp = mem_rsp_i.tag[TagW-1];

  ring_fetch #(.Depth(RingDepth)) u_ring (
    .clk_i, .rst_ni, .enable_i, .ring_i, .cons_o,
    .entry_valid_o   (entry_valid),
    .entry_ready_i   (take),
    .entry_o         (entry_bits),
    .stop_i          (fetch_stop),
    .stopped_o,
    .idle_o          (ring_idle),
    .err_o           (fetch_err),
    .err_addr_o,
    .mem_req_valid_o (rd_valid),
    .mem_req_ready_i (rd_ready),
    .mem_req_o       (rd_req),
    .mem_rsp_valid_i (mem_rsp_valid_i && !state_rsp),
    .mem_rsp_i
  );

  mem_merge u_merge (
    .clk_i, .rst_ni,
    .rd_valid_i (rd_valid), .rd_ready_o (rd_ready), .rd_req_i (rd_req),
    .wr_valid_i (wr_valid), .wr_ready_o (wr_ready), .wr_req_i (wr_req),
    .mem_req_valid_o (own_valid), .mem_req_ready_i (own_ready), .mem_req_o (own_req)
  );

  mem_merge u_merge_state (
    .clk_i, .rst_ni,
    .rd_valid_i (own_valid),   .rd_ready_o (own_ready),   .rd_req_i (own_req),
    .wr_valid_i (state_valid), .wr_ready_o (state_ready), .wr_req_i (state_req),
    .mem_req_valid_o, .mem_req_ready_i, .mem_req_o
  );

  // ---------------------------------------------------------------- kill
  slots_t kill_now, kill_hit, kill_set, posting;
  logic   kill_known, hold_known;      // kill_hit, hold_hit are of what is asked

  always_comb begin
    for (int unsigned s = 0; s < JobSlots; s++) begin
      kill_now[s] = kill_valid_i && valid_q[s]
                 && (kill_by_ctx_i ? ctx_q[s] == kill_ctx_i : id_q[s] == kill_job_i);
    end
  end

  // A job whose Completion is under way has ended already.
  assign kill_set    = kill_hit & ~posting & ~killed_q;
  assign kill_done_o = kill_valid_i && kill_known && kill_hit == '0;
  assign kill_mask_o = killed_q;

  // ---------------------------------------------------------------- hold
  slots_t hold_now, hold_hit, in_port;

  always_comb begin
    for (int unsigned s = 0; s < JobSlots; s++) begin
      hold_now[s]    = hold_valid_i && valid_q[s] && id_q[s] == kill_job_i;
      job_state_o[s] = valid_q[s] ? {29'd0, killed_q[s], held_q[s], 1'b1, id_q[s]} : '0;
    end
  end

  // A thread that is taken in this cycle makes its job busy in the next one.
  assign hold_done_o = hold_valid_i && hold_known
                    && (!hold_on_i || (hold_save_i ? hold_hit : hold_hit & (~held_q | in_port | busy)) == '0);
  assign held_mask_o = held_q;

  if (Compact) begin : gen_late
    // What the units say comes a cycle late, and they hold their warps a cycle late: neither counts before a job
    // has been held for two cycles, or in the cycle after one of its threads was taken.
    // Which jobs a kill or a hold names is known a cycle late too.
    slots_t held1_q, held2_q, port_q, busy_q, save_q, kill_q, hold_q;
    logic   kill_known_q, hold_known_q;

    assign busy   = busy_q | port_q | ~(held1_q & held2_q);
    assign saving = save_q;

    assign kill_known = kill_known_q;
    assign hold_known = hold_known_q;
    assign kill_hit   = kill_q & valid_q;
    assign hold_hit   = hold_q & valid_q;

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        kill_known_q <= 1'b0;
        hold_known_q <= 1'b0;
        kill_q       <= '0;
        hold_q       <= '0;
        held1_q <= '0;
        held2_q <= '0;
        port_q  <= '0;
        busy_q  <= '0;
        save_q  <= '0;
      end else begin
        held1_q <= held_q;
        held2_q <= held1_q & held_q;
        port_q  <= in_port;
        busy_q  <= busy_i;
        save_q  <= save_done ? '0 : saves;

        kill_known_q <= kill_valid_i && !kill_done_o;
        hold_known_q <= hold_valid_i && !hold_done_o;
        kill_q       <= kill_now;
        hold_q       <= hold_done_o ? '0 : hold_now;
      end
    end
  end else begin : gen_now
    assign busy   = busy_i;
    assign saving = saves;

    assign kill_known = 1'b1;
    assign hold_known = 1'b1;
    assign kill_hit   = kill_now;
    assign hold_hit   = hold_now;
  end

  // ---------------------------------------------------------------- dealing
  slots_t        open, behind;
  slot_t         deal_slot, choice, last;
  logic          deal, withdraw, thread_valid_q;
  thread_t       thread_q;
  place_t        deal_place;
  logic          deal_saved;

  always_comb begin
    for (int unsigned s = 0; s < JobSlots; s++) begin
      open[s] = valid_q[s] && !killed_q[s] && !kill_set[s] && !held_q[s]
             && !save_entry
             && (left_q[s] == '0 ? next_q[s] != threads_q[s] && places_q[s] != '1
                                 : rec_have && !rec_bad && rec_slot_q == slot_t'(s)
                                   && !(thread_valid_q && thread_q.restore));
    end
  end

  assign deal_saved = left_q[deal_slot] != '0;

  always_comb begin
    deal_place = '0;
    if (open != '0) deal_place = deal_saved ? place_t'(rec[37:32]) : lowest_place(~places_q[deal_slot]);
  end

  assign behind     = open & ~((slots_t'(2) << last) - slots_t'(1));
  assign choice     = behind != '0 ? lowest(behind) : lowest(open);
  assign in_port    = one(thread_valid_q, slot_t'(thread_q.job));
  assign withdraw   = !thread_ready_i && ((in_port & (killed_q | held_q)) != '0
                                        || (thread_valid_q && thread_q.restore && save_valid));
  assign deal       = open[deal_slot] && (!thread_valid_q || thread_ready_i);

  // Compact: chosen a cycle before; another one when it was dealt from, or has nothing to deal.
  if (Compact) begin : gen_deal_late
    slot_t slot_q;

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni)                         slot_q <= '0;
      else if (deal || !open[slot_q]) slot_q <= choice;
    end
    assign deal_slot = slot_q;
    assign last      = slot_q;
  end else begin : gen_deal_now
    slot_t last_q;

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni)   last_q <= '0;
      else if (deal) last_q <= deal_slot;
    end
    assign deal_slot = choice;
    assign last      = last_q;
  end

  assign thread_valid_o = thread_valid_q;
  assign thread_o       = thread_q;

  always_ff @(posedge clk_i) begin
    if (deal) begin
      thread_q <= '{restore: deal_saved, place: deal_place, job: 4'(deal_slot), ctx: deal_entry.ctx,
                    entry: deal_saved ? rec[127:64] : deal_entry.entry, arg: deal_entry.arg,
                    index: deal_saved ? rec[31:0] : next_q[deal_slot], threads: deal_entry.threads,
                    stack_base: deal_entry.stack_base, stack_size: deal_entry.stack_size};
    end
  end

  // ---------------------------------------------------------------- completions
  slots_t        finished;
  slot_t         post_slot_q;
  logic          post_q, post_ready;

  always_comb begin
    for (int unsigned s = 0; s < JobSlots; s++) begin
      finished[s] = valid_q[s] && running_q[s] == '0
                 && (killed_q[s] || (next_q[s] == threads_q[s] && left_q[s] == '0));
    end
  end

  assign posting    = one(post_q, post_slot_q);
  assign cnt_jobs_o = post_ready;

  post_writer u_post (
    .clk_i, .rst_ni, .time_i,
    .req_valid_i     (post_q),
    .req_ready_o     (post_ready),
    .long_i          (1'b1),
    .irq_i           (post_entry.irq),
    .addr_i          (post_entry.fence_addr),
    .value_i         (post_entry.fence_value),
    .result_i        (result_q[post_slot_q]),
    .status_i        (status_q[post_slot_q]),
    .info_i          (info_q[post_slot_q]),
    .irq_o           (irq_job_o),
    .mem_req_valid_o (wr_valid),
    .mem_req_ready_i (wr_ready),
    .mem_req_o       (wr_req)
  );

  // ---------------------------------------------------------------- save and restore
  // A job that can be saved now, and goes on so until that is done.
  always_comb begin
    saves = '0;
    if (hold_valid_i && hold_on_i && hold_save_i) begin
      saves = hold_hit & held_q & ~killed_q & ~in_port & ~busy & ~finished & ~posting;
    end
  end

  assign save_slot  = lowest(saving);
  assign save_valid = saving != '0;
  assign save_o     = one(save_valid, save_slot);

  // Header: it goes into a free slot as it comes, and is looked at when all of it is there.
  assign head_valid = entry_valid && !bad && entry.restore && (valid_q != '1 || head_busy_q);
  assign head_good  = !head_err && !head_bad_q && threads_q[head_slot_q] != '0
                   && next_q[head_slot_q] <= threads_q[head_slot_q]
                   && 32'(left_q[head_slot_q]) <= Places;
  assign head_take  = head_have && head_good && !kill_valid_i;
  assign head_stop  = head_have && !head_good;

  // Records: one is here at a time.
  always_comb begin
    rec_want = '0;
    for (int unsigned s = 0; s < JobSlots; s++) begin
      rec_want[s] = valid_q[s] && !killed_q[s] && !held_q[s] && left_q[s] != '0;
    end
  end

  assign rec_valid = rec_want != '0;
  assign rec_slot  = lowest(rec_want);
  assign rec_send  = thread_valid_q && thread_ready_i && thread_q.restore;
  assign rec_bad   = rec_err || 32'(rec[39:32]) >= Places;
  assign rec_fail  = rec_have && rec_bad && rec_want[rec_slot_q] && !end_valid_i;
  assign rec_drop  = !rec_want[rec_slot_q] || rec_fail;

  job_state u_state (
    .clk_i, .rst_ni,
    .save_valid_i    (save_valid),
    .save_area_i     (hold_area_i),
    .entry_i         (deal_entry),
    .entry_o         (save_entry),
    .next_i          (next_q[save_slot]),
    .result_i        (result_q[save_slot]),
    .status_i        (status_q[save_slot]),
    .info_i          (info_q[save_slot]),
    .left_i          (left_q[save_slot]),
    .left_at_i       (left_at_q[save_slot]),
    .save_done_o     (save_done),
    .head_valid_i    (head_valid),
    .head_area_i     ({entry.arg[PaW-1:6], 6'd0}),
    .head_have_o     (head_have),
    .head_err_o      (head_err),
    .head_take_i     (head_take || head_stop),
    .head_rsp_o      (head_rsp),
    .head_beat_o     (head_beat),
    .head_data_o     (head_data),
    .rec_valid_i     (rec_valid),
    .rec_at_i        (left_at_q[rec_slot]),
    .rec_ack_o       (rec_ack),
    .rec_have_o      (rec_have),
    .rec_err_o       (rec_err),
    .rec_o           (rec),
    .rec_send_i      (rec_send),
    .rec_drop_i      (rec_drop),
    .unit_any_i      (save_any_i),
    .unit_rd_valid_o (save_rd_valid_o),
    .unit_rd_ready_i (save_rd_ready_i),
    .unit_beat_o     (save_beat_o),
    .unit_data_i     (save_data_i),
    .unit_take_o     (save_take_o),
    .load_valid_o, .load_ready_i, .load_word_o, .load_data_o,
    .mem_req_valid_o (state_valid),
    .mem_req_ready_i (state_ready),
    .mem_req_o       (state_req),
    .mem_rsp_valid_i (mem_rsp_valid_i && state_rsp),
    .mem_rsp_i
  );

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      head_busy_q <= 1'b0;
      head_bad_q  <= 1'b0;
      unread_q    <= 1'b0;
      head_slot_q <= '0;
      rec_slot_q  <= '0;
    end else begin
      unread_q <= head_stop && head_err;
      if (head_valid || head_busy_q) begin
        if (!head_busy_q) begin
          head_slot_q <= free_slot;
          head_bad_q  <= 1'b0;
        end
        head_busy_q <= !(head_take || head_stop);
        if (head_rsp && (head_beat == 3'd0 || head_beat == 3'd4) && head_data[7:0] != FormatVersion) head_bad_q <= 1'b1;
      end
      if (rec_ack) rec_slot_q <= rec_slot;
    end
  end

  // ---------------------------------------------------------------- entries as launched
  slot_t         deal_read;
  assign         deal_read = save_entry ? save_slot : deal_slot;

  for (genvar b = 0; b < 4; b++) begin : gen_entry
    logic [127:0] mem [JobSlots];

    always_ff @(posedge clk_i) begin
      if (head_rsp && head_beat == 3'(b)) mem[head_slot_q] <= head_data;
      else if (take && !entry.restore)    mem[free_slot]   <= entry_bits[b*128+:128];
    end

    assign deal_entry[b*128+:128] = mem[deal_read];
    assign post_entry[b*128+:128] = mem[post_slot_q];
  end

  // ---------------------------------------------------------------- state
  slot_t  end_slot;
  slots_t dealt_set, ended_set, withdrawn_set;
  slots_t onward_set, back_set;        // next_q goes on, or a step back: never both, for nothing is dealt then
  assign end_slot      = slot_t'(end_i.job);
  assign end_ready_o   = 1'b1;
  assign dealt_set     = one(deal, deal_slot);
  assign ended_set     = one(end_valid_i, end_slot);
  assign withdrawn_set = one(withdraw, slot_t'(thread_q.job));
  assign onward_set    = deal_saved ? '0 : dealt_set;
  assign back_set      = thread_q.restore ? '0 : withdrawn_set;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q        <= '0;
      killed_q       <= '0;
      held_q         <= '0;
      thread_valid_q <= 1'b0;
      post_q         <= 1'b0;
      post_slot_q    <= '0;
      bad_q          <= 1'b0;
    end else begin
      bad_q    <= fetch_stop;
      valid_q  <= (valid_q | one(take, take_slot)) & ~one(post_ready, post_slot_q) & ~one(save_done, save_slot);
      killed_q <= (killed_q | kill_set) & ~one(post_ready, post_slot_q);
      held_q   <= (hold_on_i ? held_q | hold_hit : held_q & ~hold_hit)
                & ~one(post_ready, post_slot_q) & ~one(save_done, save_slot);

      if (deal)                            thread_valid_q <= 1'b1;
      else if (thread_ready_i || withdraw) thread_valid_q <= 1'b0;

      if (post_ready) begin
        post_q <= 1'b0;
      end else if (!post_q && (finished & ~kill_set) != '0) begin
        post_q      <= 1'b1;
        post_slot_q <= lowest(finished & ~kill_set);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    for (int unsigned s = 0; s < JobSlots; s++) begin
      next_q[s]    <= next_q[s] + {{31{back_set[s]}}, onward_set[s] || back_set[s]};
      running_q[s] <= running_q[s] + 8'(dealt_set[s]) - 8'(ended_set[s]) - 8'(withdrawn_set[s]);
      if (kill_set[s] && status_q[s] == 8'(JobStatusOk)) begin
        status_q[s] <= kill_by_ctx_i ? 8'(JobStatusStopped) : 8'(JobStatusKilled);
      end
    end
    if (withdraw)    places_q[slot_t'(thread_q.job)][SeatW'(thread_q.place)] <= 1'b0;
    if (end_valid_i) places_q[end_slot][SeatW'(end_i.place)]                 <= 1'b0;
    if (deal)        places_q[deal_slot][SeatW'(deal_place)]                 <= 1'b1;
    if (end_valid_i) begin
      if (end_i.status == 8'(JobStatusOk)) begin
        if (end_i.result < result_q[end_slot]) result_q[end_slot] <= end_i.result;
      end else if (status_q[end_slot] == 8'(JobStatusOk)) begin
        status_q[end_slot] <= end_i.status;
        info_q[end_slot]   <= end_i.info;
      end
    end
    if (rec_fail && status_q[rec_slot_q] == 8'(JobStatusOk)) begin
      status_q[rec_slot_q] <= rec_err ? 8'(JobStatusMemoryError) : 8'(JobStatusBadEntry);
      info_q[rec_slot_q]   <= left_at_q[rec_slot_q][47:0];
    end
    if (rec_fail || rec_send) begin
      left_q[rec_slot_q]    <= left_q[rec_slot_q] - 8'd1;
      left_at_q[rec_slot_q] <= left_at_q[rec_slot_q] + RecordBytes;
    end
    if (take) begin
      running_q[take_slot] <= '0;
      places_q[take_slot]  <= '0;
      if (!entry.restore) begin
        next_q[free_slot]    <= '0;
        threads_q[free_slot] <= entry.threads;
        id_q[free_slot]      <= entry.job;
        ctx_q[free_slot]     <= entry.ctx;
        result_q[free_slot]  <= '1;
        status_q[free_slot]  <= 8'(JobStatusOk);
        info_q[free_slot]    <= '0;
        left_q[free_slot]    <= '0;
      end
    end
    // Into a slot that nobody looks at yet.
    if (head_rsp) begin
      // Fields of LaunchEntry and JobSave.
      unique case (head_beat)
        3'd0: begin
          threads_q[head_slot_q] <= head_data[63:32];
          ctx_q[head_slot_q]     <= head_data[24+:CtxW];
          left_at_q[head_slot_q] <= {entry.arg[PaW-1:6], 6'd0} + HeadBytes;
        end
        3'd3: id_q[head_slot_q] <= head_data[95:64];
        3'd4: begin
          next_q[head_slot_q]   <= head_data[63:32];
          left_q[head_slot_q]   <= head_data[23:16];
          status_q[head_slot_q] <= head_data[15:8];
          result_q[head_slot_q] <= head_data[127:64];
        end
        3'd5: info_q[head_slot_q] <= head_data[47:0];
        default: ;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(end_valid_i && !valid_q[end_slot])) else $error("an end for no job");
      assert (!(end_valid_i && running_q[end_slot] == '0)) else $error("an end for no thread");
      assert (!(end_valid_i && !places_q[end_slot][SeatW'(end_i.place)])) else $error("an end of a place without thread");
    end
  end

  // Reserved fields; job numbers are slot numbers.
  logic unused;
  assign unused = ^{entry, end_i.job, deal_entry, post_entry, rec};

endmodule
