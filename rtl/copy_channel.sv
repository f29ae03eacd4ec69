// Front end of one copy channel: its ring, its lists and the walk through its descriptors. What comes out
// are bursts, lookups, reads of its ring and lists, and reports; the back end is shared (copy_engine).
//
//   ring_fetch -> copy_issue -> lookups, bursts, report
//                  copy_list
//
// Reads: tags 0..3 of the ring, 16 + {place, half} of a list.
module copy_channel
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import copy_pkg::*;
#(
  parameter chan_t       Chan      = '0,
  parameter int unsigned CountW    = 8,
  parameter int unsigned RingDepth = 2,
  parameter int unsigned ListDepth = 8,     // 0: no lists
  parameter int unsigned Slots     = 2,
  parameter int unsigned BurstBytes = 512,
  localparam int unsigned MissW    = $clog2(Slots)
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             enable_i,
  input  ring_cfg_t        ring_i,
  output logic [31:0]      cons_o,
  input  copy_ctl_t        ctl_i,
  output copy_sta_t        sta_o,
  output copy_rec_t        rec_o,
  output logic             err_valid_o,
  output error_code_e      err_code_o,
  output pa_t              err_addr_o,
  // Reads of the ring and of lists: a request stays until it is taken.
  output logic [1:0]       rd_valid_o,
  input  logic [1:0]       rd_ready_i,
  output pa_t  [1:0]       rd_addr_o,
  output logic [1:0][4:0]  rd_tag_o,
  input  logic             rd_rsp_valid_i,
  input  mem_rsp_t         rd_rsp_i,
  // As copy_issue.
  output logic             lkp_valid_o,
  input  logic             lkp_ready_i,
  output copy_lkp_t        lkp_o,
  input  lookup_e          rsp_status_i,
  input  ppn_t             rsp_ppn_i,
  input  logic [MissW-1:0] rsp_slot_i,
  input  logic [Slots-1:0] wake_i,
  input  logic             wake_err_i,
  input  logic [7:0]       wake_code_i,
  input  mmu_ev_e          ev_i,
  input  ctx_t             ev_ctx_i,
  input  logic             kill_valid_i,
  input  ctx_t             kill_ctx_i,
  output logic             kill_done_o,
  output logic             push_valid_o,
  input  logic             push_ready_i,
  output copy_slot_t       slot_o,
  output logic             discard_o,
  input  logic             done_i,
  input  logic [9:0]       done_len_i,
  input  logic             fail_i,
  input  pa_t              fail_addr_i,
  input  logic             poll_i,
  input  logic [63:0]      poll_data_i,
  output logic             post_valid_o,
  input  logic             post_ready_i,
  output copy_post_t       post_o
);

  logic          entry_valid, entry_ready, entry_bad, entry_halt, bad_q, fetch_err, idle, stopped;
  logic [511:0]  entry;
  pa_t           fetch_err_addr;
  mem_req_t      ring_req;
  logic          list_start, list_stop, list_busy, list_end, list_valid, list_err, list_pop;
  logic [255:0]  list_seg;
  logic [3:0]    list_tag;
  copy_entry_t   entry_s;
  copy_rec_t     rec;

  assign entry_s     = entry;
  assign rd_addr_o[0] = ring_req.addr;
  assign rd_tag_o[0]  = {3'd0, ring_req.tag[1:0]};
  assign rd_tag_o[1]  = {1'b1, list_tag};

  ring_fetch #(.Depth(RingDepth)) u_ring (
    .clk_i, .rst_ni, .enable_i, .ring_i, .cons_o,
    .entry_valid_o   (entry_valid),
    .entry_ready_i   (entry_ready),
    .entry_o         (entry),
    .stop_i          (entry_bad || entry_halt),
    .stopped_o       (stopped),
    .idle_o          (idle),
    .err_o           (fetch_err),
    .err_addr_o      (fetch_err_addr),
    .mem_req_valid_o (rd_valid_o[0]),
    .mem_req_ready_i (rd_ready_i[0]),
    .mem_req_o       (ring_req),
    .mem_rsp_valid_i (rd_rsp_valid_i && !rd_rsp_i.tag[4]),
    .mem_rsp_i       (rd_rsp_i)
  );

  if (ListDepth != 0) begin : gen_list
    copy_list #(.Depth(ListDepth)) u_list (
      .clk_i, .rst_ni,
      .start_i     (list_start),
      .addr_i      (entry_s.src[PaW-1:0]),
      .count_i     (entry_s.len[31:0]),
      .stop_i      (list_stop),
      .busy_o      (list_busy),
      .end_o       (list_end),
      .valid_o     (list_valid),
      .err_o       (list_err),
      .seg_o       (list_seg),
      .pop_i       (list_pop),
      .req_valid_o (rd_valid_o[1]),
      .req_ready_i (rd_ready_i[1]),
      .req_addr_o  (rd_addr_o[1]),
      .req_tag_o   (list_tag),
      .rsp_valid_i (rd_rsp_valid_i && rd_rsp_i.tag[4]),
      .rsp_tag_i   (rd_rsp_i.tag[3:0]),
      .rsp_err_i   (rd_rsp_i.err),
      .rsp_data_i  (rd_rsp_i.data)
    );
  end else begin : gen_no_list
    assign rd_valid_o[1] = 1'b0;
    assign rd_addr_o[1]  = '0;
    assign list_tag      = '0;
    assign list_seg      = '0;
    assign {list_busy, list_end, list_valid, list_err} = '0;
    logic unused_list;
    assign unused_list = ^{list_start, list_stop, list_pop, rd_ready_i[1]};
  end

  copy_issue #(.Chan(Chan), .CountW(CountW), .BurstBytes(BurstBytes), .Lists(ListDepth != 0), .Slots(Slots)) u_issue (
    .clk_i, .rst_ni, .ctl_i,
    .entry_valid_i (entry_valid),
    .entry_ready_o (entry_ready),
    .entry_i       (entry_s),
    .entry_bad_o   (entry_bad),
    .entry_halt_o  (entry_halt),
    .list_start_o  (list_start),
    .list_stop_o   (list_stop),
    .list_busy_i   (list_busy),
    .list_end_i    (list_end),
    .list_valid_i  (list_valid),
    .list_err_i    (list_err),
    .list_seg_i    (list_seg),
    .list_pop_o    (list_pop),
    .lkp_valid_o, .lkp_ready_i, .lkp_o, .rsp_status_i, .rsp_ppn_i, .rsp_slot_i,
    .wake_i, .wake_err_i, .wake_code_i, .ev_i, .ev_ctx_i,
    .kill_valid_i, .kill_ctx_i, .kill_done_o,
    .push_valid_o, .push_ready_i, .slot_o, .discard_o, .done_i, .done_len_i, .fail_i, .fail_addr_i,
    .poll_i, .poll_data_i, .post_valid_o, .post_ready_i, .post_o,
    .rec_o         (rec),
    .quiet_o       (sta_o.quiet),
    .parks_o       (sta_o.parks),
    .polls_o       (sta_o.polls)
  );

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) bad_q <= 1'b0;
    else         bad_q <= entry_bad;
  end

  assign sta_o.lists   = ListDepth != 0;
  assign sta_o.idle    = idle;
  assign sta_o.stopped = stopped;
  assign err_valid_o   = fetch_err || bad_q;
  assign err_code_o    = fetch_err ? ErrorCodeRingFetch : ErrorCodeBadEntry;
  assign err_addr_o    = fetch_err_addr;

  // An entry that is at fault comes after all descriptors before it, and ends the channel's work.
  always_comb begin
    rec_o = rec;
    if (err_valid_o && !rec.valid) begin
      rec_o = '{valid: 1'b1, status: fetch_err ? JobStatusMemoryError : JobStatusBadEntry,
                addr: fetch_err_addr};
    end
  end

  // Only the address and the tag of a ring's read say something.
  logic unused;
  assign unused = ^{ring_req.op, ring_req.cas32, ring_req.strb, ring_req.data, ring_req.tag[TagW-1:2]};

endmodule
