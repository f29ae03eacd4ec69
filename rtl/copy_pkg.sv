// Types of the copy engine's blocks.
package copy_pkg;

  import hmmu_pkg::*;
  import hmmu_regs_pkg::*;

  parameter int unsigned ChanW = 3;

  typedef logic [ChanW-1:0] chan_t;

  // One burst: at most 512 bytes and, but for one that is held, 32 beats of the source, within one page on both
  // sides, translated for good.
  typedef struct packed {
    chan_t       chan;   // whose it is
    logic [63:0] src;    // physical address; the pattern of a fill
    pa_t         dst;
    logic [9:0]  len;    // bytes
    logic        fill;
    logic        poll;   // what is read is shown to the channel, and written nowhere
    logic        xlat;   // a side was translated: an invalidation waits for this burst
    logic        held;   // the channel's burst before has read the first beat of this one's source
    logic        more;   // the channel's next burst begins in the last beat of this one's source: read it whole
  } copy_slot_t;

  // Lookup in the L1 TLB.
  typedef struct packed {
    ctx_t    ctx;
    vpn_t    vpn;
    access_e access;
  } copy_lkp_t;

  // End of a descriptor, for its Completion.
  typedef struct packed {
    logic        irq;
    logic [63:0] addr;
    logic [63:0] value;
    logic [63:0] result;
    logic [7:0]  status;
    logic [47:0] info;
  } copy_post_t;

  // What the registers tell a channel.
  typedef struct packed {
    logic       cancel;    // pulse: the descriptor at work ends
    logic       suspend;
    logic       halt;      // an error stops the channel behind its descriptor
    logic [1:0] prio;
  } copy_ctl_t;

  // What the channel tells the registers.
  typedef struct packed {
    logic lists;           // it does Lists
    logic polls;           // a semaphore has not the value yet
    logic parks;           // waits for a translation
    logic quiet;           // no burst under way
    logic stopped;
    logic idle;
  } copy_sta_t;

  // Error record: a pulse.
  typedef struct packed {
    logic       valid;
    logic [7:0] status;    // enum JobStatus or a cancel code
    pa_t        addr;
  } copy_rec_t;

  // Beats of 16 bytes that `len` bytes from a given offset touch: 1..33.
  function automatic logic [5:0] copy_beats(logic [3:0] offset, logic [9:0] len);
    logic [9:0] last = {6'd0, offset} + len + 10'd15;
    return last[9:4];
  endfunction

endpackage
