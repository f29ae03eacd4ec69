// Copy channel: runs the descriptors of the copy ring, one at a time, in ring order.
//
//   ring_fetch -> copy_issue -> copy_slots -> copy_read (link, VRAM) -> copy_write (link, VRAM)
//                    |  l1_tlb                     data in copy_buffer
//                    +-> post_writer (Completion, interrupt) when all bursts have left
//
// Promise: what copy_issue says of translation and ends; the Completion is written after the data;
//   an error ends its descriptor and the ring goes on; only a bad entry or one that cannot be read
//   stops the ring. Nothing outside the destination is touched.
// Throughput: NumBursts bursts of 256 bytes in flight; 16 of 17 cycles move a beat at best.
// Drain: see copy_slots. Kill: kill_valid_i stays until kill_done_o.
module copy_engine
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import copy_pkg::*;
#(
  parameter int unsigned NumBursts  = 8,    // a power of two, 2..16
  parameter int unsigned TlbEntries = 16,
  parameter int unsigned RingDepth  = 2     // entries that the ring's fetch holds
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             enable_i,
  input  logic [63:0]      time_i,
  input  logic [2:0]       cfg_mps_i,
  input  logic [2:0]       cfg_mrrs_i,
  input  ring_cfg_t        ring_i,
  output logic [31:0]      cons_o,
  output logic             stopped_o,
  output logic             idle_o,
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
  // Ring and completions.
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
  output logic [8:0]       cnt_bytes_o
);

  localparam int unsigned SlotW = $clog2(NumBursts);
  localparam int unsigned Slots = 2;

  // ------------------------------------------------------------------ ring and completion
  logic         entry_valid, entry_ready, entry_bad, bad_q, fetch_err;
  logic [511:0] entry_bits;
  copy_entry_t  entry;
  pa_t          fetch_err_addr;
  logic         rd_valid, rd_ready, wr_valid, wr_ready;
  mem_req_t     rd_req, wr_req;
  logic         post_valid, post_ready;
  logic [63:0]  post_result;
  logic [7:0]   post_status;
  logic [47:0]  post_info;

  assign entry = entry_bits;

  ring_fetch #(.Depth(RingDepth)) u_ring (
    .clk_i, .rst_ni, .enable_i, .ring_i, .cons_o,
    .entry_valid_o   (entry_valid),
    .entry_ready_i   (entry_ready),
    .entry_o         (entry_bits),
    .stop_i          (entry_bad),
    .stopped_o,
    .idle_o,
    .err_o           (fetch_err),
    .err_addr_o      (fetch_err_addr),
    .mem_req_valid_o (rd_valid),
    .mem_req_ready_i (rd_ready),
    .mem_req_o       (rd_req),
    .mem_rsp_valid_i (ring_rsp_valid_i),
    .mem_rsp_i       (ring_rsp_i)
  );

  post_writer u_post (
    .clk_i, .rst_ni, .time_i,
    .req_valid_i     (post_valid),
    .req_ready_o     (post_ready),
    .long_i          (1'b1),
    .irq_i           (entry.irq),
    .addr_i          (entry.fence_addr),
    .value_i         (entry.fence_value),
    .result_i        (post_result),
    .status_i        (post_status),
    .info_i          (post_info),
    .irq_o           (irq_copy_o),
    .mem_req_valid_o (wr_valid),
    .mem_req_ready_i (wr_ready),
    .mem_req_o       (wr_req)
  );

  mem_merge u_ring_merge (
    .clk_i, .rst_ni,
    .rd_valid_i (rd_valid), .rd_ready_o (rd_ready), .rd_req_i (rd_req),
    .wr_valid_i (wr_valid), .wr_ready_o (wr_ready), .wr_req_i (wr_req),
    .mem_req_valid_o (ring_req_valid_o),
    .mem_req_ready_i (ring_req_ready_i),
    .mem_req_o       (ring_req_o)
  );

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) bad_q <= 1'b0;
    else         bad_q <= entry_bad;
  end
  assign err_valid_o = fetch_err || bad_q;
  assign err_code_o  = fetch_err ? ErrorCodeRingFetch : ErrorCodeBadEntry;
  assign err_addr_o  = fetch_err_addr;

  // ------------------------------------------------------------------ translation
  logic                      lkp_valid, rsp_valid, wake_err;
  ctx_t                      lkp_ctx;
  vpn_t                      lkp_vpn;
  access_e                   lkp_access;
  lookup_e                   rsp_status;
  ppn_t                      rsp_ppn;
  logic [$clog2(Slots)-1:0]  rsp_slot;
  logic [Slots-1:0]          wake;
  logic [7:0]                wake_code;

  l1_tlb #(.Entries(TlbEntries), .Slots(Slots), .Client(ClientCopy)) u_tlb (
    .clk_i, .rst_ni,
    .lkp_valid_i  (lkp_valid),
    .lkp_ctx_i    (lkp_ctx),
    .lkp_vpn_i    (lkp_vpn),
    .lkp_access_i (lkp_access),
    .rsp_valid_o  (rsp_valid),
    .rsp_status_o (rsp_status),
    .rsp_ppn_o    (rsp_ppn),
    .rsp_slot_o   (rsp_slot),
    .wake_o       (wake),
    .wake_err_o   (wake_err),
    .wake_code_o  (wake_code),
    .miss_valid_o, .miss_ready_i, .miss_o, .event_i, .cnt_lookup_o, .cnt_hit_o
  );

  // ------------------------------------------------------------------ bursts
  logic             full, empty, push, discard, fail, written;
  copy_slot_t       push_slot, rd_slot, wr_slot;
  logic             rd_slot_valid, rd_slot_pop, rd_slot_skip;
  logic             wr_slot_valid, wr_slot_err, wr_slot_pop;
  logic [SlotW-1:0] rd_slot_idx, wr_slot_idx, link_idx, vram_idx;
  logic             link_done, link_err, vram_done, vram_err;
  logic             buf_ren, buf_vram;
  logic [SlotW+4:0] buf_addr;
  logic [DataW-1:0] buf_data;
  logic             vrd_valid, vrd_ready, vwr_valid, vwr_ready;
  mem_req_t         vrd_req, vwr_req;

  copy_issue #(.Slots(Slots)) u_issue (
    .clk_i, .rst_ni, .cfg_mps_i, .cfg_mrrs_i,
    .entry_valid_i (entry_valid),
    .entry_ready_o (entry_ready),
    .entry_i       (entry),
    .entry_bad_o   (entry_bad),
    .lkp_valid_o   (lkp_valid),
    .lkp_ctx_o     (lkp_ctx),
    .lkp_vpn_o     (lkp_vpn),
    .lkp_access_o  (lkp_access),
    .rsp_status_i  (rsp_status),
    .rsp_ppn_i     (rsp_ppn),
    .rsp_slot_i    (rsp_slot),
    .wake_i        (wake),
    .wake_err_i    (wake_err),
    .wake_code_i   (wake_code),
    .ev_i          (event_i.ev),
    .ev_ctx_i      (event_i.ctx),
    .kill_valid_i, .kill_ctx_i, .kill_done_o,
    .full_i        (full),
    .empty_i       (empty),
    .push_o        (push),
    .slot_o        (push_slot),
    .discard_o     (discard),
    .fail_i        (fail),
    .written_i     (written),
    .written_len_i (wr_slot.len),
    .post_valid_o  (post_valid),
    .post_ready_i  (post_ready),
    .post_result_o (post_result),
    .post_status_o (post_status),
    .post_info_o   (post_info)
  );

  copy_slots #(.NumBursts(NumBursts)) u_slots (
    .clk_i, .rst_ni,
    .ev_i         (event_i.ev),
    .drain_done_o,
    .empty_o      (empty),
    .push_i       (push),
    .push_slot_i  (push_slot),
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
    .wr_pop_i     (wr_slot_pop)
  );

  copy_read #(.NumBursts(NumBursts)) u_read (
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
    .buf_addr_i      (buf_addr),
    .buf_data_o      (buf_data)
  );

  copy_write #(.NumBursts(NumBursts)) u_write (
    .clk_i, .rst_ni,
    .discard_i       (discard),
    .pattern_i       (entry.src),
    .slot_valid_i    (wr_slot_valid),
    .slot_err_i      (wr_slot_err),
    .slot_i          (wr_slot),
    .slot_idx_i      (wr_slot_idx),
    .slot_pop_o      (wr_slot_pop),
    .fail_o          (fail),
    .written_o       (written),
    .buf_ren_o       (buf_ren),
    .buf_vram_o      (buf_vram),
    .buf_addr_o      (buf_addr),
    .buf_data_i      (buf_data),
    .bwr_valid_o, .bwr_ready_i, .bwr_o, .bwr_data_valid_o, .bwr_data_ready_i, .bwr_data_o,
    .mem_req_valid_o (vwr_valid),
    .mem_req_ready_i (vwr_ready),
    .mem_req_o       (vwr_req)
  );

  mem_merge u_vram_merge (
    .clk_i, .rst_ni,
    .rd_valid_i (vrd_valid), .rd_ready_o (vrd_ready), .rd_req_i (vrd_req),
    .wr_valid_i (vwr_valid), .wr_ready_o (vwr_ready), .wr_req_i (vwr_req),
    .mem_req_valid_o (vram_req_valid_o),
    .mem_req_ready_i (vram_req_ready_i),
    .mem_req_o       (vram_req_o)
  );

  assign cnt_bytes_o = written ? wr_slot.len : '0;

  // Every lookup is answered in the next cycle; copy_issue counts on it.
  logic lkp_valid_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) lkp_valid_q <= 1'b0;
    else         lkp_valid_q <= lkp_valid;
  end
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (rsp_valid == lkp_valid_q) else $error("copy_engine: lookup without its answer");
    end
  end

endmodule
