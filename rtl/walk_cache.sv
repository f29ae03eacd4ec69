// Page-walk cache: pointers of the upper levels of the tables, so that a walk starts where they lead.
//
// Fully associative, one array for each level of entry: Tables pointers to tables of 4 KiB leaves
// (each for 2 MiB), Middle to the tables above them (1 GiB), Top to those (512 GiB). Leaves and entries
// that are not present are never kept.
//
// Lookup: combinational; the deepest pointer that covers the page wins. No hit in the cycle of an
//   Invalidate or Stop event, which the arrays show only in the next.
// Fill:   a pointer that a walk has read. The walk must not have been caught by an event since, nor in
//   this cycle. The same pointer is kept once; else the array's oldest makes room.
// Events: Invalidate drops every pointer whose pages overlap the range, Stop those of the context, in
//   their cycle.
module walk_cache
  import hmmu_pkg::*;
#(
  parameter int unsigned Tables  = 32,
  parameter int unsigned Middle  = 8,
  parameter int unsigned Top     = 4,
  parameter bit          Compact = 1'b0   // for an FPGA: what is hit is chosen by AND and OR
) (
  input  logic       clk_i,
  input  logic       rst_ni,
  input  logic       off_i,         // no hits and no fills
  input  logic       lkp_valid_i,
  input  ctx_t       lkp_ctx_i,
  input  vpn_t       lkp_vpn_i,
  output logic       hit_o,
  output logic [1:0] level_o,       // of the table
  output ppn_t       table_o,
  input  logic       fill_valid_i,
  input  ctx_t       fill_ctx_i,
  input  vpn_t       fill_vpn_i,
  input  logic [1:0] fill_level_i,  // of the entry that was read, 1..3
  input  ppn_t       fill_table_i,
  // verilator lint_off UNUSEDSIGNAL
  // Only ranges and contexts matter here.
  input  mmu_event_t event_i
  // verilator lint_on UNUSEDSIGNAL
);

  localparam int unsigned Entries = Tables + Middle + Top;
  localparam int unsigned EntryW  = $clog2(Entries);
  localparam int unsigned KeyW    = CtxW + VpnW;

  typedef logic [KeyW-1:0]   key_t;   // {context, page}, the bits below the entry's reach zero
  typedef logic [EntryW-1:0] entry_t;

  // Level of the entries that a place holds.
  function automatic logic [1:0] level_of(int unsigned i);
    return i < Tables ? 2'd1 : i < Tables + Middle ? 2'd2 : 2'd3;
  endfunction

  logic [Entries-1:0] valid_q;
  key_t               key_q   [Entries];
  ppn_t               table_q [Entries];
  entry_t             victim_q [1:3];

  logic   drops, fill;
  key_t   lkp_key, fill_key;
  entry_t fill_entry;

  assign drops = event_i.ev == EvInvalidate || event_i.ev == EvStop;
  assign fill  = fill_valid_i && !off_i;

  assign lkp_key = {lkp_ctx_i, lkp_vpn_i};

  if (Compact) begin : gen_one_hot
    logic [Entries-1:0] hits, first;

    always_comb begin
      for (int unsigned i = 0; i < Entries; i++) begin
        hits[i] = valid_q[i] && ((key_q[i] ^ lkp_key) & {{CtxW{1'b1}}, ~walk_reach(level_of(i))}) == '0;
      end
      // The deepest come first.
      first   = hits & (~hits + 1'b1);
      table_o = '0;
      level_o = '0;
      for (int unsigned i = 0; i < Entries; i++) begin
        if (first[i]) begin
          table_o |= table_q[i];
          level_o |= level_of(i) - 2'd1;
        end
      end
    end
    assign hit_o     = hits != '0 && lkp_valid_i && !off_i && !drops;
  end else begin : gen_index
    entry_t hit_entry;

    always_comb begin
      hit_o     = 1'b0;
      hit_entry = '0;
      level_o   = '0;
      if (lkp_valid_i && !off_i && !drops && valid_q != '0) begin
        // The deepest last.
        for (int i = int'(Entries) - 1; i >= 0; i--) begin
          if (valid_q[i]
              && ((key_q[i] ^ lkp_key) & {{CtxW{1'b1}}, ~walk_reach(level_of(i))}) == '0) begin
            hit_o     = 1'b1;
            hit_entry = entry_t'(i);
            level_o   = level_of(i) - 2'd1;
          end
        end
      end
      table_o = table_q[hit_entry];
    end
  end

  always_comb begin
    fill_key   = '0;
    fill_entry = '0;
    if (fill || Compact) begin
      fill_key   = {fill_ctx_i, fill_vpn_i & ~walk_reach(fill_level_i)};
      fill_entry = victim_q[fill_level_i];
      for (int unsigned i = 0; i < Entries; i++) begin
        if (valid_q[i] && level_of(i) == fill_level_i && key_q[i] == fill_key) fill_entry = entry_t'(i);
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q     <= '0;
      victim_q[1] <= '0;
      victim_q[2] <= entry_t'(Tables);
      victim_q[3] <= entry_t'(Tables + Middle);
    end else begin
      if (drops && valid_q != '0) begin
        for (int unsigned i = 0; i < Entries; i++) begin
          if (key_q[i][KeyW-1:VpnW] == event_i.ctx
              && (event_i.ev == EvStop
                  || (key_q[i][VpnW-1:0] <= event_i.hi
                      && (key_q[i][VpnW-1:0] | walk_reach(level_of(i))) >= event_i.lo)))
            valid_q[i] <= 1'b0;
        end
      end
      if (fill) begin
        valid_q[fill_entry] <= 1'b1;
        if (fill_entry == victim_q[fill_level_i]) begin
          unique case (fill_level_i)
            2'd1:    victim_q[1] <= 32'(fill_entry) == Tables - 1 ? '0 : fill_entry + 1'b1;
            2'd2:    victim_q[2] <= 32'(fill_entry) == Tables + Middle - 1 ? entry_t'(Tables)
                                                                           : fill_entry + 1'b1;
            default: victim_q[3] <= 32'(fill_entry) == Entries - 1 ? entry_t'(Tables + Middle)
                                                                   : fill_entry + 1'b1;
          endcase
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (fill) begin
      key_q[fill_entry]   <= fill_key;
      table_q[fill_entry] <= fill_table_i;
    end
  end

  // ---------------------------------------------------------------- checks
  always_ff @(posedge clk_i) begin
    if (rst_ni && fill_valid_i) begin
      assert (fill_level_i != 2'd0) else $error("a leaf for the walk cache");
      assert (!(drops && event_i.ctx == fill_ctx_i
                && (event_i.ev == EvStop
                    || ((fill_vpn_i & ~walk_reach(fill_level_i)) <= event_i.hi
                        && (fill_vpn_i | walk_reach(fill_level_i)) >= event_i.lo))))
        else $error("a pointer that was read before the event");
    end
  end
endmodule
