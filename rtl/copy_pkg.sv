// Types of the copy engine's blocks.
package copy_pkg;

  import hmmu_pkg::*;

  // One burst: at most 256 bytes, within one page on both sides, translated for good.
  typedef struct packed {
    pa_t        src;    // void for a fill
    pa_t        dst;
    logic [8:0] len;    // bytes, 1..256
    logic       fill;
    logic       xlat;   // a side was translated: an invalidation waits for this burst
  } copy_slot_t;

  // Beats of 16 bytes that `len` bytes from a given offset touch: 1..17.
  function automatic logic [4:0] copy_beats(logic [3:0] offset, logic [8:0] len);
    logic [8:0] last = {5'd0, offset} + len + 9'd15;
    return last[8:4];
  endfunction

endpackage
