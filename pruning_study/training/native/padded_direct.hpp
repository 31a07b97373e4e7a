// Padded 3x3 convolutions of stride 1 or 2 by their definition.
//
// Output, gradient of the input and gradient of the weights are computed row by row from padded copies of a few rows.
// With stride 2 an input is read by 1, 2 or 4 taps, depending on whether its row and column are even or odd. Therefore
// the gradient of the input needs four passes, one for each of these cases.
#pragma once

#include <algorithm>
#include <tuple>

#include "padded_rows.hpp"
#include "transposed_filters.hpp"

namespace native {

// Which values the passes read, and where they store their results.
template <class Input, class Output, int Stride>
struct PaddedPasses {
    static_assert(Stride == 1 || Stride == 2);
    static_assert(Output::HEIGHT == (Input::HEIGHT + Stride - 1) / Stride);
    static_assert(Output::WIDTH == (Input::WIDTH + Stride - 1) / Stride);
    static constexpr int CHANNELS = Input::CHANNELS, FILTERS = Output::CHANNELS, TAPS = 9;
    static constexpr int BAND = part_of(Output::HEIGHT, 4);  // rows of outputs whose pixels are copied at once

    using InputRows = PaddedRows<Input, (BAND - 1) * Stride + 3, Input::WIDTH + 2>;
    using GradientRows = PaddedRows<Output, BAND + 2, Output::WIDTH + 2>;

    // From inputs to outputs.
    struct Forward {
        using Rows = InputRows;
        static constexpr int READ = CHANNELS, FOUND = FILTERS, DOWN = 3, ACROSS = 3;
        static constexpr int COLUMNS = Output::WIDTH, STEP = Stride;  // between the windows that are read
        static constexpr int PLANE = Output::PIXELS, PITCH = 1;       // between results

        static int weight(int found, int read, int y, int x) { return (found * CHANNELS + read) * TAPS + y * 3 + x; }
        static int corner(int row) { return row % BAND * Stride * Rows::ROW; }
        static bool has(int) { return true; }
        static int place(int row) { return row * Output::WIDTH; }
    };

    // From gradients of outputs to those of inputs in every Stride-th row from Row on, and column from Column on.
    template <int Row, int Column>
    struct Backward {
        using Rows = GradientRows;
        static constexpr int READ = FILTERS, FOUND = CHANNELS;
        static constexpr int DOWN = Stride == 1 ? 3 : 1 + Row, ACROSS = Stride == 1 ? 3 : 1 + Column;
        static constexpr int COLUMNS = (Input::WIDTH - Column + Stride - 1) / Stride, STEP = 1;
        static constexpr int PLANE = Input::PIXELS, PITCH = Stride;

        static int weight(int found, int read, int y, int x) {
            const int tap = Stride == 1 ? 8 - y * 3 - x : (Row ? 2 - 2 * y : 1) * 3 + (Column ? 2 - 2 * x : 1);
            return (read * CHANNELS + found) * TAPS + tap;
        }
        static int corner(int row) { return (row % BAND + Stride - 1) * Rows::ROW + Stride - 1; }
        static bool has(int row) { return row * Stride + Row < Input::HEIGHT; }
        static int place(int row) { return (row * Stride + Row) * Input::WIDTH + Column; }
    };

    template <template <class> class Product>
    using Backwards =
        std::conditional_t<Stride == 1, std::tuple<Product<Backward<0, 0>>>,
                           std::tuple<Product<Backward<0, 0>>, Product<Backward<0, 1 % Stride>>,
                                      Product<Backward<1 % Stride, 0>>, Product<Backward<1 % Stride, 1 % Stride>>>>;

    // Calls body(row) for each row of outputs, and fill(row) before it for the first row of each band.
    template <class Fill, class Body>
    static void for_rows(Fill&& fill, Body&& body) {
        for (int row = 0; row < Output::HEIGHT; ++row) {
            if (row % BAND == 0) fill(row);
            body(row);
        }
    }
};

// A pass over all weights.
template <class Pass>
class DirectProduct {
    static constexpr int READ = Pass::READ, FOUND = Pass::FOUND, DOWN = Pass::DOWN, ACROSS = Pass::ACROSS;
    static constexpr int COLUMNS_AT_ONCE = part_of(std::max(1, Pass::COLUMNS), REGISTERS > 16 ? 4 : 2);
    // Registers: an accumulator for each output; a pixel for each column, and a weight.
    static constexpr int AT_ONCE = part_of(FOUND, fitting(REGISTERS - COLUMNS_AT_ONCE - 2, COLUMNS_AT_ONCE));

   public:
    void take(const float* weights) {
        in_parts<FOUND, AT_ONCE>([&](auto count, int first) {
            float* to = kernels_ + first * READ * DOWN * ACROSS;
            for (int read = 0; read < READ; ++read)
                for (int y = 0; y < DOWN; ++y)
                    for (int x = 0; x < ACROSS; ++x)
                        for (int found = 0; found < count; ++found)
                            *to++ = weights[Pass::weight(first + found, read, y, x)];
        });
    }

    void find(const typename Pass::Rows& rows, int row, Lanes* output) const {
        if (!Pass::has(row)) return;
        const Lanes* corner = rows.pixels[0][0] + Pass::corner(row);
        output += Pass::place(row);
        in_parts<FOUND, AT_ONCE>([&](auto count, int first) {
            in_parts<Pass::COLUMNS, COLUMNS_AT_ONCE>([&](auto columns, int column) {
                multiply<count, columns>(kernels_ + first * READ * DOWN * ACROSS, corner + column * Pass::STEP,
                                         output + first * Pass::PLANE + column * Pass::PITCH);
            });
        });
    }

   private:
    float kernels_[FOUND * READ * DOWN * ACROSS];  // in the order in which they are read

    template <int Count, int Columns>
    static void multiply(const float* kernels, const Lanes* corner, Lanes* output) {
        Lanes block[Count][Columns]{};
        for (int read = 0; read < READ; ++read, corner += Pass::Rows::PLANE)
            for (int y = 0; y < DOWN; ++y)
#pragma GCC unroll 4
                for (int x = 0; x < ACROSS; ++x, kernels += Count) {
                    Lanes pixels[Columns];
#pragma GCC unroll 32
                    for (int column = 0; column < Columns; ++column)
                        pixels[column] = held(corner[y * Pass::Rows::ROW + column * Pass::STEP + x]);
#pragma GCC unroll 32
                    for (int found = 0; found < Count; ++found)
#pragma GCC unroll 32
                        for (int column = 0; column < Columns; ++column)
                            block[found][column] = fma(broadcast(kernels[found]), pixels[column], block[found][column]);
                }
#pragma GCC unroll 32
        for (int found = 0; found < Count; ++found)
#pragma GCC unroll 32
            for (int column = 0; column < Columns; ++column)
                output[found * Pass::PLANE + column * Pass::PITCH] = block[found][column];
    }
};

// The gradient of the weights, with filters in the lanes.
template <class Passes>
class DirectWeightGradient {
    using Input = typename Passes::InputRows;
    using Gradient = typename Passes::GradientRows;
    static constexpr int CHANNELS = Passes::CHANNELS, FILTERS = Passes::FILTERS, TAPS = Passes::TAPS;
    static constexpr int COLUMNS = Passes::Forward::COLUMNS, STEP = Passes::Forward::STEP;
    static constexpr int LINES = groups_of(FILTERS), LINES_AT_ONCE = part_of(LINES, REGISTERS > 16 ? 4 : 2);
    // Registers: an accumulator for each tap and line; a gradient for each line, and a pixel.
    static constexpr int FREE = REGISTERS - LINES_AT_ONCE - 1;
    static constexpr int ROWS = TAPS * LINES_AT_ONCE <= FREE ? 3 : 1;  // of a kernel
    static constexpr int AT_ONCE = part_of(CHANNELS, fitting(FREE, ROWS * 3 * LINES_AT_ONCE));

   public:
    void clear() { std::memset(sums_, 0, sizeof sums_); }

    void add(const Shares<Input>& input, const Shares<Gradient>& gradient, int row) {
        for (int share = 0; share < SHARES; ++share)
            for (int column = 0; column < COLUMNS; ++column)
                for (int line = 0; line < LINES; ++line)
                    transpose_filters<FILTERS, Gradient::PLANE>(
                        gradient[share].pixels[0][row % Passes::BAND + 1] + 1 + column, line,
                        [&](int image, Lanes filters) { gradients_[column][share * WIDTH + image][line] = filters; });
        in_parts<LINES, LINES_AT_ONCE>([&](auto lines, int line) {
            in_parts<CHANNELS, AT_ONCE>([&](auto channels, int channel) {
                for (int y = 0; y < 3; y += ROWS)
                    multiply<channels, lines>(
                        input[0].pixels[channel][0] + Passes::Forward::corner(row) + y * Input::ROW, line,
                        sums_[channel] + y * 3);
            });
        });
    }

    void end(float* gradient) const {
        for (int channel = 0; channel < CHANNELS; ++channel)
            for (int filter = 0; filter < FILTERS; ++filter)
                for (int tap = 0; tap < TAPS; ++tap)
                    gradient[(filter * CHANNELS + channel) * TAPS + tap] +=
                        sums_[channel][tap][filter / WIDTH][filter % WIDTH];
    }

   private:
    Lanes sums_[CHANNELS][TAPS][LINES];
    Lanes gradients_[COLUMNS][SUM_LANES][LINES];  // of a row, filters in the lanes

    // The sums are separate from the gradient so far, because one long sum over many images would lose digits.
    template <int Channels, int Lines>
    void multiply(const Lanes* corner, int line, Lanes (*sums)[LINES]) const {
        typedef float Lane __attribute__((may_alias));
        Lanes block[Channels][ROWS * 3][Lines]{};
        for (int column = 0; column < COLUMNS; ++column, corner += STEP) {
            for (int image = 0; image < SUM_LANES; ++image) {
                const Lanes* of_share = corner + image / WIDTH * (sizeof(Input) / sizeof(Lanes));
                const auto* pixels = reinterpret_cast<const Lane*>(of_share);
                Lanes gradients[Lines];
#pragma GCC unroll 32
                for (int l = 0; l < Lines; ++l) gradients[l] = held(gradients_[column][image][line + l]);
#pragma GCC unroll 32
                for (int channel = 0; channel < Channels; ++channel)
#pragma GCC unroll 16
                    for (int tap = 0; tap < ROWS * 3; ++tap) {
                        const int at = channel * Input::PLANE + tap / 3 * Input::ROW + tap % 3;
#pragma GCC unroll 32
                        for (int l = 0; l < Lines; ++l)
                            block[channel][tap][l] = fma(broadcast(pixels[at * WIDTH + image % WIDTH]), gradients[l],
                                                         block[channel][tap][l]);
                    }
            }
        }
#pragma GCC unroll 32
        for (int channel = 0; channel < Channels; ++channel)
#pragma GCC unroll 16
            for (int tap = 0; tap < ROWS * 3; ++tap)
#pragma GCC unroll 32
                for (int l = 0; l < Lines; ++l) sums[channel * TAPS + tap][line + l] += block[channel][tap][l];
    }
};

// The forward pass, and the gradients of the weights and of the input.
template <class Input, class Output, int Stride>
struct PaddedDirect {
    using Passes = PaddedPasses<Input, Output, Stride>;

    struct State {
        DirectProduct<typename Passes::Forward> forward;
        typename Passes::template Backwards<DirectProduct> backward;
        DirectWeightGradient<Passes> weight_gradient;
        Shares<typename Passes::InputRows> input;
        Shares<typename Passes::GradientRows> gradient;
    };

    static void begin(const float* weights, State& state) {
        state.forward.take(weights);
        std::apply([&](auto&... passes) { (passes.take(weights), ...); }, state.backward);
        state.weight_gradient.clear();
    }

    static void forward(const Lanes* input, State& state, Lanes* output) {
        Passes::for_rows([&](int row) { state.input[0].fill(input, row * Stride - 1); },
                         [&](int row) { state.forward.find(state.input[0], row, output); });
    }

    // Adds to the gradient of the weights, and, if Asked, computes the gradient of the input.
    template <bool Asked>
    static void backward(SharesRead input, SharesRead output_gradient, State& state, SharesWritten input_gradient) {
        const auto fill = [&](int row) {
            for (int share = 0; share < SHARES; ++share) {
                state.input[share].fill(input[share], row * Stride - 1);
                state.gradient[share].fill(output_gradient[share], row - 1);
            }
        };
        Passes::for_rows(fill, [&](int row) {
            state.weight_gradient.add(state.input, state.gradient, row);
            if constexpr (Asked)
                for (int share = 0; share < SHARES; ++share)
                    std::apply(
                        [&](auto&... passes) { (passes.find(state.gradient[share], row, input_gradient[share]), ...); },
                        state.backward);
        });
    }

    static void end(const State& state, float* gradient) { state.weight_gradient.end(gradient); }
};

}  // namespace native
