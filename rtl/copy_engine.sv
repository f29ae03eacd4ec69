// Copy engine: channels, each with a ring of descriptors that it runs one at a time, in order; they share
// what moves the data.
//
//   copy_channel (ring, lists, walk) --+
//   copy_channel                     --+-> copy_slots -> copy_read (link, VRAM) -> copy_write (link, VRAM)
//        |  l1_tlb                                        data in copy_buffer
//        +-> post_writer (Completion, interrupt) when all bursts of a descriptor have left
//
// Promise: what copy_issue says of translation and ends; the Completion is written after the data;
//   an error ends its descriptor and the channel goes on, or with `halt` stops behind it; a bad entry or
//   one that cannot be read stops it. Other channels go on. Nothing outside the destination is touched.
// Choice: of the channels with a burst ready those of the highest priority go, in turn. Bursts leave in
//   the order in which they went; a channel that waits for a translation or a semaphore has none under way.
// Throughput: NumBursts bursts of BurstBytes in flight, a beat each cycle, whatever the alignment.
// Drain: see copy_slots. Kill: kill_valid_i stays until kill_done_o.
module copy_engine
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import copy_pkg::*;
#(
  parameter int unsigned Channels   = 4,    // 1..8
  parameter int unsigned NumBursts  = 64,   // a power of two, 2..256
  parameter int unsigned BurstBytes = 512,  // a power of two, 128..512
  parameter int unsigned TlbEntries = 16,
  parameter int unsigned RingDepth  = 2,    // entries that a ring's fetch holds
  parameter int unsigned ListDepth  = 8     // segments of a list that a channel holds; 0: no lists
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             enable_i,
  input  logic [63:0]      time_i,
  input  ring_cfg_t [Channels-1:0]       ring_i,
  output logic      [Channels-1:0][31:0] cons_o,
  input  copy_ctl_t [Channels-1:0]       ctl_i,
  output copy_sta_t [Channels-1:0]       sta_o,
  output copy_rec_t [Channels-1:0]       rec_o,
  output logic             irq_copy_o,
  output logic             err_valid_o,
  output error_code_e      err_code_o,
  output pa_t              err_addr_o,
  // Translation.
  output logic             miss_valid_o,
  input  logic             miss_ready_i,
  output miss_t            miss_o,
  input  mmu_event_t       event_i,
  output logic             drain_done_o,
  // Stop of a context.
  input  logic             kill_valid_i,
  input  ctx_t             kill_ctx_i,
  output logic             kill_done_o,
  // Rings, lists and completions.
  output logic             ring_req_valid_o,
  input  logic             ring_req_ready_i,
  output mem_req_t         ring_req_o,
  input  logic             ring_rsp_valid_i,
  input  mem_rsp_t         ring_rsp_i,
  // VRAM data.
  output logic             vram_req_valid_o,
  input  logic             vram_req_ready_i,
  output mem_req_t         vram_req_o,
  input  logic             vram_rsp_valid_i,
  input  mem_rsp_t         vram_rsp_i,
  // Link data.
  output logic             brd_valid_o,
  input  logic             brd_ready_i,
  output burst_t           brd_o,
  input  logic             brd_rsp_valid_i,
  input  burst_rsp_t       brd_rsp_i,
  output logic             bwr_valid_o,
  input  logic             bwr_ready_i,
  output burst_t           bwr_o,
  output logic             bwr_data_valid_o,
  input  logic             bwr_data_ready_i,
  output logic [DataW-1:0] bwr_data_o,
  // Counters: pulses, and the bytes of a burst that was written.
  output logic             cnt_lookup_o,
  output logic             cnt_hit_o,
  output logic [9:0]       cnt_bytes_o
);

  localparam int unsigned SlotW = $clog2(NumBursts);
  localparam int unsigned Slots = 2 * Channels;     // misses of the L1 TLB
  localparam int unsigned MissW = $clog2(Slots);
  localparam int unsigned NumRd = 2 * Channels;

  typedef logic [Channels-1:0] chans_t;

  // ------------------------------------------------------------------ channels
  logic             [NumRd-1:0]      rd_valid, rd_ready;
  pa_t              [NumRd-1:0]      rd_addr;
  logic             [NumRd-1:0][4:0] rd_tag;
  chans_t           err_valid, kill_done, lkp_valid, lkp_ready, push_valid, push_ready, discard;
  chans_t           post_valid, post_ready, chan_is;
  error_code_e      [Channels-1:0] err_code;
  pa_t              [Channels-1:0] err_addr;
  copy_lkp_t        [Channels-1:0] lkp;
  copy_slot_t       [Channels-1:0] push_slot;
  copy_post_t       [Channels-1:0] post;
  lookup_e          rsp_status;
  ppn_t             rsp_ppn;
  logic [MissW-1:0] rsp_slot;
  logic [Slots-1:0] wake;
  logic             wake_err, rsp_valid;
  logic [7:0]       wake_code;
  logic             done, fail, poll;
  chan_t            done_chan;
  logic [9:0]       done_len;
  pa_t              fail_addr;
  logic [63:0]      poll_data;

  for (genvar c = 0; c < Channels; c++) begin : gen_channel
    assign chan_is[c] = done_chan == chan_t'(c);

    copy_channel #(.Chan(chan_t'(c)), .CountW(SlotW + 1), .RingDepth(RingDepth), .ListDepth(ListDepth),
                   .Slots(Slots), .BurstBytes(BurstBytes)) u_channel (
      .clk_i, .rst_ni, .enable_i,
      .ring_i         (ring_i[c]),
      .cons_o         (cons_o[c]),
      .ctl_i          (ctl_i[c]),
      .sta_o          (sta_o[c]),
      .rec_o          (rec_o[c]),
      .err_valid_o    (err_valid[c]),
      .err_code_o     (err_code[c]),
      .err_addr_o     (err_addr[c]),
      .rd_valid_o     (rd_valid[2*c +: 2]),
      .rd_ready_i     (rd_ready[2*c +: 2]),
      .rd_addr_o      (rd_addr[2*c +: 2]),
      .rd_tag_o       (rd_tag[2*c +: 2]),
      .rd_rsp_valid_i (ring_rsp_valid_i && ring_rsp_i.tag[7:5] == 3'(c)),
      .rd_rsp_i       (ring_rsp_i),
      .lkp_valid_o    (lkp_valid[c]),
      .lkp_ready_i    (lkp_ready[c]),
      .lkp_o          (lkp[c]),
      .rsp_status_i   (rsp_status),
      .rsp_ppn_i      (rsp_ppn),
      .rsp_slot_i     (rsp_slot),
      .wake_i         (wake),
      .wake_err_i     (wake_err),
      .wake_code_i    (wake_code),
      .ev_i           (event_i.ev),
      .ev_ctx_i       (event_i.ctx),
      .kill_valid_i, .kill_ctx_i,
      .kill_done_o    (kill_done[c]),
      .push_valid_o   (push_valid[c]),
      .push_ready_i   (push_ready[c]),
      .slot_o         (push_slot[c]),
      .discard_o      (discard[c]),
      .done_i         (done && chan_is[c]),
      .done_len_i     (done_len),
      .fail_i         (fail && chan_is[c]),
      .fail_addr_i    (fail_addr),
      .poll_i         (poll && chan_is[c]),
      .poll_data_i    (poll_data),
      .post_valid_o   (post_valid[c]),
      .post_ready_i   (post_ready[c]),
      .post_o         (post[c])
    );
  end

  assign kill_done_o = kill_done == '1;
  assign err_valid_o = err_valid != '0;

  always_comb begin
    err_code_o = err_code[0];
    err_addr_o = err_addr[0];
    for (int c = int'(Channels) - 1; c >= 0; c--) begin
      if (err_valid[c]) begin
        err_code_o = err_code[c];
        err_addr_o = err_addr[c];
      end
    end
  end

  // ------------------------------------------------------------------ rings, lists and reports
  logic     rd_any, rd_taken, wr_valid, wr_ready, post_any, post_done;
  mem_req_t rd_req, wr_req;
  copy_post_t post_now;
  logic [3:0] rd_client;
  logic [NumRd-1:0] rd_grant;
  chans_t   post_grant;

  fabric_arb #(.NumClients(NumRd)) u_rd_arb (
    .clk_i, .rst_ni,
    .want_i   (rd_valid),
    .ready_i  (rd_taken),
    .valid_o  (rd_any),
    .client_o (rd_client),
    .grant_o  (rd_grant)
  );

  assign rd_ready = rd_grant & {NumRd{rd_taken}};

  always_comb begin
    rd_req = '{op: MemRead, cas32: 1'b0, addr: '0, strb: '0, data: '0, tag: '0};
    for (int unsigned i = 0; i < NumRd; i++) begin
      if (rd_grant[i]) begin
        rd_req.addr |= rd_addr[i];
        rd_req.tag  |= {3'(i >> 1), rd_tag[i]};
      end
    end
  end

  copy_turn #(.Channels(Channels), .T(copy_post_t)) u_post_turn (
    .clk_i, .rst_ni, .want_i(post_valid), .item_i(post), .ready_i(post_done),
    .valid_o(post_any), .grant_o(post_grant), .item_o(post_now)
  );

  assign post_ready = post_grant & {Channels{post_done}};

  post_writer u_post (
    .clk_i, .rst_ni, .time_i,
    .req_valid_i     (post_any),
    .req_ready_o     (post_done),
    .long_i          (1'b1),
    .irq_i           (post_now.irq),
    .addr_i          (post_now.addr),
    .value_i         (post_now.value),
    .result_i        (post_now.result),
    .status_i        (post_now.status),
    .info_i          (post_now.info),
    .irq_o           (irq_copy_o),
    .mem_req_valid_o (wr_valid),
    .mem_req_ready_i (wr_ready),
    .mem_req_o       (wr_req)
  );

  mem_merge #(.ReadsOnly(1'b1)) u_ring_merge (
    .clk_i, .rst_ni,
    .rd_valid_i (rd_any),   .rd_ready_o (rd_taken), .rd_req_i (rd_req),
    .wr_valid_i (wr_valid), .wr_ready_o (wr_ready), .wr_req_i (wr_req),
    .mem_req_valid_o (ring_req_valid_o),
    .mem_req_ready_i (ring_req_ready_i),
    .mem_req_o       (ring_req_o)
  );

  // ------------------------------------------------------------------ translation
  copy_lkp_t  lkp_now;
  logic       lkp_any;

  copy_turn #(.Channels(Channels), .T(copy_lkp_t)) u_lkp_turn (
    .clk_i, .rst_ni, .want_i(lkp_valid), .item_i(lkp), .ready_i(1'b1),
    .valid_o(lkp_any), .grant_o(lkp_ready), .item_o(lkp_now)
  );

  l1_tlb #(.Entries(TlbEntries), .Slots(Slots), .Client(ClientCopy)) u_tlb (
    .clk_i, .rst_ni,
    .lkp_valid_i  (lkp_any),
    .lkp_ctx_i    (lkp_now.ctx),
    .lkp_vpn_i    (lkp_now.vpn),
    .lkp_access_i (lkp_now.access),
    .rsp_valid_o  (rsp_valid),
    .rsp_status_o (rsp_status),
    .rsp_ppn_o    (rsp_ppn),
    .rsp_slot_o   (rsp_slot),
    .wake_o       (wake),
    .wake_err_o   (wake_err),
    .wake_code_o  (wake_code),
    .miss_valid_o, .miss_ready_i, .miss_o, .event_i, .cnt_lookup_o, .cnt_hit_o
  );

  // ------------------------------------------------------------------ whose burst goes next
  logic       push, full;
  copy_slot_t push_now;

  chans_t     pool;

  // The highest priority among those that want.
  always_comb begin
    pool = push_valid;
    for (int unsigned p = 0; p < 4; p++) begin
      automatic chans_t level = '0;
      for (int unsigned c = 0; c < Channels; c++) level[c] = push_valid[c] && ctl_i[c].prio == 2'(p);
      if (level != '0) pool = level;
    end
  end

  copy_turn #(.Channels(Channels), .T(copy_slot_t)) u_push_turn (
    .clk_i, .rst_ni, .want_i(full ? '0 : pool), .item_i(push_slot), .ready_i(1'b1),
    .valid_o(push), .grant_o(push_ready), .item_o(push_now)
  );

  // ------------------------------------------------------------------ bursts
  copy_slot_t       rd_slot, wr_slot;
  logic             rd_slot_valid, rd_slot_pop, rd_slot_skip;
  logic             wr_slot_valid, wr_slot_err, wr_slot_take, wr_slot_end;
  logic [SlotW-1:0] rd_slot_idx, wr_slot_idx, link_idx, vram_idx, buf_slot;
  logic             link_done, link_err, vram_done, vram_err;
  logic             buf_ren, buf_vram;
  logic [3:0]       buf_even, buf_odd;
  logic [DataW-1:0] data_even, data_odd;
  logic             vrd_valid, vrd_ready, vwr_valid, vwr_ready;
  mem_req_t         vrd_req, vwr_req;

  copy_slots #(.NumBursts(NumBursts)) u_slots (
    .clk_i, .rst_ni,
    .ev_i         (event_i.ev),
    .drain_done_o,
    .push_i       (push),
    .push_slot_i  (push_now),
    .full_o       (full),
    .rd_valid_o   (rd_slot_valid),
    .rd_slot_o    (rd_slot),
    .rd_idx_o     (rd_slot_idx),
    .rd_pop_i     (rd_slot_pop),
    .rd_skip_i    (rd_slot_skip),
    .link_done_i  (link_done),
    .link_err_i   (link_err),
    .link_idx_i   (link_idx),
    .vram_done_i  (vram_done),
    .vram_err_i   (vram_err),
    .vram_idx_i   (vram_idx),
    .wr_valid_o   (wr_slot_valid),
    .wr_err_o     (wr_slot_err),
    .wr_slot_o    (wr_slot),
    .wr_idx_o     (wr_slot_idx),
    .wr_take_i    (wr_slot_take),
    .wr_end_i     (wr_slot_end)
  );

  copy_read #(.NumBursts(NumBursts), .Channels(Channels)) u_read (
    .clk_i, .rst_ni,
    .discard_i       (discard),
    .slot_valid_i    (rd_slot_valid),
    .slot_i          (rd_slot),
    .slot_idx_i      (rd_slot_idx),
    .slot_pop_o      (rd_slot_pop),
    .slot_skip_o     (rd_slot_skip),
    .link_done_o     (link_done),
    .link_err_o      (link_err),
    .link_idx_o      (link_idx),
    .vram_done_o     (vram_done),
    .vram_err_o      (vram_err),
    .vram_idx_o      (vram_idx),
    .brd_valid_o, .brd_ready_i, .brd_o, .brd_rsp_valid_i, .brd_rsp_i,
    .mem_req_valid_o (vrd_valid),
    .mem_req_ready_i (vrd_ready),
    .mem_req_o       (vrd_req),
    .mem_rsp_valid_i (vram_rsp_valid_i),
    .mem_rsp_i       (vram_rsp_i),
    .buf_ren_i       (buf_ren),
    .buf_vram_i      (buf_vram),
    .buf_slot_i      (buf_slot),
    .buf_even_i      (buf_even),
    .buf_odd_i       (buf_odd),
    .buf_even_o      (data_even),
    .buf_odd_o       (data_odd)
  );

  copy_write #(.NumBursts(NumBursts), .Channels(Channels)) u_write (
    .clk_i, .rst_ni,
    .discard_i       (discard),
    .slot_valid_i    (wr_slot_valid),
    .slot_err_i      (wr_slot_err),
    .slot_i          (wr_slot),
    .slot_idx_i      (wr_slot_idx),
    .slot_take_o     (wr_slot_take),
    .slot_end_o      (wr_slot_end),
    .done_o          (done),
    .chan_o          (done_chan),
    .len_o           (done_len),
    .fail_o          (fail),
    .fail_addr_o     (fail_addr),
    .poll_o          (poll),
    .poll_data_o     (poll_data),
    .buf_ren_o       (buf_ren),
    .buf_vram_o      (buf_vram),
    .buf_slot_o      (buf_slot),
    .buf_even_o      (buf_even),
    .buf_odd_o       (buf_odd),
    .buf_even_i      (data_even),
    .buf_odd_i       (data_odd),
    .bwr_valid_o, .bwr_ready_i, .bwr_o, .bwr_data_valid_o, .bwr_data_ready_i, .bwr_data_o,
    .mem_req_valid_o (vwr_valid),
    .mem_req_ready_i (vwr_ready),
    .mem_req_o       (vwr_req)
  );

  mem_merge #(.ReadsOnly(1'b1)) u_vram_merge (
    .clk_i, .rst_ni,
    .rd_valid_i (vrd_valid), .rd_ready_o (vrd_ready), .rd_req_i (vrd_req),
    .wr_valid_i (vwr_valid), .wr_ready_o (vwr_ready), .wr_req_i (vwr_req),
    .mem_req_valid_o (vram_req_valid_o),
    .mem_req_ready_i (vram_req_ready_i),
    .mem_req_o       (vram_req_o)
  );

  assign cnt_bytes_o = done ? done_len : '0;

  // Every lookup is answered in the next cycle; copy_issue counts on it.
  logic lkp_any_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) lkp_any_q <= 1'b0;
    else         lkp_any_q <= lkp_any;
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (rsp_valid == lkp_any_q) else $error("copy_engine: lookup without its answer");
    end
  end

  // The choices are taken one-hot.
  logic unused;
  assign unused = ^rd_client;

endmodule
