// The design's $stop, $fatal and $finish become exceptions, which reach Rust as errors. They are part of
// the run-time library, so that one program can hold models of several crates.
#include <stdexcept>
#include <string>

#include "verilated.h"

namespace {
[[noreturn]] void stop(const char* file, int line, const std::string& what) {
    throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + what);
}
}  // namespace

void vl_stop(const char* file, int line, const char*) { stop(file, line, "assertion failed"); }
void vl_fatal(const char* file, int line, const char*, const char* message) { stop(file, line, message); }
void vl_finish(const char* file, int line, const char*) { stop(file, line, "$finish"); }
