// A residual network: 3x3 convolutions with batch normalization, shortcuts over two of them, mean pooling, a linear
// layer.
//
// Normalization needs the statistics of a whole batch. So the network goes through a batch layer by layer, and through
// all groups of WIDTH images in each layer. Outputs of convolutions stay in memory until the backward pass. The values
// between two convolutions are computed for one group just before the second convolution reads them. In the backward
// pass, most of these values are computed again, because computing them is faster than loading them.
#pragma once

#include <tuple>
#include <type_traits>

#include "batch_norm.hpp"
#include "examples.hpp"
#include "linear.hpp"
#include "loss.hpp"
#include "padded_convolution.hpp"
#include "room.hpp"

namespace native {

// Marks a unit without a shortcut.
struct None {};

// A convolution, batch normalization, the shortcut from a Source (the input of the previous unit), and a ReLU.
// The shortcut is option A of He et al. (2016): it subsamples, and pads with channels of 0 on both sides.
template <class Input, class Output_, int Stride, class Source_ = None>
struct Unit {
    using Output = Output_;
    using Source = Source_;
    using Convolution = PaddedConvolution<Input, Output, Stride>;
    using Normalization = BatchNorm<Output::CHANNELS, Output::PIXELS>;
    static constexpr int INPUTS = Input::SIZE, OUTPUTS = Output::SIZE, WEIGHTS = Convolution::WEIGHTS;
    static constexpr int PARAMETERS = WEIGHTS + Normalization::PARAMETERS;
    static constexpr bool HAS_SHORTCUT = !std::is_same_v<Source, None>;
    static constexpr bool IS_IDENTITY = std::is_same_v<Source, Output>;

    struct alignas(sizeof(Lanes)) Group {
        Lanes values[OUTPUTS];
    };

    struct State {
        typename Convolution::State convolution;
        Normalization normalization;
        Room<Group> output;      // of the convolution
        Room<Group> activation;  // of the ReLU, if it is kept

        NATIVE_SHARED void make_room(std::size_t groups, bool is_kept) {
            normalization.make_room(groups);
            output.make(groups);
            if (is_kept) activation.make(groups);
        }
    };

    NATIVE_SHARED static void convolve(const Lanes* input, State& state, int group) {
        Convolution::forward(input, state.convolution, state.output[group].values);
    }

    // Adds to the weights' gradient in the convolution's state, and, if Asked, computes the gradient of its input.
    template <bool Asked>
    NATIVE_SHARED static void differentiate(SharesRead input, SharesRead output_gradient, State& state,
                                            SharesWritten input_gradient) {
        Convolution::template backward<Asked>(input, output_gradient, state.convolution, input_gradient);
    }

    NATIVE_SHARED static void activate(const State& state, int group, const Lanes* source, Lanes* to) {
        const Lanes* values = state.output[group].values;
        for (int channel = 0; channel < Output::CHANNELS; ++channel) {
            const auto normalize = state.normalization[channel];
            const auto rectified = [&](Lanes value) { return value < Lanes{} ? Lanes{} : value; };
            if constexpr (HAS_SHORTCUT)
                if (const int from = channel - padding(); 0 <= from && from < Source::CHANNELS) {
                    for_pixels([&](int pixel, int at) {
                        to[pixel] = rectified(normalize(values[pixel]) + source[from * Source::PIXELS + at]);
                    });
                    values += Output::PIXELS, to += Output::PIXELS;
                    continue;
                }
            for (int pixel = 0; pixel < Output::PIXELS; ++pixel) *to++ = rectified(normalize(*values++));
        }
    }

    NATIVE_SHARED static void add_shortcut_gradient(const Lanes* gradient, Lanes* source_gradient) {
        for (int channel = 0; channel < Source::CHANNELS; ++channel)
            for_pixels([&](int pixel, int at) {
                source_gradient[channel * Source::PIXELS + at] += gradient[(channel + padding()) * Output::PIXELS + pixel];
            });
    }

    // The number of channels of 0 on each side of the shortcut, and its strides.
    static constexpr int padding() { return (Output::CHANNELS - Source::CHANNELS) / 2; }
    static constexpr int down() { return Source::HEIGHT == Output::HEIGHT ? 1 : 2; }
    static constexpr int across() { return Source::WIDTH == Output::WIDTH ? 1 : 2; }

   private:
    // Calls body(pixel, at) for each pixel of a channel; `at` is the pixel of the source that is added to it.
    template <class Body>
    static void for_pixels(Body&& body) {
        for (int row = 0; row < Output::HEIGHT; ++row)
            for (int column = 0; column < Output::WIDTH; ++column)
                body(row * Output::WIDTH + column, row * down() * Source::WIDTH + column * across());
    }
};

template <class Head, class... Units>
class ResidualNetwork {
    template <std::size_t I>
    using At = std::tuple_element_t<I, std::tuple<Units...>>;
    static constexpr std::size_t LAST = sizeof...(Units) - 1;
    static constexpr int GROUPS = 64 / WIDTH;  // that go through the linear layer at once

   public:
    static constexpr int PIXELS = At<0>::INPUTS, CLASSES = Head::OUTPUTS;
    static constexpr int PARAMETERS = (Units::PARAMETERS + ...) + Head::PARAMETERS;

    // Not defaulted, because std::make_unique would then clear 24 MB for every batch, although they are written first.
    ResidualNetwork() {}

    void keep(const float* mask, bool all_learn) { keep_from<0>(mask, all_learn); }

    void logits(const float* parameters, Statistics statistics, const float* images, int64_t count, float* scores) {
        constexpr int64_t BATCH = 128;
        keep(parameters, false);  // the parameters serve as their own mask
        for (int64_t start = 0; start < count; start += BATCH) {
            const int size = static_cast<int>(std::min(BATCH, count - start));
            make_room<0>(groups_of(size));
            gatherer_.gather(images, nullptr, start, size, {}, input());
            forward<0>(parameters, statistics, size);
            for_chunks(size, [&](int first, int images) {
                score(parameters, first, groups_of(images));
                for (int image = 0; image < images; ++image)
                    for (int label = 0; label < CLASSES; ++label)
                        *scores++ = head_.output[image / WIDTH][label][image % WIDTH];
            });
        }
    }

    // Multiplies the loss of each image of a batch by the image's factor, and sums these losses. Sets the gradient of
    // the sum divided by `divisor`, and returns the sum itself.
    double differentiate(const float* parameters, Statistics statistics, Examples examples, const int64_t* order,
                         int images, int64_t divisor, Augmentation augmentation, Distillation distillation,
                         Outcomes outcomes, float* gradient) {
        std::fill_n(gradient, PARAMETERS, 0.0f);
        make_room<0>(groups_of(images));
        gatherer_.gather(examples.images, order, 0, images, augmentation, input());
        forward<0>(parameters, statistics, images);
        double loss = 0;
        for_chunks(images, [&](int first, int size) {
            score(parameters, first, groups_of(size));
            loss += cross_entropy(head_.output, examples, order + first * WIDTH, size,
                                  1.0f / static_cast<float>(divisor), distillation, outcomes, head_.gradient);
            Head::template backward<true>(parameters + HEAD, features_, head_, features_gradient_, gradient + HEAD,
                                          groups_of(size));
            for (int group = 0; group < groups_of(size); ++group) spread(first + group, features_gradient_[group]);
        });
        backward<LAST>(statistics.of_batch, images, gradient + HEAD);
        return loss;
    }

   private:
    static constexpr int HEAD = (Units::PARAMETERS + ...);  // index of its first parameter
    static constexpr int LARGEST = std::max({Units::OUTPUTS...});

    struct alignas(sizeof(Lanes)) Input {
        Lanes pixels[PIXELS];
    };
    struct alignas(sizeof(Lanes)) Gradient {
        Lanes values[LARGEST];
    };

    Gatherer<PIXELS> gatherer_;
    Room<Input> input_;
    std::tuple<typename Units::State...> states_;
    typename Head::template State<GROUPS> head_;
    Lanes features_[GROUPS][Head::INPUTS], features_gradient_[GROUPS][Head::INPUTS];
    // Gradients between a unit's normalization and its ReLU, for units with even and with odd numbers.
    Room<Gradient> gradients_[2];
    // Buffers for the groups over which a weight's gradient is summed at once.
    Lanes activation_[SHARES][LARGEST], output_gradient_[SHARES][LARGEST], input_gradient_[SHARES][LARGEST];

    template <std::size_t I>
    auto& state() {
        return std::get<I>(states_);
    }

    Lanes (*input())[PIXELS] { return &input_[0].pixels; }

    // Whether unit I + 2 has a shortcut from unit I.
    template <std::size_t I>
    static constexpr bool is_source() {
        if constexpr (I + 2 <= LAST) return At<I + 2>::HAS_SHORTCUT;
        return false;
    }

    template <std::size_t I>
    static constexpr bool is_source_of_identity() {
        if constexpr (is_source<I>()) return At<I + 2>::IS_IDENTITY;
        return false;
    }

    template <std::size_t I>
    static constexpr bool is_kept() {
        return At<I>::HAS_SHORTCUT || is_source<I>() || I == LAST;
    }

    template <std::size_t I>
    void keep_from(const float* mask, bool all_learn) {
        At<I>::Convolution::keep(mask, state<I>().convolution, all_learn);
        if constexpr (I < LAST)
            keep_from<I + 1>(mask + At<I>::PARAMETERS, all_learn);
        else
            Head::keep(mask + At<I>::PARAMETERS, head_, all_learn);
    }

    template <std::size_t I>
    void make_room(std::size_t groups) {
        input_.make(groups);
        for (auto& gradient : gradients_) gradient.make(groups);
        state<I>().make_room(groups, is_kept<I>());
        if constexpr (I < LAST) make_room<I + 1>(groups);
    }

    template <std::size_t I>
    void forward(const float* parameters, Statistics statistics, int images) {
        auto& normalization = state<I>().normalization;
        At<I>::Convolution::begin(parameters, state<I>().convolution);
        for (int group = 0; group < groups_of(images); ++group) {
            At<I>::convolve(read<I>(group, true), state<I>(), group);
            if (statistics.of_batch) normalization.measure(state<I>().output[group].values, group);
        }
        if (statistics.of_batch)
            normalization.settle(images, parameters + At<I>::WEIGHTS, statistics.running, *statistics.settings);
        else
            normalization.settle(parameters + At<I>::WEIGHTS, statistics.running, *statistics.settings);
        statistics.running += At<I>::Normalization::RUNNING;
        ++statistics.settings;
        if constexpr (I < LAST) forward<I + 1>(parameters + At<I>::PARAMETERS, statistics, images);
    }

    // The input of a unit's convolution for a group; `first` says whether it is read for the first time.
    template <std::size_t I>
    const Lanes* read(int group, bool first) {
        if constexpr (I == 0)
            return input_[group].pixels;
        else if constexpr (is_kept<I - 1>())
            return first ? activate<I - 1>(group) : state<I - 1>().activation[group].values;
        else
            return activate<I - 1>(group);
    }

    template <std::size_t I>
    const Lanes* activate(int group) {
        Lanes* to = is_kept<I>() ? state<I>().activation[group].values : activation_[group % SHARES];
        const Lanes* source = nullptr;
        if constexpr (At<I>::HAS_SHORTCUT) source = state<I - 2>().activation[group].values;
        At<I>::activate(state<I>(), group, source, to);
        return to;
    }

    // Calls body(first group, images) for every GROUPS groups of a batch.
    template <class Body>
    static void for_chunks(int images, Body&& body) {
        for (int start = 0; start < images; start += GROUPS * WIDTH)
            body(start / WIDTH, std::min(GROUPS * WIDTH, images - start));
    }

    // Computes the logits of some groups in head_.
    void score(const float* parameters, int first, int groups) {
        constexpr int PLANE = At<LAST>::Output::PIXELS;
        for (int group = 0; group < groups; ++group) {
            const Lanes* values = activate<LAST>(first + group);
            for (Lanes& feature : features_[group]) {
                Lanes total{};
                for (int pixel = 0; pixel < PLANE; ++pixel) total += *values++;
                feature = total * broadcast(1.0f / PLANE);
            }
        }
        Head::forward(parameters + HEAD, features_, head_, groups);
    }

    // Passes the gradient of the means over pixels back to the last unit.
    void spread(int group, const Lanes* features_gradient) {
        constexpr int PLANE = At<LAST>::Output::PIXELS;
        for (int i = 0; i < At<LAST>::OUTPUTS; ++i)
            input_gradient_[group % SHARES][i] = features_gradient[i / PLANE] * broadcast(1.0f / PLANE);
        rectify<LAST>(group, state<LAST>().activation[group].values);
    }

    // Passes input_gradient_ back through a unit's ReLU.
    template <std::size_t I>
    void rectify(int group, const Lanes* activation) {
        constexpr bool JOINED = is_source_of_identity<I>();
        state<I>().normalization.template measure_gradient<JOINED>(
            input_gradient_[group % SHARES], activation, state<I>().output[group].values,
            gradients_[I % 2][group].values, group);
    }

    template <std::size_t I>
    void backward(bool of_batch, int images, float* gradient) {
        gradient -= At<I>::PARAMETERS;
        auto& normalization = state<I>().normalization;
        normalization.settle_gradient(images, gradient + At<I>::WEIGHTS, of_batch);
        for (int first = 0; first < groups_of(images); first += SHARES) {
            const int groups = std::min(SHARES, groups_of(images) - first);
            SharesRead input, output_gradient;
            SharesWritten input_gradient;
            for (int share = 0; share < SHARES; ++share) {
                const int group = first + std::min(share, groups - 1);
                if (share < groups) {
                    normalization.find_input_gradient(gradients_[I % 2][group].values, state<I>().output[group].values,
                                                      present(images, group), output_gradient_[share]);
                    input[share] = read<I>(group, false);
                } else {  // no images
                    std::fill_n(output_gradient_[share], At<I>::OUTPUTS, Lanes{});
                    input[share] = input[0];
                }
                output_gradient[share] = output_gradient_[share], input_gradient[share] = input_gradient_[share];
            }
            At<I>::template differentiate<(I > 0)>(input, output_gradient, state<I>(), input_gradient);
            if constexpr (I > 0)
                for (int share = 0; share < groups; ++share) {
                    if constexpr (is_source<I - 1>() && !is_source_of_identity<I - 1>())
                        At<I + 1>::add_shortcut_gradient(gradients_[(I + 1) % 2][first + share].values,
                                                         input_gradient[share]);
                    rectify<I - 1>(first + share, input[share]);
                }
        }
        At<I>::Convolution::end(state<I>().convolution, gradient);
        if constexpr (I > 0) backward<I - 1>(of_batch, images, gradient);
    }
};

}  // namespace native
