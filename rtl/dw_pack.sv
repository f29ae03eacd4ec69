// Turns address-aligned 16-byte beats into TLP payload, which starts at a DW of the first beat.
//
// Caller: holds off_i (first DW in the first beat) and dws_i (DWs of the payload, 1..) from en_i
//   until the last beat was taken (out_last_o); en_i starts and allows the work.
// Throughput: a beat per cycle; with an offset one cycle is spent first to load.
// Handshake: in_pop_o takes the input beat; out_valid_o does not wait for out_ready_i.
module dw_pack (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         en_i,
  input  logic [1:0]   off_i,
  input  logic [7:0]   dws_i,
  input  logic         in_valid_i,
  input  logic [127:0] in_data_i,
  output logic         in_pop_o,
  output logic         out_valid_o,
  input  logic         out_ready_i,
  output logic         out_first_o,
  output logic         out_last_o,
  output logic [127:0] out_data_o
);

  logic         loaded_q, mid_q;
  logic [7:0]   rem_q, rem;         // DWs still to send
  logic [127:32] prev_q;
  logic         load, need_in, fire;

  assign rem     = mid_q ? rem_q : dws_i;
  assign load    = off_i != 2'd0 && !loaded_q;
  // The last beat may lie in the held input alone.
  assign need_in = off_i == 2'd0 || rem > 8'd4 - {6'd0, off_i};

  assign out_valid_o = en_i && !load && (in_valid_i || !need_in);
  assign out_first_o = !mid_q;
  assign out_last_o  = rem <= 8'd4;
  assign fire        = out_valid_o && out_ready_i;
  assign in_pop_o    = load ? en_i && in_valid_i : fire && need_in;

  always_comb begin
    unique case (off_i)
      2'd1:    out_data_o = {in_data_i[31:0], prev_q[127:32]};
      2'd2:    out_data_o = {in_data_i[63:0], prev_q[127:64]};
      2'd3:    out_data_o = {in_data_i[95:0], prev_q[127:96]};
      default: out_data_o = in_data_i;
    endcase
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      loaded_q <= 1'b0;
      mid_q    <= 1'b0;
      rem_q    <= '0;
    end else begin
      if (in_pop_o && load) loaded_q <= 1'b1;
      if (fire) begin
        mid_q <= !out_last_o;
        rem_q <= rem - 8'd4;
        if (out_last_o) loaded_q <= 1'b0;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (in_pop_o && off_i != 2'd0) prev_q <= in_data_i[127:32];
    if (rst_ni) begin
      assert (!en_i || dws_i != '0) else $error("dw_pack: empty payload");
    end
  end

endmodule
