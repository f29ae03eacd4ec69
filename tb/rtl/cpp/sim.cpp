#include "sim.h"

#include <array>
#include <fstream>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "Vhmmu_sim_top.h"
#include "hmmu-rtl/src/ffi.rs.h"
#include "verilated.h"
#include "verilated_fst_c.h"

namespace hmmu {
namespace {

// Clock period in the wave file's time unit (250 MHz, picoseconds).
constexpr uint64_t kHalfPeriod = 2000;
constexpr int kResetCycles = 8;

// The texts of hmmu_sim_top.
using Text = std::remove_reference_t<decltype(std::declval<Vhmmu_sim_top>().host_log0_i)>;

std::array<Text*, 8> lines(Vhmmu_sim_top& t) {
    return {&t.host_log0_i, &t.host_log1_i, &t.host_log2_i, &t.host_log3_i,
            &t.host_log4_i, &t.host_log5_i, &t.host_log6_i, &t.host_log7_i};
}

std::array<Text*, 6> threads(Vhmmu_sim_top& t) {
    return {&t.host_thread0_i, &t.host_thread1_i, &t.host_thread2_i,
            &t.host_thread3_i, &t.host_thread4_i, &t.host_thread5_i};
}

// The last character in the lowest byte.
void put_text(Text& port, const rust::Str& text) {
    constexpr size_t kBytes = sizeof(Text);
    const size_t length = text.size() < kBytes ? text.size() : kBytes;
    for (size_t word = 0; word < kBytes / 4; ++word) port[word] = 0;
    for (size_t k = 0; k < length; ++k) {
        const size_t at = length - 1 - k;
        port[at / 4] |= uint32_t(uint8_t(text.data()[k])) << (8 * (at % 4));
    }
}

}  // namespace

Device::Device(const Config& config)
    : context_(std::make_unique<VerilatedContext>()) {
    Verilated::threadContextp(context_.get());
    context_->traceEverOn(true);
    top_ = std::make_unique<Vhmmu_sim_top>(context_.get(), "hmmu");
    top_->cfg_bdf_i = config.bdf;
    top_->cfg_mps_i = config.mps;
    top_->cfg_mrrs_i = config.mrrs;
    top_->cfg_rcb_i = config.rcb128;
    top_->cfg_msix_en_i = 1;
    top_->cfg_bar0_i = config.bar0;
    top_->cfg_bar2_i = config.bar2;
    top_->vram_size_i = config.vram_size;
}

Device::~Device() {
    Verilated::threadContextp(context_.get());
    trace_close();
    top_->final();
}

void Device::half(bool clock) {
    top_->clk_i = clock;
    top_->eval();
    if (trace_) trace_->dump(time_);
    time_ += kHalfPeriod;
    moments_ = 0;
}

void Device::reset() {
    Verilated::threadContextp(context_.get());
    top_->rst_ni = 0;
    for (int i = 0; i < kResetCycles; ++i) {
        half(false);
        half(true);
    }
    top_->rst_ni = 1;
    gear_.reset();
    cycle_ = 0;
}

void Device::tick(const In& in, Out& out) {
    Verilated::threadContextp(context_.get());
    Vhmmu_sim_top& t = *top_;
    gear_.drive(t, in);
    t.vram_req_ready_i = in.vram_req_ready;
    t.vram_rsp_valid_i = in.vram_rsp_valid;
    if (in.vram_rsp_valid) put(t.vram_rsp_rdata_i, in.vram_rsp_rdata);
    t.host_state_i = in.host_state;
    t.host_page_i = in.host_page;
    t.host_fault_id_i = in.host_fault_id;
    half(false);
    gear_.sample(t, in, out);
    out.vram_req_valid = t.vram_req_valid_o;
    if (t.vram_req_valid_o) {
        out.vram_req_write = t.vram_req_write_o;
        out.vram_req_addr = t.vram_req_addr_o;
        out.vram_req_wdata = take(t.vram_req_wdata_o);
        out.vram_req_wstrb = t.vram_req_wstrb_o;
    }
    out.vram_rsp_ready = t.vram_rsp_ready_o;
    out.steps = t.steps_o;
    half(true);
    ++cycle_;
}

Words Device::step(uint8_t kind) const { return take(top_->step_o, 4 * (kind % 8)); }

void Device::trace_open(const std::string& path, uint32_t depth) {
    // Verilator's writer reports an unwritable file by ending the process: ask first.
    if (!std::ofstream(path, std::ios::app)) throw std::runtime_error("cannot write " + path);
    trace_ = std::make_unique<VerilatedFstC>();
    top_->trace(trace_.get(), 99);
    // Ports are a level above hmmu_sim_top's own signals.
    if (depth != 0) trace_->dumpvars(int(depth) + 1, "hmmu");
    trace_->open(path.c_str());
}

void Device::trace_close() {
    if (!trace_) return;
    trace_->close();
    trace_.reset();
}

HostSlots Device::host_slots() const {
    const auto pages = sizeof(top_->host_page_addr_i.m_storage) / sizeof(top_->host_page_addr_i.m_storage[0]);
    return {uint32_t(lines(*top_).size()), uint32_t(threads(*top_).size()), uint32_t(pages), uint32_t(sizeof(Text))};
}

void Device::show_line(uint32_t slot, rust::Str text) { put_text(*lines(*top_).at(slot), text); }

void Device::show_thread(uint32_t slot, rust::Str text) { put_text(*threads(*top_).at(slot), text); }

void Device::show_page(uint32_t slot, uint16_t mm, uint64_t addr, uint8_t home) {
    top_->host_page_mm_i[slot] = mm;
    top_->host_page_addr_i[slot] = addr;
    top_->host_page_home_i[slot] = home;
}

bool Device::trace_moment() {
    if (!trace_ || moments_ + 1 >= kHalfPeriod) return false;
    Verilated::threadContextp(context_.get());
    top_->eval();
    trace_->dump(time_ - kHalfPeriod + ++moments_);
    return true;
}

std::unique_ptr<Device> new_device(const Config& config) { return std::make_unique<Device>(config); }

}  // namespace hmmu
