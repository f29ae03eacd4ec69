// Reads the segments of a list, in order, ahead of their use.
//
// start_i begins a list (not while busy_o). Segments come out once each, in order; end_o is high when all
// have been taken. stop_i (a level) drops what is left; the caller waits for busy_o to fall.
// Throughput: Depth segments of two reads in flight together.
module copy_list
  import hmmu_pkg::*;
#(
  parameter int unsigned Depth = 8     // segments held or under way, a power of two, 1..8
) (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         start_i,
  input  pa_t          addr_i,         // 32-byte aligned
  input  logic [31:0]  count_i,
  input  logic         stop_i,
  output logic         busy_o,         // reads are under way
  output logic         end_o,
  output logic         valid_o,
  output logic         err_o,          // it could not be read
  output logic [255:0] seg_o,
  input  logic         pop_i,
  // Reads only; tags {place, half}.
  output logic         req_valid_o,
  input  logic         req_ready_i,
  output pa_t          req_addr_o,
  output logic [3:0]   req_tag_o,
  input  logic         rsp_valid_i,
  input  logic [3:0]   rsp_tag_i,
  input  logic         rsp_err_i,
  input  logic [DataW-1:0] rsp_data_i
);

  localparam int unsigned CountW = $clog2(Depth) + 1;
  localparam int unsigned PtrW   = Depth > 1 ? $clog2(Depth) : 1;

  logic [PaW-1:5]    addr_q;            // of the segment that is asked for next
  logic [31:0]       ask_q, left_q;     // segments to ask for, to be taken
  logic              asking_q, half_q;
  logic [PtrW-1:0]   wr_q, rd_q;
  logic [CountW-1:0] held_q;            // places taken
  logic [Depth-1:0]  low_q, high_q, err_q;
  logic [CountW:0]   open_q;            // responses still to come
  logic [PtrW-1:0]   rsp_place;
  logic              begin_ask, asked;

  // The place after one.
  function automatic logic [PtrW-1:0] next(logic [PtrW-1:0] ptr);
    return Depth > 1 ? ptr + 1'b1 : '0;
  endfunction

  assign rsp_place   = Depth > 1 ? rsp_tag_i[PtrW:1] : '0;
  assign begin_ask   = !asking_q && ask_q != '0 && held_q < CountW'(Depth) && !stop_i;
  assign asked       = asking_q && req_ready_i;
  assign req_valid_o = asking_q;
  assign req_addr_o  = {addr_q, half_q, 4'd0};
  assign req_tag_o   = 4'({wr_q, half_q});
  assign busy_o      = asking_q || open_q != '0;
  assign end_o       = left_q == '0;
  assign valid_o     = low_q[rd_q] && high_q[rd_q];
  assign err_o       = err_q[rd_q];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      addr_q   <= '0;
      ask_q    <= '0;
      left_q   <= '0;
      asking_q <= 1'b0;
      half_q   <= 1'b0;
      wr_q     <= '0;
      rd_q     <= '0;
      held_q   <= '0;
      low_q    <= '0;
      high_q   <= '0;
      err_q    <= '0;
      open_q   <= '0;
    end else begin
      open_q <= open_q + (CountW + 1)'(asked) - (CountW + 1)'(rsp_valid_i);
      held_q <= held_q + CountW'(begin_ask) - CountW'(pop_i);
      if (begin_ask) begin
        asking_q <= 1'b1;
        half_q   <= 1'b0;
      end
      if (asked) begin
        half_q <= 1'b1;
        if (half_q) begin
          asking_q <= 1'b0;
          addr_q   <= addr_q + 1'b1;
          ask_q    <= ask_q - 32'd1;
          wr_q     <= next(wr_q);
        end
      end
      if (rsp_valid_i) begin
        if (rsp_tag_i[0]) high_q[rsp_place] <= 1'b1;
        else              low_q[rsp_place]  <= 1'b1;
        if (rsp_err_i) err_q[rsp_place] <= 1'b1;
      end
      if (pop_i) begin
        rd_q         <= next(rd_q);
        left_q       <= left_q - 32'd1;
        low_q[rd_q]  <= 1'b0;
        high_q[rd_q] <= 1'b0;
        err_q[rd_q]  <= 1'b0;
      end
      if (stop_i) begin
        left_q <= '0;
        ask_q  <= asking_q && !(asked && half_q) ? 32'd1 : '0;
      end
      if (start_i) begin
        addr_q <= addr_i[PaW-1:5];
        ask_q  <= count_i;
        left_q <= count_i;
        wr_q   <= '0;
        rd_q   <= '0;
        held_q <= '0;
        low_q  <= '0;
        high_q <= '0;
        err_q  <= '0;
      end
    end
  end

  // No reset: low_q and high_q guard it.
  if (Depth > 1) begin : gen_ring
    logic [DataW-1:0] low_data_q [Depth], high_data_q [Depth];

    always_ff @(posedge clk_i) begin
      if (rsp_valid_i && !rsp_tag_i[0]) low_data_q[rsp_place]  <= rsp_data_i;
      if (rsp_valid_i && rsp_tag_i[0])  high_data_q[rsp_place] <= rsp_data_i;
    end
    assign seg_o = {high_data_q[rd_q], low_data_q[rd_q]};
  end else begin : gen_one
    logic [DataW-1:0] low_data_q, high_data_q;

    always_ff @(posedge clk_i) begin
      if (rsp_valid_i && !rsp_tag_i[0]) low_data_q  <= rsp_data_i;
      if (rsp_valid_i && rsp_tag_i[0])  high_data_q <= rsp_data_i;
    end
    assign seg_o = {high_data_q, low_data_q};
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(start_i && busy_o)) else $error("copy_list: started while reads are under way");
      assert (!(pop_i && !valid_o)) else $error("copy_list: a segment is taken that is not there");
      assert (!rsp_valid_i || open_q != '0) else $error("copy_list: response without request");
    end
  end

  // A list is aligned; a small ring uses fewer tags.
  logic unused;
  assign unused = ^{addr_i[4:0], rsp_tag_i};

endmodule
