// Arithmetic as IEEE 754 has it, whatever the caller's process does.
#pragma once

#include <cstdint>

#include "lanes.hpp"

namespace native {

// Rounds to nearest and keeps the smallest numbers while it exists. Other libraries of a process may flush these to 0:
// torch.set_flush_denormal does, and so does loading what was built with -ffast-math.
class StandardRounding {
   public:
    StandardRounding() : before_(read()) { write(STANDARD); }
    ~StandardRounding() { write(before_); }
    StandardRounding(const StandardRounding&) = delete;
    StandardRounding& operator=(const StandardRounding&) = delete;

   private:
#if defined(__aarch64__)
    using Control = uint64_t;
    static constexpr Control STANDARD = 0;
    static Control read() {
        Control control;
        asm volatile("mrs %0, fpcr" : "=r"(control)::"memory");
        return control;
    }
    static void write(Control control) { asm volatile("msr fpcr, %0" ::"r"(control) : "memory"); }
#else
    using Control = unsigned;
    static constexpr Control STANDARD = 0x1f80;
    static Control read() { return _mm_getcsr(); }
    static void write(Control control) { _mm_setcsr(control); }
#endif
    const Control before_;
};

}  // namespace native
