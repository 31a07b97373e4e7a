// bfloat16 numbers, which are float32 without the last 16 bits. A register holds two channels of WIDTH images.
#pragma once

#include <immintrin.h>

#include "lanes.hpp"

namespace native {

typedef uint16_t Half __attribute__((may_alias));
// [image][of two channels]
typedef uint16_t Halves __attribute__((vector_size(2 * WIDTH * sizeof(uint16_t)), may_alias));
typedef uint32_t LaneBits __attribute__((vector_size(WIDTH * sizeof(uint32_t)), may_alias));

constexpr int pairs_of(int channels) { return (channels + 1) / 2; }

inline Lanes first_of(Halves pair) { return (Lanes)((LaneBits)pair << 16); }
inline Lanes second_of(Halves pair) { return (Lanes)((LaneBits)pair & 0xffff0000u); }

// Rounded to the nearest number, among two to the even one.
inline Half rounded(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value != value) return static_cast<Half>(bits >> 16 | 0x40);
    return static_cast<Half>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline Halves rounded(Lanes first, Lanes second) {
#ifdef __AVX512BF16__
    const auto by_channel = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
    const auto order = (__m512i)Halves{0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return (Halves)_mm512_permutexvar_epi16(order, by_channel);
#else
    const auto round = [](Lanes value) {
        const LaneBits bits = (LaneBits)value, up = bits + 0x7fffu + (bits >> 16 & 1u);
        return value == value ? up : bits | 0x400000u;
    };
    return (Halves)(round(first) >> 16 | (round(second) & 0xffff0000u));
#endif
}

// Stores a pair; past the caches if it is far until it is read, so that what is there need not be loaded.
template <bool Far>
inline void put(Halves* to, Halves pair) {
    if constexpr (!Far)
        *to = pair;
    else if constexpr (sizeof(Halves) == sizeof(__m256i))
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)pair);
#ifdef __AVX512F__
    else
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to), (__m512i)pair);
#endif
}

template <class Vector, std::size_t... From>
inline Vector shuffled(Vector a, Vector b, std::index_sequence<From...>) {
#ifdef __clang__
    return __builtin_shufflevector(a, b, From...);
#else
    return __builtin_shuffle(a, b, Vector{From...});
#endif
}

// All images of the first channel, then those of the second.
template <std::size_t... Place>
inline Halves split_channels(Halves pair, std::index_sequence<Place...>) {
    return shuffled(pair, pair, std::index_sequence<Place % WIDTH * 2 + Place / WIDTH...>{});
}

inline Halves split_channels(Halves pair) { return split_channels(pair, std::make_index_sequence<2 * WIDTH>{}); }

// Two images of two channels lie in 64 bits.
typedef uint64_t Quads __attribute__((vector_size(2 * WIDTH * sizeof(uint16_t)), may_alias));
constexpr int QUADS = WIDTH / 2;

template <int Stride, std::size_t... Place>
inline void exchange_quads(Halves& low, Halves& high, std::index_sequence<Place...>) {
    const auto a = (Quads)low, b = (Quads)high;
    low = (Halves)shuffled(a, b, std::index_sequence<(Place & Stride ? QUADS + (Place ^ Stride) : Place)...>{});
    high = (Halves)shuffled(a, b, std::index_sequence<(Place & Stride ? QUADS + Place : Place ^ Stride)...>{});
}

template <int Stride = QUADS / 2>
inline void transpose_quads(Halves (&rows)[QUADS]) {
#pragma GCC unroll 8
    for (int row = 0; row < QUADS; ++row)
        if (!(row & Stride)) exchange_quads<Stride>(rows[row], rows[row | Stride], std::make_index_sequence<QUADS>{});
    if constexpr (Stride > 1) transpose_quads<Stride / 2>(rows);
}

template <std::size_t... Place>
inline void pair_images(Halves (&pairs)[QUADS], std::index_sequence<Place...>) {
#pragma GCC unroll 8
    for (Halves& pair : pairs)
        pair = shuffled(pair, pair, std::index_sequence<Place / 4 * 4 + Place % 2 * 2 + Place % 4 / 2 ...>{});
    transpose_quads(pairs);
}

// From WIDTH channels of all images, two channels to a pair, to pairs of images: [pair of images][channel][image].
inline void pair_images(Halves (&pairs)[QUADS]) { pair_images(pairs, std::make_index_sequence<2 * WIDTH>{}); }

// Two channels of a pixel, from any one on; 0 for channels that it does not have.
template <int Pairs>
inline Halves channels_from(const Halves* pixel, int first) {
    const auto pair = [&](int at) { return 0 <= at && at < Pairs ? pixel[at] : Halves{}; };
    if (first % 2 == 0) return pair(first / 2);
    const int at = (first - 1) / 2;
    return rounded(second_of(pair(at)), first_of(pair(at + 1)));
}

}  // namespace native
