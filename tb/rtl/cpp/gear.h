// Between TLP streams of 128 bits of payload a beat, which the machine has, and those of a device with 256.
// Each way a half goes by in a clock at most. A device with 128 bits sees the machine's beats themselves.
#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "words.h"

namespace hmmu {

class Gear {
public:
    void reset() { *this = Gear(); }

    // Before the model is evaluated: what it sees of the machine's beat.
    template <class Top, class In>
    void drive(Top& top, const In& in) {
        constexpr bool kWide = sizeof(top.rx_data_i) > 16;
        const bool first = kWide && in.rx_valid && !lower_ && !in.rx_eop;
        takes_ = first;
        // A packet that was cut short goes on without the rest of its last beat.
        alone_ = lower_ && in.rx_valid && in.rx_sop;
        if (first) lower_ = Half{in.rx_sop, false, in.rx_hdr, in.rx_data};
        top.rx_valid_i = in.rx_valid && !first;
        if (top.rx_valid_i) {
            top.rx_sop_i = lower_ ? lower_->sop : in.rx_sop;
            top.rx_eop_i = in.rx_eop && !alone_;
            put(top.rx_hdr_i, lower_ ? lower_->hdr : in.rx_hdr);
            put(top.rx_data_i, lower_ ? lower_->data : in.rx_data);
            if constexpr (kWide) put(top.rx_data_i, lower_ && !alone_ ? in.rx_data : Words{}, 4);
        }
        top.tx_ready_i = in.tx_ready && !upper_;
    }

    // When it has been: what the machine sees.
    template <class Top, class In, class Out>
    void sample(const Top& top, const In& in, Out& out) {
        constexpr bool kWide = sizeof(top.tx_data_o) > 16;
        const bool taken = top.rx_valid_i && top.rx_ready_o;
        out.rx_ready = takes_ || (!takes_ && !alone_ && top.rx_ready_o);
        if (taken) lower_.reset();
        if (upper_) {
            out.tx_valid = true;
            out.tx_sop = false;
            out.tx_eop = upper_->eop;
            out.tx_data = upper_->data;
            if (in.tx_ready) upper_.reset();
            return;
        }
        out.tx_valid = top.tx_valid_o;
        if (!top.tx_valid_o) return;
        out.tx_sop = top.tx_sop_o;
        out.tx_eop = top.tx_eop_o;
        out.tx_hdr = take(top.tx_hdr_o);
        out.tx_data = take(top.tx_data_o);
        if constexpr (kWide) {
            if (out.tx_sop) left_ = payload(top.tx_hdr_o[3]);
            const bool two = !out.tx_eop || left_ > 4;
            out.tx_eop = out.tx_eop && !two;
            if (in.tx_ready) {
                if (two) upper_ = Half{false, bool(top.tx_eop_o), {}, take(top.tx_data_o, 4)};
                left_ -= 8;
            }
        }
    }

private:
    struct Half {
        bool sop, eop;
        Words hdr, data;
    };

    // DWs of payload by DW0 of a header (PCI Express Base Specification, section 2.2.1).
    static int payload(uint32_t dw0) {
        if (!(dw0 >> 30 & 1)) return 0;
        return (dw0 & 0x3ff) ? int(dw0 & 0x3ff) : 1024;
    }

    std::optional<Half> lower_;  // came from the machine; the other half is to come
    std::optional<Half> upper_;  // came from the device; the machine is to take it
    bool takes_ = false;         // the machine's beat becomes lower_
    bool alone_ = false;         // lower_ goes without another half
    int left_ = 0;               // DWs of the device's packet from the present beat on
};

}  // namespace hmmu
