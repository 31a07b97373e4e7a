// Convolutions of 3x3 kernels with a 2x2 max-pool behind them, by Winograd's minimal filtering: F(2x2, 3x3) of Lavin
// and Gray 2016 ("Fast Algorithms for Convolutional Neural Networks").
//
// In one dimension, for pixels d and weights g, the two outputs
//
//     y0 = d0 g0 + d1 g1 + d2 g2 = m0 + m1 + m2    m0 = (d1 + d2) (g0 + g1 + g2) / 2    m2 = (d0 - d2) g0
//     y1 = d1 g0 + d2 g1 + d3 g2 = m0 - m1 + m3    m1 = (d2 - d1) (g0 - g1 + g2) / 2    m3 = (d3 - d1) g2
//
// need four products instead of six. Done to rows and to columns, this gives 16 instead of 36 for the 2x2 outputs of a
// window of the pool. The additional sums are few: sums of pixels are computed once for all filters, sums of products
// once for all channels, sums of weights once for all images. The backward pass consists of the transposes of these
// steps, and needs 16 products as well. A training step of LeNet5 takes a seventh less time.
#pragma once

#include "convolution.hpp"

namespace native {

// The maps to and from sums, in one dimension, of values that lie `stride` apart.
struct Pixels {
    static constexpr int FROM = 4, TO = 4;
    static void map(const Lanes* d, int stride, Lanes* to, int to_stride) {
        const Lanes d0 = d[0], d1 = d[stride], d2 = d[2 * stride], d3 = d[3 * stride];
        to[0] = d1 + d2, to[to_stride] = d2 - d1, to[2 * to_stride] = d0 - d2, to[3 * to_stride] = d3 - d1;
    }
};

struct PixelsTransposed {
    static constexpr int FROM = 4, TO = 4;
    static void map(const Lanes* s, int stride, Lanes* to, int to_stride) {
        const Lanes s0 = s[0], s1 = s[stride], s2 = s[2 * stride], s3 = s[3 * stride];
        to[0] = s2, to[to_stride] = s0 - s1 - s3, to[2 * to_stride] = s0 + s1 - s2, to[3 * to_stride] = s3;
    }
};

struct Weights {
    static constexpr int FROM = 3, TO = 4;
    static void map(const float* g, int stride, float* to, int to_stride) {
        const float g0 = g[0], g1 = g[stride], g2 = g[2 * stride], ends = g0 + g2;
        to[0] = (ends + g1) / 2, to[to_stride] = (ends - g1) / 2, to[2 * to_stride] = g0, to[3 * to_stride] = g2;
    }
};

struct WeightsTransposed {
    static constexpr int FROM = 4, TO = 3;
    static void map(const Lanes* s, int stride, Lanes* to, int to_stride) {
        const Lanes s0 = s[0], s1 = s[stride], s2 = s[2 * stride], s3 = s[3 * stride], ends = (s0 + s1) / 2;
        to[0] = ends + s2, to[to_stride] = (s0 - s1) / 2, to[2 * to_stride] = ends + s3;
    }
};

// A map along columns, then along rows.
template <class Map, class Value>
inline void in_both_dimensions(const Value* from, int stride, Value* to) {
    Value half[Map::TO * Map::FROM];
#pragma GCC unroll 4
    for (int column = 0; column < Map::FROM; ++column) Map::map(from + column, stride, half + column, Map::FROM);
#pragma GCC unroll 4
    for (int row = 0; row < Map::TO; ++row) Map::map(half + row * Map::FROM, 1, to + row * Map::TO, 1);
}

// The 4x4 sums of a window are handled in four quads, each of which has rows 0 and 1 or 2 and 3, and columns 0 and 1 or
// 2 and 3. Rows 0 and 1 add m0 + m1 or m0 - m1 to an output, and rows 2 and 3 add m2 or m3. The same holds for columns.
constexpr int SUMS = 16, QUAD = 4;
constexpr int UPPER_LEFT = 0, UPPER_RIGHT = 2, LOWER_LEFT = 8, LOWER_RIGHT = 10;  // their first sums
constexpr int place(int first, int k) { return first + k / 2 * 4 + k % 2; }

inline void butterfly(Lanes& a, Lanes& b) {
    const Lanes difference = a - b;
    a += b;
    b = difference;
}

// Sum `At` of the 16 that a window of gradients is mapped to, by the transpose of the map from sums to outputs.
template <int Row>
inline Lanes spread(Lanes a, Lanes b) {
    return Row == 0 ? a + b : Row == 1 ? a - b : Row == 2 ? a : b;
}

template <int At>
inline Lanes sum_of(const Lanes* window) {
    return spread<At / 4>(spread<At % 4>(window[0], window[1]), spread<At % 4>(window[2], window[3]));
}

// Calls body(integral_constant<int, at>) for 0 <= at < SUMS.
template <int At = 0, class Body>
inline void for_sums(Body&& body) {
    body(std::integral_constant<int, At>{});
    if constexpr (At + 1 < SUMS) for_sums<At + 1>(body);
}

// With fewer than four channels, the additional sums take as long as the saved products would.
template <class Input, class Output, bool Rectified>
struct DenseConvolution<Input, Output, 3, 3, 2, Rectified, std::enable_if_t<(Input::CHANNELS >= 4)>> {
    static constexpr int INPUTS = Input::SIZE, OUTPUTS = Output::SIZE;
    static constexpr int CHANNELS = Input::CHANNELS, FILTERS = Output::CHANNELS, WINDOWS = Output::PIXELS;
    static constexpr int TAPS = 9, KERNELS = FILTERS * CHANNELS, WEIGHTS = KERNELS * TAPS;
    static constexpr int PARAMETERS = WEIGHTS + FILTERS;
    static constexpr long MULTIPLICATIONS = 4L * WINDOWS * WEIGHTS;  // of the definition
    static_assert(Output::HEIGHT * 2 + 2 <= Input::HEIGHT && Output::WIDTH * 2 + 2 <= Input::WIDTH);

    template <int Groups>
    struct State {
        Lanes output[Groups][OUTPUTS];
        Lanes gradient[Groups][OUTPUTS];
        LaneByte largest[Groups][OUTPUTS];  // as pool() gives it
        float kernels[KERNELS][SUMS];
        Lanes pixels_of_window[CHANNELS][SUMS];
        Lanes pixels[SUMS][CHANNELS][WINDOWS];
        Lanes unpooled[FILTERS][WINDOWS][QUAD];
        Lanes kernel_gradient[SHARES][KERNELS][SUMS];
        Lanes bias_gradient[SHARES][FILTERS];
    };

    template <int Groups>
    static void forward(const float* parameters, const Lanes (*input)[INPUTS], State<Groups>& state, int groups) {
        for (int kernel = 0; kernel < KERNELS; ++kernel)
            in_both_dimensions<Weights>(parameters + kernel * TAPS, 3, state.kernels[kernel]);
        for (int group = 0; group < groups; ++group)
            for (int window = 0; window < WINDOWS; ++window)
                convolve(state.kernels, parameters + WEIGHTS, input[group] + corner(window), state.pixels_of_window,
                         state.output[group] + window, state.largest[group] + window);
    }

    // Adds to `gradient` what the images of these groups contribute, and, if Asked, computes the gradient of the input.
    // The weights are those of the last forward pass.
    template <bool Asked, int Groups>
    static void backward(const float*, const Lanes (*input)[INPUTS], State<Groups>& state,
                         Lanes (*input_gradient)[INPUTS], float* gradient, int groups) {
        std::memset(state.kernel_gradient, 0, sizeof state.kernel_gradient);
        std::memset(state.bias_gradient, 0, sizeof state.bias_gradient);
        for_shares(groups, [&](int share, int group) {
            unpool(state.gradient[group], state.largest[group], state.unpooled, state.bias_gradient[share]);
            sum_pixels(input[group], state.pixels);
            add_kernel_gradient(state.pixels, state.unpooled, state.kernel_gradient[share]);
            if constexpr (Asked) find_input_gradient(state.kernels, state.unpooled, input_gradient[group]);
        });
        LaneSums sums;
        for (int kernel = 0; kernel < KERNELS; ++kernel) {
            Lanes taps[SHARES][TAPS];
            for (int share = 0; share < SHARES; ++share)
                in_both_dimensions<WeightsTransposed>(state.kernel_gradient[share][kernel], 4, taps[share]);
            for (int tap = 0; tap < TAPS; ++tap)
                sums.add(gradient[kernel * TAPS + tap], joined(taps[0] + tap, TAPS));
        }
        for (int filter = 0; filter < FILTERS; ++filter)
            sums.add(gradient[WEIGHTS + filter], joined(state.bias_gradient[0] + filter, FILTERS));
        sums.flush();
    }

   private:
    // Of the 4x4 pixels of a channel that a window reads, the first.
    static constexpr int corner(int window) {
        return window / Output::WIDTH * 2 * Input::WIDTH + window % Output::WIDTH * 2;
    }

    static void convolve(const float (*kernels)[SUMS], const float* bias, const Lanes* input,
                         Lanes (&pixels)[CHANNELS][SUMS], Lanes* output, LaneByte* largest) {
        for (int channel = 0; channel < CHANNELS; ++channel)
            in_both_dimensions<Pixels>(input + channel * Input::PIXELS, Input::WIDTH, pixels[channel]);
        in_parts<FILTERS, part_of(FILTERS, QUADS_AT_ONCE)>([&](auto filters, int filter) {
            convolve_window<filters>(kernels + filter * CHANNELS, bias + filter, pixels, output + filter * WINDOWS,
                                     largest + filter * WINDOWS);
        });
    }

    // Registers: a quad of accumulators for each filter or channel; a quad that serves all of them.
    static constexpr int QUADS_AT_ONCE = fitting(REGISTERS - 5, QUAD);

    // The products of a quad are added to the values that the butterfly of the previous quad left in the registers.
    template <int Filters>
    static void convolve_window(const float (*kernels)[SUMS], const float* bias, const Lanes (&pixels)[CHANNELS][SUMS],
                                Lanes* output, LaneByte* largest) {
        Lanes left[Filters][QUAD]{}, all[Filters][QUAD]{};
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f) left[f][0] = broadcast(bias[f]);  // butterflies carry it to all four outputs
        add_products<UPPER_LEFT>(kernels, pixels, left);
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f) butterfly(left[f][0], left[f][2]), butterfly(left[f][1], left[f][3]);
        add_products<LOWER_LEFT>(kernels, pixels, left);
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f) butterfly(left[f][0], left[f][1]), butterfly(left[f][2], left[f][3]);
        add_products<UPPER_RIGHT>(kernels, pixels, all);
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f) {
            butterfly(all[f][0], all[f][2]), butterfly(all[f][1], all[f][3]);
#pragma GCC unroll 4
            for (int k = 0; k < QUAD; ++k) all[f][k] += left[f][k];
        }
        add_products<LOWER_RIGHT>(kernels, pixels, all);
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f) pool<2, Rectified>(all[f], output[f * WINDOWS], largest[f * WINDOWS]);
    }

    template <int First, int Filters>
    static void add_products(const float (*kernels)[SUMS], const Lanes (&pixels)[CHANNELS][SUMS],
                             Lanes (&quads)[Filters][QUAD]) {
        for (int channel = 0; channel < CHANNELS; ++channel)
#pragma GCC unroll 32
            for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 4
                for (int k = 0; k < QUAD; ++k) {
                    const Lanes w = broadcast(kernels[f * CHANNELS + channel][place(First, k)]);
                    quads[f][k] = fma(w, pixels[channel][place(First, k)], quads[f][k]);
                }
    }

    // The gradient before the pool, by windows, and its sum for each bias.
    static void unpool(const Lanes* gradient, const LaneByte* largest, Lanes (*unpooled)[WINDOWS][QUAD],
                       Lanes* bias_gradient) {
        for (int filter = 0; filter < FILTERS; ++filter) {
            Lanes bias = bias_gradient[filter];
            for (int window = 0; window < WINDOWS; ++window) {
                const int at = filter * WINDOWS + window;
                bias += unpool_window<2>(gradient[at], largest[at], unpooled[filter][window], 2);
            }
            bias_gradient[filter] = bias;
        }
    }

    static void sum_pixels(const Lanes* input, Lanes (*pixels)[CHANNELS][WINDOWS]) {
        for (int channel = 0; channel < CHANNELS; ++channel)
            for (int window = 0; window < WINDOWS; ++window) {
                Lanes sums[SUMS];
                in_both_dimensions<Pixels>(input + channel * Input::PIXELS + corner(window), Input::WIDTH, sums);
#pragma GCC unroll 16
                for (int at = 0; at < SUMS; ++at) pixels[at][channel][window] = sums[at];
            }
    }

    // The sums of a window's gradients are computed where they are used, because storing all 16 would take more
    // instructions than adding.
    static void add_kernel_gradient(const Lanes (*pixels)[CHANNELS][WINDOWS], const Lanes (*unpooled)[WINDOWS][QUAD],
                                    Lanes (*kernel_gradient)[SUMS]) {
        // Registers: an accumulator for each filter and channel; a gradient for each filter, and a pixel. The gradients
        // of more filters would not stay in the first-level cache.
        constexpr int FILTERS_AT_ONCE = part_of(FILTERS, REGISTERS > 16 ? 4 : 3);
        constexpr int AT_ONCE = fitting(REGISTERS - FILTERS_AT_ONCE - 2, FILTERS_AT_ONCE);
        in_parts<FILTERS, FILTERS_AT_ONCE>([&](auto filters, int filter) {
            for_sums([&](auto at) {
                in_parts<CHANNELS, part_of(CHANNELS, AT_ONCE)>([&](auto channels, int channel) {
                    correlate<at, filters, channels>(pixels[at] + channel, unpooled + filter,
                                                     kernel_gradient + filter * CHANNELS + channel);
                });
            });
        });
    }

    template <int At, int Filters, int Channels>
    static void correlate(const Lanes (*pixels)[WINDOWS], const Lanes (*unpooled)[WINDOWS][QUAD],
                          Lanes (*kernel_gradient)[SUMS]) {
        Lanes block[Filters][Channels]{};
        for (int window = 0; window < WINDOWS; ++window) {
            Lanes gradient[Filters];
#pragma GCC unroll 32
            for (int f = 0; f < Filters; ++f) gradient[f] = sum_of<At>(unpooled[f][window]);
#pragma GCC unroll 32
            for (int c = 0; c < Channels; ++c)
#pragma GCC unroll 32
                for (int f = 0; f < Filters; ++f) block[f][c] = fma(gradient[f], pixels[c][window], block[f][c]);
        }
#pragma GCC unroll 32
        for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 32
            for (int c = 0; c < Channels; ++c) kernel_gradient[f * CHANNELS + c][At] += block[f][c];
    }

    static void find_input_gradient(const float (*kernels)[SUMS], const Lanes (*unpooled)[WINDOWS][QUAD],
                                    Lanes* input_gradient) {
        std::memset(input_gradient, 0, INPUTS * sizeof(Lanes));
        for (int window = 0; window < WINDOWS; ++window)
            in_parts<CHANNELS, part_of(CHANNELS, QUADS_AT_ONCE)>([&](auto channels, int channel) {
                Lanes sums[channels][SUMS];
                find_sums<UPPER_LEFT, channels>(kernels + channel, unpooled, window, sums);
                find_sums<UPPER_RIGHT, channels>(kernels + channel, unpooled, window, sums);
                find_sums<LOWER_LEFT, channels>(kernels + channel, unpooled, window, sums);
                find_sums<LOWER_RIGHT, channels>(kernels + channel, unpooled, window, sums);
                for (int c = 0; c < channels; ++c) {
                    Lanes pixels[SUMS], *to = input_gradient + (channel + c) * Input::PIXELS + corner(window);
                    in_both_dimensions<PixelsTransposed>(sums[c], 4, pixels);
#pragma GCC unroll 16
                    for (int i = 0; i < SUMS; ++i) to[i / 4 * Input::WIDTH + i % 4] += pixels[i];
                }
            });
    }

    template <int First, int Channels>
    static void find_sums(const float (*kernels)[SUMS], const Lanes (*unpooled)[WINDOWS][QUAD], int window,
                          Lanes (*sums)[SUMS]) {
        Lanes block[Channels][QUAD]{};
        for (int filter = 0; filter < FILTERS; ++filter) {
            const Lanes* of_window = unpooled[filter][window];
            const Lanes gradient[QUAD] = {sum_of<place(First, 0)>(of_window), sum_of<place(First, 1)>(of_window),
                                          sum_of<place(First, 2)>(of_window), sum_of<place(First, 3)>(of_window)};
#pragma GCC unroll 32
            for (int c = 0; c < Channels; ++c)
#pragma GCC unroll 4
                for (int k = 0; k < QUAD; ++k)
                    block[c][k] =
                        fma(broadcast(kernels[filter * CHANNELS + c][place(First, k)]), gradient[k], block[c][k]);
        }
#pragma GCC unroll 32
        for (int c = 0; c < Channels; ++c)
#pragma GCC unroll 4
            for (int k = 0; k < QUAD; ++k) sums[c][place(First, k)] = block[c][k];
    }
};

}  // namespace native
