// One verilated block behind an interface that knows its ports by name.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "verilated.h"

namespace hmmu {

struct Port {
    uint8_t* data;    // little-endian storage of the port
    uint32_t width;   // bits
    bool input;
};

class Block {
public:
    virtual ~Block() = default;
    // All throw std::runtime_error with a message when the design stops (an assertion) or a call is wrong.
    void eval();
    uint32_t port(const std::string& name) const;   // index of a port; throws when there is none
    uint32_t width(uint32_t port) const;
    uint64_t get(uint32_t port, uint32_t lsb, uint32_t width) const;
    void set(uint32_t port, uint32_t lsb, uint32_t width, uint64_t value);

protected:
    void add(const char* name, void* data, uint32_t width, bool input);
    virtual void eval_model() = 0;
    VerilatedContext context;

private:
    std::vector<Port> ports_;
    std::map<std::string, uint32_t> names_;
};

std::unique_ptr<Block> make_block(const std::string& name);   // generated
std::unique_ptr<Block> new_block(const std::string& name);

}  // namespace hmmu
