// A register on the way that only the form for FPGAs has (docs/decisions/0050).
// With On what comes out is what went in a cycle before; without, there is no register.
// Promise: valid_o is low after reset; data_o is not reset.
// Handshake: none, something may pass in each cycle.
module late #(
  parameter bit  On = 1'b0,
  parameter type T  = logic
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic valid_i,
  input  T     data_i,
  output logic valid_o,
  output T     data_o
);

  if (On) begin : gen_register
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) valid_o <= 1'b0;
      else         valid_o <= valid_i;
    end
    always_ff @(posedge clk_i) data_o <= data_i;
  end else begin : gen_through
    logic unused;
    assign unused  = ^{clk_i, rst_ni};
    assign valid_o = valid_i;
    assign data_o  = data_i;
  end

endmodule
