// What happens in an MMU, for the event log of a simulation. Bound into mmu by hmmu_sim_top: not part of
// the device, changes nothing, not for synthesis.
//
// Each cycle has at most one step of each kind: bit k of steps_q says that a step of kind k was made
// in the cycle before, step_q[k] (step_t) what it was about; it stays until the next step of its kind.
module mmu_probe
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
(
  input  logic          clk_i,
  input  logic          rst_ni,
  // verilator lint_off UNUSEDSIGNAL
  // Steps keep only a part of what these say.
  input  mmu_event_t    event_i,
  // A miss of an L1 TLB, at the L2 TLB.
  input  logic          miss_valid_i,
  input  miss_t         miss_i,
  // The L2 TLB has it.
  input  logic          hit_valid_i,
  input  xlat_t         hit_i,
  // It does not: the walker takes it.
  input  logic          walk_valid_i,
  input  miss_t         walk_i,
  // A walk's read or compare-and-swap of a table entry, and its answer.
  input  logic          read_valid_i,
  input  mem_op_e       read_op_i,
  input  miss_t         read_i,
  input  logic [1:0]    read_level_i,
  input  logic          data_valid_i,
  input  miss_t         data_i,
  input  logic [1:0]    data_level_i,
  // A walk that ended in a fault.
  input  logic          fault_valid_i,
  input  miss_t         fault_i,
  input  fault_reason_e fault_reason_i,
  // A record of the fault ring, its last word accepted by the memory port.
  input  logic          record_valid_i,
  input  fault_record_t record_i
  // verilator lint_on UNUSEDSIGNAL
);

  typedef struct packed {
    logic [7:0]  ctx;
    logic [7:0]  access;
    logic [7:0]  client;
    logic [7:0]  code;     // Event: its kind (a Fill has its size in access, and what it allows in client); Hit: size of the page; Read: level, bit 2 set for a compare-and-swap;
                           // Data: level; Fault: reason
    logic [15:0] pad;
    logic [39:0] hi;       // last page; Record: its number
    logic [39:0] lo;       // page, the first one
  } step_t;

  logic [7:0]  steps_q;
  step_t [7:0] step_q;

  typedef enum logic [2:0] {
    StepEvent  = 3'd0,
    StepMiss   = 3'd1,
    StepHit    = 3'd2,
    StepWalk   = 3'd3,
    StepRead   = 3'd4,
    StepData   = 3'd5,
    StepFault  = 3'd6,
    StepRecord = 3'd7
  } step_e;

  function automatic step_t about(miss_t miss, logic [7:0] code);
    return '{ctx: 8'(miss.ctx), access: 8'(miss.access), client: 8'(miss.client), code: code, pad: '0,
             hi: 40'(miss.vpn), lo: 40'(miss.vpn)};
  endfunction

  step_t event_step, hit_step, record_step;

  always_comb begin
    event_step      = '0;
    event_step.ctx    = 8'(event_i.ctx);
    event_step.access = 8'(event_i.access);
    if (event_i.ev == EvFill) begin
      event_step.access = 8'(event_i.xlat.size);
      event_step.client = {3'd0, event_i.xlat.atomic, event_i.xlat.d, event_i.xlat.x, event_i.xlat.w, event_i.xlat.r};
    end
    event_step.code   = 8'(event_i.ev);
    event_step.lo     = 40'(event_i.ev == EvFill ? event_i.xlat.vpn : event_i.lo);
    event_step.hi     = 40'(event_i.ev == EvFill ? event_i.xlat.vpn : event_i.hi);
    hit_step      = '0;
    hit_step.ctx  = 8'(hit_i.ctx);
    hit_step.code = 8'(hit_i.size);
    hit_step.lo   = 40'(hit_i.vpn);
    hit_step.hi   = 40'(hit_i.vpn);
    record_step        = '0;
    record_step.ctx    = 8'(record_i.ctx);
    record_step.access = 8'(record_i.access);
    record_step.client = 8'(record_i.client);
    record_step.code   = 8'(record_i.reason);
    record_step.lo     = 40'(record_i.addr[47:12]);
    record_step.hi     = 40'(record_i.id);
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      steps_q <= '0;
      step_q  <= '0;
    end else begin
      steps_q <= {record_valid_i, fault_valid_i, data_valid_i, read_valid_i, walk_valid_i, hit_valid_i, miss_valid_i,
                  event_i.ev != EvNone};
      if (event_i.ev != EvNone) step_q[StepEvent]  <= event_step;
      if (miss_valid_i)         step_q[StepMiss]   <= about(miss_i, '0);
      if (hit_valid_i)          step_q[StepHit]    <= hit_step;
      if (walk_valid_i)         step_q[StepWalk]   <= about(walk_i, '0);
      if (read_valid_i)         step_q[StepRead]   <= about(read_i, {5'd0, read_op_i != MemRead, read_level_i});
      if (data_valid_i)         step_q[StepData]   <= about(data_i, 8'(data_level_i));
      if (fault_valid_i)        step_q[StepFault]  <= about(fault_i, 8'(fault_reason_i));
      if (record_valid_i)       step_q[StepRecord] <= record_step;
    end
  end
endmodule
