// Buffers the data of burst writes so that a write TLP, once begun, never waits for its data.
//
// Promise: ready_o rises when the whole burst is at hand, its last beat still waiting at the data
//   port. take_i (its turn in the order of requests) accepts that beat: the burst counts as written
//   from then on, and lock_o is high until its last TLP was sent. A burst is cut at multiples of MPS
//   (512 bytes at most).
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

  localparam int unsigned Depth = BurstBytes / 8;   // beats of two bursts

  // Two bursts at most are known: the one that is sent and the one whose data comes.
  logic [54:0]  addr_q;                // of what is still to send
  logic [9:0]   len_q;
  logic         send_q;                // addr_q/len_q are valid
  logic         lock_q;
  logic [54:0]  next_addr_q;
  logic [9:0]   next_len_q;
  logic         next_q;
  logic [5:0]   fill_q;                // beats of the burst under fill still to come
  logic         fill_next_q;           // the burst under fill is the next one
  logic         fill_busy;
  logic         push, last_in, room, pop, buf_valid, pk_valid, pk_first, pk_last, sent, ends;
  logic [DataW-1:0] buf_data;
  logic [$clog2(Depth):0] count;
  chunk_t       c, c_d;
  logic         cut;                   // c is of addr_q and len_q

  function automatic logic [5:0] beats_of(logic [3:0] offset, logic [9:0] len);
    return 6'(({6'd0, offset} + len + 10'd15) >> 4);
  endfunction

  assign bwr_ready_o = !send_q || !next_q;
  assign fill_busy   = fill_q != '0;
  assign last_in     = fill_q == 6'd1;
  assign bwr_data_ready_o = room && fill_busy && (!last_in || take_i || (lock_q && !fill_next_q));
  assign push        = bwr_data_valid_i && bwr_data_ready_o;
  assign ready_o     = send_q && !lock_q && last_in && !fill_next_q && bwr_data_valid_i;
  assign lock_o      = lock_q;

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
      else         cut <= send_q && !sent;
    end
    always_ff @(posedge clk_i) c <= c_d;
  end else begin : gen_now
    assign cut = 1'b1;
    assign c   = c_d;
  end

  dw_pack u_pack (
    .clk_i, .rst_ni,
    .en_i       ((lock_q || take_i) && cut),
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
      addr_q      <= '0;
      len_q       <= '0;
      send_q      <= 1'b0;
      lock_q      <= 1'b0;
      next_addr_q <= '0;
      next_len_q  <= '0;
      next_q      <= 1'b0;
      fill_q      <= '0;
      fill_next_q <= 1'b0;
    end else begin
      if (take_i) lock_q <= 1'b1;
      if (push)   fill_q <= fill_q - 6'd1;
      if (sent) begin
        addr_q <= addr_q + 55'(c.bytes);
        len_q  <= len_q - c.bytes;
      end
      if (ends) begin
        lock_q      <= 1'b0;
        send_q      <= next_q;
        addr_q      <= next_addr_q;
        len_q       <= next_len_q;
        next_q      <= 1'b0;
        fill_next_q <= 1'b0;
      end
      if (bwr_valid_i && bwr_ready_o) begin
        if (!send_q || (ends && !next_q)) begin
          send_q <= 1'b1;
          addr_q <= bwr_i.addr[54:0];
          len_q  <= bwr_i.len;
        end else begin
          next_q      <= 1'b1;
          next_addr_q <= bwr_i.addr[54:0];
          next_len_q  <= bwr_i.len;
        end
      end
      // The fill goes over to the next burst when the last beat of the one before is in.
      if (bwr_valid_i && bwr_ready_o && (!send_q || !fill_busy || (push && last_in))) begin
        fill_q      <= beats_of(bwr_i.addr[3:0], bwr_i.len);
        fill_next_q <= send_q && !ends;
      end else if (push && last_in && next_q) begin
        fill_q      <= beats_of(next_addr_q[3:0], next_len_q);
        fill_next_q <= !ends;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!take_i || ready_o) else $error("pcie_bwr: taken too early");
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
