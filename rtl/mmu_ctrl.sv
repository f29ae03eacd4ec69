// Control of the MMU: context table, commands, and the one event bus.
//
// Commands come one at a time; cmd_done_o pulses when a command has taken effect.
//   CtxSet      writes the context table and drops whatever is cached of the context.
//   Invalidate  one event; done when the L2 is swept, no walk that it caught has a memory operation
//               outstanding, and every client has drained.
//   Replay      one event; done at once.
//   Cancel      one event; done at once.
//   Stop        as Invalidate over everything of the context, which becomes Off in the same cycle.
// Nothing here waits for a walk to end, for a fault to be served or for room in the fault ring.
//
// Events: a command's event has the bus in the cycle after its acceptance; then L2 hits, then the
// walker. One event a cycle, in one order for all. A walker's Fill enters the L2 in the same cycle.
//
// Compact: the form for an FPGA. The bus is a register. A Fill (or a walk's Cancel) is on it a cycle after it was
// chosen, and then enters the L2. None is chosen in the cycle before a command's event, nor in that of the event itself, which the
// L2 and the walker heed in the next one.
//
//   cmd       A
//   state     idle   event  drain ...........  idle
//   event            Inv
//   cmd_done                            done
module mmu_ctrl
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned NumClients = 3,
  // Most cycles from a command's acceptance to its end, checked in simulation; 0: no check.
  parameter int unsigned InvBound   = 200000,
  parameter bit          Compact    = 1'b0
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  cmd_valid_i,
  output logic                  cmd_ready_o,
  input  mmu_cmd_t              cmd_i,
  output logic                  cmd_done_o,
  output ctx_cfg_t [NumCtx-1:0] ctx_cfg_o,
  // Event sources.
  input  logic                  hit_valid_i,
  output logic                  hit_ready_o,
  input  xlat_t                 hit_i,
  input  logic                  walk_valid_i,
  output logic                  walk_ready_o,
  input  mmu_event_t            walk_i,
  input  logic                  fill_ready_i,   // the L2 can take a fill
  output logic                  fill_valid_o,
  output mmu_event_t            event_o,
  // What a command waits for.
  input  logic                  sweep_busy_i,
  input  logic                  walks_quiet_i,
  input  logic [NumClients-1:0] drain_done_i,
  // Counters.
  output logic                  cnt_replay_o,
  output logic                  cnt_cancel_o,
  output logic                  inv_done_o,     // an Invalidate is done ...
  output logic [31:0]           inv_cycles_o    // ... after so many cycles from its acceptance
);

  typedef enum logic [1:0] {
    CmIdle  = 2'd0,
    CmEvent = 2'd1,
    CmDrain = 2'd2
  } cm_e;

  cm_e                   cm_q;
  mmu_cmd_t              cmd_q;
  logic                  settled_q;   // clients have had a cycle to lower drain_done
  logic [31:0]           cycles_q;
  ctx_cfg_t [NumCtx-1:0] ctx_q;
  logic                  drains, done;

  assign cmd_ready_o = cm_q == CmIdle;
  assign ctx_cfg_o   = ctx_q;

  // ---------------------------------------------------------------- event bus
  mmu_event_t cmd_event;
  // verilator lint_off UNUSEDSIGNAL
  // The context's settings are no part of the event.
  mmu_cmd_t   cmd;             // Compact: as it comes in
  // verilator lint_on UNUSEDSIGNAL

  assign cmd    = Compact ? cmd_i : cmd_q;
  assign drains = cmd_q.op == CtrlOpInvalidate || cmd_q.op == CtrlOpCtxSet || cmd_q.op == CtrlOpStop;

  always_comb begin
    cmd_event = '0;
    if (cm_q == (Compact ? CmIdle : CmEvent)) begin
      cmd_event.ctx    = cmd.ctx;
      cmd_event.lo     = cmd.lo;
      cmd_event.hi     = cmd.hi;
      cmd_event.access = cmd.access;
      cmd_event.code   = cmd.code;
      unique case (cmd.op)
        CtrlOpInvalidate: cmd_event.ev = EvInvalidate;
        CtrlOpCtxSet: begin
          cmd_event.ev = EvInvalidate;
          cmd_event.lo = '0;
          cmd_event.hi = '1;
        end
        CtrlOpStop: begin
          cmd_event.ev = EvStop;
          cmd_event.lo = '0;
          cmd_event.hi = '1;
        end
        CtrlOpReplay: cmd_event.ev = EvRetry;
        CtrlOpCancel: begin
          cmd_event.ev = EvCancel;
          cmd_event.hi = cmd.lo;
        end
        default: cmd_event.ev = EvNone;
      endcase
    end
  end

  if (Compact) begin : gen_late
    logic       begins;      // a command, whose event is in the next cycle
    logic       open;        // no event of a command in this cycle or the next
    logic       fill_q;      // the event is a walk's Fill
    mmu_ev_e    ev_q;
    mmu_event_t event_q, event_d;

    assign begins       = cm_q == CmIdle && cmd_valid_i;
    assign open         = cm_q != CmEvent && !begins;
    assign hit_ready_o  = open;
    assign walk_ready_o = open && !hit_valid_i && (walk_i.ev != EvFill || (fill_ready_i && !fill_q));
    assign fill_valid_o = fill_q;

    always_comb begin
      event_o    = event_q;
      event_o.ev = ev_q;
      event_d    = walk_i;
      if (begins) begin
        event_d = cmd_event;
      end else if (hit_valid_i) begin
        event_d.ctx  = hit_i.ctx;
        event_d.lo   = hit_i.vpn;
        event_d.hi   = hit_i.vpn;
        event_d.xlat = hit_i;
      end
    end

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        ev_q   <= EvNone;
        fill_q <= 1'b0;
      end else begin
        if (begins)                            ev_q <= cmd_event.ev;
        else if (open && hit_valid_i)          ev_q <= EvFill;
        else if (walk_valid_i && walk_ready_o) ev_q <= walk_i.ev;
        else                                   ev_q <= EvNone;
        fill_q <= walk_valid_i && walk_ready_o && walk_i.ev == EvFill;
      end
    end

    always_ff @(posedge clk_i) event_q <= event_d;
  end else begin : gen_now
    always_comb begin
      event_o      = '0;
      hit_ready_o  = 1'b0;
      walk_ready_o = 1'b0;
      fill_valid_o = 1'b0;
      if (cm_q == CmEvent) begin
        event_o = cmd_event;
      end else if (hit_valid_i) begin
        hit_ready_o  = 1'b1;
        event_o.ev   = EvFill;
        event_o.ctx  = hit_i.ctx;
        event_o.lo   = hit_i.vpn;
        event_o.hi   = hit_i.vpn;
        event_o.xlat = hit_i;
      end else if (walk_valid_i && (walk_i.ev != EvFill || fill_ready_i)) begin
        walk_ready_o = 1'b1;
        fill_valid_o = walk_i.ev == EvFill;
        event_o      = walk_i;
      end
    end
  end

  // ---------------------------------------------------------------- commands
  assign done = (cm_q == CmEvent && !drains)
             || (cm_q == CmDrain && settled_q && !sweep_busy_i && walks_quiet_i && (&drain_done_i));

  assign cmd_done_o   = done;
  assign cnt_replay_o = cm_q == CmEvent && cmd_q.op == CtrlOpReplay;
  assign cnt_cancel_o = cm_q == CmEvent && cmd_q.op == CtrlOpCancel;
  assign inv_done_o   = done && cmd_q.op == CtrlOpInvalidate;
  assign inv_cycles_o = cycles_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      cm_q      <= CmIdle;
      settled_q <= 1'b0;
      cycles_q  <= '0;
      for (int unsigned c = 0; c < NumCtx; c++) ctx_q[c] <= '{log: 1'b0, mode: CtxModeOff, root: '0};
    end else begin
      cycles_q <= cycles_q + 32'd1;
      unique case (cm_q)
        CmIdle: if (cmd_valid_i) begin
          cm_q     <= CmEvent;
          cycles_q <= 32'd1;
        end
        CmEvent: begin
          cm_q      <= drains ? CmDrain : CmIdle;
          settled_q <= 1'b0;
          if (cmd_q.op == CtrlOpCtxSet) ctx_q[cmd_q.ctx]      <= cmd_q.cfg;
          if (cmd_q.op == CtrlOpStop)   ctx_q[cmd_q.ctx].mode <= CtxModeOff;
        end
        CmDrain: begin
          settled_q <= 1'b1;
          if (done) cm_q <= CmIdle;
        end
        default: cm_q <= CmIdle;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (cm_q == CmIdle && cmd_valid_i) cmd_q <= cmd_i;
  end

  // ---------------------------------------------------------------- checks
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (InvBound == 0 || cm_q == CmIdle || cycles_q <= InvBound)
        else $error("an MMU command has passed its bound");
      assert (!(hit_valid_i && hit_ready_o && walk_valid_i && walk_ready_o)) else $error("two events in one cycle");
    end
  end
endmodule
