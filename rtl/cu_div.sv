// Iterative divider of the compute unit: DIV, DIVU, REM, REMU and their W forms.
//
// One quotient bit per cycle: the result is ready 65 cycles after the start (33 for W forms).
// Division by zero and overflow give what the RISC-V specification says.
// Handshakes: valid_i/ready_o to start (ready_o is high while nothing runs), valid_o/ready_i for
// the result.
module cu_div
  import cu_pkg::*;
(
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        valid_i,
  output logic        ready_o,
  input  logic [1:0]  op_i,      // funct3[1:0]: DIV, DIVU, REM, REMU
  input  logic        word_i,
  input  wb_t         dst_i,     // destination; its data is void
  input  logic [63:0] a_i,
  input  logic [63:0] b_i,
  output logic        valid_o,
  input  logic        ready_i,
  output wb_t         result_o
);

  typedef enum logic [1:0] {
    DivIdle = 2'd0,
    DivRun  = 2'd1,
    DivDone = 2'd2
  } div_state_e;

  div_state_e  state_q;
  logic [5:0]  left_q;        // steps still to do, less one
  logic        word_q, rem_q;
  logic        neg_q;         // the result changes its sign
  wb_t         dst_q;
  logic [63:0] divisor_q;
  logic [63:0] quot_q;        // dividend bits leave at the top, quotient bits enter at the bottom
  logic [63:0] part_q;        // partial remainder

  // Magnitudes of the operands.
  logic        sgn, a_neg, b_neg, b_zero;
  logic [63:0] a_ext, b_ext, a_mag, b_mag;
  always_comb begin
    sgn    = !op_i[0];
    a_ext  = word_i ? {{32{sgn && a_i[31]}}, a_i[31:0]} : a_i;
    b_ext  = word_i ? {{32{sgn && b_i[31]}}, b_i[31:0]} : b_i;
    a_neg  = sgn && a_ext[63];
    b_neg  = sgn && b_ext[63];
    b_zero = b_ext == '0;
    a_mag  = a_neg ? -a_ext : a_ext;
    b_mag  = b_neg ? -b_ext : b_ext;
  end

  // One step of restoring division.
  logic [64:0] shifted, diff;
  always_comb begin
    shifted = {part_q, quot_q[63]};
    diff    = shifted - {1'b0, divisor_q};
  end

  logic [63:0] value;
  always_comb begin
    value = rem_q ? part_q : quot_q;
    if (neg_q)  value = -value;
    if (word_q) value = {{32{value[31]}}, value[31:0]};
    result_o      = dst_q;
    result_o.data = value;
  end

  assign ready_o = state_q == DivIdle;
  assign valid_o = state_q == DivDone;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= DivIdle;
    end else begin
      unique case (state_q)
        DivIdle: if (valid_i) state_q <= DivRun;
        DivRun:  if (left_q == '0) state_q <= DivDone;
        DivDone: if (ready_i) state_q <= DivIdle;
        default: state_q <= DivIdle;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (state_q == DivIdle && valid_i) begin
      left_q    <= word_i ? 6'd31 : 6'd63;
      word_q    <= word_i;
      rem_q     <= op_i[1];
      // The quotient of a division by zero is all ones whatever the signs.
      neg_q     <= op_i[1] ? a_neg : (a_neg != b_neg && !b_zero);
      dst_q     <= dst_i;
      divisor_q <= b_mag;
      quot_q    <= word_i ? {a_mag[31:0], 32'b0} : a_mag;
      part_q    <= '0;
    end else if (state_q == DivRun) begin
      left_q <= left_q - 6'd1;
      part_q <= diff[64] ? shifted[63:0] : diff[63:0];
      quot_q <= {quot_q[62:0], !diff[64]};
    end
  end

endmodule
