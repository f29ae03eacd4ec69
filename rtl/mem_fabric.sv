// Connects the memory clients of the device to VRAM (address bit 55 set) and to the link.
//
// Promise: each target takes one request a cycle; clients take turns. Requests pass in the cycle in
//   which they are accepted: acceptance is the order that everybody sees. A choice stands until
//   it is accepted, so the payload is stable.
//   A swap that VRAM has no room for (vram_swap_room_i) waits aside: it holds up other swaps, which have turns of
//   their own, and nothing else.
//   Responses have no back-pressure at the clients: a link response always passes at once, a VRAM
//   response waits when both are for one client.
// Latency: none, both ways.
// Compact: the form for an FPGA, with registers on all ways (mem_fabric_compact).
module mem_fabric
  import hmmu_pkg::*;
#(
  parameter int unsigned NumClients = 10,
  parameter bit          Compact    = 1'b0
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
  input  logic                       vram_swap_room_i,   // falls only when a swap was accepted
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

  if (Compact) begin : gen_compact
    mem_fabric_compact #(.NumClients(NumClients)) u_fabric (
      .clk_i, .rst_ni, .req_valid_i, .req_ready_o, .req_i, .rsp_valid_o, .rsp_o,
      .vram_req_valid_o, .vram_req_ready_i, .vram_swap_room_i, .vram_req_o, .vram_req_client_o,
      .vram_rsp_valid_i, .vram_rsp_ready_o, .vram_rsp_i, .vram_rsp_client_i,
      .sys_req_valid_o, .sys_req_ready_i, .sys_req_o, .sys_req_client_o,
      .sys_rsp_valid_i, .sys_rsp_i, .sys_rsp_client_i
    );
  end else begin : gen_fast
    logic [NumClients-1:0] is_vram, is_swap, vram_want, vram_grant, sys_grant, swap_grant;
    logic                  clash, swap_any;
    logic [3:0]            swap_client;

    always_comb begin
      for (int unsigned i = 0; i < NumClients; i++) begin
        is_vram[i] = req_i[i].addr[PaW-1];
        is_swap[i] = is_vram[i] && (req_i[i].op == MemCas || req_i[i].op == MemRmw);
      end
    end

    // The swap whose turn it is. No other one takes its room.
    fabric_arb #(.NumClients(NumClients)) u_swap (
      .clk_i, .rst_ni,
      .want_i  (req_valid_i & is_swap),
      .ready_i (vram_req_ready_i && (vram_grant & swap_grant) != '0),
      .valid_o (swap_any),
      .client_o(swap_client),
      .grant_o (swap_grant)
    );

    assign vram_want = (req_valid_i & is_vram & ~is_swap)
                     | (swap_grant & {NumClients{swap_any && vram_swap_room_i}});

    fabric_arb #(.NumClients(NumClients)) u_vram (
      .clk_i, .rst_ni,
      .want_i  (vram_want),
      .ready_i (vram_req_ready_i),
      .valid_o (vram_req_valid_o),
      .client_o(vram_req_client_o),
      .grant_o (vram_grant)
    );

    fabric_arb #(.NumClients(NumClients)) u_sys (
      .clk_i, .rst_ni,
      .want_i  (req_valid_i & ~is_vram),
      .ready_i (sys_req_ready_i),
      .valid_o (sys_req_valid_o),
      .client_o(sys_req_client_o),
      .grant_o (sys_grant)
    );

    assign req_ready_o = (vram_grant & {NumClients{vram_req_ready_i}})
                       | (sys_grant & {NumClients{sys_req_ready_i}});

    assign vram_rsp_ready_o = !clash;

    always_comb begin
      for (int unsigned i = 0; i < NumClients; i++) begin
        rsp_valid_o[i] = (sys_rsp_valid_i && sys_rsp_client_i == 4'(i))
                      || (vram_rsp_valid_i && vram_rsp_ready_o && vram_rsp_client_i == 4'(i));
      end
    end

    assign clash      = sys_rsp_valid_i && vram_rsp_valid_i && sys_rsp_client_i == vram_rsp_client_i;
    assign vram_req_o = req_i[vram_req_client_o];
    assign sys_req_o  = req_i[sys_req_client_o];

    always_comb begin
      for (int unsigned i = 0; i < NumClients; i++)
        rsp_o[i] = sys_rsp_valid_i && sys_rsp_client_i == 4'(i) ? sys_rsp_i : vram_rsp_i;
    end

    logic unused;
    assign unused = ^swap_client;
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!sys_rsp_valid_i || 32'(sys_rsp_client_i) < NumClients) else $error("mem_fabric: link response to nobody");
      assert (!vram_rsp_valid_i || 32'(vram_rsp_client_i) < NumClients) else $error("mem_fabric: VRAM response to nobody");
      for (int unsigned i = 0; i < NumClients; i++)
        assert (!req_valid_i[i] || (req_i[i].op != MemCas && req_i[i].op != MemRmw)
                || (req_i[i].addr[1:0] == '0 && (req_i[i].cas32 || !req_i[i].addr[2])))
          else $error("mem_fabric: misaligned swap of client %0d", i);
      assert (!sys_req_valid_o || sys_req_o.op != MemRmw) else $error("mem_fabric: the link does no AMOs");
    end
  end

endmodule
