// Rows of an image and the pixels of 0 around it that a padded convolution reads.
#pragma once

#include "convolution.hpp"

namespace native {

// A copy costs a load and a store for each pixel, but a window at an edge is then read like any other. Planes of 32x32
// pixels also map to the same cache sets, so that 16 of them push each other out of the cache; the planes of the copy
// do not.
template <class Image, int Rows, int Columns>
struct PaddedRows {
    static constexpr int ROW = Columns, PLANE = Rows * Columns;
    static_assert(Columns > Image::WIDTH);

    Lanes pixels[Image::CHANNELS][Rows][Columns];  // column 0 is before the image

    // Copies the rows from `first` on; any of them may lie outside the image.
    void fill(const Lanes* image, int first) {
        for (int channel = 0; channel < Image::CHANNELS; ++channel)
            for (int row = 0; row < Rows; ++row) {
                Lanes* to = pixels[channel][row];
                if (first + row < 0 || first + row >= Image::HEIGHT) {
                    std::memset(to, 0, Columns * sizeof(Lanes));
                } else {
                    const Lanes* from = image + (channel * Image::HEIGHT + first + row) * Image::WIDTH;
                    to[0] = Lanes{};
                    for (int column = 0; column < Image::WIDTH; ++column) to[1 + column] = from[column];
                    for (int column = Image::WIDTH + 1; column < Columns; ++column) to[column] = Lanes{};
                }
            }
    }
};

}  // namespace native
