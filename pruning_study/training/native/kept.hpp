// The weights of a layer that a mask keeps.
//
// Because images lie across the lanes, a weight takes one multiply-add for each register of images, wherever in its
// layer it is, and a weight that is skipped takes no time. If few weights are kept, layers go through a list of them.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "lanes.hpp"

namespace native {

// For each line of a matrix, the places where it is not 0. Lines lie `line_stride` apart, and places `stride` apart.
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

// Whether a list is faster. In LeNet5, forward and backward, a list was faster up to these shares of kept weights: with
// AVX-512, .36 in the second convolution and .4 in the linear layers; with AVX2, .4 in the former and .5 in the latter.
inline bool few_kept(const float* mask, int weights, int one_in = 3) {
    return one_in * (weights - std::count(mask, mask + weights, 0.0f)) <= weights;
}

}  // namespace native
