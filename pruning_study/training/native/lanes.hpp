// One image in each lane of a vector register.
//
// All that a network computes for one image it computes for WIDTH images at once, in the same instructions: a layer
// of 6 channels or 10 classes fills the registers as well as one of 512, which no layout over channels or pixels does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace native {

#if defined(__AVX512F__)
constexpr int WIDTH = 16;
constexpr int REGISTERS = 32;
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int WIDTH = 8;
constexpr int REGISTERS = 16;
#else
#error "needs AVX-512, or AVX2 with FMA"
#endif

typedef float Lanes __attribute__((vector_size(WIDTH * sizeof(float)), may_alias));
typedef int32_t LaneIndex __attribute__((vector_size(WIDTH * sizeof(int32_t))));
typedef int16_t LaneShort __attribute__((vector_size(WIDTH * sizeof(int16_t))));
typedef int8_t LaneByte __attribute__((vector_size(WIDTH)));

// Marks what layers of a type share: copies of it for each of a hundred layers would take minutes to compile.
#define NATIVE_SHARED __attribute__((noinline))

// Not `Lanes{} + value`: it turns -0 into 0, so that the compiler has to add; subtracting 0 changes nothing and is left
// out. With AVX2 it is 6 % of a training step of LeNet5.
inline Lanes broadcast(float value) { return value - Lanes{}; }

inline Lanes load(const float* from) {
    Lanes lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

// In a register, where GCC would load it anew for each product: with AVX2 loads then take longer than products.
inline Lanes held(Lanes lanes) {
    asm("" : "+v"(lanes));
    return lanes;
}

inline void store(float* to, Lanes lanes) { std::memcpy(to, &lanes, sizeof lanes); }

// In two steps: GCC takes the bytes one by one when it is to widen them fourfold in one, which was a fifth of the first
// layer's backward pass in LeNet5.
inline LaneIndex widened(LaneByte bytes) {
    return __builtin_convertvector(__builtin_convertvector(bytes, LaneShort), LaneIndex);
}

inline float sum(Lanes lanes) {
    float total = 0;
    for (int lane = 0; lane < WIDTH; ++lane) total += lanes[lane];
    return total;
}

// Lane `lane` of both results of exchanging, between two registers, the lanes whose numbers differ in bit `Stride`.
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

// The sum of row i's lanes in lane i; uses the rows up. Each exchange lets two rows be added into one.
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

// How many things of a size in registers fit into so many of them; one at least, which may then not fit.
constexpr int fitting(int registers, int size) { return registers > size ? registers / size : 1; }

// How many registers hold so many images, or filters.
constexpr int groups_of(int count) { return (count + WIDTH - 1) / WIDTH; }

// The size of equal parts, none above `most`, that `count` things are dealt with in.
constexpr int part_of(int count, int most) {
    const int parts = (count + most - 1) / most;
    return (count + parts - 1) / parts;
}

// Calls body(size, start) for each part of [0, Count), the size a constant type of its own: the compiler then knows
// the size of the tile of registers that the body holds, the last one's too.
template <int Count, int Size, class Body>
inline void in_parts(Body&& body) {
    for (int start = 0; start + Size <= Count; start += Size) body(std::integral_constant<int, Size>{}, start);
    if constexpr (Count % Size != 0) body(std::integral_constant<int, Count % Size>{}, Count - Count % Size);
}

}  // namespace native
