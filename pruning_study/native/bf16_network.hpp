// A residual network whose convolutions are products of bf16 numbers, as torch's autocast has them.
//
// It is a ResidualNetwork (residual_network.hpp) that only trains. Outputs of convolutions, activations and gradients are
// kept as bf16 numbers. What is computed with them is float32: sums of products, batch normalization, shortcuts, the
// linear layer, the loss, weights and their gradient.
#pragma once

#include "bf16_convolution.hpp"
#include "residual_network.hpp"

namespace native {

constexpr int AT_ONCE = 4;  // pixels that normalization has at once, so that it need not load its factors for each

// The numbers of each channel, in all lanes; 0 of a channel that only fills a pair up.
template <int Channels>
struct OfChannels {
    Lanes lanes[2 * pairs_of(Channels)];

    // number(channel) is a float or Lanes.
    template <class Number>
    explicit OfChannels(Number&& number) {
        for (int channel = 0; channel < 2 * pairs_of(Channels); ++channel)
            lanes[channel] = channel < Channels ? number(channel) - Lanes{} : Lanes{};
    }
    Lanes operator[](int channel) const { return lanes[channel]; }
    Lanes& operator[](int channel) { return lanes[channel]; }
};

// Sums of an image's numbers by channel, and of their products with other numbers.
template <int Channels>
struct ChannelSums {
    OfChannels<Channels> first{[](int) { return 0.0f; }}, second{[](int) { return 0.0f; }};
};

template <class Described>
struct Bf16Unit;

template <class Input_, class Output_, int Stride, class Source_>
struct Bf16Unit<Unit<Input_, Output_, Stride, Source_>> {
    using Input = Input_;
    using Output = Output_;
    using Source = Source_;
    using Described = Unit<Input, Output, Stride, Source>;
    using Passes = PaddedPasses<Input, Output, Stride>;
    using Normalization = typename Described::Normalization;
    using From = Padded<Input>;
    using To = Padded<Output>;
    using Numbers = OfChannels<Output::CHANNELS>;
    static constexpr int WEIGHTS = Described::WEIGHTS, PARAMETERS = Described::PARAMETERS, PAIRS = To::PAIRS;
    static constexpr bool HAS_SHORTCUT = Described::HAS_SHORTCUT, IS_IDENTITY = Described::IS_IDENTITY;

    struct alignas(sizeof(Halves)) Group {
        Halves values[Output::PIXELS * PAIRS];  // [pixel][pair of channels]
    };
    struct alignas(sizeof(Halves)) Activation {
        Halves pixels[To::SIZE];
    };

    struct State {
        Bf16Product<typename Passes::Forward> forward;
        typename Passes::template Backwards<Bf16Product> backward;
        Bf16WeightGradient<Input, Output, Stride> weight_gradient;
        Normalization normalization;
        Room<Group> output;           // of the convolution
        Room<Activation> activation;  // of the ReLU, where it is kept

        NATIVE_SHARED void make_room(std::size_t groups, bool is_kept) {
            normalization.make_room(groups);
            output.make(groups);
            if (is_kept) activation.make(groups);
        }
    };

    // Before each batch: takes the weights over and forgets their gradient.
    NATIVE_SHARED static void begin(const float* weights, State& state) {
        state.forward.take(weights);
        std::apply([&](auto&... passes) { (passes.take(weights), ...); }, state.backward);
        state.weight_gradient.clear();
    }

    // Finds the outputs of a group, and takes their sums. Deviations are from numbers near the means.
    NATIVE_SHARED static void convolve(const Halves* input, State& state, int group, const float* near_means) {
        const Numbers pivots([&](int channel) { return near_means[channel]; });
        ChannelSums<Output::CHANNELS> sums;
        Halves* values = state.output[group].values;
        const auto take = [&](auto pixels, int tile, int first, const Lanes (*found)[ROWS]) {
            for_pairs<Output>(tile, [&](int pair, int row) {
                const Lanes pivot[] = {pivots[2 * pair], pivots[2 * pair + 1]};
                Lanes total[] = {sums.first[2 * pair], sums.first[2 * pair + 1]};
                Lanes squares[] = {sums.second[2 * pair], sums.second[2 * pair + 1]};
                for (int pixel = 0; pixel < pixels; ++pixel) {
                    values[(first + pixel) * PAIRS + pair] = rounded(found[pixel][row], found[pixel][row + 1]);
                    for (int i = 0; i < 2; ++i) {
                        const Lanes deviation = found[pixel][row + i] - pivot[i];
                        total[i] += deviation, squares[i] += deviation * deviation;
                    }
                }
                for (int i = 0; i < 2; ++i)
                    sums.first[2 * pair + i] = total[i], sums.second[2 * pair + i] = squares[i];
            });
        };
        for (int row = 0; row < Output::HEIGHT; ++row)
            state.forward.template find<Input>(input + From::at(row * Stride, 0), row, take);
        for (int channel = 0; channel < Output::CHANNELS; ++channel)
            state.normalization.take(group, channel, pivots[channel], sums.first[channel], sums.second[channel]);
    }

    NATIVE_SHARED static void activate(const State& state, int group, const Halves* source, Halves* to) {
        const Numbers factors([&](int channel) { return state.normalization[channel].factor; });
        const Numbers summands([&](int channel) {
            const auto line = state.normalization[channel];
            return line.summand - line.mean * line.factor;
        });
        const Halves* values = state.output[group].values;
        To::clear_border(to);
        for (int row = 0; row < Output::HEIGHT; ++row)
            in_parts<Output::WIDTH, part_of(Output::WIDTH, AT_ONCE)>([&](auto pixels, int column) {
                for (int pair = 0; pair < PAIRS; ++pair) {
                    const int channel = 2 * pair;
                    const Lanes factor[] = {factors[channel], factors[channel + 1]};
                    const Lanes summand[] = {summands[channel], summands[channel + 1]};
                    for (int pixel = 0; pixel < pixels; ++pixel) {
                        const Halves value = values[(row * Output::WIDTH + column + pixel) * PAIRS + pair];
                        Lanes first = first_of(value) * factor[0] + summand[0];
                        Lanes second = second_of(value) * factor[1] + summand[1];
                        if constexpr (HAS_SHORTCUT) {
                            const Halves added = shortcut(source, row, column + pixel, channel);
                            first += first_of(added), second += second_of(added);
                        }
                        to[To::at(row + 1, column + pixel + 1) + pair] = rounded(rectified(first), rectified(second));
                    }
                }
            });
    }

    // The mean over the pixels of each channel of an activation.
    NATIVE_SHARED static void average(const Halves* activation, Lanes* means) {
        for (int channel = 0; channel < Output::CHANNELS; ++channel) {
            Lanes total{};
            for (int row = 1; row <= Output::HEIGHT; ++row)
                for (int column = 1; column <= Output::WIDTH; ++column) {
                    const Halves pair = activation[To::at(row, column) + channel / 2];
                    total += channel % 2 ? second_of(pair) : first_of(pair);
                }
            means[channel] = total * broadcast(1.0f / Output::PIXELS);
        }
    }

    // The gradient of the convolution's output, from that of what it is normalized to; 0 in lanes without an image.
    NATIVE_SHARED static void find_output_gradient(const State& state, int group, const Halves* gradient,
                                                   Lanes present, Halves* output_gradient) {
        const auto& normalization = state.normalization;
        const Numbers factors([&](int channel) { return normalization[channel].factor; });
        const Numbers slopes([&](int channel) { return normalization.slope(channel) * present; });
        const Numbers levels([&](int channel) {
            return (normalization.level(channel) - normalization.slope(channel) * normalization[channel].mean) * present;
        });
        const Halves* values = state.output[group].values;
        To::clear_border(output_gradient);
        for (int row = 0; row < Output::HEIGHT; ++row)
            in_parts<Output::WIDTH, part_of(Output::WIDTH, AT_ONCE)>([&](auto pixels, int column) {
                for (int pair = 0; pair < PAIRS; ++pair) {
                    const int channel = 2 * pair;
                    const Lanes factor[] = {factors[channel], factors[channel + 1]};
                    const Lanes slope[] = {slopes[channel], slopes[channel + 1]};
                    const Lanes level[] = {levels[channel], levels[channel + 1]};
                    for (int pixel = 0; pixel < pixels; ++pixel) {
                        const int at = (row * Output::WIDTH + column + pixel) * PAIRS + pair;
                        const Halves value = values[at], behind = gradient[at];
                        output_gradient[To::at(row + 1, column + pixel + 1) + pair] =
                            rounded(first_of(behind) * factor[0] + (first_of(value) * slope[0] + level[0]),
                                    second_of(behind) * factor[1] + (second_of(value) * slope[1] + level[1]));
                    }
                }
            });
    }

    // Lets the gradient of a group's activation pass the ReLU, and takes the sums that normalization needs.
    class Rectifier {
       public:
        Rectifier(State& state, int group, const Halves* activation, Halves* gradient)
            : normalization_(state.normalization), group_(group), values_(state.output[group].values),
              activation_(activation), gradient_(gradient),
              means_([&](int channel) { return state.normalization[channel].mean; }) {}
        Rectifier(const Rectifier&) = delete;
        ~Rectifier() {
            for (int channel = 0; channel < Output::CHANNELS; ++channel)
                normalization_.take_gradient(group_, channel, sums_.first[channel], sums_.second[channel]);
        }

        // Of some pixels, `pitch` apart, and a tile of channels: adds joined(pixel, pair) first.
        template <class Pixels, class Pitch, class Joined>
        void operator()(Pixels pixels, Pitch pitch, int tile, int first, const Lanes (*found)[ROWS], Joined&& joined) {
            const Halves* activation = activation_ + To::at(first / Output::WIDTH + 1, first % Output::WIDTH + 1);
            for_pairs<Output>(tile, [&](int pair, int row) {
                const int channel = 2 * pair;
                const Lanes mean[] = {means_[channel], means_[channel + 1]};
                Lanes total[] = {sums_.first[channel], sums_.first[channel + 1]};
                Lanes products[] = {sums_.second[channel], sums_.second[channel + 1]};
                for (int pixel = 0; pixel < pixels; ++pixel) {
                    const int at = (first + pixel * pitch) * PAIRS + pair;
                    const Halves added = joined(first + pixel * pitch, pair), value = values_[at];
                    const Halves passed = activation[pixel * pitch * PAIRS + pair];
                    const Lanes one = first_of(passed) <= Lanes{} ? Lanes{} : found[pixel][row] + first_of(added);
                    const Lanes other =
                        second_of(passed) <= Lanes{} ? Lanes{} : found[pixel][row + 1] + second_of(added);
                    gradient_[at] = rounded(one, other);
                    total[0] += one, products[0] += one * (first_of(value) - mean[0]);
                    total[1] += other, products[1] += other * (second_of(value) - mean[1]);
                }
                for (int i = 0; i < 2; ++i)
                    sums_.first[channel + i] = total[i], sums_.second[channel + i] = products[i];
            });
        }

       private:
        Normalization& normalization_;
        int group_;
        const Halves *values_, *activation_;
        Halves* gradient_;
        Numbers means_;
        ChannelSums<Output::CHANNELS> sums_;
    };

    // The gradient of the mean over pixels, as the unit's ReLU takes it.
    NATIVE_SHARED static void spread(const Lanes* gradient, Rectifier& rectify) {
        for (int tile = 0; tile < tiles_of(Output::CHANNELS); ++tile) {
            Lanes of_pixel[1][ROWS];
            for (int row = 0; row < ROWS; ++row) {
                const int channel = tile * ROWS + row;
                of_pixel[0][row] =
                    channel < Output::CHANNELS ? gradient[channel] * broadcast(1.0f / Output::PIXELS) : Lanes{};
            }
            constexpr std::integral_constant<int, 1> one;
            for (int pixel = 0; pixel < Output::PIXELS; ++pixel)
                rectify(one, one, tile, pixel, of_pixel, [](int, int) { return Halves{}; });
        }
    }

    // Lets the unit before have the gradient of its activation: that of this convolution's input, with what is joined.
    template <class Rectify, class Joined>
    NATIVE_SHARED static void find_input_gradient(const State& state, const Halves* output_gradient, Rectify& rectify,
                                                  Joined joined) {
        constexpr int CORNER = To::at(Stride - 1, Stride - 1);
        for (int row = 0; row < Output::HEIGHT; ++row)
            std::apply(
                [&](auto&... passes) {
                    (find_in_row(passes, output_gradient + CORNER + To::at(row, 0), row, rectify, joined), ...);
                },
                state.backward);
    }

    // The two channels of the source that the shortcut adds to a pixel's.
    static Halves shortcut(const Halves* source, int row, int column, int channel) {
        using Its = Padded<Source>;
        return channels_from<Its::PAIRS>(source + Its::at(row * Described::down() + 1, column * Described::across() + 1),
                                         channel - Described::padding());
    }

    // What the shortcut's gradient joins: the two channels of a source's pixel.
    static Halves shortcut_gradient(const Halves* gradient, int pixel, int channel) {
        constexpr int DOWN = Described::down(), ACROSS = Described::across();
        const int row = pixel / Source::WIDTH, column = pixel % Source::WIDTH;
        if (row % DOWN || column % ACROSS) return Halves{};
        return channels_from<PAIRS>(gradient + (row / DOWN * Output::WIDTH + column / ACROSS) * PAIRS,
                                    channel + Described::padding());
    }

   private:
    static Lanes rectified(Lanes value) { return value < Lanes{} ? Lanes{} : value; }

    // Calls body(pair, row) for the pairs of channels in a tile, `row` that of the first channel.
    template <class Image, class Body>
    static void for_pairs(int tile, Body&& body) {
        const int first = tile * ROWS / 2, behind = std::min(first + ROWS / 2, pairs_of(Image::CHANNELS));
        for (int pair = first; pair < behind; ++pair) body(pair, 2 * (pair - first));
    }

    template <class Pass, class Rectify, class Joined>
    static void find_in_row(const Bf16Product<Pass>& pass, const Halves* corner, int row, Rectify& rectify,
                            Joined& joined) {
        pass.template find<Output>(corner, row, [&](auto pixels, int tile, int first, const Lanes (*found)[ROWS]) {
            rectify(pixels, std::integral_constant<int, Pass::PITCH>{}, tile, first, found, joined);
        });
    }
};

template <class Head, class... Described>
class Bf16ResidualNetwork {
    template <std::size_t I>
    using At = std::tuple_element_t<I, std::tuple<Bf16Unit<Described>...>>;
    static constexpr std::size_t LAST = sizeof...(Described) - 1;
    static constexpr int GROUPS = 4;  // that go through the linear layer at once

   public:
    static constexpr int PIXELS = At<0>::Input::SIZE, CLASSES = Head::OUTPUTS;
    static constexpr int PARAMETERS = (Described::PARAMETERS + ...) + Head::PARAMETERS;

    // Not defaulted, as in ResidualNetwork.
    Bf16ResidualNetwork() {}

    // Convolutions take pruned weights for what they are, which is 0: tiles have no use for lists of weights.
    void keep(const float* mask, bool all_learn) { Head::keep(mask + HEAD, head_, all_learn); }

    // As ResidualNetwork does.
    double differentiate(const float* parameters, Statistics statistics, Examples examples, const int64_t* order,
                         int images, int64_t divisor, Augmentation augmentation, Distillation distillation,
                         Outcomes outcomes, float* gradient) {
        const MatrixUnit unit;
        std::fill_n(gradient, PARAMETERS, 0.0f);
        make_room<0>(groups_of(images));
        gatherer_.gather(examples.images, order, 0, images, augmentation, &input_[0].pixels);
        forward<0>(parameters, statistics, images);
        double loss = 0;
        for (int first = 0; first < groups_of(images); first += GROUPS) {
            const int size = std::min(GROUPS * WIDTH, images - first * WIDTH);
            for (int group = 0; group < groups_of(size); ++group)
                At<LAST>::average(activate<LAST>(first + group), features_[group]);
            Head::forward(parameters + HEAD, features_, head_, groups_of(size));
            loss += cross_entropy(head_.output, examples, order + first * WIDTH, size,
                                  1.0f / static_cast<float>(divisor), distillation, outcomes, head_.gradient);
            Head::template backward<true>(parameters + HEAD, features_, head_, features_gradient_, gradient + HEAD,
                                          groups_of(size));
            for (int group = 0; group < groups_of(size); ++group) {
                const Halves* activation = state<LAST>().activation[first + group].pixels;
                typename At<LAST>::Rectifier rectify(state<LAST>(), first + group, activation,
                                                     gradients_[LAST % 2][first + group].values);
                At<LAST>::spread(features_gradient_[group], rectify);
            }
        }
        backward<LAST>(images, gradient + HEAD);
        return loss;
    }

   private:
    static constexpr int HEAD = (Described::PARAMETERS + ...);  // where its parameters are
    static constexpr int LARGEST = std::max({Bf16Unit<Described>::Output::PIXELS * Bf16Unit<Described>::PAIRS...});
    static constexpr int LARGEST_PADDED = std::max({At<0>::From::SIZE, Bf16Unit<Described>::To::SIZE...});

    struct alignas(sizeof(Lanes)) Input {
        Lanes pixels[PIXELS];
    };
    struct alignas(sizeof(Halves)) Gradient {
        Halves values[LARGEST];
    };

    Gatherer<PIXELS> gatherer_;
    Room<Input> input_;
    std::tuple<typename Bf16Unit<Described>::State...> states_;
    typename Head::template State<GROUPS> head_;
    Lanes features_[GROUPS][Head::INPUTS], features_gradient_[GROUPS][Head::INPUTS];
    // Of what a unit's ReLU has let pass, before its normalization; of units with even and with odd numbers.
    Room<Gradient> gradients_[2];
    Halves activation_[LARGEST_PADDED], output_gradient_[LARGEST_PADDED], joined_[LARGEST];  // of one group

    template <std::size_t I>
    auto& state() {
        return std::get<I>(states_);
    }

    // Whether the unit at I + 2 has a shortcut from here.
    template <std::size_t I>
    static constexpr bool is_source() {
        if constexpr (I + 2 <= LAST) return At<I + 2>::HAS_SHORTCUT;
        return false;
    }

    template <std::size_t I>
    static constexpr bool is_kept() {
        return At<I>::HAS_SHORTCUT || is_source<I>() || I == LAST;
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
        At<I>::begin(parameters, state<I>());
        for (int group = 0; group < groups_of(images); ++group)
            At<I>::convolve(read<I>(group, true), state<I>(), group, statistics.running);
        normalization.settle(images, parameters + At<I>::WEIGHTS, statistics.running, *statistics.settings);
        statistics.running += At<I>::Normalization::RUNNING;
        ++statistics.settings;
        if constexpr (I < LAST) forward<I + 1>(parameters + At<I>::PARAMETERS, statistics, images);
    }

    // What the convolution of a unit reads of a group; for the first time if so said.
    template <std::size_t I>
    const Halves* read(int group, bool first) {
        if constexpr (I == 0) {
            At<0>::From::fill(input_[group].pixels, activation_);
            return activation_;
        } else if constexpr (is_kept<I - 1>()) {
            return first ? activate<I - 1>(group) : state<I - 1>().activation[group].pixels;
        } else {
            return activate<I - 1>(group);
        }
    }

    template <std::size_t I>
    const Halves* activate(int group) {
        Halves* to = is_kept<I>() ? state<I>().activation[group].pixels : activation_;
        const Halves* source = nullptr;
        if constexpr (At<I>::HAS_SHORTCUT) source = state<I - 2>().activation[group].pixels;
        At<I>::activate(state<I>(), group, source, to);
        return to;
    }

    template <std::size_t I>
    void backward(int images, float* gradient) {
        gradient -= At<I>::PARAMETERS;
        state<I>().normalization.settle_gradient(images, gradient + At<I>::WEIGHTS, true);
        for (int group = 0; group < groups_of(images); ++group) {
            At<I>::find_output_gradient(state<I>(), group, gradients_[I % 2][group].values, present(images, group),
                                        output_gradient_);
            const Halves* input = read<I>(group, false);
            state<I>().weight_gradient.add(input, output_gradient_);
            if constexpr (I > 0) pass_back<I>(group, input);
        }
        state<I>().weight_gradient.end(gradient);
        if constexpr (I > 0) backward<I - 1>(images, gradient);
    }

    // Gives the unit before the gradient of a group of its activations.
    template <std::size_t I>
    void pass_back(int group, const Halves* activation) {
        using Before = At<I - 1>;
        Halves* to = gradients_[(I - 1) % 2][group].values;
        typename Before::Rectifier rectify(state<I - 1>(), group, activation, to);
        const auto pass = [&](auto joined) {
            At<I>::find_input_gradient(state<I>(), output_gradient_, rectify, joined);
        };
        if constexpr (!is_source<I - 1>()) {
            pass(Nothing{});
        } else if constexpr (At<I + 1>::IS_IDENTITY) {
            pass(Same<Before::PAIRS>{to});
        } else {
            // What is joined has another shape, and would be written over before it is read.
            std::copy_n(to, At<I + 1>::Output::PIXELS * At<I + 1>::PAIRS, joined_);
            pass(Subsampled<At<I + 1>>{joined_});
        }
    }

    // What joins the gradient of an activation: that of the shortcut from it.
    struct Nothing {
        Halves operator()(int, int) const { return Halves{}; }
    };
    template <int Pairs>
    struct Same {
        const Halves* gradient;
        Halves operator()(int pixel, int pair) const { return gradient[pixel * Pairs + pair]; }
    };
    template <class Behind>
    struct Subsampled {
        const Halves* gradient;
        Halves operator()(int pixel, int pair) const { return Behind::shortcut_gradient(gradient, pixel, 2 * pair); }
    };
};

}  // namespace native
