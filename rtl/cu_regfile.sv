// Registers of all warps: 32 x 64 bits each, two synchronous reads and one write per cycle.
//
// Two copies of one memory with a read port each, which FPGA block RAM holds. A register that the
// thread has not written since `clear_i` reads as zero, so nothing of an earlier thread can be
// seen; x0 is never written (the caller's decoder sees to that).
// Read: address in cycle t, data in cycle t+1 (the value before a write in cycle t).
module cu_regfile
  import cu_pkg::*;
#(
  parameter int unsigned Warps = 16
) (
  input  logic        clk_i,
  input  logic        rst_ni,

  input  logic        clear_i,
  input  warp_t       clear_warp_i,

  input  warp_t       raddr_warp_i,
  input  logic [4:0]  rs1_i,
  input  logic [4:0]  rs2_i,
  output logic [63:0] rs1_o,
  output logic [63:0] rs2_o,

  input  logic        we_i,
  input  warp_t       waddr_warp_i,
  input  logic [4:0]  rd_i,
  input  logic [63:0] wdata_i
);

  logic [63:0] copy_a [Warps*32];
  logic [63:0] copy_b [Warps*32];
  logic [63:0] rdata_a_q, rdata_b_q;

  localparam int unsigned AddrW = $clog2(Warps * 32);

  logic [AddrW-1:0] waddr, raddr_a, raddr_b;
  assign waddr   = AddrW'({waddr_warp_i, rd_i});
  assign raddr_a = AddrW'({raddr_warp_i, rs1_i});
  assign raddr_b = AddrW'({raddr_warp_i, rs2_i});

  always_ff @(posedge clk_i) begin
    if (we_i) copy_a[waddr] <= wdata_i;
    rdata_a_q <= copy_a[raddr_a];
  end

  always_ff @(posedge clk_i) begin
    if (we_i) copy_b[waddr] <= wdata_i;
    rdata_b_q <= copy_b[raddr_b];
  end

  // One bit a register: written by the present thread.
  logic [Warps-1:0][31:0] written_q;
  logic                written_a_q, written_b_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      written_q   <= '0;
      written_a_q <= 1'b0;
      written_b_q <= 1'b0;
    end else begin
      written_a_q <= written_q[raddr_warp_i][rs1_i];
      written_b_q <= written_q[raddr_warp_i][rs2_i];
      if (clear_i) written_q[clear_warp_i] <= '0;
      if (we_i)    written_q[waddr_warp_i][rd_i] <= 1'b1;
    end
  end

  assign rs1_o = written_a_q ? rdata_a_q : '0;
  assign rs2_o = written_b_q ? rdata_b_q : '0;

  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(we_i && rd_i == 5'd0)) else $error("x0 is written");
      assert (!(we_i && clear_i && waddr_warp_i == clear_warp_i))
        else $error("a warp's registers are written while they are cleared");
    end
  end

endmodule
