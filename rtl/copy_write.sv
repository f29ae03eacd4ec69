// Writes the bursts, in order, each when all its data is there: moves the bytes from the source's
// to the destination's position within the 16-byte beats and sends them to the link or to VRAM.
//
// Throughput: one beat a cycle, and one cycle more for each burst; two if its first destination beat
// needs two source beats, or if the link makes it wait.
// A burst whose read failed is not written: fail_o pulses. With discard_i bursts are let go unwritten;
// a burst that has begun ends.
//
// Source beats come one after the other into cur; prev is the one before. With the source's offset
// less the destination's = d (mod 16), d = 1..15 takes the destination beat from byte d of
// {cur, prev}, d = 0 takes cur as it is.
module copy_write
  import hmmu_pkg::*;
  import copy_pkg::*;
#(
  parameter int unsigned NumBursts = 8,
  localparam int unsigned SlotW = $clog2(NumBursts)
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             discard_i,
  input  logic [63:0]      pattern_i,      // of fills
  // The oldest burst (copy_slots).
  input  logic             slot_valid_i,
  input  logic             slot_err_i,
  input  copy_slot_t       slot_i,
  input  logic [SlotW-1:0] slot_idx_i,
  output logic             slot_pop_o,
  output logic             fail_o,
  output logic             written_o,      // pulse: the burst's bytes were all accepted
  // Data of the bursts (copy_read).
  output logic             buf_ren_o,
  output logic             buf_vram_o,
  output logic [SlotW+4:0] buf_addr_o,
  input  logic [DataW-1:0] buf_data_i,
  // Link: the burst first, then its beats.
  output logic             bwr_valid_o,
  input  logic             bwr_ready_i,
  output burst_t           bwr_o,
  output logic             bwr_data_valid_o,
  input  logic             bwr_data_ready_i,
  output logic [DataW-1:0] bwr_data_o,
  // VRAM.
  output logic             mem_req_valid_o,
  input  logic             mem_req_ready_i,
  output mem_req_t         mem_req_o
);

  typedef enum logic [1:0] {
    WriteIdle = 2'd0,   // reads beat 0 of the oldest burst, and shows the burst to the link
    WriteHead = 2'd1,   // beat 0 is in cur; the burst waits for the link; beat 1 is read if needed
    WriteData = 2'd2    // one destination beat after the other
  } write_e;

  write_e           state_q;
  logic [4:0]       beat_q;      // destination beat
  logic [4:0]       next_q;      // next source beat
  logic [DataW-1:0] prev_q;

  logic [3:0]       shift;
  logic             ahead;       // the first destination beat needs two source beats
  logic             to_vram, head_go, data_go, last, begin_burst;
  logic [4:0]       beats;
  logic [9:0]       stop;        // end of the burst, counted from lane 0 of its first beat
  logic [StrbW-1:0] strb;
  logic [DataW-1:0] data;

  assign shift   = slot_i.src[3:0] - slot_i.dst[3:0];
  assign ahead   = slot_i.src[3:0] > slot_i.dst[3:0] && !slot_i.fill;
  assign to_vram = slot_i.dst[PaW-1];
  assign beats   = copy_beats(slot_i.dst[3:0], slot_i.len);
  assign last    = beat_q == beats - 5'd1;
  assign stop    = {6'd0, slot_i.dst[3:0]} + {1'b0, slot_i.len};

  assign begin_burst = state_q == WriteIdle && slot_valid_i && !discard_i && !slot_err_i;
  assign head_go     = (state_q == WriteHead || (begin_burst && !ahead)) && (to_vram || bwr_ready_i);
  assign data_go     = state_q == WriteData && (to_vram ? mem_req_ready_i : bwr_data_ready_i);

  assign fail_o     = state_q == WriteIdle && slot_valid_i && !discard_i && slot_err_i;
  assign written_o  = data_go && last;
  assign slot_pop_o = written_o || (state_q == WriteIdle && slot_valid_i && !begin_burst);

  assign buf_ren_o  = begin_burst || (head_go && ahead) || data_go;
  assign buf_addr_o = {slot_idx_i, begin_burst ? 5'd0 : next_q};
  assign buf_vram_o = slot_i.src[PaW-1];

  always_comb begin
    if (slot_i.fill)      data = {pattern_i, pattern_i};
    else if (shift == '0) data = buf_data_i;
    else                  data = DataW'({buf_data_i, prev_q} >> {shift, 3'd0});
    for (int unsigned l = 0; l < StrbW; l++) begin
      strb[l] = (beat_q != '0 || 4'(l) >= slot_i.dst[3:0])
             && ({1'b0, beat_q, 4'(l)} < stop);
    end
  end

  assign bwr_valid_o      = (state_q == WriteHead || (begin_burst && !ahead)) && !to_vram;
  assign bwr_o            = '{addr: slot_i.dst, len: slot_i.len, tag: '0};
  assign bwr_data_valid_o = state_q == WriteData && !to_vram;
  assign bwr_data_o       = data;
  assign mem_req_valid_o  = state_q == WriteData && to_vram;
  assign mem_req_o = '{op: MemWrite, cas32: 1'b0,
                       addr: {slot_i.dst[PaW-1:4] + 52'(beat_q), 4'd0},
                       strb: strb, data: data, tag: '0};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= WriteIdle;
      beat_q  <= '0;
      next_q  <= '0;
    end else begin
      unique case (state_q)
        WriteIdle: if (begin_burst) begin
          state_q <= head_go ? WriteData : WriteHead;
          beat_q  <= '0;
          next_q  <= 5'd1;
        end
        WriteHead: if (head_go) begin
          state_q <= WriteData;
          if (ahead) next_q <= 5'd2;
        end
        default: if (data_go) begin
          beat_q <= beat_q + 5'd1;
          next_q <= next_q + 5'd1;
          if (last) state_q <= WriteIdle;
        end
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (buf_ren_o) prev_q <= buf_data_i;
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (state_q == WriteIdle || (slot_valid_i && !slot_err_i))
        else $error("copy_write: burst lost while it was written");
      assert (!mem_req_valid_o || mem_req_o.strb != '0) else $error("copy_write: empty beat");
    end
  end

  // Invalidations are copy_slots' matter.
  logic unused;
  assign unused = slot_i.xlat;

endmodule
