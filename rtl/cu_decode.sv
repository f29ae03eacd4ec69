// Instruction decoder of the compute unit: RV64I, M, A, FENCE.I and reads of user counters.
//
// Combinational. Registers that an instruction does not read are x0. Everything that is not one of these instructions, compressed ones included,
// decodes to UnitIllegal.
module cu_decode
  import cu_pkg::*;
(
  input  logic [31:0] instr_i,
  output dec_t        dec_o
);

  typedef enum logic [6:0] {
    OpLoad   = 7'b0000011,
    OpFence  = 7'b0001111,
    OpImm    = 7'b0010011,
    OpAuipc  = 7'b0010111,
    OpImm32  = 7'b0011011,
    OpStore  = 7'b0100011,
    OpAmo    = 7'b0101111,
    OpReg    = 7'b0110011,
    OpLui    = 7'b0110111,
    OpReg32  = 7'b0111011,
    OpBranch = 7'b1100011,
    OpJalr   = 7'b1100111,
    OpJal    = 7'b1101111,
    OpSystem = 7'b1110011
  } opcode_e;

  logic [2:0] funct3;
  logic [6:0] funct7;
  assign funct3 = instr_i[14:12];
  assign funct7 = instr_i[31:25];

  logic [31:0] imm_i, imm_s, imm_b, imm_u, imm_j;
  assign imm_i = {{20{instr_i[31]}}, instr_i[31:20]};
  assign imm_s = {{20{instr_i[31]}}, instr_i[31:25], instr_i[11:7]};
  assign imm_b = {{20{instr_i[31]}}, instr_i[7], instr_i[30:25], instr_i[11:8], 1'b0};
  assign imm_u = {instr_i[31:12], 12'b0};
  assign imm_j = {{12{instr_i[31]}}, instr_i[19:12], instr_i[20], instr_i[30:21], 1'b0};

  // ALU operation of OP and OP-IMM; `alt` is instruction bit 30.
  function automatic alu_op_e alu_of(logic [2:0] f3, logic alt);
    unique case (f3)
      3'd0:    return alt ? AluSub : AluAdd;
      3'd1:    return AluSll;
      3'd2:    return AluSlt;
      3'd3:    return AluSltu;
      3'd4:    return AluXor;
      3'd5:    return alt ? AluSra : AluSrl;
      3'd6:    return AluOr;
      default: return AluAnd;
    endcase
  endfunction

  logic bad;
  logic writes, reads1, reads2;

  always_comb begin
    dec_o         = dec_t'('0);
    dec_o.unit    = UnitAlu;
    dec_o.alu     = AluAdd;
    dec_o.result  = ResAlu;
    dec_o.funct3  = funct3;
    dec_o.csr     = CsrTime;
    dec_o.imm     = imm_i;
    dec_o.rs1     = instr_i[19:15];
    dec_o.rs2     = instr_i[24:20];
    dec_o.rd      = instr_i[11:7];
    dec_o.mem.kind = MemLoad;
    dec_o.mem.amo  = AmoAdd;
    dec_o.mem.size = funct3[1:0];
    dec_o.mem.zext = funct3[2];
    bad    = 1'b0;
    writes = 1'b0;
    reads1 = 1'b0;
    reads2 = 1'b0;

    unique case (instr_i[6:0])
      OpLui: begin
        dec_o.imm    = imm_u;
        dec_o.result = ResImm;
        writes       = 1'b1;
      end
      OpAuipc: begin
        dec_o.imm     = imm_u;
        dec_o.base_pc = 1'b1;
        dec_o.result  = ResSum;
        writes        = 1'b1;
      end
      OpJal: begin
        dec_o.imm     = imm_j;
        dec_o.base_pc = 1'b1;
        dec_o.jump    = 1'b1;
        dec_o.result  = ResLink;
        writes        = 1'b1;
      end
      OpJalr: begin
        dec_o.jump   = 1'b1;
        dec_o.result = ResLink;
        writes       = 1'b1;
        reads1       = 1'b1;
        bad          = funct3 != 3'd0;
      end
      OpBranch: begin
        dec_o.imm     = imm_b;
        dec_o.base_pc = 1'b1;
        dec_o.branch  = 1'b1;
        reads1        = 1'b1;
        reads2        = 1'b1;
        bad           = funct3 == 3'd2 || funct3 == 3'd3;
      end
      OpLoad: begin
        dec_o.unit = UnitMem;
        writes     = 1'b1;
        reads1     = 1'b1;
        bad        = funct3 == 3'd7;
      end
      OpStore: begin
        dec_o.unit     = UnitMem;
        dec_o.mem.kind = MemStore;
        dec_o.imm      = imm_s;
        reads1         = 1'b1;
        reads2         = 1'b1;
        bad            = funct3[2];
      end
      OpImm: begin
        dec_o.use_imm = 1'b1;
        writes        = 1'b1;
        reads1        = 1'b1;
        dec_o.alu     = alu_of(funct3, instr_i[30] && funct3 == 3'd5);
        if (funct3 == 3'd1)      bad = instr_i[31:26] != 6'b000000;
        else if (funct3 == 3'd5) bad = {instr_i[31], instr_i[29:26]} != 5'b00000;
      end
      OpImm32: begin
        dec_o.use_imm = 1'b1;
        dec_o.word    = 1'b1;
        writes        = 1'b1;
        reads1        = 1'b1;
        dec_o.alu     = alu_of(funct3, instr_i[30] && funct3 == 3'd5);
        unique case (funct3)
          3'd0:    bad = 1'b0;
          3'd1:    bad = funct7 != 7'b0000000;
          3'd5:    bad = {funct7[6], funct7[4:0]} != 6'b000000;
          default: bad = 1'b1;
        endcase
      end
      OpReg, OpReg32: begin
        dec_o.word = instr_i[3];
        writes     = 1'b1;
        reads1     = 1'b1;
        reads2     = 1'b1;
        dec_o.alu  = alu_of(funct3, instr_i[30]);
        if (funct7 == 7'b0000001) begin
          dec_o.unit = funct3[2] ? UnitDiv : UnitMul;
          bad        = instr_i[3] && (funct3 == 3'd1 || funct3 == 3'd2 || funct3 == 3'd3);
        end else begin
          bad = {funct7[6], funct7[4:0]} != 6'b000000
             || (funct7[5] && funct3 != 3'd0 && funct3 != 3'd5)
             || (instr_i[3] && funct3 != 3'd0 && funct3 != 3'd1 && funct3 != 3'd5);
        end
      end
      OpAmo: begin
        dec_o.unit = UnitMem;
        dec_o.imm  = '0;
        dec_o.alone = 1'b1;
        writes     = 1'b1;
        reads1     = 1'b1;
        reads2     = 1'b1;
        bad        = funct3 != 3'd2 && funct3 != 3'd3;
        dec_o.mem.zext = 1'b0;
        unique case (instr_i[31:27])
          5'b00010: begin
            dec_o.mem.kind = MemLr;
            if (instr_i[24:20] != 5'd0) bad = 1'b1;
          end
          5'b00011: dec_o.mem.kind = MemSc;
          AmoAdd, AmoSwap, AmoXor, AmoOr, AmoAnd, AmoMin, AmoMax, AmoMinu, AmoMaxu: begin
            dec_o.mem.kind = MemAmo;
            dec_o.mem.amo  = amo_e'(instr_i[31:27]);
          end
          default: bad = 1'b1;
        endcase
      end
      OpFence: begin
        dec_o.fence_i = funct3 == 3'd1;
        dec_o.alone   = 1'b1;
        bad           = funct3[2:1] != 2'b00;
      end
      OpSystem: begin
        if (instr_i == 32'h0000_0073) begin
          dec_o.unit  = UnitEcall;
          dec_o.rs1   = 5'd10;   // a0 is the thread's result
          dec_o.alone = 1'b1;
          reads1      = 1'b1;
        end else if (instr_i == 32'h0010_0073) begin
          dec_o.unit  = UnitBreak;
          dec_o.alone = 1'b1;
        end else begin
          // Only reads: CSRRS and CSRRC (or their immediate forms) that set or clear nothing.
          dec_o.result = ResCsr;
          writes       = 1'b1;
          bad          = !funct3[1] || instr_i[19:15] != 5'd0;
          unique case (instr_i[31:20])
            12'hc00, 12'hc01: dec_o.csr = CsrTime;
            12'hc02: dec_o.csr = CsrInstret;
            12'hcc0: dec_o.csr = CsrIndex;
            12'hcc1: dec_o.csr = CsrThreads;
            12'hcc2: dec_o.csr = CsrPlace;
            default: bad = 1'b1;
          endcase
        end
      end
      default: bad = 1'b1;
    endcase

    dec_o.rd_we = writes && instr_i[11:7] != 5'd0;
    if (!reads1) dec_o.rs1 = '0;
    if (!reads2) dec_o.rs2 = '0;
    if (bad) begin
      dec_o.unit    = UnitIllegal;
      dec_o.alone   = 1'b1;
      dec_o.fence_i = 1'b0;
      dec_o.jump    = 1'b0;
      dec_o.branch  = 1'b0;
    end
  end

endmodule
