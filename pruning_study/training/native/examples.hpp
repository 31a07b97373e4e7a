// Images and labels, and the loading of images into lanes, flipped and shifted if they are augmented.
#pragma once

#include <algorithm>

#include "lanes.hpp"

namespace native {

struct Examples {
    const float* images;    // [N][pixels]
    const int64_t* labels;  // [N]
    const float* factors;   // [N], on the loss of each image; null if all are 1
};

// How the images of a training are flipped and shifted; `crops` is null if they are not.
struct Augmentation {
    struct Crop {
        int8_t flipped, row, column;  // row and column of the image at which the crop's upper left corner lies
    };
    const Crop* crops;   // of each image, in the order of use
    const float* black;  // [channels], the value around the image
    int height, width;

    Augmentation from(int64_t place) const { return {crops ? crops + place : nullptr, black, height, width}; }
};

// Loads images into lanes; `Pixels` counts those of all channels.
template <int Pixels>
class Gatherer {
   public:
    // Loads the images order[0..size) or, without `order`, [start..start + size), each into a lane. The remaining lanes
    // get blank images.
    void gather(const float* images, const int64_t* order, int64_t start, int size, Augmentation augmentation,
                Lanes (*groups)[Pixels]) {
        static const float blank[Pixels]{};
        for (int group = 0; group < groups_of(size); ++group) {
            const float* rows[WIDTH];
            for (int lane = 0; lane < WIDTH; ++lane) {
                const int image = group * WIDTH + lane;
                rows[lane] = image < size ? images + (order ? order[image] : start + image) * Pixels : blank;
                if (augmentation.crops && image < size) {
                    crop(rows[lane], augmentation.crops[image], augmentation, cropped_[lane]);
                    rows[lane] = cropped_[lane];
                }
            }
            gather_pixels(rows, groups[group]);
        }
    }

   private:
    float cropped_[WIDTH][Pixels];

    static void crop(const float* image, Augmentation::Crop crop, const Augmentation& augmentation, float* cropped) {
        const auto [crops, black, height, width] = augmentation;
        // In each line of the crop, the pixels from `first` up to `last` come from the image.
        const int first = std::clamp<int>(-crop.column, 0, width), last = std::clamp(width - crop.column, 0, width);
        for (int line = 0; line < Pixels / width; ++line, cropped += width) {
            const int channel = line / height, row = line % height + crop.row;
            if (row < 0 || row >= height) {
                std::fill_n(cropped, width, black[channel]);
                continue;
            }
            const float* from = image + ((channel * height + row) * width + crop.column + first);
            std::fill_n(cropped, first, black[channel]);
            std::copy_n(from, last - first, cropped + first);
            std::fill(cropped + last, cropped + width, black[channel]);
            if (crop.flipped) std::reverse(cropped, cropped + width);
        }
    }

    static void gather_pixels(const float* const (&rows)[WIDTH], Lanes* pixels) {
        if constexpr (Pixels < WIDTH) {
            for (int pixel = 0; pixel < Pixels; ++pixel)
                for (int lane = 0; lane < WIDTH; ++lane) pixels[pixel][lane] = rows[lane][pixel];
        } else {
            for (int next = 0; next < Pixels; next += WIDTH) {
                const int pixel = std::min(next, Pixels - WIDTH);  // the last block overlaps the one before
                Lanes block[WIDTH];
#pragma GCC unroll 16
                for (int lane = 0; lane < WIDTH; ++lane) block[lane] = load(rows[lane] + pixel);
                transpose(block);
#pragma GCC unroll 16
                for (int i = 0; i < WIDTH; ++i) pixels[pixel + i] = block[i];
            }
        }
    }
};

}  // namespace native
