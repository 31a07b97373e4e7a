// Arithmetic as IEEE 754 defines it, whatever the caller's process has set.
#pragma once

#include <cstdint>

#include "lanes.hpp"

namespace native {

// While an object of this class exists, results are rounded to nearest, and the smallest numbers are kept. Other
// libraries may make a process flush these numbers to 0: torch.set_flush_denormal does, and so does loading a library
// that was built with -ffast-math.
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
