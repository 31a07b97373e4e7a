// The three products of a layer in bf16 as the test calls it: any number of images, in the layout of torch.
#include <memory>

#include "bf16_convolution.hpp"

using namespace native;

template <class Input, class Output, int Stride>
struct Bf16Layer {
    using From = Input;
    using To = Output;
    using Passes = PaddedPasses<Input, Output, Stride>;
    using InputRows = BorderedRows<Input>;
    using OutputRows = BorderedRows<Output>;
    using WeightGradient = Bf16WeightGradient<Input, Output, Stride>;
    static constexpr int STRIDE = Stride;

    Bf16Product<typename Passes::Forward> forward;
    typename Passes::template Backwards<Bf16Product> backward;
    WeightGradient weight_gradient;
    Halves input[InputRows::ROWS * InputRows::PITCH], gradient[OutputRows::ROWS * OutputRows::PITCH];
    Lanes lanes[std::max(Input::SIZE, Output::SIZE)];
};

using Layer = NETWORK;

namespace {

// Rows of so many images, taken from the layout of torch; images that are not there are 0.
template <class Image>
BorderedRows<Image> take(const float* images, int64_t count, Lanes* lanes, Halves* to) {
    for (int value = 0; value < Image::SIZE; ++value)
        for (int lane = 0; lane < WIDTH; ++lane) lanes[value][lane] = lane < count ? images[lane * Image::SIZE + value] : 0;
    const BorderedRows<Image> rows{to, BorderedRows<Image>::ROWS};
    for (int row = 0; row < rows.ROWS; ++row) rows.take(row, rows[row], lanes);
    return rows;
}

// What a pass finds in a row, in the layout of torch.
template <class Image, class Pass, class Rows>
void find(const Bf16Product<Pass>& pass, Rows rows, int first, int corner, int row, int64_t count, float* images) {
    const Halves* read[] = {rows[first], rows[first + 1], rows[first + 2]};
    pass.find(read, corner, row, [&](int pixels, int tile, int from, const Lanes (*found)[ROWS]) {
        for (int i = 0; i < ROWS && tile * ROWS + i < Image::CHANNELS; ++i)
            for (int pixel = 0; pixel < pixels; ++pixel)
                for (int lane = 0; lane < WIDTH && lane < count; ++lane)
                    images[lane * Image::SIZE + (tile * ROWS + i) * Image::PIXELS + from + pixel * Pass::PITCH] =
                        found[pixel][i][lane];
    });
}

}  // namespace

// Returns whether the system lets the process compute.
extern "C" __attribute__((visibility("default"))) bool layer(const float* weights, const float* images,
                                                              const float* output_gradients, int64_t count,
                                                              float* outputs, float* input_gradients,
                                                              float* gradient) {
    using Input = Layer::From;
    using Output = Layer::To;
    constexpr int STRIDE = Layer::STRIDE;
    const char* refusal = bf16_refusal();
    if (refusal && std::strstr(refusal, "denies")) return false;
    const MatrixUnit unit;
    const auto layer = std::make_unique<Layer>();
    layer->forward.take(weights);
    std::apply([&](auto&... passes) { (passes.take(weights), ...); }, layer->backward);
    layer->weight_gradient.clear();
    for (int64_t start = 0; start < count; start += WIDTH) {
        const int64_t left = count - start;
        const auto input = take<Input>(images + start * Input::SIZE, left, layer->lanes, layer->input);
        const auto found = take<Output>(output_gradients + start * Output::SIZE, left, layer->lanes, layer->gradient);
        for (int row = 0; row < Output::HEIGHT; ++row) {
            find<Output>(layer->forward, input, row * STRIDE, 0, row, left, outputs + start * Output::SIZE);
            const auto find_gradient = [&](auto& pass) {
                find<Input>(pass, found, row + STRIDE - 1, (STRIDE - 1) * found.PAIRS, row, left,
                            input_gradients + start * Input::SIZE);
            };
            std::apply([&](auto&... passes) { (find_gradient(passes), ...); }, layer->backward);
        }
        for (int row = 0; row < Output::HEIGHT; row += Layer::WeightGradient::BAND)
            layer->weight_gradient.add(row, input, found);
    }
    layer->weight_gradient.end(gradient);
    return true;
}
