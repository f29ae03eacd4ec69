// The memory fabric's form for an FPGA: no path leads through it, and it takes fewer LUTs. Ports and promise are
// those of mem_fabric, but for what registers change:
//
//   - Who may send to a target was chosen in the cycle before (fabric_turn), so that a client's ready comes from
//     registers and from its own request. It may be high while the client wants nothing.
//   - Accepted requests go through two places before each target. The order in which they are accepted stays the
//     one that everybody sees: each target takes them in that order, and nothing else reaches it but bursts,
//     which wait for no request.
//   - A swap is accepted only while none is on its way to VRAM: the room (vram_swap_room_i) is its own.
//   - Responses come a cycle later, one a cycle for all clients: a VRAM response waits for every link response.
//
// Latency: two cycles for a request, one if its client has the turn; one for a response.
module mem_fabric_compact
  import hmmu_pkg::*;
#(
  parameter int unsigned NumClients = 10
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  // Clients.
  input  logic     [NumClients-1:0]  req_valid_i,
  output logic     [NumClients-1:0]  req_ready_o,
  input  mem_req_t [NumClients-1:0]  req_i,
  output logic     [NumClients-1:0]  rsp_valid_o,
  output mem_rsp_t [NumClients-1:0]  rsp_o,
  // VRAM.
  output logic                       vram_req_valid_o,
  input  logic                       vram_req_ready_i,
  input  logic                       vram_swap_room_i,
  output mem_req_t                   vram_req_o,
  output logic     [3:0]             vram_req_client_o,
  input  logic                       vram_rsp_valid_i,
  output logic                       vram_rsp_ready_o,
  input  mem_rsp_t                   vram_rsp_i,
  input  logic     [3:0]             vram_rsp_client_i,
  // Link.
  output logic                       sys_req_valid_o,
  input  logic                       sys_req_ready_i,
  output mem_req_t                   sys_req_o,
  output logic     [3:0]             sys_req_client_o,
  input  logic                       sys_rsp_valid_i,
  input  mem_rsp_t                   sys_rsp_i,
  input  logic     [3:0]             sys_rsp_client_i
);

  localparam int unsigned ReqW = $bits(mem_req_t) + 4;

  typedef logic [NumClients-1:0] clients_t;

  function automatic logic is_atomic(mem_op_e op);
    return op == MemCas || op == MemRmw;
  endfunction

  // ---------------------------------------------------------------- who may send
  clients_t is_vram, is_swap, vram_may, vram_want, sys_want, swap_turn, vram_turn, sys_turn;
  logic     vram_in, vram_room, sys_in, sys_room, swap_in, swap_ok;
  logic     swap_q;        // one is on its way to VRAM

  always_comb begin
    for (int unsigned i = 0; i < NumClients; i++) begin
      is_vram[i] = req_i[i].addr[PaW-1];
      is_swap[i] = is_vram[i] && is_atomic(req_i[i].op);
    end
  end

  // Swaps have turns of their own: one without room holds up other swaps and nothing else.
  assign swap_ok   = vram_swap_room_i && !swap_q;
  assign vram_may  = is_vram & (~is_swap | (swap_turn & {NumClients{swap_ok}}));
  assign vram_want = req_valid_i & vram_may;
  assign sys_want  = req_valid_i & ~is_vram;
  assign swap_in   = vram_room && (vram_turn & vram_want & is_swap) != '0;

  fabric_turn #(.NumClients(NumClients)) u_swap (
    .clk_i, .rst_ni, .want_i (req_valid_i & is_swap), .go_i (swap_in), .turn_o (swap_turn)
  );
  fabric_turn #(.NumClients(NumClients)) u_vram (
    .clk_i, .rst_ni, .want_i (vram_want), .go_i (vram_room), .turn_o (vram_turn)
  );
  fabric_turn #(.NumClients(NumClients)) u_sys (
    .clk_i, .rst_ni, .want_i (sys_want), .go_i (sys_room), .turn_o (sys_turn)
  );

  assign vram_in     = (vram_turn & vram_want) != '0;
  assign sys_in      = (sys_turn & sys_want) != '0;
  assign req_ready_o = (vram_turn & vram_may & {NumClients{vram_room}})
                     | (sys_turn & ~is_vram & {NumClients{sys_room}});

  // ---------------------------------------------------------------- requests
  logic [ReqW-1:0] vram_req, sys_req;
  logic [1:0]      vram_count, sys_count;

  always_comb begin
    vram_req = '0;
    sys_req  = '0;
    for (int unsigned i = 0; i < NumClients; i++) begin
      vram_req |= {4'(i), req_i[i]} & {ReqW{vram_turn[i]}};
      sys_req  |= {4'(i), req_i[i]} & {ReqW{sys_turn[i]}};
    end
  end

  sync_fifo #(.Width(ReqW), .Depth(2)) u_vram_req (
    .clk_i, .rst_ni,
    .in_valid_i (vram_in), .in_ready_o (vram_room), .in_i (vram_req),
    .out_valid_o (vram_req_valid_o), .out_ready_i (vram_req_ready_i),
    .out_o ({vram_req_client_o, vram_req_o}), .count_o (vram_count)
  );
  sync_fifo #(.Width(ReqW), .Depth(2)) u_sys_req (
    .clk_i, .rst_ni,
    .in_valid_i (sys_in), .in_ready_o (sys_room), .in_i (sys_req),
    .out_valid_o (sys_req_valid_o), .out_ready_i (sys_req_ready_i),
    .out_o ({sys_req_client_o, sys_req_o}), .count_o (sys_count)
  );

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni)                                                                        swap_q <= 1'b0;
    else if (swap_in)                                                                   swap_q <= 1'b1;
    else if (vram_req_valid_o && vram_req_ready_i && is_atomic(vram_req_o.op)) swap_q <= 1'b0;
  end

  // ---------------------------------------------------------------- responses
  clients_t rsp_valid_q;
  mem_rsp_t rsp_q;

  assign vram_rsp_ready_o = !sys_rsp_valid_i;
  assign rsp_valid_o      = rsp_valid_q;
  assign rsp_o            = {NumClients{rsp_q}};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      rsp_valid_q <= '0;
    end else begin
      for (int unsigned i = 0; i < NumClients; i++) begin
        rsp_valid_q[i] <= sys_rsp_valid_i ? sys_rsp_client_i == 4'(i)
                                          : vram_rsp_valid_i && vram_rsp_client_i == 4'(i);
      end
    end
  end

  always_ff @(posedge clk_i) rsp_q <= sys_rsp_valid_i ? sys_rsp_i : vram_rsp_i;

  logic unused;
  assign unused = ^{vram_count, sys_count};

endmodule
