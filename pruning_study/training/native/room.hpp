// Memory for a batch's values.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

namespace native {

// Memory for things that are written before they are read, so that it is not cleared for every batch. It lies in pages
// of 2 MiB if the kernel has them, because the processor keeps too few addresses for all small pages of a batch, and
// looking up a page takes as long as normalizing a row of pixels.
template <class Thing>
class Room {
    static_assert(std::is_trivially_default_constructible_v<Thing> && std::is_trivially_destructible_v<Thing>);
    static constexpr std::size_t PAGE = std::size_t{1} << 21;

   public:
    // Makes room for at least `count` things; the old ones are lost if these are more than before.
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
