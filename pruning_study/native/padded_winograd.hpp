// Padded 3x3 convolutions of stride 1 by Winograd's filtering.
//
// A tile of 2x2 outputs takes 4x4 products of sums for each channel and filter, where the definition takes 36 products
// (winograd.hpp). Each of the 16 sums is a multiplication of matrices of its own, kernels times tiles, whose blocks
// stay in registers. All of them take the sums of a few tiles row by row: what is stored on the way then stays in the
// first-level cache. The gradient of the input is the same with the kernels turned around.
//
// Tiles of 4x4 outputs would take 9 products for 16 of these, but their error is two to four times torch's, even at the
// best points (winograd_weight_gradient.hpp). That of tiles of 3x3 is as large.
#pragma once

#include "convolution.hpp"
#include "winograd.hpp"
#include "winograd_weight_gradient.hpp"

namespace native {

constexpr int SIDE = 4;  // sums in a row of a tile's

// Calls body(integral_constant<int, row>) for each row of sums.
template <class Body>
inline void for_rows_of_sums(Body&& body) {
    body(std::integral_constant<int, 0>{});
    body(std::integral_constant<int, 1>{});
    body(std::integral_constant<int, 2>{});
    body(std::integral_constant<int, 3>{});
}

// The tiles of an image, which are dealt with a few of a row at once.
template <class Of>
struct Tiles {
    static constexpr int CHANNELS = Of::CHANNELS, DOWN = (Of::HEIGHT + 1) / 2, ACROSS = (Of::WIDTH + 1) / 2;
    static constexpr int AT_ONCE = part_of(ACROSS, 2);

    Lanes sums[CHANNELS][SIDE * AT_ONCE];  // a row of them, [sum][tile]

    // Calls body(tiles, down, across) for parts of the rows of tiles.
    template <class Body>
    static void for_parts(Body&& body) {
        for (int down = 0; down < DOWN; ++down)
            in_parts<ACROSS, AT_ONCE>([&](auto tiles, int across) { body(tiles, down, across); });
    }

    template <int Row, int Count>
    void sum_pixels(const Lanes* image, int down, int across) {
        if constexpr (Count == ACROSS)
            sum_pixels<Row, Count, true, true>(image, down, across);
        else if (across == 0)
            sum_pixels<Row, Count, true, false>(image, down, across);
        else if (across + Count == ACROSS)
            sum_pixels<Row, Count, false, true>(image, down, across);
        else
            sum_pixels<Row, Count, false, false>(image, down, across);
    }

   private:
    static inline const Lanes BLACK[Of::WIDTH]{};  // a row above or below the image

    // Each row of sums reads two rows of pixels. Tiles at the left and the right end have columns outside the image.
    template <int Row, int Count, bool Left, bool Right>
    void sum_pixels(const Lanes* image, int down, int across) {
        constexpr int FIRST = Row == 2 ? 0 : 1, SECOND = Row == 3 ? 3 : 2;
        constexpr int BEHIND = Right ? Of::WIDTH + 1 - 2 * (ACROSS - Count) : 2 * Count + 2;
        const int first = 2 * down - 1 + FIRST, second = 2 * down - 1 + SECOND;
        const bool has_first = first >= 0, has_second = second < Of::HEIGHT;
        const Lanes* a = has_first ? image + first * Of::WIDTH : BLACK;
        const Lanes* b = has_second ? image + second * Of::WIDTH : BLACK;
        a += 2 * across - 1, b += 2 * across - 1;
        for (int channel = 0; channel < CHANNELS; ++channel) {
            Lanes columns[2 * Count + 2];
#pragma GCC unroll 16
            for (int column = 0; column < 2 * Count + 2; ++column)
                if ((Left && column == 0) || column >= BEHIND)
                    columns[column] = Lanes{};
                else
                    columns[column] = Row == 0   ? a[column] + b[column]
                                      : Row == 2 ? a[column] - b[column]
                                                 : b[column] - a[column];
#pragma GCC unroll 16
            for (int tile = 0; tile < Count; ++tile)
                Pixels::map(columns + 2 * tile, 1, sums[channel] + tile, Count);
            if (has_first) a += Of::PIXELS;
            if (has_second) b += Of::PIXELS;
        }
    }
};

// A padded 3x3 convolution from one image to another: the output, or the gradient of the input.
template <class From, class To>
class WinogradProduct {
    static constexpr int CHANNELS = From::CHANNELS, FILTERS = To::CHANNELS, TILES = Tiles<From>::AT_ONCE;
    // Registers: two accumulators for each filter and tile; a sum of pixels for each tile, and a weight.
    static constexpr int AT_ONCE = part_of(FILTERS, fitting(REGISTERS - TILES - 2, 2 * TILES));

   public:
    using Kernels = float[SIDE][SIDE * FILTERS * CHANNELS];  // of each row of sums, in the order in which they are read

    struct Unfinished {
        Lanes outputs[FILTERS][2][2 * TILES];
    };

    // kernel(filter, channel, tap) is a weight.
    template <class Kernel>
    static void transform(Kernel&& kernel, Kernels& kernels) {
        in_parts<FILTERS, AT_ONCE>([&](auto filters, int first) {
            for (int channel = 0; channel < CHANNELS; ++channel)
                for (int filter = 0; filter < filters; ++filter) {
                    float taps[9], sums[SUMS];
                    for (int tap = 0; tap < 9; ++tap) taps[tap] = kernel(first + filter, channel, tap);
                    in_both_dimensions<Weights>(taps, 3, sums);
                    for (int at = 0; at < SUMS; ++at) {
                        const int pair = at % SIDE / 2 * CHANNELS + channel;
                        kernels[at / SIDE][first * CHANNELS * SIDE + (2 * pair + at % 2) * filters + filter] = sums[at];
                    }
                }
        });
    }

    // The outputs of a part of a row of tiles.
    template <int Count>
    static void convolve(const Kernels& kernels, const Lanes* input, Tiles<From>& tiles, int down, int across,
                         Unfinished& unfinished, Lanes* output) {
        output += 2 * down * To::WIDTH + 2 * across;
        for_rows_of_sums([&](auto row) {
            constexpr int ROW = row;
            if (ROW == 3 && 2 * down + 1 >= To::HEIGHT) return;
            tiles.template sum_pixels<ROW, Count>(input, down, across);
            const bool whole = 2 * (across + Count) <= To::WIDTH;
            in_parts<FILTERS, AT_ONCE>([&](auto filters, int first) {
                multiply<ROW, filters, Count>(kernels[ROW] + first * CHANNELS * SIDE, tiles.sums[0],
                                              unfinished.outputs + first, whole,
                                              output + first * To::PIXELS + (ROW == 3) * To::WIDTH);
            });
        });
    }

   private:
    // Products of sums 0 and 1 become their sum and their difference, to which those of 2 and 3 are added: the columns
    // of each tile's outputs, as far as one row of sums brings them. Rows of sums make rows of outputs in the same way.
    template <int Row, int Filters, int Count>
    static void multiply(const float* kernels, const Lanes* sums, Lanes (*unfinished)[2][2 * TILES], bool whole,
                         Lanes* output) {
        Lanes block[Filters][2][Count]{};
        add_products(kernels, sums, block);
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 32
            for (int tile = 0; tile < Count; ++tile) butterfly(block[f][0][tile], block[f][1][tile]);
        add_products(kernels + 2 * Filters * CHANNELS, sums + 2 * Count, block);
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 32
            for (int column = 0; column < 2 * Count; ++column) {
                const Lanes product = block[f][column % 2][column / 2];
                Lanes &upper = unfinished[f][0][column], &lower = unfinished[f][1][column];
                if constexpr (Row == 0) {
                    upper = product;
                } else if constexpr (Row == 1) {
                    lower = upper - product;
                    upper += product;
                } else if (column < 2 * Count - 1 || To::WIDTH % 2 == 0 || whole) {
                    output[f * To::PIXELS + column] = (Row == 2 ? upper : lower) + product;
                }
            }
    }

    // Of two of a row's sums. Not inlined, it would keep the block in memory.
    template <int Filters, int Count>
    __attribute__((always_inline)) static inline void add_products(const float* kernels, const Lanes* sums,
                                                                   Lanes (&block)[Filters][2][Count]) {
        for (int channel = 0; channel < CHANNELS; ++channel, kernels += 2 * Filters, sums += SIDE * TILES)
#pragma GCC unroll 2
            for (int at = 0; at < 2; ++at)
#pragma GCC unroll 32
                for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 32
                    for (int tile = 0; tile < Count; ++tile)
                        block[f][at][tile] += broadcast(kernels[at * Filters + f]) * sums[at * Count + tile];
    }
};

// The three products. `Input` and `Output` differ in their channels alone.
template <class Input, class Output>
struct PaddedWinograd {
    using Forward = WinogradProduct<Input, Output>;
    using Backward = WinogradProduct<Output, Input>;
    using WeightGradient = WinogradWeightGradient<Input, Output>;
    static constexpr int CHANNELS = Input::CHANNELS;
    static_assert(Input::HEIGHT == Output::HEIGHT && Input::WIDTH == Output::WIDTH);

    struct State {
        typename Forward::Kernels kernels;
        typename Backward::Kernels turned_kernels;
        Tiles<Input> input;
        Tiles<Output> gradient;
        typename Forward::Unfinished output;
        typename Backward::Unfinished input_gradient;
        typename WeightGradient::State weight_gradient;
    };

    static void begin(const float* weights, State& state) {
        Forward::transform(
            [&](int filter, int channel, int tap) { return weights[(filter * CHANNELS + channel) * 9 + tap]; },
            state.kernels);
        Backward::transform(
            [&](int channel, int filter, int tap) { return weights[(filter * CHANNELS + channel) * 9 + 8 - tap]; },
            state.turned_kernels);
        WeightGradient::clear(state.weight_gradient);
    }

    static void forward(const Lanes* input, State& state, Lanes* output) {
        Tiles<Input>::for_parts([&](auto tiles, int down, int across) {
            Forward::template convolve<tiles>(state.kernels, input, state.input, down, across, state.output, output);
        });
    }

    // Adds to the gradient of the weights, and gives that of the input, if Asked.
    template <bool Asked>
    static void backward(const Lanes* input, const Lanes* output_gradient, State& state, Lanes* input_gradient) {
        for (int down = 0; down < WeightGradient::DOWN; ++down)
            WeightGradient::add(input, output_gradient, down, state.weight_gradient);
        if constexpr (Asked)
            Tiles<Output>::for_parts([&](auto tiles, int down, int across) {
                Backward::template convolve<tiles>(state.turned_kernels, output_gradient, state.gradient, down, across,
                                                   state.input_gradient, input_gradient);
            });
    }

    static void end(const State& state, float* gradient) { WeightGradient::end(state.weight_gradient, gradient); }
};

}  // namespace native
