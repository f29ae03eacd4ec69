// Test bench of the address translation: the MMU with one L1 TLB for each of three clients, as the
// device wires them (data, fetch, copy). Not part of the device.
module mmu_bench
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
#(
  parameter int unsigned InvBound = 2000,
  parameter bit          Compact  = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic    [2:0]    lkp_valid_i,
  input  ctx_t    [2:0]    lkp_ctx_i,
  input  vpn_t    [2:0]    lkp_vpn_i,
  input  access_e [2:0]    lkp_access_i,
  output logic    [2:0]    rsp_valid_o,
  output lookup_e [2:0]    rsp_status_o,
  output ppn_t    [2:0]    rsp_ppn_o,
  output logic [2:0][3:0]  rsp_slot_o,
  output logic [2:0][15:0] wake_o,
  output logic    [2:0]    wake_err_o,
  output logic [2:0][7:0]  wake_code_o,
  output mmu_event_t       event_o,
  input  logic    [2:0]    drain_done_i,
  input  logic             cmd_valid_i,
  output logic             cmd_ready_o,
  input  mmu_cmd_t         cmd_i,
  output logic             cmd_done_o,
  input  xlat_limits_t     limits_i,
  output logic             mem_req_valid_o,
  input  logic             mem_req_ready_i,
  output mem_req_t         mem_req_o,
  input  logic             mem_rsp_valid_i,
  input  mem_rsp_t         mem_rsp_i,
  input  ring_cfg_t        fault_ring_i,
  output logic [31:0]      fault_prod_o,
  output logic             fault_full_o,
  output logic             fault_req_valid_o,
  input  logic             fault_req_ready_i,
  output mem_req_t         fault_req_o,
  output logic             fault_irq_o,
  input  ring_cfg_t        dirty_ring_i,
  output logic [31:0]      dirty_prod_o,
  output logic [31:0]      dirty_next_o,
  output logic             dirty_full_o,
  output logic             dirty_irq_o,
  input  logic [63:0]      time_i,
  output logic [2:0]       cnt_lookup_o,
  output logic [2:0]       cnt_hit_o,
  output logic             cnt_l2_lookups_o,
  output logic             cnt_l2_hits_o,
  output logic             cnt_walks_o,
  output logic             cnt_walk_reads_o,
  output logic             cnt_walk_merges_o,
  output logic             cnt_walk_restarts_o,
  output logic             cnt_ad_updates_o,
  output logic             cnt_d_updates_o,
  output logic             cnt_faults_o,
  output logic             cnt_fault_merges_o,
  output logic             cnt_dirty_o,
  output logic             cnt_replays_o,
  output logic             cnt_cancels_o,
  output logic             cnt_invalidations_o,
  output logic             inv_done_o,
  output logic [31:0]      inv_cycles_o
);

  logic  [2:0] miss_valid, miss_ready;
  miss_t [2:0] miss;
  logic [2:0]  fetch_slot;
  logic        copy_slot;

  l1_tlb #(.Entries(16), .Slots(16), .Client(ClientCuData)) u_data (
    .clk_i, .rst_ni,
    .lkp_valid_i(lkp_valid_i[0]), .lkp_ctx_i(lkp_ctx_i[0]), .lkp_vpn_i(lkp_vpn_i[0]),
    .lkp_access_i(lkp_access_i[0]), .rsp_valid_o(rsp_valid_o[0]), .rsp_status_o(rsp_status_o[0]),
    .rsp_ppn_o(rsp_ppn_o[0]), .rsp_slot_o(rsp_slot_o[0]), .wake_o(wake_o[0]),
    .wake_err_o(wake_err_o[0]), .wake_code_o(wake_code_o[0]), .miss_valid_o(miss_valid[0]),
    .miss_ready_i(miss_ready[0]), .miss_o(miss[0]), .event_i(event_o),
    .cnt_lookup_o(cnt_lookup_o[0]), .cnt_hit_o(cnt_hit_o[0])
  );

  l1_tlb #(.Entries(16), .Slots(8), .Client(ClientCuFetch)) u_fetch (
    .clk_i, .rst_ni,
    .lkp_valid_i(lkp_valid_i[1]), .lkp_ctx_i(lkp_ctx_i[1]), .lkp_vpn_i(lkp_vpn_i[1]),
    .lkp_access_i(lkp_access_i[1]), .rsp_valid_o(rsp_valid_o[1]), .rsp_status_o(rsp_status_o[1]),
    .rsp_ppn_o(rsp_ppn_o[1]), .rsp_slot_o(fetch_slot), .wake_o(wake_o[1][7:0]),
    .wake_err_o(wake_err_o[1]), .wake_code_o(wake_code_o[1]), .miss_valid_o(miss_valid[1]),
    .miss_ready_i(miss_ready[1]), .miss_o(miss[1]), .event_i(event_o),
    .cnt_lookup_o(cnt_lookup_o[1]), .cnt_hit_o(cnt_hit_o[1])
  );

  l1_tlb #(.Entries(4), .Slots(2), .Client(ClientCopy)) u_copy (
    .clk_i, .rst_ni,
    .lkp_valid_i(lkp_valid_i[2]), .lkp_ctx_i(lkp_ctx_i[2]), .lkp_vpn_i(lkp_vpn_i[2]),
    .lkp_access_i(lkp_access_i[2]), .rsp_valid_o(rsp_valid_o[2]), .rsp_status_o(rsp_status_o[2]),
    .rsp_ppn_o(rsp_ppn_o[2]), .rsp_slot_o(copy_slot), .wake_o(wake_o[2][1:0]),
    .wake_err_o(wake_err_o[2]), .wake_code_o(wake_code_o[2]), .miss_valid_o(miss_valid[2]),
    .miss_ready_i(miss_ready[2]), .miss_o(miss[2]), .event_i(event_o),
    .cnt_lookup_o(cnt_lookup_o[2]), .cnt_hit_o(cnt_hit_o[2])
  );

  assign rsp_slot_o[1]   = {1'b0, fetch_slot};
  assign rsp_slot_o[2]   = {3'b000, copy_slot};
  assign wake_o[1][15:8] = '0;
  assign wake_o[2][15:2] = '0;

  mmu #(.NumClients(3), .InvBound(InvBound), .Compact(Compact)) u_mmu (
    .clk_i, .rst_ni,
    .miss_valid_i(miss_valid), .miss_ready_o(miss_ready), .miss_i(miss),
    .event_o, .drain_done_i, .cmd_valid_i, .cmd_ready_o, .cmd_i, .cmd_done_o,
    .limits_i, .mem_req_valid_o, .mem_req_ready_i, .mem_req_o, .mem_rsp_valid_i, .mem_rsp_i,
    .fault_ring_i, .fault_prod_o, .fault_full_o, .fault_req_valid_o, .fault_req_ready_i,
    .fault_req_o, .fault_irq_o, .dirty_ring_i, .dirty_prod_o, .dirty_next_o, .dirty_full_o, .dirty_irq_o,
    .time_i,
    .cnt_l2_lookups_o, .cnt_l2_hits_o, .cnt_walks_o, .cnt_walk_reads_o, .cnt_walk_merges_o,
    .cnt_walk_restarts_o, .cnt_ad_updates_o, .cnt_d_updates_o, .cnt_faults_o,
    .cnt_fault_merges_o, .cnt_dirty_o, .cnt_replays_o, .cnt_cancels_o, .cnt_invalidations_o,
    .inv_done_o, .inv_cycles_o
  );
endmodule
