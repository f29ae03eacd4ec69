// Buffers the data of burst writes so that a write TLP, once begun, never waits for its data.
//
// Promise: ready_o rises when the whole burst is at hand, its last beat still waiting at the data
//   port. take_i (its turn in the order of requests) accepts that beat: the burst counts as written
//   from then on, and lock_o is high until its last TLP was sent. A burst is cut at multiples of MPS
//   (512 bytes at most). Short ones that are at hand while the one before them is sent need no turn of their own:
//   they are accepted under the same lock, ExtraBeats of data in all. Their last beats would keep back the
//   data of the bursts behind them otherwise.
// Caller of bwr: data beats follow in the order of the bursts, address-aligned; bytes of a beat
//   outside the burst are void.
// Throughput: a beat per cycle, bursts of whole aligned beats back to back.
// Compact: the form for an FPGA. Each piece is cut off in a cycle of its own before it goes.
module pcie_bwr
  import hmmu_pkg::*;
  import pcie_pkg::*;
#(
  parameter int unsigned BurstBytes = 512,  // of a burst at most, a power of two
  parameter bit          Compact    = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [15:0]      cfg_bdf_i,
  input  logic [2:0]       cfg_mps_i,
  input  logic             bwr_valid_i,
  output logic             bwr_ready_o,
  input  burst_t           bwr_i,
  input  logic             bwr_data_valid_i,
  output logic             bwr_data_ready_o,
  input  logic [DataW-1:0] bwr_data_i,
  output logic             ready_o,
  input  logic             take_i,
  output logic             lock_o,
  output logic             tlp_valid_o,
  input  logic             tlp_ready_i,
  output tlp_beat_t        tlp_o
);

  localparam int unsigned Depth      = BurstBytes / 8;   // beats of two bursts
  localparam int unsigned Known      = Compact ? 4 : 8;  // bursts known at a time
  localparam int unsigned ExtraBeats = 8;
  localparam int unsigned IdxW       = $clog2(Known);

  typedef struct packed {
    logic [54:0] addr;
    logic [9:0]  len;
  } head_t;

  // The known bursts in their order: those that are accepted (they are sent), then the one under fill.
  head_t           head_mem [Known];
  logic [IdxW-1:0] new_q, old_q;       // where the next one goes; the oldest one
  logic [IdxW:0]   known_q, accepted_q;
  logic [54:0]     addr_q;             // of what is still to send of the oldest
  logic [9:0]      len_q;
  logic [5:0]      fill_q;             // beats of the burst under fill still to come
  logic [3:0]      extra_q;            // its beats, or more than ExtraBeats
  logic [3:0]      added_q;            // beats of the bursts that were accepted under this lock
  head_t           come, fill_head, send_head;
  logic [IdxW-1:0] fill_idx, send_idx;
  logic [5:0]      fill_beats;
  logic            take_head, fill_load, send_load, lock, add, accept;
  logic            push, last_in, room, pop, buf_valid, pk_valid, pk_first, pk_last, sent, ends;
  logic [DataW-1:0] buf_data;
  logic [$clog2(Depth):0] count;
  chunk_t       c, c_d;
  logic         cut;                   // c is of addr_q and len_q

  function automatic logic [5:0] beats_of(logic [3:0] offset, logic [9:0] len);
    return 6'(({6'd0, offset} + len + 10'd15) >> 4);
  endfunction

  assign come        = '{addr: bwr_i.addr[54:0], len: bwr_i.len};
  assign bwr_ready_o = known_q != (IdxW + 1)'(Known);
  assign take_head   = bwr_valid_i && bwr_ready_o;

  // The last beat of a burst stays outside until its turn; room is no question then: nothing else is here.
  assign lock        = accepted_q != '0;
  assign last_in     = fill_q == 6'd1;
  assign add         = lock && {1'b0, added_q} + {1'b0, extra_q} <= 5'(ExtraBeats);
  assign bwr_data_ready_o = room && fill_q != '0 && (!last_in || take_i || add);
  assign push        = bwr_data_valid_i && bwr_data_ready_o;
  assign accept      = push && last_in;
  assign ready_o     = !lock && last_in && bwr_data_valid_i;
  assign lock_o      = lock;

  // What is filled and what is sent next: known already, or just come.
  assign fill_idx    = old_q + accepted_q[IdxW-1:0] + IdxW'(accept);
  assign fill_load   = accept ? known_q > accepted_q + 1'b1 || take_head : fill_q == '0 && take_head;
  assign fill_head   = accept && known_q > accepted_q + 1'b1 ? head_mem[fill_idx] : come;
  assign fill_beats  = beats_of(fill_head.addr[3:0], fill_head.len);
  assign send_idx    = old_q + 1'b1;
  assign send_load   = ends ? known_q > (IdxW + 1)'(1) || take_head : known_q == '0 && take_head;
  assign send_head   = ends && known_q > (IdxW + 1)'(1) ? head_mem[send_idx] : come;

  sync_fifo #(.Width(DataW), .Depth(Depth)) u_buf (
    .clk_i, .rst_ni,
    .in_valid_i (push),
    .in_ready_o (room),
    .in_i       (bwr_data_i),
    .out_valid_o(buf_valid),
    .out_ready_i(pop),
    .out_o      (buf_data),
    .count_o    (count)
  );

  assign c_d = next_chunk(addr_q[8:0], {3'd0, len_q}, piece_size(cfg_mps_i), 1'b0);

  if (Compact) begin : gen_cut
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) cut <= 1'b0;
      else         cut <= known_q != '0 && !sent;
    end
    always_ff @(posedge clk_i) c <= c_d;
  end else begin : gen_now
    assign cut = 1'b1;
    assign c   = c_d;
  end

  dw_pack u_pack (
    .clk_i, .rst_ni,
    .en_i       ((lock || take_i) && cut),
    .off_i      (addr_q[3:2]),
    .dws_i      (c.dws),
    .in_valid_i (buf_valid),
    .in_data_i  (buf_data),
    .in_pop_o   (pop),
    .out_valid_o(pk_valid),
    .out_ready_i(tlp_ready_i),
    .out_first_o(pk_first),
    .out_last_o (pk_last),
    .out_data_o (tlp_o.data)
  );

  assign tlp_valid_o = pk_valid;
  assign tlp_o.sop   = pk_first;
  assign tlp_o.eop   = pk_last;
  assign tlp_o.hdr   = make_req(1'b1, TypeMem, c.dws, cfg_bdf_i, 8'd0, c.last_be, c.first_be,
                                {9'd0, addr_q});
  assign sent        = pk_valid && tlp_ready_i && pk_last;
  assign ends        = sent && c.last;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      new_q      <= '0;
      old_q      <= '0;
      known_q    <= '0;
      accepted_q <= '0;
      fill_q     <= '0;
      added_q    <= '0;
    end else begin
      if (take_head)         new_q      <= new_q + 1'b1;
      if (ends)              old_q      <= old_q + 1'b1;
      if (take_head != ends) known_q    <= take_head ? known_q + 1'b1 : known_q - 1'b1;
      if (accept != ends)    accepted_q <= accept ? accepted_q + 1'b1 : accepted_q - 1'b1;
      if (fill_load) fill_q <= fill_beats;
      else if (push) fill_q <= fill_q - 6'd1;
      if (!lock)       added_q <= '0;
      else if (accept) added_q <= added_q + extra_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (take_head) head_mem[new_q] <= come;
    if (fill_load) extra_q <= fill_beats > 6'(ExtraBeats) ? 4'(ExtraBeats + 1) : fill_beats[3:0];
    if (send_load) begin
      addr_q <= send_head.addr;
      len_q  <= send_head.len;
    end else if (sent) begin
      addr_q <= addr_q + 55'(c.bytes);
      len_q  <= len_q - c.bytes;
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!take_i || (ready_o && room)) else $error("pcie_bwr: taken too early");
      if (bwr_valid_i) begin
        assert (bwr_i.len != '0 && bwr_i.len <= 10'(BurstBytes)) else $error("pcie_bwr: burst length");
        assert ({1'b0, bwr_i.addr[11:0]} + 13'(bwr_i.len) <= 13'd4096) else $error("pcie_bwr: burst crosses 4 KiB");
        assert (!bwr_i.addr[55]) else $error("pcie_bwr: burst to VRAM");
      end
    end
  end

  // Writes need no tag.
  logic unused;
  assign unused = ^{bwr_i.tag, bwr_i.addr[55], count};

endmodule
