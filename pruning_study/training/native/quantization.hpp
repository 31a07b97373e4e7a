// Weights on a grid of few values: `quantization.py` explains it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace native {

// Rounds the weights with which a training step computes; the step changes the unrounded weights.
struct Quantization {
    struct Channel {
        int64_t begin, end;  // places of its weights among the parameters
    };

    const Channel* channels;  // null if nothing is rounded
    int64_t count;
    float largest_integer;

    // Returns the parameters with the channels' weights rounded; the result is in `room` if there are channels.
    const float* applied(const float* parameters, int64_t size, float* room) const {
        if (!channels) return parameters;
        std::copy_n(parameters, size, room);
        for (int64_t i = 0; i < count; ++i) round(room + channels[i].begin, room + channels[i].end);
        return room;
    }

   private:
    void round(float* begin, float* end) const {
        float largest = 0;
        for (const float* weight = begin; weight < end; ++weight) largest = std::max(largest, std::fabs(*weight));
        const float scale = std::max(largest / largest_integer, std::numeric_limits<float>::min());
        const float inverse = 1 / scale;  // torch multiplies by it
        for (float* weight = begin; weight < end; ++weight)
            *weight = std::clamp(std::nearbyint(*weight * inverse), -largest_integer, largest_integer) * scale;
    }
};

}  // namespace native
