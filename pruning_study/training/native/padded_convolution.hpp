// A 3x3 convolution with zero padding, stride 1 or 2, without biases: with all its weights, or with only the few that
// a mask keeps.
#pragma once

#include "kept.hpp"
#include "padded_direct.hpp"
#include "padded_winograd.hpp"

namespace native {

// A pass over a list of weights, each of which costs one multiply-add for each register of images.
template <class Pass>
class KeptProduct {
    // Registers: an accumulator for each output, and a weight.
    static constexpr int AT_ONCE = part_of(std::max(1, Pass::COLUMNS), REGISTERS - 8);

   public:
    void keep(const float* mask) {
        kept_.clear(), ends_.clear();
        for (int found = 0; found < Pass::FOUND; ++found) {
            for (int read = 0; read < Pass::READ; ++read)
                for (int y = 0; y < Pass::DOWN; ++y)
                    for (int x = 0; x < Pass::ACROSS; ++x) {
                        const int weight = Pass::weight(found, read, y, x);
                        if (mask[weight] != 0)
                            kept_.push_back({read * Pass::Rows::PLANE + y * Pass::Rows::ROW + x, weight, 0});
                    }
            ends_.push_back(kept_.size());
        }
    }

    void take(const float* weights) {
        for (Kept& kept : kept_) kept.value = weights[kept.weight];
    }

    void find(const typename Pass::Rows& rows, int row, Lanes* output) const {
        if (!Pass::has(row)) return;
        const Lanes* corner = rows.pixels[0][0] + Pass::corner(row);
        output += Pass::place(row);
        for_each([&](int found, const Kept* first, const Kept* behind) {
            in_parts<Pass::COLUMNS, AT_ONCE>([&](auto columns, int column) {
                multiply<columns>(first, behind, corner + column * Pass::STEP,
                                  output + found * Pass::PLANE + column * Pass::PITCH);
            });
        });
    }

   protected:
    struct Kept {
        int shift;   // from the first pixel of a window to the one that is multiplied with the weight
        int weight;  // its place in the layer
        float value;
    };

    std::vector<Kept> kept_;
    std::vector<std::size_t> ends_;  // for each channel that is computed, the end of its list

    // Calls body(found, first, behind).
    template <class Body>
    void for_each(Body&& body) const {
        for (int found = 0; found < Pass::FOUND; ++found)
            body(found, kept_.data() + (found ? ends_[found - 1] : 0), kept_.data() + ends_[found]);
    }

   private:
    template <int Columns>
    static void multiply(const Kept* kept, const Kept* behind, const Lanes* corner, Lanes* output) {
        Lanes block[Columns]{};
        for (; kept != behind; ++kept) {
            const Lanes weight = broadcast(kept->value), *pixels = corner + kept->shift;
#pragma GCC unroll 32
            for (int column = 0; column < Columns; ++column)
                block[column] = fma(weight, pixels[column * Pass::STEP], block[column]);
        }
#pragma GCC unroll 32
        for (int column = 0; column < Columns; ++column) output[column * Pass::PITCH] = block[column];
    }
};

// The forward pass, and the gradient of the weights in the list.
template <class Passes>
class KeptForward : public KeptProduct<typename Passes::Forward> {
    using Pass = typename Passes::Forward;
    using typename KeptProduct<Pass>::Kept;
    static constexpr int CHAINS = 4;  // of sums, so that one addition need not wait for another
    // The same on every machine, since it decides which products a chain joins.
    static constexpr int AT_ONCE = part_of(Pass::COLUMNS, 20);

   public:
    void clear() {
        for (auto& sums : sums_) sums.assign(this->kept_.size(), Sum{});
    }

    void add(const typename Passes::InputRows& input, const typename Passes::GradientRows& gradient, int row,
             int share) {
        const Lanes* corner = input.pixels[0][0] + Pass::corner(row);
        this->for_each([&](int filter, const Kept* first, const Kept* behind) {
            const Lanes* from = gradient.pixels[filter][row % Passes::BAND + 1] + 1;
            in_parts<Pass::COLUMNS, AT_ONCE>([&](auto columns, int column) {
                correlate<columns>(first, behind, corner + column * Pass::STEP, from + column,
                                   sums_[share].data() + (first - this->kept_.data()));
            });
        });
    }

    void end(float* gradient) const {
        LaneSums sums;
        for (std::size_t i = 0; i < this->kept_.size(); ++i) {
            Lanes shares[SHARES];
            for (int share = 0; share < SHARES; ++share) shares[share] = sums_[share][i].lanes;
            sums.add(gradient[this->kept_[i].weight], joined(shares, 1));
        }
        sums.flush();
    }

   private:
    struct Sum {
        Lanes lanes{};
    };

    Shares<std::vector<Sum>> sums_;  // of each weight in the list

    template <int Columns>
    static void correlate(const Kept* kept, const Kept* behind, const Lanes* corner, const Lanes* gradient,
                          Sum* sums) {
        Lanes block[Columns];
#pragma GCC unroll 32
        for (int column = 0; column < Columns; ++column) block[column] = gradient[column];
        for (; kept != behind; ++kept, ++sums) {
            const Lanes* pixels = corner + kept->shift;
            Lanes chains[CHAINS]{};
#pragma GCC unroll 32
            for (int column = 0; column < Columns; ++column)
                chains[column % CHAINS] = fma(block[column], pixels[column * Pass::STEP], chains[column % CHAINS]);
            sums->lanes += (chains[0] + chains[1]) + (chains[2] + chains[3]);
        }
    }
};

// With few channels or filters, the additional sums take as long as the products that Winograd's filtering saves.
template <class Input, class Output, int Stride>
constexpr bool BY_WINOGRAD = Stride == 1 && Input::CHANNELS >= 8 && Output::CHANNELS >= 8;

template <class Input, class Output, int Stride>
struct PaddedConvolution {
    using From = Input;
    using To = Output;
    static constexpr bool WINOGRAD = BY_WINOGRAD<Input, Output, Stride>;
    using Dense = std::conditional_t<WINOGRAD, PaddedWinograd<Input, Output>, PaddedDirect<Input, Output, Stride>>;
    using Passes = PaddedPasses<Input, Output, Stride>;
    static constexpr int INPUTS = Input::SIZE, OUTPUTS = Output::SIZE, STRIDE = Stride;
    static constexpr int WEIGHTS = Output::CHANNELS * Input::CHANNELS * 9;
    static constexpr long MULTIPLICATIONS = long(Output::PIXELS) * WEIGHTS;  // by definition, for an image

    struct State {
        typename Dense::State dense;
        bool few = false, all_learn = false;
        KeptForward<Passes> forward;
        typename Passes::template Backwards<KeptProduct> backward;
        typename Passes::InputRows input;
        typename Passes::GradientRows gradient;

        bool by_list() const { return few && !all_learn; }
    };

    // From now on weights whose mask is 0 are treated as 0. Their gradient is not needed, unless all weights learn.
    static void keep(const float* mask, State& state, bool all_learn) {
        // In both passes, lists are faster up to these shares of kept weights: .2 for 64x64 kernels, .3 for 16x16
        // kernels, and more than a third for stride 2.
        state.few = few_kept(mask, WEIGHTS, WINOGRAD ? 5 : 3);
        state.all_learn = all_learn;
        if (!state.few) return;
        state.forward.keep(mask);
        for_passes(state, [&](auto& pass) { pass.keep(mask); });
    }

    // Called before each batch: copies the weights, and resets their gradient.
    static void begin(const float* weights, State& state) {
        if (!state.by_list()) Dense::begin(weights, state.dense);
        if (!state.few) return;
        state.forward.take(weights), state.forward.clear();
        for_passes(state, [&](auto& pass) { pass.take(weights); });
    }

    static void forward(const Lanes* input, State& state, Lanes* output) {
        if (!state.few) return Dense::forward(input, state.dense, output);
        Passes::for_rows([&](int row) { state.input.fill(input, row * Stride - 1); },
                         [&](int row) { state.forward.find(state.input, row, output); });
    }

    // Adds to the gradient of the weights, and, if Asked, computes the gradient of the input.
    template <bool Asked>
    static void backward(SharesRead input, SharesRead output_gradient, State& state, SharesWritten input_gradient) {
        if (!state.few) return Dense::template backward<Asked>(input, output_gradient, state.dense, input_gradient);
        if (state.all_learn) Dense::template backward<false>(input, output_gradient, state.dense, {});
        for (int share = 0; share < SHARES; ++share) {
            const auto fill = [&](int row) {
                if (!state.all_learn) state.input.fill(input[share], row * Stride - 1);
                state.gradient.fill(output_gradient[share], row - 1);
            };
            Passes::for_rows(fill, [&](int row) {
                if (!state.all_learn) state.forward.add(state.input, state.gradient, row, share);
                if constexpr (Asked)
                    for_passes(state, [&](auto& pass) { pass.find(state.gradient, row, input_gradient[share]); });
            });
        }
    }

    // Adds to `gradient` the gradient of the weights for all images since `begin`.
    static void end(State& state, float* gradient) {
        if (state.by_list())
            state.forward.end(gradient);
        else
            Dense::end(state.dense, gradient);
    }

   private:
    template <class Body>
    static void for_passes(State& state, Body&& body) {
        std::apply([&](auto&... passes) { (body(passes), ...); }, state.backward);
    }
};

}  // namespace native
