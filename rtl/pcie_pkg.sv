// PCIe transaction-layer formats that the bus side of hmmu shares (PCI Express Base Specification,
// section 2.2): header fields as drawn there, DW0 in the most significant bits.
package pcie_pkg;

  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;

  // Header of a TLP: four DWs, DW0 in [127:96]. A 3-DW header leaves [31:0] zero.
  typedef logic [127:0] tlp_hdr_t;

  // Type[4:0] of the TLPs that hmmu knows.
  parameter logic [4:0] TypeMem      = 5'b00000;
  parameter logic [4:0] TypeMemLk    = 5'b00001;
  parameter logic [4:0] TypeIo       = 5'b00010;
  parameter logic [4:0] TypeCfg0     = 5'b00100;
  parameter logic [4:0] TypeCfg1     = 5'b00101;
  parameter logic [4:0] TypeCpl      = 5'b01010;
  parameter logic [4:0] TypeCplLk    = 5'b01011;
  parameter logic [4:0] TypeFetchAdd = 5'b01100;
  parameter logic [4:0] TypeSwap     = 5'b01101;
  parameter logic [4:0] TypeCas      = 5'b01110;

  typedef struct packed {
    logic       prefix;      // Fmt[2]: a TLP prefix
    logic       data;        // Fmt[1]: with data
    logic       four;        // Fmt[0]: 4-DW header
    logic [4:0] kind;        // Type
    logic       t9;
    logic [2:0] tc;
    logic       t8;
    logic       attr2;
    logic       ln;
    logic       th;
    logic       td;
    logic       ep;          // poisoned
    logic [1:0] attr;
    logic [1:0] at;
    logic [9:0] length;      // DWs, 0 = 1024
  } dw0_t;

  typedef struct packed {
    dw0_t        dw0;
    logic [15:0] requester;
    logic [7:0]  tag;
    logic [3:0]  last_be;
    logic [3:0]  first_be;
    logic [31:0] dw2;        // 4-DW: address 63:32; 3-DW: address 31:2, 00
    logic [31:0] dw3;        // 4-DW: address 31:2, 00
  } req_hdr_t;

  typedef enum logic [2:0] {
    CplSc  = 3'b000,
    CplUr  = 3'b001,
    CplCrs = 3'b010,
    CplCa  = 3'b100
  } cpl_status_e;

  typedef struct packed {
    dw0_t        dw0;
    logic [15:0] completer;
    logic [2:0]  status;
    logic        bcm;
    logic [11:0] byte_count; // bytes still to come, this TLP included; 0 = 4096
    logic [15:0] requester;
    logic [7:0]  tag;
    logic        rsvd;
    logic [6:0]  lower;      // lower address
    logic [31:0] none;
  } cpl_hdr_t;

  // One beat on the way to the transmit stream.
  typedef struct packed {
    logic             sop;
    logic             eop;
    tlp_hdr_t         hdr;     // with sop
    logic [DataW-1:0] data;
  } tlp_beat_t;

  // What is remembered of a read or AtomicOp of ours.
  typedef struct packed {
    logic        burst;      // of the copy engine, else of the fabric
    logic        cas;
    logic [3:0]  client;     // of the fabric
    logic [7:0]  mtag;       // tag of the fabric or burst port
    logic [54:0] addr;
    logic [9:0]  bytes;
    logic [4:0]  beat;       // beat of its burst at which it starts
  } tag_info_t;

  // What the completer must know to answer a request.
  typedef struct packed {
    logic        ok;         // with data; else Unsupported Request
    logic [11:0] addr;       // of the first byte
    logic [12:0] bytes;      // 1..4096
    logic [15:0] requester;
    logic [7:0]  tag;
    logic        t9;
    logic        t8;
    logic [2:0]  tc;
    logic [2:0]  attr;
  } cpl_meta_t;

  // A piece of a transfer that one TLP carries.
  typedef struct packed {
    logic [9:0] bytes;
    logic [7:0] dws;
    logic [3:0] first_be;
    logic [3:0] last_be;
    logic       last;        // the transfer ends with it
  } chunk_t;

  // Address of a memory or AtomicOp request.
  function automatic logic [63:0] req_addr(req_hdr_t h);
    return h.dw0.four ? {h.dw2, h.dw3[31:2], 2'b00} : {32'd0, h.dw2[31:2], 2'b00};
  endfunction

  // Length in DWs, 1..1024.
  function automatic logic [10:0] dw_length(dw0_t d);
    return {d.length == '0, d.length};
  endfunction

  // Header of a request of ours. The specification asks for 3 DWs below 4 GiB.
  function automatic tlp_hdr_t make_req(logic data, logic [4:0] kind, logic [7:0] dws,
                                        logic [15:0] bdf, logic [7:0] tag, logic [3:0] last_be,
                                        logic [3:0] first_be, logic [63:0] addr);
    logic four;
    four = addr[63:32] != '0;
    return {1'b0, data, four, kind, 8'd0, 6'd0, 2'd0, dws, bdf, tag, last_be, first_be,
            four ? {addr[63:2], 2'b00} : {addr[31:2], 2'b00, 32'd0}};
  endfunction

  // Largest piece of a transfer: 128 to 512 bytes, by a limit as the Device Control register encodes it.
  typedef enum logic [1:0] {
    Piece128 = 2'd0,
    Piece256 = 2'd1,
    Piece512 = 2'd2
  } piece_e;

  function automatic piece_e piece_size(logic [2:0] limit);
    unique case (limit)
      3'd0:    return Piece128;
      3'd1:    return Piece256;
      default: return Piece512;
    endcase
  endfunction

  // Bytes from an address to the next multiple of the piece's size.
  function automatic logic [9:0] piece_room(logic [8:0] addr, piece_e size);
    unique case (size)
      Piece128: return 10'd128 - {3'd0, addr[6:0]};
      Piece256: return 10'd256 - {2'd0, addr[7:0]};
      default:  return 10'd512 - {1'b0, addr};
    endcase
  endfunction

  // The first piece of `rem` bytes at `addr`: it ends at the next multiple of its size, so it fits the
  // limit, ends on an RCB boundary and never crosses 4 KiB. `whole`: what fits the limit with the DWs that it
  // touches goes in one piece, wherever it lies (the caller sees to the 4 KiB).
  function automatic chunk_t next_chunk(logic [8:0] addr, logic [12:0] rem, piece_e size, logic whole);
    chunk_t     c;
    logic [9:0] room;
    logic [9:0] stop;        // offset after the last byte, from the first DW
    logic [3:0] mask;
    room    = piece_room(addr, size);
    c.last  = whole ? rem + {11'd0, addr[1:0]} <= {3'd0, piece_room('0, size)} : rem <= {3'd0, room};
    c.bytes = c.last ? rem[9:0] : room;
    stop    = {8'd0, addr[1:0]} + c.bytes;
    c.dws   = 8'((stop + 10'd3) >> 2);
    unique case (stop[1:0])
      2'd1:    mask = 4'b0001;
      2'd2:    mask = 4'b0011;
      2'd3:    mask = 4'b0111;
      default: mask = 4'b1111;
    endcase
    c.first_be = 4'hf << addr[1:0];
    c.last_be  = mask;
    if (c.dws == 8'd1) begin
      c.first_be &= mask;
      c.last_be   = '0;
    end
    return c;
  endfunction

  // How many pieces a transfer of `len` bytes at `addr` has with `whole`.
  function automatic logic [2:0] whole_pieces(logic [8:0] addr, logic [9:0] len, piece_e size);
    logic [9:0] rest;        // behind the first piece of several
    rest = len - piece_room(addr, size);
    if (len + {8'd0, addr[1:0]} <= piece_room('0, size)) return 3'd1;
    unique case (size)
      Piece128: return 3'((rest + 10'd127) >> 7) + 3'd1;
      Piece256: return 3'((rest + 10'd255) >> 8) + 3'd1;
      default:  return 3'd2;
    endcase
  endfunction

  // Which unit a client number of the memory fabric belongs to, for error reports.
  function automatic client_e client_of(logic [3:0] number);
    unique case (number)
      4'd0:       return ClientWalker;
      4'd1:       return ClientCtrl;
      4'd2:       return ClientLaunch;
      4'd3:       return ClientFault;
      4'd4, 4'd6: return ClientCopy;
      4'd5:       return ClientMsix;
      4'd7:       return ClientHost;
      // Two ports of each compute unit.
      default:    return number[0] ? ClientCuFetch : ClientCuData;
    endcase
  endfunction

endpackage
