// Convolution with the max-pool and the ReLU behind it.
#pragma once

#include "lanes.hpp"

namespace native {

template <int Channels, int Height, int Width>
struct Image {
    static constexpr int CHANNELS = Channels, HEIGHT = Height, WIDTH = Width, PIXELS = Height * Width;
    static constexpr int SIZE = Channels * PIXELS;
};

// Marks a window of the pool through which no gradient passes.
constexpr int NONE = -1;

// The largest of a window's pixels, and its index or NONE. As in torch, the first of equal pixels is chosen, and NaN
// counts as larger than any number.
template <int Pool, bool Rectified>
inline void pool(const Lanes* window, Lanes& output, LaneByte& largest) {
    Lanes most = window[0];
    LaneIndex which{};
    static_assert(Pool * Pool <= 127, "the number of a pixel in its window is a byte");
#pragma GCC unroll 32
    for (int pixel = 1; pixel < Pool * Pool; ++pixel) {
        const LaneIndex larger = (window[pixel] > most) | (window[pixel] != window[pixel]);
        most = larger ? window[pixel] : most;
        which = larger ? LaneIndex{} + pixel : which;
    }
    if (Rectified) {
        which = most <= Lanes{} ? LaneIndex{} + NONE : which;
        most = most < Lanes{} ? Lanes{} : most;  // this way round NaN stays NaN
    }
    output = most;
    largest = __builtin_convertvector(which, LaneByte);
}

// Sets the gradient of a window's pixels, and returns their sum.
template <int Pool>
inline Lanes unpool_window(Lanes gradient, LaneByte largest, Lanes* window, int stride) {
    const LaneIndex which = widened(largest);
#pragma GCC unroll 32
    for (int pixel = 0; pixel < Pool * Pool; ++pixel)
        window[pixel / Pool * stride + pixel % Pool] = which == pixel ? gradient : Lanes{};
    return which != NONE ? gradient : Lanes{};
}

// A convolution, stride 1, no padding; then a max-pool of Pool x Pool windows (1: none), then, if Rectified, a ReLU.
//
// The three are one layer because the convolution's own output then never leaves the registers: a window of the pool is
// convolved and reduced to its largest value, and only that is stored. The gradient of the convolution's output is 0
// except at one pixel of each window, so that the backward pass needs only the index of the largest pixel.
//
// `Output` may be smaller than what the input allows: rows and columns that a later pool drops are never computed.
// If it is faster for a shape, winograd.hpp has a specialization with fewer multiplications.
template <class Input, class Output, int KernelHeight, int KernelWidth, int Pool, bool Rectified, class = void>
struct DenseConvolution {
    static constexpr int INPUTS = Input::SIZE, OUTPUTS = Output::SIZE;
    static constexpr int CHANNELS = Input::CHANNELS, FILTERS = Output::CHANNELS;
    static constexpr int TAPS = KernelHeight * KernelWidth, WEIGHTS = FILTERS * CHANNELS * TAPS;
    static constexpr int PARAMETERS = WEIGHTS + FILTERS;
    static constexpr int ROWS = Output::HEIGHT * Pool, COLUMNS = Output::WIDTH * Pool;  // before the pool
    // Multiplications in the forward pass of an image.
    static constexpr long MULTIPLICATIONS = long(ROWS) * COLUMNS * FILTERS * CHANNELS * TAPS;
    static_assert(ROWS + KernelHeight - 1 <= Input::HEIGHT && COLUMNS + KernelWidth - 1 <= Input::WIDTH);

    // The gradient before the pool has columns of 0 at both ends, which the gradient of the input reads.
    static constexpr int MARGIN = KernelWidth - 1, STRIDE = COLUMNS + 2 * MARGIN;

    template <int Groups>
    struct State {
        Lanes output[Groups][OUTPUTS];
        Lanes gradient[Groups][OUTPUTS];
        LaneByte largest[Groups][OUTPUTS];  // as pool() gives it
        Lanes unpooled[FILTERS * ROWS * STRIDE]{};
        Lanes weight_gradient[SHARES][PARAMETERS];
    };

    template <int Groups>
    static void forward(const float* parameters, const Lanes (*input)[INPUTS], State<Groups>& state, int groups) {
        for (int group = 0; group < groups; ++group)
            convolve(parameters, input[group], state.output[group], state.largest[group]);
    }

    // Adds to `gradient` what the images of these groups contribute, and, if Asked, computes the gradient of the input.
    template <bool Asked, int Groups>
    static void backward(const float* parameters, const Lanes (*input)[INPUTS], State<Groups>& state,
                         Lanes (*input_gradient)[INPUTS], float* gradient, int groups) {
        std::memset(state.weight_gradient, 0, sizeof state.weight_gradient);
        for_shares(groups, [&](int share, int group) {
            Lanes* weight_gradient = state.weight_gradient[share];
            unpool(state.gradient[group], state.largest[group], state.unpooled, weight_gradient + WEIGHTS);
            add_weight_gradient(input[group], state.unpooled, weight_gradient);
            if constexpr (Asked) find_input_gradient(parameters, state.unpooled, input_gradient[group]);
        });
        LaneSums sums;
        for (int i = 0; i < PARAMETERS; ++i) sums.add(gradient[i], joined(state.weight_gradient[0] + i, PARAMETERS));
        sums.flush();
    }

   private:
    // Outputs computed at once: the output of one window of the pool or, without a pool, several outputs of a row.
    static constexpr int ACROSS = Pool > 1 ? 1 : part_of(Output::WIDTH, 4);

    static void convolve(const float* parameters, const Lanes* input, Lanes* output, LaneByte* largest) {
        // Registers: an accumulator for each filter and pixel; four pixels and a weight.
        constexpr int AT_ONCE = fitting(REGISTERS - 5, ACROSS * Pool * Pool);
        in_parts<FILTERS, part_of(FILTERS, AT_ONCE)>([&](auto filters, int filter) {
            for (int row = 0; row < Output::HEIGHT; ++row)
                in_parts<Output::WIDTH, ACROSS>([&](auto outputs, int column) {
                    convolve_block<filters, outputs * Pool>(parameters, input, filter, row, column, output, largest);
                });
        });
    }

    template <int Filters, int Columns>
    static void convolve_block(const float* parameters, const Lanes* input, int filter, int row, int column,
                               Lanes* output, LaneByte* largest) {
        Lanes block[Filters][Pool * Columns];
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 32
            for (int pixel = 0; pixel < Pool * Columns; ++pixel)
                block[f][pixel] = broadcast(parameters[WEIGHTS + filter + f]);
        for (int channel = 0; channel < CHANNELS; ++channel) {
            const Lanes* corner = input + channel * Input::PIXELS + row * Pool * Input::WIDTH + column * Pool;
            const float* weight = parameters + (filter * CHANNELS + channel) * TAPS;
#pragma GCC unroll 8
            for (int y = 0; y < KernelHeight; ++y)
#pragma GCC unroll 8
                for (int x = 0; x < KernelWidth; ++x)
#pragma GCC unroll 32
                    for (int f = 0; f < Filters; ++f) {
                        const Lanes w = broadcast(weight[f * CHANNELS * TAPS + y * KernelWidth + x]);
#pragma GCC unroll 32
                        for (int pixel = 0; pixel < Pool * Columns; ++pixel)
                            block[f][pixel] =
                                fma(w, corner[(pixel / Columns + y) * Input::WIDTH + pixel % Columns + x],
                                    block[f][pixel]);
                    }
        }
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 32
            for (int out = 0; out < Columns / Pool; ++out) {
                const int at = (filter + f) * Output::PIXELS + row * Output::WIDTH + column + out;
                pool<Pool, Rectified>(block[f] + out, output[at], largest[at]);
            }
    }

    // The gradient before the pool, and its sum for each bias.
    static void unpool(const Lanes* gradient, const LaneByte* largest, Lanes* unpooled, Lanes* bias_gradient) {
        for (int filter = 0; filter < FILTERS; ++filter) {
            Lanes bias = bias_gradient[filter];
            for (int row = 0; row < Output::HEIGHT; ++row)
                for (int column = 0; column < Output::WIDTH; ++column) {
                    const int at = filter * Output::PIXELS + row * Output::WIDTH + column;
                    Lanes* corner = unpooled + (filter * ROWS + row * Pool) * STRIDE + MARGIN + column * Pool;
                    bias += unpool_window<Pool>(gradient[at], largest[at], corner, STRIDE);
                }
            bias_gradient[filter] = bias;
        }
    }

    static void add_weight_gradient(const Lanes* input, const Lanes* unpooled, Lanes* weight_gradient) {
        // Registers: an accumulator for each filter and tap; pixels, of which the compiler keeps those that the next
        // tap to the right reads again. A third filter would use all registers as accumulators, and is slower.
        constexpr int KERNEL_ROWS = part_of(KernelHeight, fitting(REGISTERS - 5, KernelWidth));
        constexpr int AT_ONCE = fitting(REGISTERS - 14, KERNEL_ROWS * KernelWidth);
        in_parts<FILTERS, part_of(FILTERS, AT_ONCE)>([&](auto filters, int filter) {
            for (int channel = 0; channel < CHANNELS; ++channel)
                in_parts<KernelHeight, KERNEL_ROWS>([&](auto rows, int y) {
                    correlate<filters, rows>(input + channel * Input::PIXELS + y * Input::WIDTH,
                                             unpooled + filter * ROWS * STRIDE + MARGIN,
                                             weight_gradient + (filter * CHANNELS + channel) * TAPS + y * KernelWidth);
                });
        });
    }

    template <int Filters, int KernelRows>
    static void correlate(const Lanes* input, const Lanes* unpooled, Lanes* weight_gradient) {
        Lanes taps[Filters][KernelRows * KernelWidth]{};
        for (int row = 0; row < ROWS; ++row)
            for (int column = 0; column < COLUMNS; ++column) {
                Lanes gradient[Filters];
#pragma GCC unroll 32
                for (int f = 0; f < Filters; ++f) gradient[f] = unpooled[(f * ROWS + row) * STRIDE + column];
#pragma GCC unroll 32
                for (int tap = 0; tap < KernelRows * KernelWidth; ++tap) {
                    const Lanes pixel = input[(row + tap / KernelWidth) * Input::WIDTH + column + tap % KernelWidth];
#pragma GCC unroll 32
                    for (int f = 0; f < Filters; ++f) taps[f][tap] = fma(gradient[f], pixel, taps[f][tap]);
                }
            }
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 32
            for (int tap = 0; tap < KernelRows * KernelWidth; ++tap)
                weight_gradient[f * CHANNELS * TAPS + tap] += taps[f][tap];
    }

    static void find_input_gradient(const float* weights, const Lanes* unpooled, Lanes* input_gradient) {
        static_assert(ROWS + KernelHeight - 1 == Input::HEIGHT && COLUMNS + KernelWidth - 1 == Input::WIDTH);
        // Registers: an accumulator for each channel and column; four gradients and a weight.
        constexpr int COLUMNS_AT_ONCE = part_of(Input::WIDTH, 4), AT_ONCE = fitting(REGISTERS - 5, COLUMNS_AT_ONCE);
        in_parts<CHANNELS, part_of(CHANNELS, AT_ONCE)>([&](auto channels, int channel) {
            for (int row = 0; row < Input::HEIGHT; ++row)
                in_parts<Input::WIDTH, COLUMNS_AT_ONCE>([&](auto columns, int column) {
                    auto tile = &spread<channels, columns, false, false>;
                    if (column == 0) tile = &spread<channels, columns, true, false>;
                    if (column + columns == Input::WIDTH) tile = &spread<channels, columns, false, true>;
                    tile(weights + channel * TAPS, unpooled, row, column, input_gradient + channel * Input::PIXELS);
                });
        });
    }

    // At the left and the right edge of the input some taps meet only the margin, and are left out, which saves 3 % of
    // a training step of LeNet5.
    template <int Channels, int Columns, bool Left, bool Right>
    static void spread(const float* weights, const Lanes* unpooled, int row, int column, Lanes* input_gradient) {
        Lanes block[Channels][Columns]{};
        const int first = row < ROWS ? 0 : row - ROWS + 1, last = row < KernelHeight ? row : KernelHeight - 1;
        for (int filter = 0; filter < FILTERS; ++filter)
            for (int y = first; y <= last; ++y) {
                const Lanes* gradient = unpooled + (filter * ROWS + row - y) * STRIDE + MARGIN + column;
                const float* weight = weights + filter * CHANNELS * TAPS + y * KernelWidth;
#pragma GCC unroll 8
                for (int x = 0; x < KernelWidth; ++x)
#pragma GCC unroll 32
                    for (int c = 0; c < Channels; ++c) {
                        const Lanes w = broadcast(weight[c * TAPS + x]);
#pragma GCC unroll 32
                        for (int pixel = 0; pixel < Columns; ++pixel)
                            if (!(Left && pixel < x) && !(Right && pixel - x > Columns - KernelWidth))
                                block[c][pixel] = fma(w, gradient[pixel - x], block[c][pixel]);
                    }
            }
#pragma GCC unroll 32
        for (int c = 0; c < Channels; ++c)
#pragma GCC unroll 32
            for (int pixel = 0; pixel < Columns; ++pixel)
                input_gradient[c * Input::PIXELS + row * Input::WIDTH + column + pixel] = block[c][pixel];
    }
};

}  // namespace native
