// Memory for a batch's values.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

namespace native {

// Things that are written before they are read, so that nothing has to clear them for every batch anew. They lie in
// pages of 2 MiB where the kernel has such: those of a batch are more small pages than the processor keeps the
// addresses of, and a page is as slow to find as a row of pixels to normalize.
template <class Thing>
class Room {
    static_assert(std::is_trivially_default_constructible_v<Thing> && std::is_trivially_destructible_v<Thing>);
    static constexpr std::size_t PAGE = std::size_t{1} << 21;

   public:
    // Makes room for so many at least; what was there is lost if they are more than before.
    void make(std::size_t count) {
        if (count <= count_) return;
        things_.reset(), count_ = 0;
        const std::size_t bytes = count * sizeof(Thing), unit = bytes < PAGE ? alignof(Thing) : PAGE;
        const std::size_t whole = (bytes + unit - 1) / unit * unit;
        things_.reset(static_cast<Thing*>(std::aligned_alloc(unit, whole)));
        if (!things_) throw std::bad_alloc();
        count_ = count;
#ifdef MADV_HUGEPAGE
        if (unit == PAGE) madvise(things_.get(), whole, MADV_HUGEPAGE);
#endif
    }

    Thing& operator[](std::size_t place) { return things_.get()[place]; }
    const Thing& operator[](std::size_t place) const { return things_.get()[place]; }

   private:
    struct Free {
        void operator()(Thing* things) const { std::free(things); }
    };

    std::unique_ptr<Thing, Free> things_;
    std::size_t count_ = 0;
};

}  // namespace native
