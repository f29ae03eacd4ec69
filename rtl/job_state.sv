// Moves the state of jobs between compute units and memory: Save, and restoring launch entries.
// One thing at a time; while nothing is asked for it does nothing.
//
// A save area is a LaunchEntry and a JobSave of 64 bytes each, then 320 bytes for each thread: ThreadSave and
// ThreadRegs, 20 beats of 16 bytes. Units hand out and take threads in these units: beats when they
// are saved, 64-bit words when they are restored.
//
// Save: save_valid_i and what belongs to it stay until save_done_o. The job's warps must stand still.
//   unit_any_i says that one of them is in a unit; its beats are read (unit_rd_*, data in the cycle
//   after the request was taken), then unit_take_o frees it. The left_i records at left_at_i, which
//   have not come back since the last time, are copied behind. The header comes last, and of it the
//   word with the version; entry_o is high while entry_i is being used. A record that cannot be read
//   is left out and becomes the job's status.
//   Takes 2 cycles a beat, or as long as the memory takes to accept it; each record that is copied is
//   read first, which takes one more access.
// Header: head_valid_i stays until head_take_i. Its beats 0 to 5 come on head_rsp_o in any order;
//   head_have_o says that all are here (head_err_o: in vain).
// Record: rec_valid_i is a request that is taken in the cycle of rec_ack_o; rec_have_o comes
//   when the record is here and stays until rec_drop_i, or rec_send_i: its unit has taken the thread,
//   and gets the words (load_*), 40 cycles or more. A save that comes meanwhile drops a record that
//   was not sent (rec_have_o falls).
// Responses on the memory port have tags of 128 and more.
module job_state
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
(
  input  logic          clk_i,
  input  logic          rst_ni,
  // Save.
  input  logic          save_valid_i,
  input  pa_t           save_area_i,
  input  launch_entry_t entry_i,
  output logic          entry_o,
  input  logic [31:0]   next_i,
  input  logic [63:0]   result_i,
  input  logic [7:0]    status_i,
  input  logic [47:0]   info_i,
  input  logic [7:0]    left_i,
  input  pa_t           left_at_i,
  output logic          save_done_o,
  // Header of an area.
  input  logic          head_valid_i,
  input  pa_t           head_area_i,
  output logic          head_have_o,
  output logic          head_err_o,
  input  logic          head_take_i,
  output logic          head_rsp_o,
  output logic [2:0]    head_beat_o,
  output logic [127:0]  head_data_o,
  // A thread's record.
  input  logic          rec_valid_i,
  input  pa_t           rec_at_i,
  output logic          rec_ack_o,
  output logic          rec_have_o,
  output logic          rec_err_o,
  output logic [127:0]  rec_o,           // its first beat
  input  logic          rec_send_i,
  input  logic          rec_drop_i,
  // Units.
  input  logic          unit_any_i,
  output logic          unit_rd_valid_o,
  input  logic          unit_rd_ready_i,
  output logic [4:0]    unit_beat_o,
  input  logic [127:0]  unit_data_i,
  output logic          unit_take_o,
  output logic          load_valid_o,
  input  logic          load_ready_i,
  output logic [5:0]    load_word_o,
  output logic [63:0]   load_data_o,
  // Memory.
  output logic          mem_req_valid_o,
  input  logic          mem_req_ready_i,
  output mem_req_t      mem_req_o,
  input  logic          mem_rsp_valid_i,
  input  mem_rsp_t      mem_rsp_i
);

  localparam logic [4:0] RecordBeats = 5'd20;
  localparam logic [4:0] HeadBeats   = 5'd6;     // of 8: the rest is void
  localparam pa_t        RecordBytes = PaW'(320);
  localparam pa_t        HeadBytes   = PaW'(128);
  localparam logic [5:0] FirstReg    = 6'd8;     // word of x0
  localparam logic [5:0] LastWord    = 6'd39;

  typedef enum logic [3:0] {
    StateIdle  = 4'd0,
    StateRead  = 4'd1,    // beats are asked for
    StateWait  = 4'd2,    // some have not come
    StateHead  = 4'd3,    // a header is here
    StateRec   = 4'd4,    // a record is here
    StateLoad  = 4'd5,    // its words go to the unit
    StateWarps = 4'd6,    // Save: between two warps
    StateWarp  = 4'd7,    // Save: beats of a warp
    StateCopy  = 4'd8,    // Save: a record goes on
    StateWrite = 4'd9     // Save: the header
  } state_e;

  state_e       state_q, then_q;      // what follows when all beats have come
  pa_t          from_q, to_q;         // of the record or header under way
  logic [4:0]   beat_q, beats_q, left_q;
  logic         err_q;
  logic [5:0]   word_q;
  logic [7:0]   records_q, copies_q;  // Save: written, still to be copied
  logic         lost_q;               // Save: a record could not be read ...
  pa_t          lost_at_q;            // ... and where the first one was
  logic         data_q;               // the unit's beat is on unit_data_i
  logic         wr_valid_q;
  pa_t          wr_addr_q;
  logic [127:0] wr_data_q;
  logic [127:0] buf_mem [32];

  // ---------------------------------------------------------------- header
  // Beats in the order in which they are written: the one with the version last.
  logic [2:0]   head_beat;
  logic [127:0] head_data;

  always_comb begin
    head_beat = beat_q[2:0];
    if (beat_q == 5'd4) head_beat = 3'd5;
    if (beat_q == 5'd5) head_beat = 3'd4;
    head_data = '0;
    if (state_q == StateWrite) begin
      automatic logic fails = lost_q && status_i == 8'(JobStatusOk);
      unique case (head_beat)
        3'd0:    head_data = entry_i[127:0];
        3'd1:    head_data = entry_i[255:128];
        3'd2:    head_data = entry_i[383:256];
        3'd3:    head_data = entry_i[511:384];
        // Words 0 and 1, and 2 and 3 of JobSave.
        3'd4:    head_data = {result_i, next_i, 8'b0, records_q, fails ? 8'(JobStatusMemoryError) : status_i,
                              FormatVersion};
        default: head_data = {80'b0, fails ? lost_at_q[47:0] : info_i};
      endcase
    end
  end

  assign entry_o = state_q == StateWrite;

  // ---------------------------------------------------------------- what was read
  logic [127:0] buf_beat;

  assign buf_beat     = buf_mem[state_q == StateLoad ? word_q[5:1] : beat_q];
  assign head_have_o  = state_q == StateHead;
  assign head_err_o   = err_q;
  assign rec_have_o   = state_q == StateRec && !save_valid_i;
  assign rec_err_o    = err_q;
  assign rec_o        = buf_beat;
  assign head_rsp_o   = mem_rsp_valid_i && then_q == StateHead;
  assign head_beat_o  = mem_rsp_i.tag[2:0];
  assign head_data_o  = mem_rsp_i.data;

  assign load_valid_o = state_q == StateLoad;
  assign load_word_o  = word_q;
  assign load_data_o  = word_q[0] ? buf_beat[127:64] : buf_beat[63:0];

  // ---------------------------------------------------------------- units
  logic wr_free;
  assign wr_free         = !wr_valid_q || mem_req_ready_i;
  assign unit_rd_valid_o = state_q == StateWarp && !data_q && wr_free && beat_q != RecordBeats;
  assign unit_beat_o     = beat_q;
  assign unit_take_o     = state_q == StateWarp && !data_q && beat_q == RecordBeats;

  // ---------------------------------------------------------------- memory
  assign mem_req_valid_o = wr_valid_q || state_q == StateRead;

  always_comb begin
    mem_req_o = '{op: MemWrite, cas32: 1'b0, addr: wr_addr_q, strb: '1, data: wr_data_q, tag: 8'h80};
    if (!wr_valid_q) begin
      mem_req_o.op   = MemRead;
      mem_req_o.addr = from_q + PaW'({beat_q, 4'b0});
      mem_req_o.strb = '0;
      mem_req_o.tag  = {3'b100, beat_q};
    end
  end

  logic read_out, arrived, write_beat;
  assign read_out   = state_q == StateRead && !wr_valid_q && mem_req_ready_i;
  assign arrived    = state_q == StateWait && mem_rsp_valid_i && left_q == 5'd1;
  // A beat for the write register: of a warp, of a copied record, or of the header.
  assign write_beat = data_q || ((state_q == StateCopy || state_q == StateWrite) && wr_free);
  assign rec_ack_o  = state_q == StateIdle && !save_valid_i && !head_valid_i && rec_valid_i;
  // The header's last beat has been accepted.
  assign save_done_o = state_q == StateWrite && beat_q == HeadBeats && wr_valid_q && mem_req_ready_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q    <= StateIdle;
      then_q     <= StateIdle;
      beat_q     <= '0;
      beats_q    <= '0;
      left_q     <= '0;
      err_q      <= 1'b0;
      word_q     <= '0;
      records_q  <= '0;
      copies_q   <= '0;
      lost_q     <= 1'b0;
      data_q     <= 1'b0;
      wr_valid_q <= 1'b0;
    end else if (state_q != StateIdle || save_valid_i || head_valid_i || rec_valid_i) begin
      data_q <= unit_rd_valid_o && unit_rd_ready_i;
      if (mem_req_ready_i) wr_valid_q <= 1'b0;
      if (mem_rsp_valid_i) begin
        left_q <= left_q - 5'd1;
        err_q  <= err_q || mem_rsp_i.err;
      end

      unique case (state_q)
        StateIdle: begin
          beat_q <= '0;
          err_q  <= 1'b0;
          if (save_valid_i) begin
            state_q   <= StateWarps;
            records_q <= '0;
            copies_q  <= left_i;
            lost_q    <= 1'b0;
            to_q      <= save_area_i + HeadBytes;
            from_q    <= left_at_i;
          end else if (head_valid_i) begin
            state_q <= StateRead;
            then_q  <= StateHead;
            beats_q <= HeadBeats;
            left_q  <= HeadBeats;
            from_q  <= head_area_i;
          end else begin
            state_q <= StateRead;
            then_q  <= StateRec;
            beats_q <= RecordBeats;
            left_q  <= RecordBeats;
            from_q  <= rec_at_i;
          end
        end
        StateRead: if (read_out) begin
          beat_q <= beat_q + 5'd1;
          if (beat_q + 5'd1 == beats_q) state_q <= StateWait;
        end
        StateWait: begin
          beat_q <= '0;
          if (left_q == '0 || arrived) state_q <= then_q;
        end
        StateHead: if (head_take_i) state_q <= StateIdle;
        StateRec: begin
          word_q <= FirstReg;
          if (rec_send_i)                        state_q <= StateLoad;
          else if (rec_drop_i || save_valid_i) state_q <= StateIdle;
        end
        StateLoad: if (load_ready_i) begin
          word_q <= word_q == LastWord ? '0 : word_q + 6'd1;
          if (word_q == FirstReg - 6'd1) state_q <= StateIdle;
        end
        StateWarps: begin
          beat_q <= '0;
          err_q  <= 1'b0;
          if (unit_any_i) begin
            state_q <= StateWarp;
          end else if (copies_q != '0) begin
            state_q <= StateRead;
            then_q  <= StateCopy;
            beats_q <= RecordBeats;
            left_q  <= RecordBeats;
          end else begin
            state_q <= StateWrite;
            to_q    <= save_area_i;
          end
        end
        StateWarp: begin
          if (data_q) beat_q <= beat_q + 5'd1;
          if (unit_take_o) begin
            state_q   <= StateWarps;
            records_q <= records_q + 8'd1;
            to_q      <= to_q + RecordBytes;
          end
        end
        StateCopy: begin
          if (wr_free) beat_q <= beat_q + 5'd1;
          if (err_q || (wr_free && beat_q == RecordBeats - 5'd1)) begin
            state_q  <= StateWarps;
            copies_q <= copies_q - 8'd1;
            from_q   <= from_q + RecordBytes;
            if (err_q) begin
              lost_q <= 1'b1;
              if (!lost_q) lost_at_q <= from_q;
            end else begin
              records_q <= records_q + 8'd1;
              to_q      <= to_q + RecordBytes;
            end
          end
        end
        StateWrite: begin
          if (wr_free && beat_q != HeadBeats) beat_q <= beat_q + 5'd1;
          if (save_done_o) state_q <= StateIdle;
        end
        default: state_q <= StateIdle;
      endcase

      if (write_beat && !(state_q == StateCopy && err_q)
          && !(state_q == StateWrite && beat_q == HeadBeats)) begin
        wr_valid_q <= 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (mem_rsp_valid_i) buf_mem[mem_rsp_i.tag[4:0]] <= mem_rsp_i.data;
    if (write_beat) begin
      wr_addr_q <= to_q + PaW'({state_q == StateWrite ? {2'b0, head_beat} : beat_q, 4'b0});
      wr_data_q <= data_q ? unit_data_i : state_q == StateCopy ? buf_beat : head_data;
    end
  end

  // Save's own time, without what memory and units take: at most 64 cycles for each record and the header.
  logic [15:0] own_q;
  logic        waits;
  assign waits = (mem_req_valid_o && !mem_req_ready_i) || state_q == StateWait
              || (unit_rd_valid_o && !unit_rd_ready_i);

  always_ff @(posedge clk_i) begin
    if (save_valid_i && (state_q == StateIdle || !waits)) own_q <= state_q == StateIdle ? '0 : own_q + 16'd1;
    if (rst_ni && state_q != StateIdle) begin
      assert (!mem_rsp_valid_i || left_q != '0) else $error("job_state: a response without request");
      assert (!(state_q >= StateWarps) || save_valid_i) else $error("job_state: a save was withdrawn");
      assert (!(state_q == StateWrite && own_q > {2'b0, records_q, 6'd0} + {2'b0, left_i, 6'd0} + 16'd64))
        else $error("job_state: a save took %0d cycles of its own", own_q);
    end
  end

  // Reserved bits.
  logic unused;
  assign unused = ^{mem_rsp_i.tag[7:5], lost_at_q[PaW-1:48]};

endmodule
