// One layer as the test calls it: any number of images, in the layout of torch, one batch forward and backward.
#include <memory>

#include "padded_convolution.hpp"

using namespace native;
using Layer = NETWORK;

namespace {

struct Buffers {
    Layer::State state;
    Lanes input[SHARES][Layer::INPUTS], output[Layer::OUTPUTS];
    Lanes output_gradient[SHARES][Layer::OUTPUTS], input_gradient[SHARES][Layer::INPUTS];
};

// Images that are not there are images of 0.
void gather(const float* images, int64_t count, int values, Lanes* to) {
    for (int value = 0; value < values; ++value)
        for (int lane = 0; lane < WIDTH; ++lane) to[value][lane] = lane < count ? images[lane * values + value] : 0;
}

void scatter(const Lanes* from, int64_t count, int values, float* images) {
    for (int value = 0; value < values; ++value)
        for (int lane = 0; lane < WIDTH && lane < count; ++lane) images[lane * values + value] = from[value][lane];
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void layer(const float* weights, const float* mask, bool all_learn, const float* images,
                      const float* output_gradients, int64_t count, float* outputs, float* input_gradients,
                      float* gradient) {
    const auto buffers = std::make_unique<Buffers>();
    auto& [state, input, output, output_gradient, input_gradient] = *buffers;
    if (mask) Layer::keep(mask, state, all_learn);
    Layer::begin(weights, state);
    for (int64_t start = 0; start < count; start += SUM_LANES) {
        SharesRead inputs, gradients;
        SharesWritten found;
        for (int share = 0; share < SHARES; ++share) {
            const int64_t first = start + share * WIDTH;
            gather(images + first * Layer::INPUTS, count - first, Layer::INPUTS, input[share]);
            gather(output_gradients + first * Layer::OUTPUTS, count - first, Layer::OUTPUTS, output_gradient[share]);
            Layer::forward(input[share], state, output);
            scatter(output, count - first, Layer::OUTPUTS, outputs + first * Layer::OUTPUTS);
            inputs[share] = input[share], gradients[share] = output_gradient[share], found[share] = input_gradient[share];
        }
        if (!input_gradients) {
            Layer::backward<false>(inputs, gradients, state, found);
            continue;
        }
        Layer::backward<true>(inputs, gradients, state, found);
        for (int share = 0; share < SHARES; ++share) {
            const int64_t first = start + share * WIDTH;
            scatter(input_gradient[share], count - first, Layer::INPUTS, input_gradients + first * Layer::INPUTS);
        }
    }
    Layer::end(state, gradient);
}
