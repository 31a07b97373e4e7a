// Gradients of outputs with filters in the lanes, instead of images.
//
// The gradient of a weight is a sum over images. With images in the lanes it needs an accumulator for each image, and
// the accumulators are too many to stay in a cache; with filters in the lanes it needs only one.
#pragma once

#include "lanes.hpp"

namespace native {

// Calls take(image, filters) with the WIDTH filters of line `line`, whose values at a pixel lie `Plane` apart.
template <int Filters, int Plane, class Take>
inline void transpose_filters(const Lanes* pixel, int line, Take&& take) {
    Lanes rows[WIDTH];
#pragma GCC unroll 16
    for (int row = 0; row < WIDTH; ++row) {
        const int filter = line * WIDTH + row;
        rows[row] = Filters % WIDTH == 0 || filter < Filters ? pixel[filter * Plane] : Lanes{};
    }
    transpose(rows);
#pragma GCC unroll 16
    for (int image = 0; image < WIDTH; ++image) take(image, rows[image]);
}

}  // namespace native
