// Sends the reads of the bursts, in order, and collects their data, which may come in any order.
//
// Throughput: a link burst a cycle if the link takes it at once; VRAM bursts a beat each cycle, without a gap.
// Data goes to two buffers, because the link and VRAM may each bring a beat in the same cycle and
// neither can wait. A burst that is a fill, or is dropped (discard_i of its channel), sends nothing.
// VRAM tags are {tracker, beat}: eight bursts can read VRAM at once, however many slots there are.
// The beats of a burst whose first one is held elsewhere (slot_i.held) are counted from its second one.
module copy_read
  import hmmu_pkg::*;
  import copy_pkg::*;
#(
  parameter int unsigned NumBursts = 8,
  parameter int unsigned Channels  = 1,
  localparam int unsigned SlotW = $clog2(NumBursts)
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [Channels-1:0] discard_i,
  // The next burst to read (copy_slots).
  input  logic             slot_valid_i,
  input  copy_slot_t       slot_i,
  input  logic [SlotW-1:0] slot_idx_i,
  output logic             slot_pop_o,
  output logic             slot_skip_o,
  // Ends of bursts.
  output logic             link_done_o,
  output logic             link_err_o,
  output logic [SlotW-1:0] link_idx_o,
  output logic             vram_done_o,
  output logic             vram_err_o,
  output logic [SlotW-1:0] vram_idx_o,
  // Link.
  output logic             brd_valid_o,
  input  logic             brd_ready_i,
  output burst_t           brd_o,
  input  logic             brd_rsp_valid_i,
  input  burst_rsp_t       brd_rsp_i,
  // VRAM.
  output logic             mem_req_valid_o,
  input  logic             mem_req_ready_i,
  output mem_req_t         mem_req_o,
  input  logic             mem_rsp_valid_i,
  input  mem_rsp_t         mem_rsp_i,
  // Read port of the data, for the write side.
  input  logic             buf_ren_i,
  input  logic             buf_vram_i,     // side of the beats asked for last
  input  logic [SlotW-1:0] buf_slot_i,
  input  logic [3:0]       buf_even_i,     // which beats: as copy_buffer
  input  logic [3:0]       buf_odd_i,
  output logic [DataW-1:0] buf_even_o,
  output logic [DataW-1:0] buf_odd_o
);

  localparam int unsigned CW = Channels > 1 ? $clog2(Channels) : 1;

  typedef enum logic [1:0] {
    ReadIdle = 2'd0,
    ReadLink = 2'd1,   // shows a burst to the link
    ReadVram = 2'd2    // sends the beats of a burst to VRAM
  } read_e;

  read_e      state_q;
  burst_t     brd_q;
  pa_t        vram_addr_q;
  logic [4:0] vram_beat_q, vram_last_q;
  logic [2:0] vram_trk_q;

  // Bursts that read VRAM.
  logic [7:0][5:0]       trk_left_q;   // beats that have not come back
  logic [7:0][SlotW-1:0] trk_slot_q;
  logic [2:0]            slot_trk, rsp_trk;
  logic                  free, skip, start_vram, start_link, end_link, end_vram;

  // What is to be read of a slot: from a byte of its first beat (16: from the second one on) to another.
  logic [5:0] beats, left;
  logic [4:0] from;
  logic [9:0] stop;
  pa_t        addr;
  assign beats = copy_beats(slot_i.src[3:0], slot_i.len);
  assign left  = beats - 6'(slot_i.held);
  assign from  = slot_i.held ? 5'd16 : {1'b0, slot_i.src[3:0]};
  assign stop  = slot_i.more ? {beats, 4'd0} : {6'd0, slot_i.src[3:0]} + slot_i.len;
  assign addr  = slot_i.held ? {slot_i.src[PaW-1:4] + 52'd1, 4'd0} : slot_i.src[PaW-1:0];

  assign slot_trk   = 3'(slot_idx_i);
  assign rsp_trk    = mem_rsp_i.tag[7:5];
  assign end_link   = state_q == ReadLink && brd_ready_i;
  assign end_vram   = state_q == ReadVram && mem_req_ready_i && vram_beat_q == vram_last_q;
  assign free       = (state_q == ReadIdle || end_link || end_vram) && slot_valid_i;
  assign skip       = free && (slot_i.fill || left == '0 || discard_i[CW'(slot_i.chan)]);
  assign start_link = free && !skip && !slot_i.src[PaW-1];
  assign start_vram = free && !skip && slot_i.src[PaW-1] && trk_left_q[slot_trk] == '0;

  // A burst is kept here once its reads begin.
  assign slot_pop_o  = skip || start_link || start_vram;
  assign slot_skip_o = skip;

  assign brd_valid_o = state_q == ReadLink;
  assign brd_o       = brd_q;
  assign mem_req_valid_o = state_q == ReadVram;
  assign mem_req_o = '{op: MemRead, cas32: 1'b0, addr: vram_addr_q, strb: '0, data: '0,
                       tag: {vram_trk_q, vram_beat_q}};

  assign link_done_o = brd_rsp_valid_i && brd_rsp_i.last;
  assign link_err_o  = brd_rsp_valid_i && brd_rsp_i.err;
  assign link_idx_o  = SlotW'(brd_rsp_i.tag);
  assign vram_done_o = mem_rsp_valid_i && trk_left_q[rsp_trk] == 6'd1;
  assign vram_err_o  = mem_rsp_valid_i && mem_rsp_i.err;
  assign vram_idx_o  = trk_slot_q[rsp_trk];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q     <= ReadIdle;
      brd_q       <= '0;
      vram_addr_q <= '0;
      vram_beat_q <= '0;
      vram_last_q <= '0;
      vram_trk_q  <= '0;
      trk_left_q  <= '0;
      trk_slot_q  <= '0;
    end else begin
      if (end_link || end_vram) state_q <= ReadIdle;
      if (state_q == ReadVram && mem_req_ready_i) begin
        vram_addr_q <= vram_addr_q + pa_t'(16);
        vram_beat_q <= vram_beat_q + 5'd1;
      end
      if (start_link) begin
        state_q <= ReadLink;
        brd_q   <= '{addr: addr, len: stop - {5'd0, from}, tag: 8'(slot_idx_i)};
      end
      if (start_vram) begin
        state_q              <= ReadVram;
        vram_addr_q          <= {addr[PaW-1:4], 4'd0};
        vram_beat_q          <= '0;
        vram_last_q          <= 5'(left - 6'd1);
        vram_trk_q           <= slot_trk;
        trk_slot_q[slot_trk] <= slot_idx_i;
      end
      if (mem_rsp_valid_i) trk_left_q[rsp_trk] <= trk_left_q[rsp_trk] - 6'd1;
      // The tracker is free when a burst starts: no response can come for it in that cycle.
      if (start_vram) trk_left_q[slot_trk] <= left;
    end
  end

  // ------------------------------------------------------------------ data
  logic [DataW-1:0] link_even, link_odd, vram_even, vram_odd;

  copy_buffer #(.SlotW(SlotW)) u_link_buf (
    .clk_i,
    .we_i    (brd_rsp_valid_i),
    .strb_i  (brd_rsp_i.strb),
    .wslot_i (link_idx_o),
    .wbeat_i (brd_rsp_i.beat),
    .wdata_i (brd_rsp_i.data),
    .ren_i   (buf_ren_i),
    .rslot_i (buf_slot_i),
    .reven_i (buf_even_i),
    .rodd_i  (buf_odd_i),
    .even_o  (link_even),
    .odd_o   (link_odd)
  );

  copy_buffer #(.SlotW(SlotW)) u_vram_buf (
    .clk_i,
    .we_i    (mem_rsp_valid_i),
    .strb_i  ('1),
    .wslot_i (vram_idx_o),
    .wbeat_i (mem_rsp_i.tag[4:0]),
    .wdata_i (mem_rsp_i.data),
    .ren_i   (buf_ren_i),
    .rslot_i (buf_slot_i),
    .reven_i (buf_even_i),
    .rodd_i  (buf_odd_i),
    .even_o  (vram_even),
    .odd_o   (vram_odd)
  );

  assign buf_even_o = buf_vram_i ? vram_even : link_even;
  assign buf_odd_o  = buf_vram_i ? vram_odd : link_odd;

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!mem_rsp_valid_i || trk_left_q[rsp_trk] != '0)
        else $error("copy_read: VRAM response without request");
    end
  end

  // The destination is the write side's.
  logic unused;
  assign unused = ^{slot_i.dst, slot_i.xlat, slot_i.poll, slot_i.chan, slot_i.src[63:PaW], brd_rsp_i.tag};

endmodule
