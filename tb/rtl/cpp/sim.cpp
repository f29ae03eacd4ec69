#include "sim.h"

#include <fstream>
#include <stdexcept>

#include "Vhmmu_sim_top.h"
#include "hmmu-rtl/src/ffi.rs.h"
#include "verilated.h"
#include "verilated_fst_c.h"

namespace hmmu {
namespace {

// Clock period in the wave file's time unit (250 MHz, picoseconds).
constexpr uint64_t kHalfPeriod = 2000;
constexpr int kResetCycles = 8;

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

std::unique_ptr<Device> new_device(const Config& config) { return std::make_unique<Device>(config); }

}  // namespace hmmu
