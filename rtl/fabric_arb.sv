// Round-robin arbiter of the memory fabric. A choice stands until it is accepted.
// Throughput: a grant per cycle, the winner last in the next round. Up to 16 clients.
module fabric_arb #(
  parameter int unsigned NumClients = 10
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic [NumClients-1:0] want_i,     // stays until granted and ready
  input  logic                  ready_i,
  output logic                  valid_o,
  output logic [3:0]            client_o,
  output logic [NumClients-1:0] grant_o     // one-hot choice, whether ready or not
);

  logic [NumClients-1:0] after_q;           // clients behind the last winner
  logic [NumClients-1:0] held_q;            // the choice that waits
  logic [NumClients-1:0] turn, pool;

  assign turn    = want_i & after_q;
  assign pool    = turn != '0 ? turn : want_i;
  assign grant_o = held_q != '0 ? held_q : pool & (~pool + 1'b1);
  assign valid_o = want_i != '0;

  always_comb begin
    client_o = '0;
    for (int unsigned i = 0; i < NumClients; i++) if (grant_o[i]) client_o |= 4'(i);
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      after_q <= '1;
      held_q  <= '0;
    end else begin
      held_q <= valid_o && !ready_i ? grant_o : '0;
      // All clients above the winner.
      if (valid_o && ready_i) after_q <= ~(grant_o | (grant_o - 1'b1));
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert ((held_q & ~want_i) == '0) else $error("fabric_arb: a request was withdrawn");
    end
  end

endmodule
