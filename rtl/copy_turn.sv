// Whose turn it is among the copy channels: round robin, and what the winner brought.
// A choice stands until it is accepted (fabric_arb). One channel needs no choice.
module copy_turn #(
  parameter int unsigned Channels = 4,
  parameter type         T        = logic
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic [Channels-1:0] want_i,     // stays until granted and ready
  input  T     [Channels-1:0] item_i,
  input  logic                ready_i,
  output logic                valid_o,
  output logic [Channels-1:0] grant_o,    // one-hot choice, whether ready or not
  output T                    item_o
);

  if (Channels > 1) begin : gen_choice
    logic [$bits(T)-1:0] item;

    logic [3:0]          unused_chan;

    fabric_arb #(.NumClients(Channels)) u_arb (
      .clk_i, .rst_ni, .want_i, .ready_i, .valid_o, .client_o(unused_chan), .grant_o
    );

    always_comb begin
      item = '0;
      for (int unsigned c = 0; c < Channels; c++) if (grant_o[c]) item |= item_i[c];
    end
    assign item_o = T'(item);
  end else begin : gen_one
    logic unused;
    assign unused  = ^{clk_i, rst_ni, ready_i};
    assign valid_o = want_i[0];
    assign grant_o = want_i;
    assign item_o  = item_i[0];
  end

endmodule
