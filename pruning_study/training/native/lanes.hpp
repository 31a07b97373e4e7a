// One image in each lane of a vector register.
//
// A network computes everything for WIDTH images at once, in the same instructions. So a layer of 6 channels or 10
// classes fills the registers as well as a layer of 512 channels. With channels or pixels in the lanes, it would not.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

namespace native {

#if defined(NATIVE_WIDTH)  // lets a machine compute with registers of another width, though slowly
constexpr int WIDTH = NATIVE_WIDTH;
constexpr int REGISTERS = WIDTH == 8 ? 16 : 32;
#elif defined(__AVX512F__)
constexpr int WIDTH = 16;
constexpr int REGISTERS = 32;
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int WIDTH = 8;
constexpr int REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int WIDTH = 4;
constexpr int REGISTERS = 32;
#else
#error "needs AVX-512, AVX2 with FMA, or NEON on 64 bits"
#endif

// Results are the same to the last bit with registers of any width, because sums over images are first computed for
// each of SUM_LANES lanes, in SHARES registers that are used in turn, and then over these lanes.
constexpr int SUM_LANES = 16, SHARES = SUM_LANES / WIDTH;

constexpr int CACHE_LINE = 16 / WIDTH;  // in registers

typedef float Lanes __attribute__((vector_size(WIDTH * sizeof(float)), may_alias));
typedef int32_t LaneIndex __attribute__((vector_size(WIDTH * sizeof(int32_t))));
typedef int16_t LaneShort __attribute__((vector_size(WIDTH * sizeof(int16_t))));
typedef int8_t LaneByte __attribute__((vector_size(WIDTH)));

// Marks functions that layers of a type share, because a copy for each of a hundred layers would take minutes to
// compile.
#define NATIVE_SHARED __attribute__((noinline))

// Subtracting 0 changes no value, so the compiler leaves the subtraction out. `Lanes{} + value` turns -0 into 0, so the
// compiler would have to compute the sum, which costs 6 % of a training step of LeNet5 with AVX2.
inline Lanes broadcast(float value) { return value - Lanes{}; }

// a * b + c, rounded once. The code calls this function, because otherwise each compiler chooses which products it
// fuses with which sums.
inline Lanes fma(Lanes a, Lanes b, Lanes c) {
#if defined(NATIVE_WIDTH)
    for (int lane = 0; lane < WIDTH; ++lane) c[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
    return c;
#elif defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
    return (Lanes)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return _mm256_fmadd_ps(a, b, c);
#endif
}

inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

inline Lanes load(const float* from) {
    Lanes lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

// Keeps lanes in a register. GCC would load them again for each product, and with AVX2 loads then take longer than
// products.
inline Lanes held(Lanes lanes) {
#if defined(__aarch64__)
    asm("" : "+w"(lanes));
#elif !defined(NATIVE_WIDTH)
    asm("" : "+v"(lanes));
#endif
    return lanes;
}

inline void store(float* to, Lanes lanes) { std::memcpy(to, &lanes, sizeof lanes); }

// Widens bytes in two steps. In one fourfold step GCC would handle them one by one, which took a fifth of the first
// layer's backward pass in LeNet5.
inline LaneIndex widened(LaneByte bytes) {
    return __builtin_convertvector(__builtin_convertvector(bytes, LaneShort), LaneIndex);
}

// Two registers with 2 * WIDTH lanes together exchange lanes by bit `stride`. kept_low() returns the index of the lane
// that becomes lane `lane` of the first register, and kept_high() of the one that becomes lane `lane` of the second.
constexpr int kept_low(int lane, int stride) { return lane & stride ? WIDTH + (lane ^ stride) : lane; }
constexpr int kept_high(int lane, int stride) { return lane & stride ? WIDTH + lane : lane ^ stride; }

template <int Stride, std::size_t... Lane>
inline void exchange(Lanes& low, Lanes& high, std::index_sequence<Lane...>) {
    const Lanes a = low, b = high;
#ifdef __clang__
    low = __builtin_shufflevector(a, b, kept_low(Lane, Stride)...);
    high = __builtin_shufflevector(a, b, kept_high(Lane, Stride)...);
#else
    low = __builtin_shuffle(a, b, LaneIndex{kept_low(Lane, Stride)...});
    high = __builtin_shuffle(a, b, LaneIndex{kept_high(Lane, Stride)...});
#endif
}

// Turns WIDTH rows into columns in the registers: log2(WIDTH) rounds of exchanges.
template <int Stride = WIDTH / 2>
inline void transpose(Lanes (&rows)[WIDTH]) {
#pragma GCC unroll 16
    for (int row = 0; row < WIDTH; ++row)
        if (!(row & Stride)) exchange<Stride>(rows[row], rows[row | Stride], std::make_index_sequence<WIDTH>{});
    if constexpr (Stride > 1) transpose<Stride / 2>(rows);
}

// Returns the sum of the lanes of row i in lane i; overwrites the rows. After each exchange, two rows are added.
template <int Stride = WIDTH / 2>
inline Lanes sums_of(Lanes* rows) {
#pragma GCC unroll 16
    for (int row = 0; row < Stride; ++row) {
        exchange<Stride>(rows[row], rows[row + Stride], std::make_index_sequence<WIDTH>{});
        rows[row] += rows[row + Stride];
    }
    if constexpr (Stride > 1) return sums_of<Stride / 2>(rows);
    return rows[0];
}

// Adds the shares of a sum, which lie `stride` apart, in the order in which sums_of() adds the lanes of a wider
// register.
inline Lanes joined(const Lanes* shares, int stride) {
    static_assert(SHARES == 1 || SHARES == 2 || SHARES == 4);
    if constexpr (SHARES == 1) return shares[0];
    if constexpr (SHARES == 2) return shares[0] + shares[stride];
    if constexpr (SHARES == 4) return (shares[0] + shares[2 * stride]) + (shares[stride] + shares[3 * stride]);
}

// Adds the sum of each register's lanes to a number, for WIDTH registers at once.
class LaneSums {
   public:
    void add(float& to, Lanes lanes) {
        rows_[count_] = lanes;
        to_[count_] = &to;
        if (++count_ == WIDTH) flush();
    }

    void flush() {
        const Lanes sums = sums_of(rows_);
        for (int row = 0; row < count_; ++row) *to_[row] += sums[row];
        count_ = 0;
    }

   private:
    Lanes rows_[WIDTH]{};
    float* to_[WIDTH];
    int count_ = 0;
};

// How many things of `size` registers fit into `registers`; at least one, even if it does not fit.
constexpr int fitting(int registers, int size) { return registers > size ? registers / size : 1; }

// How many registers hold `count` images or filters.
constexpr int groups_of(int count) { return (count + WIDTH - 1) / WIDTH; }

// One object for each share of a sum.
template <class Thing>
using Shares = std::array<Thing, SHARES>;

// Values that are read, or written, for each share. `Shares<Lanes*>` would lose the attribute `may_alias` of Lanes.
struct SharesRead {
    const Lanes* values[SHARES];
    const Lanes*& operator[](int share) { return values[share]; }
    const Lanes* operator[](int share) const { return values[share]; }
};

struct SharesWritten {
    Lanes* values[SHARES];
    Lanes*& operator[](int share) { return values[share]; }
    Lanes* operator[](int share) const { return values[share]; }
};

// Calls body(share, group) for all groups, one share after the other, so that each share's sums stay in the cache.
template <class Body>
inline void for_shares(int groups, Body&& body) {
    for (int share = 0; share < SHARES; ++share)
        for (int group = share; group < groups; group += SHARES) body(share, group);
}

// The size of equal parts of `count` things, at most `most`.
constexpr int part_of(int count, int most) {
    const int parts = (count + most - 1) / most;
    return (count + parts - 1) / parts;
}

// Calls body(size, start) for each part of [0, Count). The size is a compile-time constant, so that the compiler knows
// how many registers a tile takes in the body, also for the last part.
template <int Count, int Size, class Body>
inline void in_parts(Body&& body) {
    for (int start = 0; start + Size <= Count; start += Size) body(std::integral_constant<int, Size>{}, start);
    if constexpr (Count % Size != 0) body(std::integral_constant<int, Count % Size>{}, Count - Count % Size);
}

}  // namespace native
