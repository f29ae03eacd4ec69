// The verilated device behind one call per clock.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "rust/cxx.h"

#include "gear.h"
#include "words.h"

class Vhmmu_sim_top;
class VerilatedContext;
class VerilatedFstC;

namespace hmmu {

struct In;
struct Out;
struct Config;
struct HostSlots;

class Device {
public:
    explicit Device(const Config& config);
    ~Device();
    // All throw std::runtime_error when the design stops or a file cannot be written.
    void reset();
    void tick(const In& input, Out& output);
    // What the last step of a kind was about, step_t of mmu_probe, low word first.
    Words step(uint8_t kind) const;
    // Signals down to `depth` levels below hmmu_sim_top, all for 0.
    void trace_open(const std::string& path, uint32_t depth);
    void trace_close();
    // What the waves show of the host: how much, and what in each place. A text that is too long loses its end.
    HostSlots host_slots() const;
    void show_line(uint32_t slot, rust::Str text);
    void show_thread(uint32_t slot, rust::Str text);
    void show_page(uint32_t slot, uint16_t mm, uint64_t addr, uint8_t home);
    // Records what is shown now, between the last clock and the next; false if there is no room between them.
    bool trace_moment();
    uint64_t cycle() const { return cycle_; }
    // Where a wave is now, picoseconds.
    uint64_t time() const { return time_; }

private:
    void half(bool clock);

    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vhmmu_sim_top> top_;
    std::unique_ptr<VerilatedFstC> trace_;
    Gear gear_;
    uint64_t cycle_ = 0;
    uint64_t time_ = 0;
    // Moments recorded since the last edge.
    uint64_t moments_ = 0;
};

std::unique_ptr<Device> new_device(const Config& config);

}  // namespace hmmu
