// A stack of layers: its logits, and the gradient of a batch.
#pragma once

#include <memory>
#include <tuple>

#include "batch_norm.hpp"
#include "examples.hpp"
#include "linear.hpp"
#include "loss.hpp"
#include "masked_convolution.hpp"

namespace native {

template <class... Layers>
class Network {
    template <std::size_t I>
    using Layer = std::tuple_element_t<I, std::tuple<Layers...>>;
    static constexpr std::size_t LAST = sizeof...(Layers) - 1;
    // Number of images that go through the network at once, on every machine: enough for the tiles of the linear
    // layers, and few enough that all activations stay in the second-level cache.
    static constexpr int CHUNK = 64, GROUPS = CHUNK / WIDTH;

   public:
    static constexpr int PIXELS = Layer<0>::INPUTS, CLASSES = Layer<LAST>::OUTPUTS;
    static constexpr int PARAMETERS = (Layers::PARAMETERS + ...);

    void keep(const float* mask, bool all_learn) { keep_from<0>(mask, all_learn); }

    void logits(const float* parameters, Statistics, const float* images, int64_t count, float* scores) {
        keep(parameters, false);  // the parameters serve as their own mask
        for (int64_t start = 0; start < count; start += CHUNK) {
            const int size = static_cast<int>(std::min<int64_t>(CHUNK, count - start));
            gatherer_.gather(images, nullptr, start, size, {}, input_);
            forward<0>(parameters, input_, groups_of(size));
            const auto& last = std::get<LAST>(states_);
            for (int image = 0; image < size; ++image)
                for (int label = 0; label < CLASSES; ++label)
                    *scores++ = last.output[image / WIDTH][label][image % WIDTH];
        }
    }

    // Multiplies the loss of each image of a batch by the image's factor, and sums these losses. Sets the gradient of
    // the sum divided by `divisor`, and returns the sum itself.
    double differentiate(const float* parameters, Statistics, Examples examples, const int64_t* order, int images,
                         int64_t divisor, Augmentation augmentation, Distillation distillation, Outcomes outcomes,
                         float* gradient) {
        std::fill_n(gradient, PARAMETERS, 0.0f);
        double loss = 0;
        for (int start = 0; start < images; start += CHUNK) {
            const int size = std::min(CHUNK, images - start), groups = groups_of(size);
            gatherer_.gather(examples.images, order + start, 0, size, augmentation.from(start), input_);
            forward<0>(parameters, input_, groups);
            const float scale = 1.0f / static_cast<float>(divisor);
            auto& last = std::get<LAST>(states_);
            loss += cross_entropy(last.output, examples, order + start, size, scale, distillation, outcomes,
                                  last.gradient);
            backward<0>(parameters, input_, nullptr, gradient, groups);
        }
        return loss;
    }

   private:
    Lanes input_[GROUPS][PIXELS];
    Gatherer<PIXELS> gatherer_;
    std::tuple<typename Layers::template State<GROUPS>...> states_;
    std::size_t first_ = 0;  // last layer without kept weights; layers before it neither matter nor learn

    template <std::size_t I>
    void keep_from(const float* mask, bool all_learn) {
        Layer<I>::keep(mask, std::get<I>(states_), all_learn);
        if (!all_learn && std::count(mask, mask + Layer<I>::WEIGHTS, 0.0f) == Layer<I>::WEIGHTS) first_ = I;
        if constexpr (I < LAST) keep_from<I + 1>(mask + Layer<I>::PARAMETERS, all_learn);
    }

    template <std::size_t I>
    void forward(const float* parameters, const Lanes (*input)[Layer<I>::INPUTS], int groups) {
        auto& state = std::get<I>(states_);
        if (I >= first_) Layer<I>::forward(parameters, input, state, groups);
        if constexpr (I < LAST) forward<I + 1>(parameters + Layer<I>::PARAMETERS, state.output, groups);
    }

    template <std::size_t I>
    void backward(const float* parameters, const Lanes (*input)[Layer<I>::INPUTS],
                  Lanes (*input_gradient)[Layer<I>::INPUTS], float* gradient, int groups) {
        auto& state = std::get<I>(states_);
        if constexpr (I < LAST)
            backward<I + 1>(parameters + Layer<I>::PARAMETERS, state.output, state.gradient,
                            gradient + Layer<I>::PARAMETERS, groups);
        if (I >= first_)
            Layer<I>::template backward<(I > 0)>(parameters, input, state, input_gradient, gradient, groups);
    }
};

}  // namespace native
