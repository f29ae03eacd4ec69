// Turns TLP payload into address-aligned 16-byte beats.
//
// Caller: holds off_i (DW of the first aligned beat at which the payload starts) and dws_i (its DWs)
//   from en_i until the last beat was taken. abort_i forgets a payload that is under way.
// Throughput: a beat per cycle; a payload with an offset may need one beat more than it came in:
//   that beat (out_flush_o) uses no input.
// out_dwen_o names the DWs of a beat that are filled; the others hold garbage.
module dw_spread (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         en_i,
  input  logic         abort_i,
  input  logic [1:0]   off_i,
  input  logic [10:0]  dws_i,
  input  logic         in_valid_i,
  output logic         in_ready_o,
  input  logic [127:0] in_data_i,
  output logic         out_valid_o,
  input  logic         out_ready_i,
  output logic         out_first_o,
  output logic         out_last_o,
  output logic         out_flush_o,
  output logic [3:0]   out_dwen_o,
  output logic [127:0] out_data_o
);

  logic         mid_q;
  logic [10:0]  irem_q, irem;       // payload DWs still to come in
  logic [11:0]  orem_q, orem;       // DW places still to go out, the leading gap included
  logic [127:32] prev_q;
  logic         fire;

  assign irem = mid_q ? irem_q : dws_i;
  assign orem = mid_q ? orem_q : {1'b0, dws_i} + {10'd0, off_i};

  assign out_flush_o = mid_q && irem_q == '0;
  assign out_valid_o = en_i && (in_valid_i || out_flush_o);
  assign in_ready_o  = en_i && out_ready_i && !out_flush_o;
  assign out_first_o = !mid_q;
  assign out_last_o  = orem <= 12'd4;
  assign fire        = out_valid_o && out_ready_i;

  always_comb begin
    unique case (off_i)
      2'd1:    out_data_o = {in_data_i[95:0], prev_q[127:96]};
      2'd2:    out_data_o = {in_data_i[63:0], prev_q[127:64]};
      2'd3:    out_data_o = {in_data_i[31:0], prev_q[127:32]};
      default: out_data_o = in_data_i;
    endcase
    out_dwen_o = out_first_o ? 4'hf << off_i : 4'hf;
    unique case (orem)
      12'd1:   out_dwen_o &= 4'b0001;
      12'd2:   out_dwen_o &= 4'b0011;
      12'd3:   out_dwen_o &= 4'b0111;
      default: ;
    endcase
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      mid_q  <= 1'b0;
      irem_q <= '0;
      orem_q <= '0;
    end else if (abort_i) begin
      mid_q <= 1'b0;
    end else if (fire) begin
      mid_q  <= !out_last_o;
      irem_q <= irem <= 11'd4 ? '0 : irem - 11'd4;
      orem_q <= orem - 12'd4;
    end
  end

  always_ff @(posedge clk_i) begin
    if (fire && !out_flush_o) prev_q <= in_data_i[127:32];
    if (rst_ni) begin
      assert (!out_valid_o || dws_i != '0) else $error("dw_spread: empty payload");
    end
  end

endmodule
