// What a table entry means for a walk: combinational, used in the cycle in which it is read.
//
// Source: RISC-V privileged specification, "Virtual Address Translation Process" steps 3 to 7, and
// "Svnapot". Not present: V clear, W without R, a reserved bit or encoding (bits 62:54; N in a pointer,
// in a larger leaf, or with ppn[3:0] other than 8; A, D or U in a pointer), a pointer at level 0, a larger
// leaf that is not aligned, a leaf at level 3.
module walk_check
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
(
  input  logic          valid_i,
  // verilator lint_off UNUSEDSIGNAL
  // G and the driver's bit mean nothing here.
  input  pte_t          pte_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic [1:0]    level_i,
  input  access_e       access_i,
  output logic          pointer_o,
  output logic          leaf_o,      // a leaf that allows the access
  output logic          touch_o,     // ... once A, or D, is set
  output fault_reason_e reason_o     // of neither
);

  logic leaf, ok, store, allowed;

  always_comb begin
    leaf      = 1'b0;
    ok        = 1'b0;
    store     = 1'b0;
    allowed   = 1'b0;
    pointer_o = 1'b0;
    leaf_o    = 1'b0;
    touch_o   = 1'b0;
    reason_o  = FaultReasonNotPresent;
    if (valid_i) begin
      leaf = pte_i.r || pte_i.x;
      ok   = pte_i.v && pte_i.revoked == '0 && pte_i.pbmt == '0 && (pte_i.r || !pte_i.w);
      if (!leaf) begin
        ok = ok && level_i != 2'd0 && !(pte_i.n || pte_i.a || pte_i.d || pte_i.u);
      end else begin
        unique case (level_i)
          2'd0:    ok = ok && (!pte_i.n || pte_i.ppn[3:0] == 4'd8);
          2'd1:    ok = ok && !pte_i.n && pte_i.ppn[8:0] == '0;
          2'd2:    ok = ok && !pte_i.n && pte_i.ppn[17:0] == '0;
          default: ok = 1'b0;
        endcase
      end
      store = access_i == AccessWrite || access_i == AccessAtomic;
      unique case (access_i)
        AccessRead:    allowed = pte_i.u && pte_i.r;
        AccessExecute: allowed = pte_i.u && pte_i.x;
        default:       allowed = pte_i.u && pte_i.w;
      endcase
      pointer_o = ok && !leaf;
      if (ok && leaf) begin
        if (!allowed) begin
          reason_o = FaultReasonProtection;
        end else if (access_i == AccessAtomic && !pte_i.ppn[PpnW-1] && !pte_i.atomic) begin
          reason_o = FaultReasonAtomic;
        end else begin
          leaf_o  = 1'b1;
          touch_o = !pte_i.a || (store && !pte_i.d);
        end
      end
    end
  end
endmodule
