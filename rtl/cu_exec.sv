// Execute stage of the compute unit (S3): what an instruction gives, and what becomes of its warp.
// Combinational.
//
// In order of precedence: a warp that is killed ends when it would be issued next; an instruction that
// must be alone (atomics, fences, ends of the thread, errors) waits for its warp's accesses; one whose
// registers were not in is read again when they are; an access waits for room; else it is done.
module cu_exec
  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;
  import cu_pkg::*;
(
  input  logic        valid_i,
  input  logic        bad_pc_i,       // no instruction: the program counter left the address space
  input  warp_t       warp_i,
  input  dec_t        dec_i,
  input  logic [63:0] rs1_i,
  input  logic [63:0] rs2_i,
  input  logic [47:0] pc_i,
  input  logic        dead_i,
  // Scoreboard.
  input  logic        hazard_i,
  input  logic        regs_in_i,
  input  logic        active_i,
  input  logic        full_i,
  output logic        stall_o,
  output logic        stall_regs_o,
  output logic        stall_all_o,
  input  logic        done_now_i,     // a result has come that the others do not show yet: the warp is not put down
  // CSRs.
  input  logic [63:0] time_i,
  input  logic [63:0] instret_i,
  input  logic [31:0] index_i,
  input  logic [31:0] threads_i,
  input  place_t      place_i,
  // What is done.
  output step_t       step_o,
  output logic        run_alu_o,
  output logic        run_mem_o,
  output logic        run_muldiv_o,
  output logic [63:0] sum_o,          // address of an access or jump
  output logic [63:0] result_o
);

  logic [63:0] imm, pc, sum, alu_y;
  logic        eq, lt, ltu, condition, taken, jump_bad, alone;

  assign imm   = {{32{dec_i.imm[31]}}, dec_i.imm};
  assign pc    = {{16{pc_i[47]}}, pc_i};
  assign sum   = (dec_i.base_pc ? pc : rs1_i) + imm;
  assign sum_o = sum;

  cu_alu u_alu (
    .op_i   (dec_i.alu),
    .word_i (dec_i.word),
    .a_i    (rs1_i),
    .b_i    (dec_i.use_imm ? imm : rs2_i),
    .y_o    (alu_y),
    .eq_o   (eq),
    .lt_o   (lt),
    .ltu_o  (ltu)
  );

  always_comb begin
    unique case (dec_i.result)
      ResSum:  result_o = sum;
      ResImm:  result_o = imm;
      ResLink: result_o = pc + 64'd4;
      ResCsr: begin
        unique case (dec_i.csr)
          CsrInstret: result_o = instret_i;
          CsrIndex:   result_o = {32'b0, index_i};
          CsrThreads: result_o = {32'b0, threads_i};
          CsrPlace:   result_o = 64'(place_i);
          default:    result_o = time_i;
        endcase
      end
      default: result_o = alu_y;
    endcase
    unique case (dec_i.funct3[2:1])
      2'd0:    condition = eq;
      2'd2:    condition = lt;
      default: condition = ltu;
    endcase
    taken    = dec_i.jump || (dec_i.branch && condition != dec_i.funct3[0]);
    jump_bad = taken && (sum[1] || !canonical(sum));
  end

  assign alone = bad_pc_i || dec_i.alone;

  always_comb begin
    step_o = '{warp: warp_i, step: StepNext, target: {sum[47:1], 1'b0}, set_pc: 1'b0,
               status: 8'(JobStatusOk), info: InfoNone, result: rs1_i};
    run_alu_o    = 1'b0;
    run_mem_o    = 1'b0;
    run_muldiv_o = 1'b0;
    stall_o      = 1'b0;
    stall_regs_o = 1'b0;
    stall_all_o  = 1'b0;
    if (dead_i) begin
      // Ready again: it ends there instead of being issued.
      step_o.step = StepNext;
    end else if (alone && active_i) begin
      step_o.step = StepStall;
      stall_o     = valid_i;
      stall_all_o = 1'b1;
    end else if (!bad_pc_i && hazard_i) begin
      step_o.step  = regs_in_i ? StepAgain : StepStall;
      stall_o      = valid_i && !regs_in_i;
      stall_regs_o = 1'b1;
    end else if (bad_pc_i) begin
      step_o.step   = StepEnd;
      step_o.status = 8'(JobStatusBadAddress);
      step_o.info   = InfoPc;
    end else begin
      unique case (dec_i.unit)
        UnitAlu: begin
          if (jump_bad && active_i) begin
            step_o.step = StepStall;
            stall_o     = valid_i;
            stall_all_o = 1'b1;
          end else begin
            run_alu_o = valid_i;
            if (taken) begin
              step_o.step   = StepJump;
              step_o.set_pc = 1'b1;
              if (jump_bad) begin
                step_o.step   = StepEnd;
                step_o.status = sum[1] ? 8'(JobStatusMisaligned) : 8'(JobStatusBadAddress);
                step_o.info   = InfoPc;
              end
            end
          end
        end
        UnitMem: begin
          if (full_i) begin
            step_o.step = StepStall;
            stall_o     = valid_i;
          end else begin
            run_mem_o   = valid_i;
            step_o.step = dec_i.mem.kind == MemLoad ? StepNext : StepWait;
          end
        end
        UnitMul, UnitDiv: begin
          run_muldiv_o = valid_i;
          step_o.step  = StepWait;
        end
        UnitEcall: step_o.step = StepEnd;
        default: begin
          step_o.step   = StepEnd;
          step_o.status = dec_i.unit == UnitBreak ? 8'(JobStatusBreakpoint) : 8'(JobStatusIllegal);
          step_o.info   = InfoPc;
        end
      endcase
    end
    if (step_o.step == StepStall && done_now_i) begin
      step_o.step = StepAgain;
      stall_o     = 1'b0;
    end
  end

  // The register numbers were used before; what a memory operation is comes later.
  logic unused;
  assign unused = ^{dec_i.rs1, dec_i.rs2, dec_i.rd, dec_i.rd_we, dec_i.fence_i, dec_i.mem};

endmodule
