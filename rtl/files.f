# Every file of the device, in dependency order. Lint, simulation and synthesis read this list.
# Packages.
gen/hmmu_regs_pkg.sv
hmmu_pkg.sv
pcie_pkg.sv
copy_pkg.sv
cu_pkg.sv
# Building blocks.
late.sv
sync_fifo.sv
mem_merge.sv
ring_fetch.sv
post_writer.sv
# Bus.
dw_pack.sv
dw_spread.sv
pcie_rx.sv
pcie_cpl.sv
pcie_tags.sv
pcie_bwr.sv
pcie_requester.sv
pcie_completer.sv
pcie_tx.sv
tlp_narrow.sv
tlp_widen.sv
msix.sv
pcie_ep.sv
fabric_arb.sv
fabric_turn.sv
mem_fabric_compact.sv
mem_fabric.sv
vram_ctrl.sv
# Translation.
l1_tlb.sv
miss_reg.sv
l2_tlb.sv
walk_check.sv
walk_queue.sv
walk_cache.sv
walker.sv
fault_unit.sv
dirty_log.sv
mmu_ctrl.sv
mmu.sv
# Compute.
cu_fifo.sv
cu_alu.sv
cu_mul.sv
cu_div.sv
cu_muldiv.sv
cu_decode.sv
cu_regfile.sv
cu_amo.sv
cu_lsu_req.sv
cu_lsu_rsp.sv
cu_lsu_order.sv
cu_score.sv
cu_exec.sv
cu_show.sv
cu_icache.sv
cu_park.sv
cu_fetch.sv
cu_lsu.sv
cu_warps.sv
cu_save.sv
cu_restore.sv
cu.sv
cu_cluster.sv
# Queues.
job_state.sv
launch_unit.sv
harvest.sv
ctrl_unit.sv
copy_buffer.sv
copy_slots.sv
copy_read.sv
copy_write.sv
copy_list.sv
copy_issue.sv
copy_channel.sv
copy_turn.sv
copy_engine.sv
copy_regs.sv
counters.sv
counters_compact.sv
dev_regs.sv
# Device.
hmmu_top.sv
