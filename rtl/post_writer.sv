// Reports the end of one piece of work to the host: writes its Fence or Completion, then raises its
// interrupt.
//
// Promise: everything accepted by a memory before req_valid_i is seen before the record; words 0 and
//   1 of a Completion go last, as one aligned 16-byte write; irq_o pulses in the cycle after that
//   write was accepted (at once if there is no record).
// Handshake: req_valid_i and its payload stay until req_ready_o, which is high for one cycle when
//   all is done. One record at a time; 3 cycles and more for each.
//
//   req_valid_i __/~~~~~~~~~~~~~\__
//   req_ready_o ______________/~\__
//   irq_o       ______________/~\__
module post_writer
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
(
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic [63:0] time_i,
  input  logic        req_valid_i,
  output logic        req_ready_o,
  input  logic        long_i,      // Completion (32 bytes), else Fence (16 bytes)
  input  logic        irq_i,
  input  logic [63:0] addr_i,      // system address, aligned to the record; 0: no record
  input  logic [63:0] value_i,
  input  logic [63:0] result_i,    // long_i: words 2 and 3
  input  logic [7:0]  status_i,
  input  logic [47:0] info_i,
  output logic        irq_o,
  output logic        mem_req_valid_o,
  input  logic        mem_req_ready_i,
  output mem_req_t    mem_req_o
);

  typedef enum logic [1:0] {
    PostIdle   = 2'd0,
    PostSecond = 2'd1,   // words 2 and 3
    PostFirst  = 2'd2,   // words 0 and 1
    PostDone   = 2'd3
  } post_e;

  post_e       state_q;
  logic [63:0] stamp_q;
  completion_t record;

  assign record = '{info: info_i, pad0: '0, status: status_i, result: result_i, stamp: stamp_q,
                    value: value_i};

  assign req_ready_o     = state_q == PostDone;
  assign irq_o           = state_q == PostDone && irq_i;
  assign mem_req_valid_o = state_q == PostSecond || state_q == PostFirst;

  always_comb begin
    mem_req_o      = '{op: MemWrite, cas32: 1'b0, addr: addr_i[PaW-1:0], strb: '1,
                       data: record[127:0], tag: '0};
    if (state_q == PostSecond) begin
      mem_req_o.addr[4] = 1'b1;
      mem_req_o.data    = record[255:128];
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= PostIdle;
      stamp_q <= '0;
    end else begin
      unique case (state_q)
        PostIdle: if (req_valid_i) begin
          stamp_q <= time_i;
          if (addr_i == '0) state_q <= PostDone;
          else              state_q <= long_i ? PostSecond : PostFirst;
        end
        PostSecond: if (mem_req_ready_i) state_q <= PostFirst;
        PostFirst:  if (mem_req_ready_i) state_q <= PostDone;
        default:    state_q <= PostIdle;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (state_q == PostIdle || req_valid_i) else $error("post_writer: request withdrawn");
    end
  end

  // Physical addresses have 56 bits.
  logic unused;
  assign unused = ^addr_i[63:PaW];

endmodule
