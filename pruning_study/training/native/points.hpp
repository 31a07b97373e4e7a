// Winograd's filtering in one dimension by six products, for F(4, 3) and F(3, 4) of Lavin and Gray 2016.
//
// The products are those of the values of two polynomials at 0, infinity, +-sqrt(1/2) and +-sqrt(2). With +-1 and
// +-2 instead of the roots, the error would be twice as large. The two points of a pair share most of their sums.
#pragma once

#include "convolution.hpp"

namespace native {

constexpr int TILE = 4, POINTS = 6;  // rows of a tile; rows of pixels that it reads, and of sums

// Maps in one dimension to the factors of the products at the points of pair 0 (0 and infinity), 1 (+-sqrt(1/2)) or 2
// (+-sqrt(2)).
template <int Pair>
struct AtPoints {
    static constexpr float POINT = Pair == 1 ? 0.70710678f : 1.41421356f, SQUARE = Pair == 1 ? 0.5f : 2.0f;

    // Of six pixels.
    static void of_pixels(const Lanes* d, Lanes& first, Lanes& second) {
        if constexpr (Pair == 0) {
            first = fma(d[2], broadcast(-2.5f), d[4]) + d[0];
            second = fma(d[3], broadcast(-2.5f), d[5]) + d[1];
        } else {
            const Lanes even = fma(d[2], broadcast(-1 / SQUARE), d[4]), odd = fma(d[1], broadcast(-1 / SQUARE), d[3]);
            first = fma(odd, broadcast(POINT), even);
            second = fma(odd, broadcast(-POINT), even);
        }
    }

    // Of four gradients.
    static void of_gradients(const Lanes* e, Lanes& first, Lanes& second) {
        if constexpr (Pair == 0) {
            first = e[0];
            second = e[3];
        } else {
            const Lanes even = fma(e[2], broadcast(SQUARE), e[0]), odd = fma(e[3], broadcast(SQUARE), e[1]);
            first = fma(odd, broadcast(POINT), even);
            second = fma(odd, broadcast(-POINT), even);
        }
    }

    // Of three weights, `stride` apart.
    static void of_weights(const float* g, int stride, float& first, float& second) {
        if constexpr (Pair == 0) {
            first = g[0];
            second = g[2 * stride];
        } else {
            constexpr float SLOPE = Pair == 1 ? -1.5f : 6.0f;
            const float even = (g[0] + g[2 * stride] * SQUARE) / SLOPE, odd = g[stride] * (POINT / SLOPE);
            first = even + odd;
            second = even - odd;
        }
    }
};

// The rows of pixels that a row of tiles reads; rows outside the image are 0.
template <class Image>
struct TileRows {
    const Lanes* rows[POINTS];
    int steps[POINTS];  // to the next channel

    TileRows(const Lanes* image, int down, int column) {
        for (int y = 0; y < POINTS; ++y) {
            const int row = TILE * down - 1 + y;
            const bool inside = 0 <= row && row < Image::HEIGHT;
            rows[y] = (inside ? image + row * Image::WIDTH : BLACK) + column;
            steps[y] = inside ? Image::PIXELS : 0;
        }
    }

    // A pair of rows of sums. The first column, if Left, and all columns from Behind on are outside the image.
    template <int Pair, bool Left, int Behind, int Columns>
    void sum(Lanes (&sums)[2][Columns]) const {
#pragma GCC unroll 16
        for (int column = 0; column < Columns; ++column) {
            if ((Left && column == 0) || column >= Behind) {
                sums[0][column] = sums[1][column] = Lanes{};
                continue;
            }
            Lanes pixels[POINTS];
#pragma GCC unroll 8
            for (int y = 0; y < POINTS; ++y) pixels[y] = rows[y][column];
            AtPoints<Pair>::of_pixels(pixels, sums[0][column], sums[1][column]);
        }
    }

    void next_channel() {
        for (int y = 0; y < POINTS; ++y) rows[y] += steps[y];
    }

   private:
    static inline const Lanes BLACK[Image::WIDTH]{};
};

}  // namespace native
