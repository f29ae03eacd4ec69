// 128 bits of a port as two words, low first.
#pragma once
#include <array>
#include <cstdint>

namespace hmmu {

using Words = std::array<uint64_t, 2>;

// `at`: the 32-bit word of the port at which they begin.
template <class Wide>
void put(Wide& port, const Words& value, int at = 0) {
    port[at] = uint32_t(value[0]);
    port[at + 1] = uint32_t(value[0] >> 32);
    port[at + 2] = uint32_t(value[1]);
    port[at + 3] = uint32_t(value[1] >> 32);
}

template <class Wide>
Words take(const Wide& port, int at = 0) {
    return {port[at] | uint64_t(port[at + 1]) << 32, port[at + 2] | uint64_t(port[at + 3]) << 32};
}

}  // namespace hmmu
