// Front of the device memory: orders the accesses of the fabric and does its atomics.
//
// Promise: accesses take effect in the order of their acceptance, and answer in that order. A
//   compare-and-swap is read, compare, write, and an AMO read, compute, write; from its acceptance until
//   its write was accepted outside, accesses to the same 16 bytes wait, all others go on. Swaps of
//   them can be under way at once; swap_room_o tells that one more would be accepted.
//   A read or swap beyond vram_size_i answers err, a write there is dropped (err_o pulses for each).
// Throughput: one access per cycle, Swaps swaps per round trip; latency: none added. MaxReads answers may
//   be outstanding.
// Compact: the form for an FPGA. An AMO computes in a cycle of its own.
// External port: byte address, 16-byte aligned; requests apply in the order of acceptance, read data
//   comes back in order and waits for vram_rsp_ready_o.
module vram_ctrl
  import hmmu_pkg::*;
  import cu_pkg::amo_e;
#(
  parameter int unsigned MaxReads = 32,  // a power of two
  parameter int unsigned Swaps    = 4,   // at least 2
  parameter bit          Compact  = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [39:0]      vram_size_i,      // bytes
  input  logic             req_valid_i,
  output logic             req_ready_o,
  input  mem_req_t         req_i,
  input  logic [3:0]       req_client_i,
  output logic             swap_room_o,      // falls only when a swap was accepted
  output logic             rsp_valid_o,
  input  logic             rsp_ready_i,
  output mem_rsp_t         rsp_o,
  output logic [3:0]       rsp_client_o,
  output logic             vram_req_valid_o,
  input  logic             vram_req_ready_i,
  output logic             vram_req_write_o,
  output logic [39:0]      vram_req_addr_o,
  output logic [DataW-1:0] vram_req_wdata_o,
  output logic [StrbW-1:0] vram_req_wstrb_o,
  input  logic             vram_rsp_valid_i,
  output logic             vram_rsp_ready_o,
  input  logic [DataW-1:0] vram_rsp_rdata_i,
  output logic             err_o,
  output logic [3:0]       err_client_o,     // with err_o
  output pa_t              err_addr_o,
  output logic             cnt_vram_reads_o,
  output logic             cnt_vram_writes_o
);

  localparam int unsigned SlotW = $clog2(Swaps);

  typedef enum logic [1:0] {
    CasIdle  = 2'd0,
    CasRead  = 2'd1,   // its read is outside
    CasWrite = 2'd2,   // its write waits to be accepted
    CasOp    = 2'd3    // Compact: an AMO computes
  } cas_e;

  // What an answer needs.
  typedef struct packed {
    logic             err;
    logic             cas;
    logic [SlotW-1:0] slot;     // of a swap
    logic [3:0]       client;
    logic [TagW-1:0]  tag;
  } meta_t;

  cas_e             state_q [Swaps];
  logic [39:2]      addr_q  [Swaps];
  logic             cas32_q [Swaps];
  logic             amo_q   [Swaps];
  amo_e             op_q    [Swaps];
  logic [63:0]      old_q   [Swaps];     // expected value, or the operand
  logic [63:0]      new_q   [Swaps];
  logic             is_write, is_swap, in_range, blocked, go, accept, meta_room, meta_valid, meta_pop, equal;
  logic             room, put;
  logic [SlotW-1:0] free_slot, put_slot;
  logic [39:2]      put_addr;
  meta_t            meta;
  logic [63:0]      old;
  logic [$clog2(MaxReads):0] count;

  assign is_write    = req_i.op == MemWrite;
  assign is_swap     = req_i.op == MemCas || req_i.op == MemRmw;
  assign in_range    = req_i.addr[54:40] == '0 && req_i.addr[39:4] < vram_size_i[39:4];
  assign swap_room_o = room;

  always_comb begin
    room      = 1'b0;
    free_slot = '0;
    put       = 1'b0;
    put_slot  = '0;
    for (int i = int'(Swaps) - 1; i >= 0; i--) begin
      if (state_q[i] == CasIdle) begin
        room      = 1'b1;
        free_slot = SlotW'(i);
      end
      if (state_q[i] == CasWrite) begin
        put      = 1'b1;
        put_slot = SlotW'(i);
      end
    end
  end

  always_comb begin
    blocked = is_swap && !room;
    for (int unsigned i = 0; i < Swaps; i++) begin
      if (state_q[i] != CasIdle && req_i.addr[39:4] == addr_q[i][39:4]) blocked = 1'b1;
    end
  end

  // The write of a swap goes before everything else.
  assign go       = !blocked && !put && (is_write || meta_room);
  assign accept   = req_valid_i && req_ready_o;
  assign put_addr = addr_q[put_slot];

  assign req_ready_o      = go && (!in_range || vram_req_ready_i);
  assign vram_req_valid_o = put || (req_valid_i && go && in_range);
  assign vram_req_write_o = put || is_write;
  assign vram_req_addr_o  = {put ? put_addr[39:4] : req_i.addr[39:4], 4'd0};
  assign vram_req_wdata_o = !put ? req_i.data
                          : cas32_q[put_slot] ? {4{new_q[put_slot][31:0]}} : {2{new_q[put_slot]}};
  assign vram_req_wstrb_o = !put ? req_i.strb
                          : (cas32_q[put_slot] ? 16'h000f : 16'h00ff) << {put_addr[3:2], 2'd0};

  sync_fifo #(.Width($bits(meta_t)), .Depth(MaxReads)) u_meta (
    .clk_i, .rst_ni,
    .in_valid_i (accept && !is_write),
    .in_ready_o (meta_room),
    .in_i       ({!in_range, is_swap, free_slot, req_client_i, req_i.tag}),
    .out_valid_o(meta_valid),
    .out_ready_i(meta_pop),
    .out_o      (meta),
    .count_o    (count)
  );

  always_comb begin
    old = addr_q[meta.slot][3] ? vram_rsp_rdata_i[127:64] : vram_rsp_rdata_i[63:0];
    if (cas32_q[meta.slot]) old = {32'd0, addr_q[meta.slot][2] ? old[63:32] : old[31:0]};
  end
  assign equal = old == old_q[meta.slot];

  logic [63:0]      amo_new;
  logic [SlotW-1:0] amo_slot;

  always_comb begin
    amo_slot = meta.slot;
    if (Compact) begin
      for (int i = int'(Swaps) - 1; i >= 0; i--) if (state_q[i] == CasOp) amo_slot = SlotW'(i);
    end
  end

  cu_amo u_amo (
    .op_i      (op_q[amo_slot]),
    .word_i    (cas32_q[amo_slot]),
    .old_i     (Compact ? new_q[amo_slot] : old),
    .operand_i (old_q[amo_slot]),
    .new_o     (amo_new)
  );

  assign rsp_valid_o      = meta_valid && (meta.err || vram_rsp_valid_i);
  assign rsp_client_o     = meta.client;
  assign rsp_o            = '{tag: meta.tag, err: meta.err,
                              data: meta.cas ? {64'd0, old} : vram_rsp_rdata_i};
  assign meta_pop         = rsp_valid_o && rsp_ready_i;
  assign vram_rsp_ready_o = meta_valid && !meta.err && rsp_ready_i;

  assign err_o             = accept && !in_range;
  assign err_client_o      = req_client_i;
  assign err_addr_o        = req_i.addr;
  assign cnt_vram_reads_o  = vram_req_valid_o && vram_req_ready_i && !vram_req_write_o;
  assign cnt_vram_writes_o = vram_req_valid_o && vram_req_ready_i && vram_req_write_o;

  for (genvar g = 0; g < int'(Swaps); g++) begin : g_swap
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        state_q[g] <= CasIdle;
      end else begin
        unique case (state_q[g])
          CasIdle: if (accept && is_swap && in_range && free_slot == SlotW'(g)) begin
            state_q[g] <= CasRead;
          end
          CasRead: if (meta_pop && meta.cas && !meta.err && meta.slot == SlotW'(g)) begin
            state_q[g] <= Compact && amo_q[g] ? CasOp : equal || amo_q[g] ? CasWrite : CasIdle;
          end
          CasOp: state_q[g] <= CasWrite;
          default: if (vram_req_ready_i && put_slot == SlotW'(g)) state_q[g] <= CasIdle;
        endcase
      end
    end

    always_ff @(posedge clk_i) begin
      if (state_q[g] == CasIdle && accept && is_swap) begin
        addr_q[g]  <= req_i.addr[39:2];
        cas32_q[g] <= req_i.cas32;
        amo_q[g]   <= req_i.op == MemRmw;
        op_q[g]    <= amo_e'(req_i.strb[4:0]);
        old_q[g]   <= req_i.cas32 ? {32'd0, req_i.data[31:0]} : req_i.data[63:0];
        new_q[g]   <= req_i.data[127:64];
      end else if (state_q[g] == CasRead && amo_q[g]) begin
        if (meta_pop && meta.cas && meta.slot == SlotW'(g)) new_q[g] <= Compact ? old : amo_new;
      end else if (Compact && state_q[g] == CasOp) begin
        new_q[g] <= amo_new;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!vram_rsp_valid_i || meta_valid) else $error("vram_ctrl: read data that nobody asked for");
      assert (!(req_valid_i && is_swap) || (req_i.addr[1:0] == '0 && (req_i.cas32 || !req_i.addr[2])))
        else $error("vram_ctrl: misaligned swap");
      assert (!req_valid_i || req_i.addr[55]) else $error("vram_ctrl: system address");
    end
  end

  // The size is a multiple of 16 bytes.
  logic unused;
  assign unused = ^{count, vram_size_i[3:0]};

endmodule
