// Types that the blocks of hmmu share.
//
// Rules that every user of these types keeps:
//   - Physical addresses are 56 bits; bit 55 set means VRAM, clear means system memory.
//   - valid must not wait for ready, and the payload is stable while valid waits.
//   - A memory client issues a request only when it can take the response: responses have no
//     back-pressure.
//   - A memory write is ordered when it is accepted (valid && ready): whatever is accepted later
//     anywhere in the device, for the same memory, is seen after it.
package hmmu_pkg;

  import hmmu_regs_pkg::*;

  parameter int unsigned CtxW   = 4;
  parameter int unsigned NumCtx = 1 << CtxW;
  parameter int unsigned VaW    = 48;
  parameter int unsigned VpnW   = 36;
  parameter int unsigned PaW    = 56;
  parameter int unsigned PpnW   = 44;
  // Data width of memory ports and of the TLP streams, in bits and bytes.
  parameter int unsigned DataW  = 128;
  parameter int unsigned StrbW  = DataW / 8;
  parameter int unsigned TagW   = 8;
  // Place of a thread among those of its job: a number below that of the hardware warps.
  parameter int unsigned PlaceW = 6;

  typedef logic [CtxW-1:0]  ctx_t;
  typedef logic [VpnW-1:0]  vpn_t;
  typedef logic [PpnW-1:0]  ppn_t;
  typedef logic [PlaceW-1:0] place_t;
  typedef logic [PaW-1:0]   pa_t;

  // ---------------------------------------------------------------- memory port (single beat)
  // Read:  returns the aligned 16 bytes that hold addr; strb and data are void, and need not be stable.
  // Write: strb names the byte lanes of the aligned 16 bytes (contiguous); no response.
  // Cas:   addr naturally aligned to 8 (cas32: 4) bytes. data[63:0] is the expected value and
  //        data[127:64] the new one (cas32: in bits 31:0 of each). Answers the old value in
  //        data[63:0]. The swap happened iff the old value equals the expected one.
  // Rmw:   VRAM only; addr as for Cas. data[63:0] is the operand, strb[4:0] the operation (bits 31:27
  //        of the RV64 instruction). Answers the old value in data[63:0].
  typedef enum logic [1:0] {
    MemRead  = 2'd0,
    MemWrite = 2'd1,
    MemCas   = 2'd2,
    MemRmw   = 2'd3
  } mem_op_e;

  typedef struct packed {
    mem_op_e           op;
    logic              cas32;
    pa_t               addr;
    logic [StrbW-1:0]  strb;
    logic [DataW-1:0]  data;
    logic [TagW-1:0]   tag;
  } mem_req_t;

  // Responses of one client may come in any order between tags.
  typedef struct packed {
    logic [TagW-1:0]   tag;
    logic              err;    // link or memory error: data is void
    logic [DataW-1:0]  data;
  } mem_rsp_t;

  // ---------------------------------------------------------------- burst port (copy engine to link)
  // A burst reads or writes 1..512 bytes of system memory in at most 32 beats and does not cross a 4 KiB page.
  // Data beats are address-aligned: beat 0 holds the aligned 16 bytes of the first byte, lane n is
  // the byte at (address & ~15) + n.
  typedef struct packed {
    pa_t         addr;
    logic [9:0]  len;      // bytes
    logic [7:0]  tag;
  } burst_t;

  typedef struct packed {
    logic [7:0]        tag;
    logic              err;
    logic              last;   // the last beat of this tag that will come
    logic [4:0]        beat;   // index of the beat within the burst, from 0
    logic [StrbW-1:0]  strb;   // lanes that this beat brings
    logic [DataW-1:0]  data;
  } burst_rsp_t;

  // ---------------------------------------------------------------- address translation
  typedef enum logic [1:0] {
    Page4K  = 2'd0,
    Page64K = 2'd1,   // Svnapot
    Page2M  = 2'd2,
    Page1G  = 2'd3
  } page_size_e;

  typedef struct packed {
    ctx_t    ctx;
    vpn_t    vpn;
    access_e access;
    client_e client;
  } miss_t;

  typedef struct packed {
    ctx_t       ctx;
    vpn_t       vpn;      // as asked; the bits within a larger page are void
    ppn_t       ppn;      // the bits within a larger page are zero
    page_size_e size;
    logic       r;
    logic       w;
    logic       x;
    logic       d;        // stores may go ahead: D is set in the table
    logic       atomic;   // atomics may go ahead (VRAM page, or the entry allows them)
  } xlat_t;

  // log2 of the 4 KiB pages of a page.
  function automatic logic [4:0] page_order(page_size_e size);
    unique case (size)
      Page4K:  return 5'd0;
      Page64K: return 5'd4;
      Page2M:  return 5'd9;
      default: return 5'd18;
    endcase
  endfunction

  // One event per cycle, from the MMU to every translated client, in one order for all.
  //   Fill:       a translation; answers every miss it satisfies.
  //   Invalidate: drop all translations of ctx that overlap [lo, hi]; parked misses stay.
  //   Retry:      (replay) misses of ctx in [lo, hi] are asked again.
  //   Cancel:     the misses of ctx for page lo with `access` end with error `code`.
  //   Stop:       drop all translations and misses of ctx; its accesses end.
  typedef enum logic [2:0] {
    EvNone       = 3'd0,
    EvFill       = 3'd1,
    EvInvalidate = 3'd2,
    EvRetry      = 3'd3,
    EvCancel     = 3'd4,
    EvStop       = 3'd5
  } mmu_ev_e;

  typedef struct packed {
    mmu_ev_e    ev;
    ctx_t       ctx;
    vpn_t       lo;        // first page
    vpn_t       hi;        // last page, inclusive
    access_e    access;
    logic [7:0] code;
    xlat_t      xlat;
  } mmu_event_t;

  typedef enum logic [1:0] {
    LkpHit  = 2'd0,
    LkpMiss = 2'd1,   // parked in a slot: wait for its wake
    LkpFull = 2'd2    // no slot is free: ask again after any wake
  } lookup_e;

  // Does a translation allow an access at once?
  function automatic logic xlat_allows(xlat_t x, access_e access);
    unique case (access)
      AccessRead:    return x.r;
      AccessWrite:   return x.w && x.d;
      AccessAtomic:  return x.w && x.d && x.atomic;
      AccessExecute: return x.x;
      default:       return 1'b0;
    endcase
  endfunction

  // The bits of a page number that tell pages of a size apart; the others count within the page.
  function automatic vpn_t page_tag_mask(page_size_e size);
    unique case (size)
      Page4K:  return 36'hf_ffff_ffff;
      Page64K: return 36'hf_ffff_fff0;
      Page2M:  return 36'hf_ffff_fe00;
      default: return 36'hf_fffc_0000;
    endcase
  endfunction

  // Does a translation cover a page?
  function automatic logic xlat_covers(xlat_t x, ctx_t ctx, vpn_t vpn);
    return x.ctx == ctx && ((x.vpn ^ vpn) & page_tag_mask(x.size)) == '0;
  endfunction

  // Does a translation overlap the pages lo..hi?
  function automatic logic xlat_overlaps(xlat_t x, vpn_t lo, vpn_t hi);
    return (x.vpn | ~page_tag_mask(x.size)) >= lo && (x.vpn & page_tag_mask(x.size)) <= hi;
  endfunction

  // The pages around one that the entry of a level, read for it, stands for; never less than 2 MiB.
  function automatic vpn_t walk_reach(logic [1:0] level);
    unique case (level)
      2'd3:    return 36'h7ff_ffff;
      2'd2:    return 36'h3_ffff;
      default: return 36'h1ff;
    endcase
  endfunction

  // A leaf with A, and for stores D, set.
  function automatic pte_t pte_touched(pte_t pte, access_e access);
    pte_t t;
    t   = pte;
    t.a = 1'b1;
    if (access == AccessWrite || access == AccessAtomic) t.d = 1'b1;
    return t;
  endfunction

  // Limits on the translation's means (register XLAT_LIMITS).
  typedef struct packed {
    logic       merge_off;   // one walk for each request, even of a page that is being walked
    logic       l2_off;      // every L2 lookup misses
    logic       cache_off;   // every walk starts at the root
    logic [5:0] walkers;     // walk slots in use; 0: all
  } xlat_limits_t;

  // ---------------------------------------------------------------- control
  typedef struct packed {
    logic      log;        // D bits that are set go to the dirty log
    ctx_mode_e mode;
    ppn_t      root;
  } ctx_cfg_t;

  // A command of the control ring to the MMU, one at a time.
  typedef struct packed {
    ctrl_op_e   op;        // CtxSet, Invalidate, Replay, Cancel, Stop
    ctx_t       ctx;
    vpn_t       lo;        // first page
    vpn_t       hi;        // last page, inclusive
    ctx_cfg_t   cfg;       // CtxSet
    access_e    access;    // Cancel
    logic [7:0] code;      // Cancel
  } mmu_cmd_t;

  // Ring registers, as dev_regs holds them.
  typedef struct packed {
    logic [63:0] base;
    logic [3:0]  size_log2;
    logic        reset;    // pulse: size was written, both indices restart
    logic [31:0] index;    // written by the host: producer (consumer for the fault ring and the dirty log)
  } ring_cfg_t;

  // ---------------------------------------------------------------- threads
  typedef struct packed {
    logic        restore;     // a saved one: its state follows word by word; entry is where it stands
    place_t      place;       // whose stack it has
    logic [3:0]  job;         // job slot
    ctx_t        ctx;
    logic [63:0] entry;
    logic [63:0] arg;
    logic [31:0] index;
    logic [31:0] threads;
    logic [63:0] stack_base;
    logic [63:0] stack_size;
  } thread_t;

  typedef struct packed {
    place_t      place;
    logic [3:0]  job;
    logic [63:0] result;
    logic [7:0]  status;      // enum JobStatus or a cancel code
    logic [47:0] info;
  } thread_end_t;

endpackage
