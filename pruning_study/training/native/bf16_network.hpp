// A residual network whose convolutions are products of bf16 numbers, as torch's autocast has them.
//
// It is a ResidualNetwork (residual_network.hpp) that only trains. Outputs of convolutions, activations and gradients
// are kept as bf16 numbers. What is computed with them is float32: sums of products, batch normalization, shortcuts,
// the linear layer, the loss, weights and their gradient.
//
// Rows of activations and of gradients are found when a convolution needs them, and are kept no longer than that:
// memory is slower than all that is computed.
#pragma once

#include "bf16_convolution.hpp"
#include "residual_network.hpp"

namespace native {

// Bytes of a group's values from which those of a batch do not stay in the second-level cache.
constexpr std::size_t FAR = 100'000;

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
    using InputRows = BorderedRows<Input>;
    using Rows = BorderedRows<Output>;
    using WeightGradient = Bf16WeightGradient<Input, Output, Stride>;
    using Numbers = OfChannels<Output::CHANNELS>;
    static constexpr int WEIGHTS = Described::WEIGHTS, PARAMETERS = Described::PARAMETERS, PAIRS = Rows::PAIRS;
    static constexpr bool HAS_SHORTCUT = Described::HAS_SHORTCUT, IS_IDENTITY = Described::IS_IDENTITY;

    struct alignas(sizeof(Halves)) Group {
        Halves values[Output::PIXELS * PAIRS];  // [pixel][pair of channels]
    };
    struct alignas(sizeof(Halves)) Activation {
        Halves pixels[Rows::ROWS * Rows::PITCH];
    };
    // How many rows there are of what is found row by row: those that a band of outputs reads, and its gradient's.
    static constexpr int INPUT_ROWS = WeightGradient::ROWS_READ, GRADIENT_ROWS = WeightGradient::BAND + 2;
    static constexpr int INPUT_PAIRS = INPUT_ROWS * InputRows::PITCH, GRADIENT_PAIRS = GRADIENT_ROWS * Rows::PITCH;
    static constexpr bool IS_FAR = sizeof(Group) >= FAR;

    struct State {
        Bf16Product<typename Passes::Forward> forward;
        typename Passes::template Backwards<Bf16Product> backward;
        WeightGradient weight_gradient;
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

    // Finds the outputs of a group, and takes their sums. Deviations are from each image's first pixel, which is as near
    // to its mean as the spread is large: those from a number far away would leave no digit of a small variance, and may
    // leave one below 0.
    class Convolver {
       public:
        NATIVE_SHARED Convolver(State& state, int group)
            : state_(state), group_(group), values_(state.output[group].values) {}
        Convolver(const Convolver&) = delete;
        NATIVE_SHARED ~Convolver() {
            for (int channel = 0; channel < Output::CHANNELS; ++channel)
                state_.normalization.take(group_, channel, pivots_[channel], sums_.first[channel],
                                          sums_.second[channel]);
        }

        NATIVE_SHARED void find(int row, InputRows input) {
            const Halves* read[] = {input[row * Stride], input[row * Stride + 1], input[row * Stride + 2]};
            state_.forward.find(read, 0, row, [&](auto... arguments) { take(arguments...); });
        }

       private:
        State& state_;
        int group_;
        Halves* values_;
        Numbers pivots_{[](int) { return 0.0f; }};
        ChannelSums<Output::CHANNELS> sums_;

        template <class Pixels>
        void take(Pixels pixels, int tile, int first, const Lanes (*found)[ROWS]) {
            for_pairs(tile, [&](int pair, int row) {
                const int channel = 2 * pair;
                if (first == 0)
                    for (int i = 0; i < 2; ++i) pivots_[channel + i] = found[0][row + i];
                const Lanes pivot[] = {pivots_[channel], pivots_[channel + 1]};
                Lanes total[] = {sums_.first[channel], sums_.first[channel + 1]};
                Lanes squares[] = {sums_.second[channel], sums_.second[channel + 1]};
                for (int pixel = 0; pixel < pixels; ++pixel) {
                    put<IS_FAR>(values_ + (first + pixel) * PAIRS + pair,
                                rounded(found[pixel][row], found[pixel][row + 1]));
                    for (int i = 0; i < 2; ++i) {
                        const Lanes deviation = found[pixel][row + i] - pivot[i];
                        total[i] += deviation, squares[i] += deviation * deviation;
                    }
                }
                for (int i = 0; i < 2; ++i)
                    sums_.first[channel + i] = total[i], sums_.second[channel + i] = squares[i];
            });
        }
    };

    // Finds the activations of a group: normalizes, adds the shortcut from a source, if there is one, and rectifies.
    class Activator {
       public:
        NATIVE_SHARED Activator(const State& state, int group, const Halves* source)
            : values_(state.output[group].values), source_(source),
              factors_([&](int channel) { return state.normalization[channel].factor; }),
              summands_([&](int channel) {
                  const auto line = state.normalization[channel];
                  return line.summand - line.mean * line.factor;
              }) {}

        NATIVE_SHARED void operator()(int row, Halves* to) const {
            Rows::fill(row, to, [&](auto pixels, int first, Halves* found) {
                for (int pair = 0; pair < PAIRS; ++pair) {
                    const int channel = 2 * pair;
                    const Lanes factor[] = {factors_[channel], factors_[channel + 1]};
                    const Lanes summand[] = {summands_[channel], summands_[channel + 1]};
                    for (int pixel = 0; pixel < pixels; ++pixel) {
                        const Halves value = values_[(first + pixel) * PAIRS + pair];
                        Lanes one = first_of(value) * factor[0] + summand[0];
                        Lanes other = second_of(value) * factor[1] + summand[1];
                        if constexpr (HAS_SHORTCUT) {
                            const Halves added = shortcut(source_, first + pixel, channel);
                            one += first_of(added), other += second_of(added);
                        }
                        found[pixel * PAIRS + pair] = rounded(rectified(one), rectified(other));
                    }
                }
            });
        }

       private:
        const Halves *values_, *source_;
        Numbers factors_, summands_;
    };

    // The mean over the pixels of each channel of an activation.
    NATIVE_SHARED static void average(Rows activation, Lanes* means) {
        for (int channel = 0; channel < Output::CHANNELS; ++channel) {
            Lanes total{};
            for (int row = 1; row <= Output::HEIGHT; ++row)
                for (int column = 1; column <= Output::WIDTH; ++column) {
                    const Halves pair = activation[row][column * PAIRS + channel / 2];
                    total += channel % 2 ? second_of(pair) : first_of(pair);
                }
            means[channel] = total * broadcast(1.0f / Output::PIXELS);
        }
    }

    // Finds the gradient of the convolution's output, from that of what it is normalized to; 0 in lanes without an
    // image.
    class Differentiator {
       public:
        NATIVE_SHARED Differentiator(const State& state, int group, const Halves* gradient, Lanes present)
            : values_(state.output[group].values), gradient_(gradient),
              factors_([&](int channel) { return state.normalization[channel].factor; }),
              slopes_([&](int channel) { return state.normalization.slope(channel) * present; }),
              levels_([&](int channel) {
                  const Lanes mean = state.normalization[channel].mean;
                  return (state.normalization.level(channel) - state.normalization.slope(channel) * mean) * present;
              }) {}

        NATIVE_SHARED void operator()(int row, Halves* to) const {
            Rows::fill(row, to, [&](auto pixels, int first, Halves* found) {
                for (int pair = 0; pair < PAIRS; ++pair) {
                    const int channel = 2 * pair;
                    const Lanes factor[] = {factors_[channel], factors_[channel + 1]};
                    const Lanes slope[] = {slopes_[channel], slopes_[channel + 1]};
                    const Lanes level[] = {levels_[channel], levels_[channel + 1]};
                    for (int pixel = 0; pixel < pixels; ++pixel) {
                        const int at = (first + pixel) * PAIRS + pair;
                        const Halves value = values_[at], behind = gradient_[at];
                        found[pixel * PAIRS + pair] =
                            rounded(first_of(behind) * factor[0] + (first_of(value) * slope[0] + level[0]),
                                    second_of(behind) * factor[1] + (second_of(value) * slope[1] + level[1]));
                    }
                }
            });
        }

       private:
        const Halves *values_, *gradient_;
        Numbers factors_, slopes_, levels_;
    };

    // Lets the gradient of a group's activation pass the ReLU, and takes the sums that normalization needs.
    class Rectifier {
       public:
        NATIVE_SHARED Rectifier(State& state, int group, Rows activation, Halves* gradient)
            : normalization_(state.normalization), group_(group), values_(state.output[group].values),
              activation_(activation), gradient_(gradient),
              means_([&](int channel) { return state.normalization[channel].mean; }) {}
        Rectifier(const Rectifier&) = delete;
        NATIVE_SHARED ~Rectifier() {
            for (int channel = 0; channel < Output::CHANNELS; ++channel)
                normalization_.take_gradient(group_, channel, sums_.first[channel], sums_.second[channel]);
        }

        // Of some pixels, `pitch` apart, and a tile of channels: adds joined(pixel, pair) first.
        template <class Pixels, class Pitch, class Joined>
        void operator()(Pixels pixels, Pitch pitch, int tile, int first, const Lanes (*found)[ROWS], Joined&& joined) {
            const Halves* activation =
                activation_[first / Output::WIDTH + 1] + (first % Output::WIDTH + 1) * PAIRS;
            for_pairs(tile, [&](int pair, int row) {
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
                    put<IS_FAR>(gradient_ + at, rounded(one, other));
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
        const Halves* values_;
        Rows activation_;
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

    // Lets the unit before have the gradient of its activation: that of this convolution's input, with what is joined;
    // as far as a row of outputs reaches.
    template <class Rectify, class Joined>
    NATIVE_SHARED static void find_input_gradient(const State& state, int row, Rows output_gradient, Rectify& rectify,
                                                  Joined joined) {
        const int first = row + Stride - 1;
        const Halves* read[] = {output_gradient[first], output_gradient[first + 1], output_gradient[first + 2]};
        std::apply([&](auto&... passes) { (find_in_row(passes, read, row, rectify, joined), ...); }, state.backward);
    }

    // Calls body(first, behind) for the bands of rows of outputs.
    template <class Body>
    static void for_bands(Body&& body) {
        constexpr int BAND = WeightGradient::BAND;
        for (int row = 0; row < Output::HEIGHT; row += BAND) body(row, std::min(row + BAND, Output::HEIGHT));
    }

    // How many rows of the input the first rows of outputs read.
    static int rows_read(int rows) { return std::min((rows - 1) * Stride + 3, InputRows::ROWS); }

    // The two channels of the source that the shortcut adds to a pixel's.
    static Halves shortcut(const Halves* source, int pixel, int channel) {
        using From = BorderedRows<Source>;
        const int row = pixel / Output::WIDTH * Described::down(), column = pixel % Output::WIDTH * Described::across();
        return channels_from<From::PAIRS>(source + (row + 1) * From::PITCH + (column + 1) * From::PAIRS,
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
    template <class Body>
    static void for_pairs(int tile, Body&& body) {
        const int first = tile * ROWS / 2, behind = std::min(first + ROWS / 2, PAIRS);
        for (int pair = first; pair < behind; ++pair) body(pair, 2 * (pair - first));
    }

    template <class Pass, class Rectify, class Joined>
    static void find_in_row(const Bf16Product<Pass>& pass, const Halves* const* read, int row, Rectify& rectify,
                            Joined& joined) {
        const auto take = [&](auto pixels, int tile, int first, const Lanes (*found)[ROWS]) {
            rectify(pixels, std::integral_constant<int, Pass::PITCH>{}, tile, first, found, joined);
        };
        pass.find(read, (Stride - 1) * PAIRS, row, take);
    }
};

// Rows that are found when they are needed, so that they are near then.
template <class Rows, class Fill>
struct FoundRows {
    Rows rows;
    Fill fill;  // fill(row, to) finds a row
    int found;  // so many rows so far

    void reach(int behind) {
        for (; found < behind; ++found) fill(found, rows[found]);
    }
};

template <class Rows, class Fill>
FoundRows(Rows, Fill, int) -> FoundRows<Rows, Fill>;

template <class Head, class... Described>
class Bf16ResidualNetwork {
    template <std::size_t I>
    using At = std::tuple_element_t<I, std::tuple<Bf16Unit<Described>...>>;
    static constexpr std::size_t LAST = sizeof...(Described) - 1;
    static constexpr int GROUPS = 4;  // that go through the linear layer at once

   public:
    static constexpr int PIXELS = At<0>::Input::SIZE;
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
            for (int group = 0; group < groups_of(size); ++group) {
                auto activation = read<LAST + 1>(first + group, true);
                activation.reach(activation.rows.ROWS);
                At<LAST>::average(activation.rows, features_[group]);
            }
            Head::forward(parameters + HEAD, features_, head_, groups_of(size));
            loss += cross_entropy(head_.output, examples, order + first * WIDTH, size,
                                  1.0f / static_cast<float>(divisor), distillation, outcomes, head_.gradient);
            Head::template backward<true>(parameters + HEAD, features_, head_, features_gradient_, gradient + HEAD,
                                          groups_of(size));
            for (int group = 0; group < groups_of(size); ++group) {
                typename At<LAST>::Rectifier rectify(state<LAST>(), first + group, rows_before<LAST + 1>(first + group),
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
    // The rows of activations and of gradients that a convolution reads at once.
    static constexpr int LARGEST_INPUT = std::max({Bf16Unit<Described>::INPUT_PAIRS...});
    static constexpr int LARGEST_GRADIENT = std::max({Bf16Unit<Described>::GRADIENT_PAIRS...});

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
    Halves activation_[LARGEST_INPUT], output_gradient_[LARGEST_GRADIENT];
    Halves joined_[LARGEST];  // of one group

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
        for (int group = 0; group < groups_of(images); ++group) {
            typename At<I>::Convolver convolver(state<I>(), group);
            auto input = read<I>(group, true);
            At<I>::for_bands([&](int first, int behind) {
                input.reach(At<I>::rows_read(behind));
                for (int row = first; row < behind; ++row) convolver.find(row, input.rows);
            });
        }
        normalization.settle(images, parameters + At<I>::WEIGHTS, statistics.running, *statistics.settings);
        statistics.running += At<I>::Normalization::RUNNING;
        ++statistics.settings;
        if constexpr (I < LAST) forward<I + 1>(parameters + At<I>::PARAMETERS, statistics, images);
    }

    // What the convolution of a unit reads of a group. Of a unit that is kept it is found the first time alone.
    template <std::size_t I>
    auto read(int group, bool first) {
        if constexpr (I == 0) {
            using Rows = typename At<0>::InputRows;
            const auto fill = [images = input_[group].pixels](int row, Halves* to) { Rows::take(row, to, images); };
            return FoundRows{Rows{activation_, At<0>::INPUT_ROWS}, fill, 0};
        } else {
            const auto rows = rows_before<I>(group);
            const typename At<I - 1>::Activator fill(state<I - 1>(), group, source<I - 1>(group));
            return FoundRows{rows, fill, first || !is_kept<I - 1>() ? 0 : rows.ROWS};
        }
    }

    template <std::size_t I>
    typename At<I - 1>::Rows rows_before(int group) {
        if constexpr (is_kept<I - 1>())
            return {state<I - 1>().activation[group].pixels, At<I - 1>::Rows::ROWS};
        else
            return {activation_, At<I>::INPUT_ROWS};
    }

    template <std::size_t I>
    const Halves* source(int group) {
        if constexpr (At<I>::HAS_SHORTCUT)
            return state<I - 2>().activation[group].pixels;
        else
            return nullptr;
    }

    template <std::size_t I>
    void backward(int images, float* gradient) {
        gradient -= At<I>::PARAMETERS;
        state<I>().normalization.settle_gradient(images, gradient + At<I>::WEIGHTS, true);
        for (int group = 0; group < groups_of(images); ++group) {
            auto input = read<I>(group, false);
            if constexpr (I == 0) {
                differentiate<I>(group, images, input, [](int) {});
            } else {
                Halves* to = gradients_[(I - 1) % 2][group].values;
                typename At<I - 1>::Rectifier rectify(state<I - 1>(), group, input.rows, to);
                with_joined<I - 1>(to, [&](auto joined) {
                    differentiate<I>(group, images, input, [&](int row) {
                        At<I>::find_input_gradient(state<I>(), row, gradient_rows<I>(), rectify, joined);
                    });
                });
            }
        }
        state<I>().weight_gradient.end(gradient);
        if constexpr (I > 0) backward<I - 1>(images, gradient);
    }

    template <std::size_t I>
    typename At<I>::Rows gradient_rows() {
        return {output_gradient_, At<I>::GRADIENT_ROWS};
    }

    // Takes the gradient of a unit's weights; calls pass_back(row) for each row of its outputs.
    template <std::size_t I, class Input, class PassBack>
    void differentiate(int group, int images, Input& input, PassBack&& pass_back) {
        const Halves* behind_unit = gradients_[I % 2][group].values;
        const typename At<I>::Differentiator fill(state<I>(), group, behind_unit, present(images, group));
        FoundRows gradient{gradient_rows<I>(), fill, 0};
        At<I>::for_bands([&](int first, int behind) {
            gradient.reach(behind + 2);
            input.reach(At<I>::rows_read(behind));
            state<I>().weight_gradient.add(first, input.rows, gradient.rows);
            for (int row = first; row < behind; ++row) pass_back(row);
        });
    }

    // Calls body(joined), by which an activation's gradient is joined by that of the shortcut from it.
    template <std::size_t I, class Body>
    void with_joined(Halves* gradient, Body&& body) {
        if constexpr (!is_source<I>()) {
            body(Nothing{});
        } else if constexpr (At<I + 2>::IS_IDENTITY) {
            body(Same<At<I>::PAIRS>{gradient});
        } else {
            // What is joined has another shape, and would be written over before it is read.
            std::copy_n(gradient, At<I + 2>::Output::PIXELS * At<I + 2>::PAIRS, joined_);
            body(Subsampled<At<I + 2>>{joined_});
        }
    }

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
