#include "block.h"

#include <algorithm>
#include <stdexcept>

namespace hmmu {

void Block::eval() {
    Verilated::threadContextp(&context);
    eval_model();
}

uint32_t Block::port(const std::string& name) const {
    auto found = names_.find(name);
    if (found == names_.end()) throw std::runtime_error("no port named " + name);
    return found->second;
}

uint32_t Block::width(uint32_t port) const { return ports_.at(port).width; }

uint64_t Block::get(uint32_t port, uint32_t lsb, uint32_t width) const {
    const Port& p = ports_.at(port);
    if (width == 0 || width > 64 || lsb + width > p.width) throw std::runtime_error("bits out of the port");
    uint64_t value = 0;
    for (uint32_t i = 0; i < width;) {
        const uint32_t bit = lsb + i;
        const uint32_t take = std::min(8 - bit % 8, width - i);
        value |= uint64_t((p.data[bit / 8] >> (bit % 8)) & ((1u << take) - 1)) << i;
        i += take;
    }
    return value;
}

void Block::set(uint32_t port, uint32_t lsb, uint32_t width, uint64_t value) {
    Port& p = ports_.at(port);
    if (!p.input) throw std::runtime_error("not an input");
    if (width == 0 || width > 64 || lsb + width > p.width) throw std::runtime_error("bits out of the port");
    for (uint32_t i = 0; i < width;) {
        const uint32_t bit = lsb + i;
        const uint32_t take = std::min(8 - bit % 8, width - i);
        const uint8_t mask = uint8_t(((1u << take) - 1) << (bit % 8));
        p.data[bit / 8] = uint8_t((p.data[bit / 8] & ~mask) | (((value >> i) << (bit % 8)) & mask));
        i += take;
    }
}

void Block::add(const char* name, void* data, uint32_t width, bool input) {
    names_[name] = uint32_t(ports_.size());
    ports_.push_back(Port{static_cast<uint8_t*>(data), width, input});
}

std::unique_ptr<Block> new_block(const std::string& name) {
    auto block = make_block(name);
    if (!block) throw std::runtime_error("block " + name + " was not built (blocks.txt, HMMU_BLOCKS)");
    return block;
}

}  // namespace hmmu
