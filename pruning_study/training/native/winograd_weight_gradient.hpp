// The gradient of the weights of padded 3x3 convolutions of stride 1, by Winograd's filtering.
//
// A tile of 4x4 gradients of outputs and the 6x6 pixels that they depend on need 36 products for each channel and
// filter, where the definition needs 144: F(3x3, 4x4) of Lavin and Gray 2016. The error of this large tile is as large
// as torch's own error from summing a gradient over many tiles and images. Outputs are not such sums, so their tile is
// smaller (padded_winograd.hpp). Rows of sums are computed in pairs (points.hpp).
#pragma once

#include "points.hpp"
#include "transposed_filters.hpp"
#include "winograd.hpp"

namespace native {

// From the sums of products at all points to the gradient of three weights.
struct WeightsFromPoints {
    static constexpr int FROM = 6, TO = 3;
    static void map(const Lanes* s, int stride, Lanes* to, int to_stride) {
        const Lanes zero = s[0], infinity = s[stride], *low = s + 2 * stride, *high = s + 4 * stride;
        const Lanes even_low = (low[0] + low[stride]) / -1.5f, even_high = (high[0] + high[stride]) / 6.0f;
        to[0] = zero + even_low + even_high;
        to[to_stride] = (low[0] - low[stride]) * (AtPoints<1>::POINT / -1.5f) +
                        (high[0] - high[stride]) * (AtPoints<2>::POINT / 6.0f);
        to[2 * to_stride] = infinity + even_low * AtPoints<1>::SQUARE + even_high * AtPoints<2>::SQUARE;
    }
};

// The lanes are filters, because if tiles are few, an accumulator for each image would be moved to memory and back for
// just a few products.
template <class Input, class Output>
class WinogradWeightGradient {
    static constexpr int CHANNELS = Input::CHANNELS, FILTERS = Output::CHANNELS;
    static constexpr int PAIR = 2 * POINTS;  // sums in a pair of rows
    static constexpr int ACROSS = (Input::WIDTH + TILE - 1) / TILE, TILES = part_of(ACROSS, 2);
    static constexpr int LINES = groups_of(FILTERS), LINES_AT_ONCE = part_of(LINES, REGISTERS > 16 ? 4 : 2);
    static constexpr int CHANNELS_AT_ONCE = part_of(CHANNELS, fitting(REGISTERS - LINES_AT_ONCE - 2, LINES_AT_ONCE));
    // One cache line longer than what a row holds, because rows a power of two apart push each other out of the cache.
    static constexpr int PADDED = TILES * SUM_LANES * LINES + CACHE_LINE;

   public:
    static constexpr int DOWN = (Input::HEIGHT + TILE - 1) / TILE;  // rows of tiles

    struct State {
        Lanes sums[POINTS * POINTS][CHANNELS][LINES];
        Lanes outputs[TILE][TILE][PADDED];              // the gradient, filters in the lanes, [tile][image][line]
        Lanes pixels[CHANNELS][PAIR * TILES * SHARES];  // sums, [sum][tile][share]
        Lanes gradients[PAIR][PADDED];                  // sums, [tile][image][line]
    };

    static void clear(State& state) { std::memset(state.sums, 0, sizeof state.sums); }

    // Adds what a row of tiles contributes.
    static void add(SharesRead input, SharesRead gradient, int down, State& state) {
        in_parts<ACROSS, TILES>([&](auto tiles, int across) {
            for (int share = 0; share < SHARES; ++share)
                transpose_tiles<tiles>(gradient[share], share * WIDTH, down, across, state);
            add_pair<0, tiles>(input, down, across, state);
            add_pair<1, tiles>(input, down, across, state);
            add_pair<2, tiles>(input, down, across, state);
        });
    }

    static void end(const State& state, float* gradient) {
        for (int channel = 0; channel < CHANNELS; ++channel)
            for (int line = 0; line < LINES; ++line) {
                Lanes of_kernel[POINTS * POINTS], taps[9];
                for (int at = 0; at < POINTS * POINTS; ++at) of_kernel[at] = state.sums[at][channel][line];
                in_both_dimensions<WeightsFromPoints>(of_kernel, POINTS, taps);
                for (int lane = 0; lane < WIDTH && line * WIDTH + lane < FILTERS; ++lane)
                    for (int tap = 0; tap < 9; ++tap)
                        gradient[((line * WIDTH + lane) * CHANNELS + channel) * 9 + tap] += taps[tap][lane];
            }
    }

   private:
    typedef float Lane __attribute__((may_alias));

    // Gradients outside the image are 0.
    template <int Count>
    static void transpose_tiles(const Lanes* gradient, int first, int down, int across, State& state) {
        for (int line = 0; line < LINES; ++line)
            for (int y = 0; y < TILE; ++y)
                for (int x = 0; x < TILE * Count; ++x) {
                    const int row = TILE * down + y, column = TILE * across + x;
                    const auto put = [&](int image, Lanes filters) {
                        state.outputs[y][x % TILE][(x / TILE * SUM_LANES + first + image) * LINES + line] = filters;
                    };
                    if (row < Output::HEIGHT && column < Output::WIDTH)
                        transpose_filters<FILTERS, Output::PIXELS>(gradient + row * Output::WIDTH + column, line, put);
                    else
                        for (int image = 0; image < WIDTH; ++image) put(image, Lanes{});
                }
    }

    template <int Pair, int Count>
    static void add_pair(SharesRead input, int down, int across, State& state) {
        for (int share = 0; share < SHARES; ++share)
            if constexpr (Count == ACROSS)
                sum_pixels<Pair, Count, true, true>(input[share], share, down, across, state);
            else if (across == 0)
                sum_pixels<Pair, Count, true, false>(input[share], share, down, across, state);
            else if (across + Count == ACROSS)
                sum_pixels<Pair, Count, false, true>(input[share], share, down, across, state);
            else
                sum_pixels<Pair, Count, false, false>(input[share], share, down, across, state);
        sum_gradients<Pair, Count>(state);
        for (int at = 0; at < PAIR; ++at)
            in_parts<LINES, LINES_AT_ONCE>([&](auto lines, int line) {
                in_parts<CHANNELS, CHANNELS_AT_ONCE>([&](auto channels, int channel) {
                    multiply<channels, lines, Count * SUM_LANES>(
                        reinterpret_cast<const Lane*>(state.pixels[channel] + at * Count * SHARES),
                        state.gradients[at] + line,
                        state.sums[Pair * PAIR + at][channel] + line);
                });
            });
    }

    // Tiles at the left and the right end have columns outside the image.
    template <int Pair, int Count, bool Left, bool Right>
    static void sum_pixels(const Lanes* image, int share, int down, int across, State& state) {
        constexpr int COLUMNS = TILE * Count + 2;
        constexpr int BEHIND = Right ? Input::WIDTH + 1 - TILE * (ACROSS - Count) : COLUMNS;
        TileRows<Input> rows(image, down, TILE * across - 1);
        for (int channel = 0; channel < CHANNELS; ++channel) {
            Lanes sums[2][COLUMNS];
            rows.template sum<Pair, Left, BEHIND>(sums);
            Lanes* to = state.pixels[channel] + share;
            constexpr int NEXT = Count * SHARES;  // sum
#pragma GCC unroll 2
            for (int row = 0; row < 2; ++row, to += POINTS * NEXT)
#pragma GCC unroll 2
                for (int tile = 0; tile < Count; ++tile) {
                    const Lanes* pixels = sums[row] + TILE * tile;
                    Lanes* of_tile = to + tile * SHARES;
                    AtPoints<0>::of_pixels(pixels, of_tile[0], of_tile[NEXT]);
                    AtPoints<1>::of_pixels(pixels, of_tile[2 * NEXT], of_tile[3 * NEXT]);
                    AtPoints<2>::of_pixels(pixels, of_tile[4 * NEXT], of_tile[5 * NEXT]);
                }
            rows.next_channel();
        }
    }

    // The transpose of the map from sums to a tile of outputs.
    template <int Pair, int Count>
    static void sum_gradients(State& state) {
        for (int i = 0; i < Count * SUM_LANES * LINES; ++i) {
            Lanes rows[2][TILE];
#pragma GCC unroll 4
            for (int x = 0; x < TILE; ++x) {
                Lanes column[TILE];
#pragma GCC unroll 4
                for (int y = 0; y < TILE; ++y) column[y] = state.outputs[y][x][i];
                AtPoints<Pair>::of_gradients(column, rows[0][x], rows[1][x]);
            }
#pragma GCC unroll 2
            for (int row = 0; row < 2; ++row) {
                auto* to = state.gradients + row * POINTS;
                AtPoints<0>::of_gradients(rows[row], to[0][i], to[1][i]);
                AtPoints<1>::of_gradients(rows[row], to[2][i], to[3][i]);
                AtPoints<2>::of_gradients(rows[row], to[4][i], to[5][i]);
            }
        }
    }

    // The sums are separate from the gradient so far, because one long sum over many images would lose digits.
    template <int Channels, int Lines, int Products>
    static void multiply(const Lane* pixels, const Lanes* gradients, Lanes* sums) {
        Lanes block[Channels][Lines]{};
        for (int product = 0; product < Products; ++product) {
            Lanes of_lines[Lines];
#pragma GCC unroll 32
            for (int line = 0; line < Lines; ++line) of_lines[line] = held(gradients[product * LINES + line]);
#pragma GCC unroll 32
            for (int channel = 0; channel < Channels; ++channel)
#pragma GCC unroll 32
                for (int line = 0; line < Lines; ++line)
                    block[channel][line] = fma(broadcast(pixels[channel * PAIR * TILES * SUM_LANES + product]),
                                               of_lines[line], block[channel][line]);
        }
#pragma GCC unroll 32
        for (int channel = 0; channel < Channels; ++channel)
#pragma GCC unroll 32
            for (int line = 0; line < Lines; ++line) sums[channel * LINES + line] += block[channel][line];
    }
};

}  // namespace native
