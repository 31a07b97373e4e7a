// Padded 3x3 convolutions of stride 1 by Winograd's filtering.
//
// A tile of 4x2 outputs needs 6x4 products of sums for each channel and filter, where the definition needs 72: along
// columns six for four outputs (points.hpp), along rows four for two (winograd.hpp). For each of the 24 sums, the
// products are a multiplication of matrices, kernels times tiles, whose blocks stay in registers. The sums of a few
// tiles are computed and multiplied two rows at a time, so that intermediate values stay in the cache. The gradient of
// the input is computed in the same way, with the kernels turned around.
//
// Tiles of 4x4 outputs would need 9 products where these tiles need 12, but their error is two to four times the error
// of torch. Even if only the products of eight channels are added in one sum, the error is up to 2.7 times as large as
// torch's.
#pragma once

#include "convolution.hpp"
#include "winograd.hpp"
#include "winograd_weight_gradient.hpp"

namespace native {

constexpr int SIDE = 4;  // sums in a row of a tile

// The tiles of an image, a few of a row at a time.
template <class Of>
struct Tiles {
    static constexpr int CHANNELS = Of::CHANNELS, DOWN = (Of::HEIGHT + TILE - 1) / TILE, ACROSS = (Of::WIDTH + 1) / 2;
    static constexpr int AT_ONCE = part_of(ACROSS, 2);

    Lanes sums[2][CHANNELS][SIDE * AT_ONCE];  // two rows of them, [sum][tile]

    // Calls body(tiles, down, across) for parts of the rows of tiles.
    template <class Body>
    static void for_parts(Body&& body) {
        for (int down = 0; down < DOWN; ++down)
            in_parts<ACROSS, AT_ONCE>([&](auto tiles, int across) { body(tiles, down, across); });
    }

    template <int Pair, int Count>
    void sum_pixels(const Lanes* image, int down, int across) {
        if constexpr (Count == ACROSS)
            sum_pixels<Pair, Count, true, true>(image, down, across);
        else if (across == 0)
            sum_pixels<Pair, Count, true, false>(image, down, across);
        else if (across + Count == ACROSS)
            sum_pixels<Pair, Count, false, true>(image, down, across);
        else
            sum_pixels<Pair, Count, false, false>(image, down, across);
    }

   private:
    // Tiles at the left and the right end have columns outside the image.
    template <int Pair, int Count, bool Left, bool Right>
    void sum_pixels(const Lanes* image, int down, int across) {
        constexpr int BEHIND = Right ? Of::WIDTH + 1 - 2 * (ACROSS - Count) : 2 * Count + 2;
        TileRows<Of> rows(image, down, 2 * across - 1);
        for (int channel = 0; channel < CHANNELS; ++channel) {
            Lanes columns[2][2 * Count + 2];
            rows.template sum<Pair, Left, BEHIND>(columns);
#pragma GCC unroll 2
            for (int row = 0; row < 2; ++row)
#pragma GCC unroll 16
                for (int tile = 0; tile < Count; ++tile)
                    Pixels::map(columns[row] + 2 * tile, 1, sums[row][channel] + tile, Count);
            rows.next_channel();
        }
    }
};

// A padded 3x3 convolution from one image to another: the output, or the gradient of the input.
template <class From, class To>
class WinogradProduct {
    static constexpr int CHANNELS = From::CHANNELS, FILTERS = To::CHANNELS, TILES = Tiles<From>::AT_ONCE;
    static constexpr int CHANNELS_AT_ONCE = part_of(CHANNELS, 16);  // in one sum, since a longer one loses digits
    static constexpr int UNFINISHED = 5;                            // rows of outputs that are not complete yet
    // Registers: two accumulators for each filter and tile; a sum of pixels for each tile, and a weight.
    static constexpr int AT_ONCE = part_of(FILTERS, fitting(REGISTERS - TILES - 2, 2 * TILES));

   public:
    using Kernels = float[POINTS][SIDE * FILTERS * CHANNELS];  // of each row of sums, in the order of reading

    struct Unfinished {
        Lanes outputs[FILTERS][UNFINISHED][2 * TILES];
    };

    // kernel(filter, channel, tap) returns a weight.
    template <class Kernel>
    static void transform(Kernel&& kernel, Kernels& kernels) {
        in_parts<FILTERS, AT_ONCE>([&](auto filters, int first) {
            for (int channel = 0; channel < CHANNELS; ++channel)
                for (int filter = 0; filter < filters; ++filter) {
                    float taps[9], columns[POINTS][3], sums[POINTS][SIDE];
                    for (int tap = 0; tap < 9; ++tap) taps[tap] = kernel(first + filter, channel, tap);
                    for (int x = 0; x < 3; ++x) {
                        AtPoints<0>::of_weights(taps + x, 3, columns[0][x], columns[1][x]);
                        AtPoints<1>::of_weights(taps + x, 3, columns[2][x], columns[3][x]);
                        AtPoints<2>::of_weights(taps + x, 3, columns[4][x], columns[5][x]);
                    }
                    for (int row = 0; row < POINTS; ++row) {
                        Weights::map(columns[row], 1, sums[row], 1);
                        for (int at = 0; at < SIDE; ++at) {
                            const int pair = at / 2 * CHANNELS + channel, place = (2 * pair + at % 2) * filters;
                            kernels[row][first * CHANNELS * SIDE + place + filter] = sums[row][at];
                        }
                    }
                }
        });
    }

    // The outputs of a part of a row of tiles.
    template <int Count>
    static void convolve(const Kernels& kernels, const Lanes* input, Tiles<From>& tiles, int down, int across,
                         Unfinished& unfinished, Lanes* output) {
        output += TILE * down * To::WIDTH + 2 * across;
        convolve_pair<0, Count>(kernels, input, tiles, down, across, unfinished, output);
        convolve_pair<1, Count>(kernels, input, tiles, down, across, unfinished, output);
        convolve_pair<2, Count>(kernels, input, tiles, down, across, unfinished, output);
    }

   private:
    template <int Pair, int Count>
    static void convolve_pair(const Kernels& kernels, const Lanes* input, Tiles<From>& tiles, int down, int across,
                              Unfinished& unfinished, Lanes* output) {
        const int rows = std::min(TILE, To::HEIGHT - TILE * down);
        const bool whole = 2 * (across + Count) <= To::WIDTH;
        tiles.template sum_pixels<Pair, Count>(input, down, across);
        const auto convolve_row = [&](auto row) {
            in_parts<FILTERS, AT_ONCE>([&](auto filters, int first) {
                multiply<2 * Pair + row, filters, Count>(kernels[2 * Pair + row] + first * CHANNELS * SIDE,
                                                         tiles.sums[row][0], unfinished.outputs + first, rows, whole,
                                                         output + first * To::PIXELS);
            });
        };
        convolve_row(std::integral_constant<int, 0>{});
        convolve_row(std::integral_constant<int, 1>{});
    }

    template <int Row, int Filters, int Count>
    static void multiply(const float* kernels, const Lanes* sums, Lanes (*unfinished)[UNFINISHED][2 * TILES], int rows,
                         bool whole, Lanes* output) {
        Lanes block[Filters][2][Count]{};
        find_columns(kernels, sums, 0, block);
        for (int channel = CHANNELS_AT_ONCE; channel < CHANNELS; channel += CHANNELS_AT_ONCE) {
            Lanes more[Filters][2][Count]{};
            find_columns(kernels, sums, channel, more);
#pragma GCC unroll 32
            for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 32
                for (int column = 0; column < 2 * Count; ++column)
                    block[f][column % 2][column / 2] += more[f][column % 2][column / 2];
        }
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 32
            for (int column = 0; column < 2 * Count; ++column)
                finish<Row>(block[f][column % 2][column / 2], unfinished[f][0] + column,
                            column < 2 * Count - 1 || To::WIDTH % 2 == 0 || whole ? rows : 0,
                            output + f * To::PIXELS + column);
    }

    // Computes what one row of sums and some channels add to the two columns of each tile's outputs, from the products
    // m0 to m3 of the row's four sums: m0 + m1 + m2 to the first column, and m0 - m1 + m3 to the second.
    template <int Filters, int Count>
    __attribute__((always_inline)) static inline void find_columns(const float* kernels, const Lanes* sums, int channel,
                                                                   Lanes (&block)[Filters][2][Count]) {
        kernels += channel * 2 * Filters, sums += channel * SIDE * TILES;
        const int channels = std::min(CHANNELS_AT_ONCE, CHANNELS - channel);
        add_products(kernels, sums, channels, block);
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 32
            for (int tile = 0; tile < Count; ++tile) butterfly(block[f][0][tile], block[f][1][tile]);
        add_products(kernels + 2 * Filters * CHANNELS, sums + 2 * Count, channels, block);
    }

    // Rows of sums make rows of outputs, which are all finished with the last row of sums.
    template <int Row>
    __attribute__((always_inline)) static inline void finish(Lanes product, Lanes* unfinished, int rows,
                                                             Lanes* output) {
        constexpr bool WHOLE = To::HEIGHT % TILE == 0 && To::WIDTH % 2 == 0;
        constexpr float LOW = AtPoints<1>::POINT, HIGH = AtPoints<2>::POINT;
        Lanes &zero = unfinished[0], &infinity = unfinished[2 * TILES], &even = unfinished[4 * TILES];
        Lanes &odd = unfinished[6 * TILES], &first = unfinished[8 * TILES];
        if constexpr (Row == 0) {
            zero = product;
        } else if constexpr (Row == 1) {
            infinity = product;
        } else if constexpr (Row == 3) {
            even = first + product;
            odd = first - product;
        } else if constexpr (Row < 5) {
            first = product;
        } else {
            const Lanes high_even = first + product, high_odd = first - product;
            if (WHOLE || rows > 0) output[0] = zero + even + high_even;
            if (WHOLE || rows > 1) output[To::WIDTH] = fma(broadcast(HIGH), high_odd, LOW * odd);
            if (WHOLE || rows > 2) output[2 * To::WIDTH] = fma(broadcast(2.0f), high_even, 0.5f * even);
            if (WHOLE || rows > 3)
                output[3 * To::WIDTH] =
                    fma(broadcast(2.0f * HIGH), high_odd, fma(broadcast(0.5f * LOW), odd, infinity));
        }
    }

    // Adds the products of two sums of a row. Inlined, because otherwise the block would be kept in memory.
    template <int Filters, int Count>
    __attribute__((always_inline)) static inline void add_products(const float* kernels, const Lanes* sums,
                                                                   int channels, Lanes (&block)[Filters][2][Count]) {
        for (int channel = 0; channel < channels; ++channel, kernels += 2 * Filters, sums += SIDE * TILES)
#pragma GCC unroll 2
            for (int at = 0; at < 2; ++at) {
                Lanes pixels[Count];
#pragma GCC unroll 32
                for (int tile = 0; tile < Count; ++tile) pixels[tile] = held(sums[at * Count + tile]);
#pragma GCC unroll 32
                for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 32
                    for (int tile = 0; tile < Count; ++tile)
                        block[f][at][tile] =
                            fma(broadcast(kernels[at * Filters + f]), pixels[tile], block[f][at][tile]);
            }
    }
};

// The forward pass and both gradients. `Input` and `Output` differ only in their channels.
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

    // Adds to the gradient of the weights, and, if Asked, computes the gradient of the input.
    template <bool Asked>
    static void backward(SharesRead input, SharesRead output_gradient, State& state, SharesWritten input_gradient) {
        for (int down = 0; down < Tiles<Input>::DOWN; ++down)
            WeightGradient::add(input, output_gradient, down, state.weight_gradient);
        if constexpr (Asked)
            for (int share = 0; share < SHARES; ++share)
                Tiles<Output>::for_parts([&](auto tiles, int down, int across) {
                    Backward::template convolve<tiles>(state.turned_kernels, output_gradient[share], state.gradient,
                                                       down, across, state.input_gradient, input_gradient[share]);
                });
    }

    static void end(const State& state, float* gradient) { WeightGradient::end(state.weight_gradient, gradient); }
};

}  // namespace native
