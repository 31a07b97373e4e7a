// One layer as the test calls it: any number of images, in the layout of torch, one batch forward and backward.
#include <memory>

#include "padded_convolution.hpp"

using namespace native;
using Layer = NETWORK;

namespace {

struct Buffers {
    Layer::State state;
    Lanes input[Layer::INPUTS], output[Layer::OUTPUTS];
    Lanes output_gradient[Layer::OUTPUTS], input_gradient[Layer::INPUTS];
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
    for (int64_t start = 0; start < count; start += WIDTH) {
        gather(images + start * Layer::INPUTS, count - start, Layer::INPUTS, input);
        gather(output_gradients + start * Layer::OUTPUTS, count - start, Layer::OUTPUTS, output_gradient);
        Layer::forward(input, state, output);
        scatter(output, count - start, Layer::OUTPUTS, outputs + start * Layer::OUTPUTS);
        if (input_gradients) {
            Layer::backward<true>(input, output_gradient, state, input_gradient);
            scatter(input_gradient, count - start, Layer::INPUTS, input_gradients + start * Layer::INPUTS);
        } else {
            Layer::backward<false>(input, output_gradient, state, nullptr);
        }
    }
    Layer::end(state, gradient);
}
