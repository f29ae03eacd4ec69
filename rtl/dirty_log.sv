// Dirty log: a record for each table entry whose D bit the walker has set, in a ring in system memory.
//
// Credits keep it exact: the walker takes one before it begins an update that may set D, and gives it
// back when the update had no effect. So there is always room for what was set, and a full ring or a
// slow link holds back further updates of logged contexts, and with them their stores, but nothing
// else: no walk of another kind, no event, no acknowledgement waits for the log.
//   take_i  only with credit_o; give_i or log_i later ends it. At most one of give_i and log_i a cycle.
// Order: the record is written after D was set. Who finds D set and no record will find the record.
// Records go out one at a time, in the order of log_i, as one 16-byte write each. prod_o counts a
//   record when its write was accepted; irq_o pulses then if at least half of the ring is unread.
// A ring of size 0 is off: credits are not needed and records that wait are dropped. Writing the
//   ring's size (ring_i.reset) restarts the index; records that wait go into the new ring.
// Throughput: a record in 2 cycles.
//
//   take_i    A
//   log_i           A
//   mem_req               A (ready)
//   prod_o                      +1 (with irq_o)
module dirty_log
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned Depth = 16     // a power of two, at least 2
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  output logic        credit_o,
  input  logic        take_i,
  input  logic        give_i,
  input  logic        log_i,
  input  ctx_t        log_ctx_i,
  input  vpn_t        log_vpn_i,      // first page that the entry covers
  input  page_size_e  log_size_i,
  input  ring_cfg_t   ring_i,
  output logic [31:0] prod_o,
  output logic [31:0] next_o,         // prod_o and the records that wait
  output logic        full_o,         // records wait for room in the ring
  output logic        mem_req_valid_o,
  input  logic        mem_req_ready_i,
  output mem_req_t    mem_req_o,
  output logic        irq_o,
  input  logic [31:0] time_i          // bits 31:0 of the device time
);

  localparam int unsigned CountW = $clog2(Depth) + 1;

  typedef struct packed {
    ctx_t        ctx;
    vpn_t        vpn;
    page_size_e  size;
    logic [31:0] stamp;
  } entry_t;

  typedef enum logic [0:0] {
    DwIdle  = 1'b0,
    DwWrite = 1'b1
  } dw_e;

  dw_e                dw_q;
  logic               void_q;        // the ring was reset while a record was being written
  dirty_record_t      rec_q;
  logic [PaW-2:4]     rec_addr_q;    // the ring is in system memory: bit 55 is clear
  logic [CountW-1:0]  credits_q;
  logic [31:0]        entries, slot_in_ring, unread;
  logic               on, room, start, drop, done;
  logic               head_valid, head_ready;
  entry_t             head;

  // ---------------------------------------------------------------- records that wait
  logic               fifo_ready;
  logic [CountW-1:0]  count;

  sync_fifo #(
    .Width($bits(entry_t)),
    .Depth(Depth)
  ) u_waiting (
    .clk_i,
    .rst_ni,
    .in_valid_i  (log_i),
    .in_ready_o  (fifo_ready),
    .in_i        ({log_ctx_i, log_vpn_i, log_size_i, time_i}),
    .out_valid_o (head_valid),
    .out_ready_i (head_ready),
    .out_o       (head),
    .count_o     (count)
  );

  assign credit_o = credits_q != '0;

  // ---------------------------------------------------------------- writer
  assign on           = ring_i.size_log2 != '0;
  assign entries      = 32'd1 << ring_i.size_log2;
  assign room         = on && prod_o - ring_i.index < entries;
  assign next_o       = prod_o + 32'(count) + 32'(dw_q == DwWrite && !void_q);
  assign full_o       = count != '0 && on && !room;
  assign slot_in_ring = prod_o & (entries - 32'd1);
  assign unread       = prod_o + 32'd1 - ring_i.index;
  assign start        = dw_q == DwIdle && head_valid && room && !ring_i.reset;
  assign drop         = dw_q == DwIdle && head_valid && !on;
  assign done         = dw_q == DwWrite && mem_req_ready_i;
  assign head_ready   = start || drop;

  assign mem_req_valid_o = dw_q == DwWrite;

  always_comb begin
    mem_req_o = '0;
    if (dw_q == DwWrite) begin
      mem_req_o.op   = MemWrite;
      mem_req_o.strb = '1;
      mem_req_o.addr = {1'b0, rec_addr_q, 4'd0};
      mem_req_o.data = rec_q;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      dw_q      <= DwIdle;
      void_q    <= 1'b0;
      prod_o    <= '0;
      irq_o     <= 1'b0;
      credits_q <= CountW'(Depth);
    end else begin
      irq_o     <= 1'b0;
      // A place is free again as soon as its record has left it.
      credits_q <= credits_q - CountW'(take_i) + CountW'(give_i) + CountW'(head_ready);
      if (start) begin
        dw_q   <= DwWrite;
        void_q <= 1'b0;
      end
      if (done) begin
        dw_q <= DwIdle;
        if (!void_q) begin
          prod_o <= prod_o + 32'd1;
          irq_o  <= unread >= entries / 2;
        end
      end
      if (ring_i.reset) begin
        prod_o <= '0;
        irq_o  <= 1'b0;
        void_q <= 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (start) begin
      rec_addr_q <= ring_i.base[PaW-2:4] + (PaW-5)'(slot_in_ring);
      rec_q      <= '{phase:   ~prod_o[{1'b0, ring_i.size_log2}],
                      version: FormatVersion[6:0],
                      order:   page_order(head.size),
                      ctx:     head.ctx,
                      stamp:   head.stamp,
                      addr:    {{16{head.vpn[VpnW-1]}}, head.vpn, 12'd0},
                      default: '0};
    end
  end

  // ---------------------------------------------------------------- checks
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!take_i || credit_o) else $error("an update without a credit");
      assert (!log_i || fifo_ready) else $error("a record without a place");
      assert (!(log_i && give_i)) else $error("an update that ended twice");
      assert (32'(credits_q) + 32'(count) <= Depth) else $error("credits were made");
      assert (!on || prod_o - ring_i.index <= entries) else $error("the dirty log has overflowed");
    end
  end
endmodule
