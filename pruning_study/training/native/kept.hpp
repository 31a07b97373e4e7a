// What a mask has left of a layer's weights.
//
// Images lie across the lanes, so that a weight is one multiply-add for each register of images, wherever in its layer
// it stands, and one that is left out takes no time: where few are left, layers go by a list of them.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "lanes.hpp"

namespace native {

// Of each line of a matrix, which lie `line_stride` apart, the places, `stride` apart, where it is not 0.
class Places {
   public:
    Places(const float* matrix, int lines, int line_stride, int places, int stride) {
        for (int line = 0; line < lines; ++line) {
            for (int place = 0; place < places; ++place)
                if (matrix[line * line_stride + place * stride] != 0) places_.push_back(place);
            ends_.push_back(places_.size());
        }
    }

    struct Line {
        const int *first, *behind;
        const int* begin() const { return first; }
        const int* end() const { return behind; }
    };

    Line operator[](int line) const {
        return {places_.data() + (line ? ends_[line - 1] : 0), places_.data() + ends_[line]};
    }

   private:
    std::vector<int> places_;
    std::vector<std::size_t> ends_;
};

// Whether lists pay. Measured for LeNet5, forward and backward: with AVX-512 up to .35 of the second convolution, .4 of
// the linear layers; with AVX2 up to .4 and .5.
inline bool few_kept(const float* mask, int weights, int one_in = 3) {
    return one_in * (weights - std::count(mask, mask + weights, 0.0f)) <= weights;
}

}  // namespace native
