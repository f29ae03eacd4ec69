// Writes the bursts, in order, each when all its data is there: moves the bytes from the source's
// to the destination's position within the 16-byte beats and sends them to the link or to VRAM.
//
//   slot (A: reads two source beats, shows the burst to the link) -> destination beat (B) -> link, VRAM
//
// Throughput: one beat a cycle, whatever the alignment, bursts back to back. Latency: one cycle.
// A burst whose read failed is not written: fail_o pulses. With discard_i of its channel a burst is let
// go unwritten; one that has begun ends. A poll is not written: its first 8 bytes are shown (poll_o).
// done_o pulses for every burst: len_o bytes of it were accepted (0 if it was let go).
//
// With the source's offset less the destination's = d (mod 16), byte l of a destination beat is byte
// l + d of the source beats lo and lo + 1; one of the two is in the even memory, the other in the odd.
// Of a burst that was told to read more, the last source beat is held for the channel's next burst, which has it
// as its beat -1.
module copy_write
  import hmmu_pkg::*;
  import copy_pkg::*;
#(
  parameter int unsigned NumBursts = 8,
  parameter int unsigned Channels  = 1,
  localparam int unsigned SlotW = $clog2(NumBursts)
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic [Channels-1:0] discard_i,
  // The oldest burst (copy_slots).
  input  logic                slot_valid_i,
  input  logic                slot_err_i,
  input  copy_slot_t          slot_i,
  input  logic [SlotW-1:0]    slot_idx_i,
  output logic                slot_take_o,
  output logic                slot_end_o,
  // What becomes of it.
  output logic                done_o,
  output chan_t               chan_o,
  output logic [9:0]          len_o,
  output logic                fail_o,
  output pa_t                 fail_addr_o,
  output logic                poll_o,
  output logic [63:0]         poll_data_o,
  // Data of the bursts (copy_read).
  output logic                buf_ren_o,
  output logic                buf_vram_o,
  output logic [SlotW-1:0]    buf_slot_o,
  output logic [3:0]          buf_even_o,
  output logic [3:0]          buf_odd_o,
  input  logic [DataW-1:0]    buf_even_i,
  input  logic [DataW-1:0]    buf_odd_i,
  // Link: the burst first, then its beats.
  output logic                bwr_valid_o,
  input  logic                bwr_ready_i,
  output burst_t              bwr_o,
  output logic                bwr_data_valid_o,
  input  logic                bwr_data_ready_i,
  output logic [DataW-1:0]    bwr_data_o,
  // VRAM.
  output logic                mem_req_valid_o,
  input  logic                mem_req_ready_i,
  output mem_req_t            mem_req_o
);

  localparam int unsigned CW = Channels > 1 ? $clog2(Channels) : 1;

  // Stage B.
  logic             b_valid_q;
  logic             b_last_q, b_fill_q, b_link_q, b_poll_q, b_odd_q;
  logic             b_held_q;       // the odd beat is the held one
  logic             b_keep_q, b_tail_q;   // the odd (b_tail_q) or even beat is to be held
  logic [3:0]       b_shift_q;
  logic [StrbW-1:0] b_strb_q;
  pa_t              b_addr_q;
  chan_t            b_chan_q;
  logic [9:0]       b_len_q;
  logic [63:0]      b_src_q;        // the pattern of a fill; bit 55: data from VRAM

  // ------------------------------------------------------------------ A: the burst and its next beat
  logic [5:0] beat_q;      // destination beat
  logic       begun_q;     // it is not let go any more
  logic       head_q;      // the link has taken the burst
  logic       begin_a, skip, to_link, head_ok, a_go, b_free, b_go, last, borrow;
  logic [5:0] lo, hi, tail;   // tail: the last source beat
  logic [9:0] stop;        // end of the burst, counted from lane 0 of its first beat
  logic [StrbW-1:0] strb;

  assign begin_a = slot_valid_i && (begun_q || !(slot_err_i || discard_i[CW'(slot_i.chan)]));
  assign skip    = slot_valid_i && !begin_a && !b_valid_q;
  assign to_link = !slot_i.dst[PaW-1] && !slot_i.poll;
  assign head_ok = !to_link || head_q || bwr_ready_i;
  assign last    = beat_q == copy_beats(slot_i.dst[3:0], slot_i.len) - 6'd1;
  assign stop    = {6'd0, slot_i.dst[3:0]} + slot_i.len;
  assign b_free  = !b_valid_q || b_go;
  assign a_go    = begin_a && head_ok && b_free;

  assign borrow  = slot_i.src[3:0] < slot_i.dst[3:0];
  assign lo      = beat_q - 6'(borrow) - 6'(slot_i.held);
  assign hi      = lo + 6'd1;
  assign tail    = copy_beats(slot_i.src[3:0], slot_i.len) - 6'd1 - 6'(slot_i.held);

  assign buf_ren_o  = a_go;
  assign buf_slot_o = slot_idx_i;
  assign buf_even_o = hi[4:1];     // of lo if that is even
  assign buf_odd_o  = lo[4:1];

  always_comb begin
    for (int unsigned l = 0; l < StrbW; l++) begin
      strb[l] = (beat_q != '0 || 4'(l) >= slot_i.dst[3:0])
             && ({beat_q, 4'(l)} < stop);
    end
  end

  assign bwr_valid_o = begin_a && to_link && !head_q;
  assign bwr_o       = '{addr: slot_i.dst, len: slot_i.len, tag: '0};
  assign slot_take_o = skip || (a_go && last);

  // ------------------------------------------------------------------ B: a destination beat
  logic [Channels-1:0][DataW-1:0] held_q;
  logic [DataW-1:0] merged, data, odd;

  assign b_go = b_valid_q && (b_poll_q || (b_link_q ? bwr_data_ready_i : mem_req_ready_i));

  assign odd = b_held_q ? held_q[CW'(b_chan_q)] : buf_odd_i;

  // Byte i of the two beats together, modulo 16: of beat lo from lane d on, of lo + 1 below it.
  always_comb begin
    for (int unsigned i = 0; i < StrbW; i++) begin
      merged[8*i +: 8] = (4'(i) >= b_shift_q) == b_odd_q ? odd[8*i +: 8] : buf_even_i[8*i +: 8];
    end
    data = DataW'({merged, merged} >> {b_shift_q, 3'd0});
    if (b_fill_q) data = {b_src_q, b_src_q};
  end

  assign buf_vram_o       = b_src_q[PaW-1];
  assign bwr_data_valid_o = b_valid_q && b_link_q;
  assign bwr_data_o       = data;
  assign mem_req_valid_o  = b_valid_q && !b_link_q && !b_poll_q;
  assign mem_req_o = '{op: MemWrite, cas32: 1'b0, addr: b_addr_q, strb: b_strb_q, data: data, tag: '0};

  assign slot_end_o  = skip || (b_go && b_last_q);
  assign done_o      = slot_end_o;
  assign chan_o      = skip ? slot_i.chan : b_chan_q;
  assign len_o       = skip || b_poll_q ? '0 : b_len_q;
  assign fail_o      = skip && !discard_i[CW'(slot_i.chan)];
  assign fail_addr_o = slot_i.src[PaW-1:0];
  assign poll_o      = b_go && b_poll_q;
  assign poll_data_o = data[63:0];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      beat_q    <= '0;
      begun_q   <= 1'b0;
      head_q    <= 1'b0;
      b_valid_q <= 1'b0;
    end else begin
      if (b_free) b_valid_q <= a_go;
      if (a_go && last) begin
        beat_q  <= '0;
        begun_q <= 1'b0;
        head_q  <= 1'b0;
      end else begin
        if (begin_a) begun_q <= 1'b1;
        if (bwr_valid_o && bwr_ready_i) head_q <= 1'b1;
        if (a_go) beat_q <= beat_q + 6'd1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (a_go) begin
      b_last_q  <= last;
      b_fill_q  <= slot_i.fill;
      b_link_q  <= to_link;
      b_poll_q  <= slot_i.poll;
      b_odd_q   <= lo[0];
      b_held_q  <= lo == '1 || hi == '1;
      b_keep_q  <= last && slot_i.more;
      b_tail_q  <= tail[0];
      b_shift_q <= slot_i.src[3:0] - slot_i.dst[3:0];
      b_strb_q  <= strb;
      b_addr_q  <= {slot_i.dst[PaW-1:4] + 52'(beat_q), 4'd0};
      b_chan_q  <= slot_i.chan;
      b_len_q   <= slot_i.len;
      b_src_q   <= slot_i.src;
    end
    if (b_go && b_keep_q) held_q[CW'(b_chan_q)] <= b_tail_q ? odd : buf_even_i;
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!begun_q || slot_valid_i) else $error("copy_write: burst lost while it was written");
      assert (!mem_req_valid_o || mem_req_o.strb != '0) else $error("copy_write: empty beat");
    end
  end

  // Invalidations are copy_slots' matter; of the tail only the memory counts in which it is.
  logic unused;
  assign unused = ^{slot_i.xlat, hi[0], tail[5:1]};

endmodule
