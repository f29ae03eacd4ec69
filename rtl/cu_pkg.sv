// Types inside the compute unit.
package cu_pkg;

  import hmmu_regs_pkg::*;

  // Index of a hardware warp in its unit: a compute unit has 1 to 16 of them.
  parameter int unsigned WarpW = 4;
  // Number of a hardware warp in the device.
  parameter int unsigned WarpNumW = 7;
  // Most that all units together add to a counter in a cycle fits in these bits.
  parameter int unsigned CntW = 4;
  typedef logic [WarpW-1:0] warp_t;

  // A warp has up to so many loads, or loads and one store, under way.
  parameter int unsigned AccW     = 2;
  parameter int unsigned WarpAccs = 1 << AccW;
  typedef logic [WarpAccs-1:0] slots_t;

  // An access of a warp, and its tag in memory.
  typedef struct packed {
    warp_t           warp;
    logic [AccW-1:0] slot;
  } acc_t;

  // Which part executes an instruction.
  typedef enum logic [2:0] {
    UnitAlu     = 3'd0,
    UnitMem     = 3'd1,
    UnitMul     = 3'd2,
    UnitDiv     = 3'd3,
    UnitEcall   = 3'd4,
    UnitBreak   = 3'd5,
    UnitIllegal = 3'd6
  } unit_e;

  typedef enum logic [3:0] {
    AluAdd  = 4'd0,
    AluSub  = 4'd1,
    AluSll  = 4'd2,
    AluSlt  = 4'd3,
    AluSltu = 4'd4,
    AluXor  = 4'd5,
    AluSrl  = 4'd6,
    AluSra  = 4'd7,
    AluOr   = 4'd8,
    AluAnd  = 4'd9
  } alu_op_e;

  // What goes to rd when the instruction ends in the execute stage.
  typedef enum logic [2:0] {
    ResAlu  = 3'd0,
    ResSum  = 3'd1,   // program counter or rs1, plus the immediate
    ResImm  = 3'd2,
    ResLink = 3'd3,   // address of the next instruction
    ResCsr  = 3'd4
  } result_e;

  typedef enum logic [2:0] {
    CsrTime    = 3'd0,   // cycle and time
    CsrInstret = 3'd1,
    CsrIndex   = 3'd2,
    CsrThreads = 3'd3,
    CsrPlace   = 3'd4
  } csr_e;

  typedef enum logic [2:0] {
    MemLoad  = 3'd0,
    MemStore = 3'd1,
    MemLr    = 3'd2,
    MemSc    = 3'd3,
    MemAmo   = 3'd4
  } mem_kind_e;

  // As in instruction bits 31:27.
  typedef enum logic [4:0] {
    AmoAdd  = 5'b00000,
    AmoSwap = 5'b00001,
    AmoXor  = 5'b00100,
    AmoOr   = 5'b01000,
    AmoAnd  = 5'b01100,
    AmoMin  = 5'b10000,
    AmoMax  = 5'b10100,
    AmoMinu = 5'b11000,
    AmoMaxu = 5'b11100
  } amo_e;

  typedef struct packed {
    mem_kind_e   kind;
    amo_e        amo;
    logic [1:0]  size;       // log2 of the bytes
    logic        zext;       // loads: do not extend the sign
  } mem_op_t;

  typedef struct packed {
    unit_e       unit;
    alu_op_e     alu;
    logic        word;       // a W form
    result_e     result;
    logic        use_imm;    // second operand of the ALU
    logic        base_pc;    // the sum starts at the program counter, else at rs1
    logic        jump;
    logic        branch;
    logic        fence_i;
    logic        alone;      // waits for all earlier accesses of its warp
    logic [2:0]  funct3;     // condition of a branch, operation of multiply and divide
    csr_e        csr;
    mem_op_t     mem;
    logic [31:0] imm;
    logic [4:0]  rs1;
    logic [4:0]  rs2;
    logic [4:0]  rd;
    logic        rd_we;
  } dec_t;

  // A data access as it leaves the execute stage.
  typedef struct packed {
    warp_t       warp;
    mem_op_t     op;
    logic [4:0]  rd;
    logic        rd_we;
    logic [63:0] va;
    logic [63:0] data;
    logic        failed;     // a saved one that had failed with `code`
    logic [7:0]  code;
  } lsu_req_t;

  // The accesses of a held warp, as they are saved: oldest first, two of four at a time.
  typedef struct packed {
    logic [2:0]   count;
    logic [3:0]   failed;
    logic [7:0]   code;      // of the oldest one that has failed
    logic [63:0]  operand;
    access_save_t first;
    access_save_t second;
  } lsu_snap_t;

  // A late result on its way to the register file. A posted one (a load's) lets no warp go.
  typedef struct packed {
    warp_t       warp;
    logic [AccW-1:0] slot;    // of an access
    logic        posted;
    logic [4:0]  rd;
    logic        rd_we;
    logic [63:0] data;
  } wb_t;

  // What holds the address that a thread's end reports.
  typedef enum logic [1:0] {
    InfoNone = 2'd0,
    InfoPc   = 2'd1,
    InfoVa   = 2'd2
  } info_e;

  // What the execute stage makes of a warp.
  typedef enum logic [2:0] {
    StepNext  = 3'd0,   // ready for the next instruction
    StepJump  = 3'd1,   // ready, at `target`
    StepWait  = 3'd2,   // a unit will make it ready
    StepEnd   = 3'd3,   // the thread ends with `status`
    StepAgain = 3'd4,   // ready for the same instruction
    StepStall = 3'd5    // the same instruction, when loads have come in
  } step_e;

  typedef struct packed {
    warp_t       warp;
    step_e       step;
    logic [47:0] target;      // StepJump, and StepEnd at a bad jump
    logic        set_pc;
    logic [7:0]  status;      // StepEnd
    info_e       info;        // StepEnd
    logic [63:0] result;      // StepEnd
  } step_t;

  // Number of the bit that is set.
  function automatic acc_t acc_index(logic [63:0] one_hot);
    return {(one_hot & 64'hffff_ffff_0000_0000) != '0, (one_hot & 64'hffff_0000_ffff_0000) != '0,
            (one_hot & 64'hff00_ff00_ff00_ff00) != '0, (one_hot & 64'hf0f0_f0f0_f0f0_f0f0) != '0,
            (one_hot & 64'hcccc_cccc_cccc_cccc) != '0, (one_hot & 64'haaaa_aaaa_aaaa_aaaa) != '0};
  endfunction

  // Bits 63:47 must be equal in an address that Sv48 can translate.
  function automatic logic canonical(logic [63:0] va);
    return va[63:47] == '0 || va[63:47] == '1;
  endfunction

endpackage
