// A convolution with all its weights, or with only the few that a mask keeps.
#pragma once

#include "convolution.hpp"
#include "kept.hpp"
#include "winograd.hpp"

namespace native {

template <class Input, class Output, int KernelHeight, int KernelWidth, int Pool, bool Rectified>
struct Convolution : DenseConvolution<Input, Output, KernelHeight, KernelWidth, Pool, Rectified> {
    using Dense = DenseConvolution<Input, Output, KernelHeight, KernelWidth, Pool, Rectified>;
    using Dense::INPUTS, Dense::FILTERS, Dense::TAPS, Dense::WEIGHTS, Dense::PARAMETERS;
    static constexpr int OF_FILTER = WEIGHTS / FILTERS;

    template <int Groups>
    struct State : Dense::template State<Groups> {
        std::optional<Places> kept;  // the kept weights of each filter, if they are few
        bool all_learn = false;
        Lanes kept_gradient[SHARES][PARAMETERS];
    };

    // From now on weights whose mask is 0 are treated as 0. Their gradient is not needed, unless all weights learn.
    template <int Groups>
    static void keep(const float* mask, State<Groups>& state, bool all_learn) {
        if (few_kept(mask, WEIGHTS)) state.kept.emplace(mask, FILTERS, OF_FILTER, OF_FILTER, 1);
        state.all_learn = all_learn;
    }

    template <int Groups>
    static void forward(const float* parameters, const Lanes (*input)[INPUTS], State<Groups>& state, int groups) {
        if (!state.kept || state.all_learn) Dense::forward(parameters, input, state, groups);
        if (!state.kept) return;
        // The list of kept weights is used even if all weights learn. With few weights, many pixels of a window are
        // equal, and adding zeros in another order could make a different pixel the largest.
        for (int group = 0; group < groups; ++group)
            for_tiles<AT_ONCE>([&](auto windows, int filter, int corner, int at) {
                convolve<windows>(parameters + filter * OF_FILTER, parameters[WEIGHTS + filter], (*state.kept)[filter],
                                  input[group] + corner, state.output[group] + at, state.largest[group] + at);
            });
    }

    // Adds to `gradient` what the images of these groups contribute, and, if Asked, computes the gradient of the input.
    template <bool Asked, int Groups>
    static void backward(const float* parameters, const Lanes (*input)[INPUTS], State<Groups>& state,
                         Lanes (*input_gradient)[INPUTS], float* gradient, int groups) {
        if (!state.kept || state.all_learn)
            return Dense::template backward<Asked>(parameters, input, state, input_gradient, gradient, groups);
        std::memset(state.kept_gradient, 0, sizeof state.kept_gradient);
        for_shares(groups, [&](int share, int group) {
            Lanes* kept_gradient = state.kept_gradient[share];
            if constexpr (Asked) std::memset(input_gradient[group], 0, sizeof input_gradient[group]);
            for_tiles<GRADIENTS_AT_ONCE>([&](auto windows, int filter, int corner, int at) {
                Lanes window_gradient[windows][Pool * Pool];
                unpool<windows>(state.gradient[group] + at, state.largest[group] + at, window_gradient,
                                kept_gradient[WEIGHTS + filter]);
                Lanes* to = nullptr;
                if constexpr (Asked) to = input_gradient[group] + corner;
                differentiate<Asked, windows>(parameters + filter * OF_FILTER, (*state.kept)[filter],
                                              input[group] + corner, window_gradient,
                                              kept_gradient + filter * OF_FILTER, to);
            });
        });
        LaneSums sums;
        for (int filter = 0; filter < FILTERS; ++filter) {
            for (const int place : (*state.kept)[filter])
                sums.add(gradient[filter * OF_FILTER + place],
                         joined(state.kept_gradient[0] + filter * OF_FILTER + place, PARAMETERS));
            sums.add(gradient[WEIGHTS + filter], joined(state.kept_gradient[0] + WEIGHTS + filter, PARAMETERS));
        }
        sums.flush();
    }

   private:
    // Registers: one for each pixel of a window and one for a sum over them; a weight.
    static constexpr int AT_ONCE = fitting(REGISTERS - 3, Pool * Pool + 1);
    // The same on every machine, because the size of a tile decides in which order a pixel's gradients are added.
    static constexpr int GRADIENTS_AT_ONCE = fitting(13, Pool * Pool + 1);

    // Calls body(windows, filter, corner, at) for tiles of windows side by side; `corner` is the first pixel of a
    // channel that they read, and `at` their first output. The filters take turns at a tile, so that its pixels stay in
    // the cache.
    template <int AtOnce, class Body>
    static void for_tiles(Body&& body) {
        for (int row = 0; row < Output::HEIGHT; ++row)
            in_parts<Output::WIDTH, part_of(Output::WIDTH, AtOnce)>([&](auto windows, int column) {
                for (int filter = 0; filter < FILTERS; ++filter)
                    body(windows, filter, (row * Input::WIDTH + column) * Pool,
                         filter * Output::PIXELS + row * Output::WIDTH + column);
            });
    }

    // For the first pixel of a tile, the offset of the input with which a weight of a filter is multiplied.
    static constexpr int shift(int place) {
        const int channel = place / TAPS, tap = place % TAPS;
        return channel * Input::PIXELS + tap / KernelWidth * Input::WIDTH + tap % KernelWidth;
    }

    static constexpr int pixel_of(int window, int pixel) {
        return pixel / Pool * Input::WIDTH + window * Pool + pixel % Pool;
    }

    template <int Windows>
    static void convolve(const float* weights, float bias, Places::Line kept, const Lanes* input, Lanes* output,
                         LaneByte* largest) {
        Lanes block[Windows][Pool * Pool];
#pragma GCC unroll 32
        for (int w = 0; w < Windows; ++w)
#pragma GCC unroll 32
            for (int pixel = 0; pixel < Pool * Pool; ++pixel) block[w][pixel] = broadcast(bias);
        for (const int place : kept) {
            const Lanes weight = broadcast(weights[place]), *pixels = input + shift(place);
#pragma GCC unroll 32
            for (int w = 0; w < Windows; ++w)
#pragma GCC unroll 32
                for (int pixel = 0; pixel < Pool * Pool; ++pixel)
                    block[w][pixel] = fma(weight, pixels[pixel_of(w, pixel)], block[w][pixel]);
        }
#pragma GCC unroll 32
        for (int w = 0; w < Windows; ++w) pool<Pool, Rectified>(block[w], output[w], largest[w]);
    }

    template <int Windows>
    static void unpool(const Lanes* gradient, const LaneByte* largest, Lanes (&block)[Windows][Pool * Pool],
                       Lanes& bias_gradient) {
#pragma GCC unroll 32
        for (int w = 0; w < Windows; ++w) bias_gradient += unpool_window<Pool>(gradient[w], largest[w], block[w], Pool);
    }

    template <bool Asked, int Windows>
    static void differentiate(const float* weights, Places::Line kept, const Lanes* input,
                              const Lanes (&block)[Windows][Pool * Pool], Lanes* weight_gradient,
                              Lanes* input_gradient) {
        for (const int place : kept) {
            const Lanes weight = broadcast(weights[place]), *pixels = input + shift(place);
            Lanes products[Windows]{};
#pragma GCC unroll 32
            for (int w = 0; w < Windows; ++w)
#pragma GCC unroll 32
                for (int pixel = 0; pixel < Pool * Pool; ++pixel) {
                    products[w] = fma(block[w][pixel], pixels[pixel_of(w, pixel)], products[w]);
                    if constexpr (Asked) {
                        Lanes& to = input_gradient[shift(place) + pixel_of(w, pixel)];
                        to = fma(weight, block[w][pixel], to);
                    }
                }
#pragma GCC unroll 32
            for (int w = 0; w < Windows; ++w) weight_gradient[place] += products[w];
        }
    }
};

}  // namespace native
