// What each warp does, for register WARP_STATE and for waves. One cycle behind.
module cu_show
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import cu_pkg::*;
#(
  parameter int unsigned Warps = 16
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic [Warps-1:0]       run_i,
  input  logic [Warps-1:0]       report_i,
  input  logic [Warps-1:0]       ready_i,
  input  logic [Warps-1:0]       rests_i,          // stalled, or its instruction is in the memory unit
  input  logic [Warps-1:0]       held_i,           // held, and all has come to rest
  input  logic [Warps-1:0]       fetch_parked_i,
  input  logic [Warps-1:0]       fetch_busy_i,
  input  logic [Warps-1:0]       data_parked_i,
  input  logic [Warps-1:0]       data_translate_i,
  input  logic                   s1_valid_i,
  input  warp_t                  s1_warp_i,
  input  logic                   s2_valid_i,
  input  warp_t                  s2_warp_i,
  input  logic [Warps-1:0][47:0] pc_i,
  input  ctx_t [Warps-1:0]       ctx_i,
  input  logic [Warps-1:0][3:0]  job_i,
  input  warp_t                  sel_i,
  output logic [63:0]            state_o           // of this warp
);

  warp_state_e state_q [Warps];
  logic        any_q;

  // A unit without threads costs nothing.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      any_q <= 1'b0;
      for (int unsigned w = 0; w < Warps; w++) state_q[w] <= WarpStateIdle;
    end else begin
      any_q <= run_i != '0;
      if (run_i != '0 || any_q) begin
        for (int unsigned w = 0; w < Warps; w++) begin
          if (!run_i[w])              state_q[w] <= WarpStateIdle;
          else if (report_i[w])       state_q[w] <= WarpStateReport;
          else if (held_i[w])         state_q[w] <= WarpStateHeld;
          else if (ready_i[w])        state_q[w] <= WarpStateFetch;
          else if (fetch_parked_i[w]) state_q[w] <= WarpStateFetchMiss;
          else if (fetch_busy_i[w])   state_q[w] <= WarpStateFetch;
          else if (rests_i[w])        state_q[w] <= data_parked_i[w]    ? WarpStateDataMiss
                                                  : data_translate_i[w] ? WarpStateTranslate
                                                                        : WarpStateMemory;
          else if ((s1_valid_i && s1_warp_i == warp_t'(w)) || (s2_valid_i && s2_warp_i == warp_t'(w)))
                                      state_q[w] <= WarpStateDecode;
          else                        state_q[w] <= WarpStateExecute;
        end
      end
    end
  end

  assign state_o = {4'b0, job_i[sel_i], 4'(ctx_i[sel_i]), state_q[sel_i], pc_i[sel_i]};

endmodule
