// Turns of the memory fabric's form for FPGAs: who may send in this cycle was chosen in the last one.
//
// A turn that is used, or that nobody wants, goes to the next client that wants one; it stays with a client
// that cannot go yet, and with the last one if there is no other. So it may be with a client that does not
// want it, and one that begins to want waits a cycle unless it has it.
// Throughput: a turn each cycle, also for a single client. Up to 16 clients.
module fabric_turn #(
  parameter int unsigned NumClients = 10
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic [NumClients-1:0] want_i,
  input  logic                  go_i,       // whoever has the turn and wants it uses it now
  output logic [NumClients-1:0] turn_o      // one-hot
);

  logic [NumClients-1:0] turn_q, others, behind, next;

  // Those above the one that has the turn come first.
  assign others = want_i & ~turn_q;
  assign behind = others & ~(turn_q | (turn_q - 1'b1));
  assign next   = behind != '0 ? behind & (~behind + 1'b1) : others & (~others + 1'b1);
  assign turn_o = turn_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni)                                                       turn_q <= NumClients'(1);
    else if (others != '0 && (go_i || (turn_q & want_i) == '0)) turn_q <= next;
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (turn_q != '0 && (turn_q & (turn_q - 1'b1)) == '0) else $error("fabric_turn: not one turn");
    end
  end

endmodule
