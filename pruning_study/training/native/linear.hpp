// A linear layer with the ReLU behind it.
#pragma once

#include "kept.hpp"

namespace native {

// Calls body(integral_constant<int, groups>) for 1 <= groups <= Groups.
template <int Groups, class Body>
inline void with_constant(int groups, Body&& body) {
    if constexpr (Groups > 1)
        if (groups < Groups) return with_constant<Groups - 1>(groups, body);
    body(std::integral_constant<int, Groups>{});
}

template <int Inputs, int Outputs, bool Rectified>
struct Linear {
    static constexpr int INPUTS = Inputs, OUTPUTS = Outputs;
    static constexpr int WEIGHTS = Outputs * Inputs, PARAMETERS = WEIGHTS + Outputs;
    static constexpr long MULTIPLICATIONS = WEIGHTS;  // of the forward pass of an image
    static constexpr int VECTORS = groups_of(Inputs);

    struct Kept {
        Places inputs_of_unit, units_of_input;
    };

    template <int Groups>
    struct State {
        Lanes output[Groups][OUTPUTS];
        Lanes gradient[Groups][OUTPUTS];
        Lanes images[Groups * WIDTH][VECTORS];  // the input, a row for each image
        std::optional<Kept> kept;               // if a mask has kept few weights
    };

    // From now on weights whose mask is 0 are treated as 0. Their gradient is not needed, unless all weights learn.
    template <int Groups>
    static void keep(const float* mask, State<Groups>& state, bool all_learn) {
        if (!all_learn && few_kept(mask, WEIGHTS))
            state.kept = {Places(mask, OUTPUTS, INPUTS, INPUTS, 1), Places(mask, INPUTS, 1, OUTPUTS, INPUTS)};
    }

    template <int Groups>
    static void forward(const float* parameters, const Lanes (*input)[INPUTS], State<Groups>& state, int groups) {
        if (state.kept)
            with_constant<Groups>(groups, [&](auto count) {
                multiply_kept<count>(parameters, state.kept->inputs_of_unit, input, state.output);
            });
        else
            for_parts(groups, [&](auto count, int group) {
                multiply<count>(parameters, INPUTS, 1, parameters + WEIGHTS, input + group, state.output + group);
            });
        if (Rectified)
            for (int group = 0; group < groups; ++group)
                for (Lanes& value : state.output[group]) value = value < Lanes{} ? Lanes{} : value;
    }

    // Adds to `gradient` what the images of these groups contribute, and, if Asked, computes the gradient of the input.
    template <bool Asked, int Groups>
    static void backward(const float* parameters, const Lanes (*input)[INPUTS], State<Groups>& state,
                         Lanes (*input_gradient)[INPUTS], float* gradient, int groups) {
        LaneSums sums;
        for (int unit = 0; unit < OUTPUTS; ++unit) {
            Lanes shares[SHARES]{};
            for (int group = 0; group < groups; ++group) {
                Lanes& value = state.gradient[group][unit];
                if (Rectified) value = state.output[group][unit] <= Lanes{} ? Lanes{} : value;
                shares[group % SHARES] += value;
            }
            sums.add(gradient[WEIGHTS + unit], joined(shares, 1));
        }
        sums.flush();
        if (state.kept)
            return with_constant<Groups>(groups, [&](auto count) {
                differentiate_kept<Asked, count>(parameters, state.kept->units_of_input, input, state.gradient,
                                                 input_gradient, gradient);
            });
        for (int group = 0; group < groups; ++group) turn(input[group], state.images + group * WIDTH);
        add_weight_gradient(state.gradient, state.images, groups * WIDTH, gradient);
        if constexpr (Asked)
            for_parts(groups, [&](auto count, int group) {
                multiply<count>(parameters, 1, INPUTS, nullptr, state.gradient + group, input_gradient + group);
            });
    }

   private:
    // Calls body(integral_constant<int, count>, first) for parts of the groups.
    template <class Body>
    static void for_parts(int groups, Body&& body) {
        constexpr int AT_ONCE = WIDTH == 8 ? 2 : 4;
        for (int first = 0; first < groups; first += AT_ONCE)
            with_constant<AT_ONCE>(std::min(AT_ONCE, groups - first), [&](auto count) { body(count, first); });
    }

    // The forward pass as in multiply(), but only with the kept weights.
    template <int Groups>
    static void multiply_kept(const float* parameters, const Places& inputs_of_unit, const Lanes (*input)[INPUTS],
                              Lanes (*output)[OUTPUTS]) {
        for (int unit = 0; unit < OUTPUTS; ++unit) {
            Lanes block[Groups];
#pragma GCC unroll 32
            for (int group = 0; group < Groups; ++group) block[group] = broadcast(parameters[WEIGHTS + unit]);
            for (const int i : inputs_of_unit[unit]) {
                const Lanes weight = broadcast(parameters[unit * INPUTS + i]);
#pragma GCC unroll 32
                for (int group = 0; group < Groups; ++group) block[group] = fma(weight, input[group][i], block[group]);
            }
#pragma GCC unroll 32
            for (int group = 0; group < Groups; ++group) output[group][unit] = block[group];
        }
    }

    // The gradients of weights and inputs at once, because both are computed from the gradients of the output.
    template <bool Asked, int Groups>
    static void differentiate_kept(const float* weights, const Places& units_of_input, const Lanes (*input)[INPUTS],
                                   const Lanes (*output_gradient)[OUTPUTS], Lanes (*input_gradient)[INPUTS],
                                   float* gradient) {
        LaneSums sums;
        for (int i = 0; i < INPUTS; ++i) {
            Lanes block[Groups]{}, value[Groups];
#pragma GCC unroll 32
            for (int group = 0; group < Groups; ++group) value[group] = input[group][i];
            for (const int unit : units_of_input[i]) {
                const Lanes weight = broadcast(weights[unit * INPUTS + i]);
                Lanes products[SHARES]{};
#pragma GCC unroll 32
                for (int group = 0; group < Groups; ++group) {
                    const Lanes g = output_gradient[group][unit];
                    products[group % SHARES] = fma(value[group], g, products[group % SHARES]);
                    block[group] = fma(weight, g, block[group]);
                }
                sums.add(gradient[unit * INPUTS + i], joined(products, 1));
            }
            if constexpr (Asked)
#pragma GCC unroll 32
                for (int group = 0; group < Groups; ++group) input_gradient[group][i] = block[group];
        }
        sums.flush();
    }

    // to[group][row] = bias[row] + sum over k of weights[row * row_stride + k * stride] * from[group][k]
    template <int Groups, int Terms, int Rows>
    static void multiply(const float* weights, int row_stride, int stride, const float* bias,
                         const Lanes (*from)[Terms], Lanes (*to)[Rows]) {
        in_parts<Rows, part_of(Rows, fitting(REGISTERS - Groups - 2, Groups))>([&](auto rows, int row) {
            multiply_rows<rows, Groups>(weights + row * row_stride, row_stride, stride, bias ? bias + row : nullptr,
                                        from, to, row);
        });
    }

    // A weight, once in a register, serves all groups, and a value serves several rows.
    template <int Rows, int Groups, int Terms, int AllRows>
    static void multiply_rows(const float* weights, int row_stride, int stride, const float* bias,
                              const Lanes (*from)[Terms], Lanes (*to)[AllRows], int row) {
        Lanes block[Rows][Groups];
#pragma GCC unroll 32
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 32
            for (int group = 0; group < Groups; ++group) block[r][group] = bias ? broadcast(bias[r]) : Lanes{};
        for (int k = 0; k < Terms; ++k)
#pragma GCC unroll 32
            for (int r = 0; r < Rows; ++r) {
                const Lanes weight = broadcast(weights[r * row_stride + k * stride]);
#pragma GCC unroll 32
                for (int group = 0; group < Groups; ++group)
                    block[r][group] = fma(weight, from[group][k], block[r][group]);
            }
#pragma GCC unroll 32
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 32
            for (int group = 0; group < Groups; ++group) to[group][row + r] = block[r][group];
    }

    // Transposes a lane for each image into a row for each image.
    static void turn(const Lanes* input, Lanes (*images)[VECTORS]) {
        for (int vector = 0; vector < VECTORS; ++vector) {
            Lanes rows[WIDTH];
#pragma GCC unroll 16
            for (int i = 0; i < WIDTH; ++i)
                rows[i] = vector * WIDTH + i < INPUTS ? input[vector * WIDTH + i] : Lanes{};
            transpose(rows);
#pragma GCC unroll 16
            for (int i = 0; i < WIDTH; ++i) images[i][vector] = rows[i];
        }
    }

    // Only this product sums over images. With a row for each image, the lanes are inputs instead of images, so that no
    // lane has to be added to another.
    static void add_weight_gradient(const Lanes (*output_gradient)[OUTPUTS], const Lanes (*images)[VECTORS], int count,
                                    float* gradient) {
        constexpr int ACROSS = part_of(VECTORS, REGISTERS > 16 ? 5 : 3);
        constexpr int AT_ONCE = fitting(REGISTERS - ACROSS - 2, ACROSS);
        in_parts<VECTORS, ACROSS>([&](auto vectors, int vector) {
            in_parts<OUTPUTS, part_of(OUTPUTS, AT_ONCE)>([&](auto rows, int row) {
                sum_over_images<rows, vectors>(output_gradient, images, count, row, vector, gradient);
            });
        });
    }

    template <int Rows, int Vectors>
    static void sum_over_images(const Lanes (*output_gradient)[OUTPUTS], const Lanes (*images)[VECTORS], int count,
                                int row, int vector, float* gradient) {
        Lanes block[Rows][Vectors]{};
        for (int image = 0; image < count; ++image) {
            const auto* of_image = reinterpret_cast<const float*>(output_gradient[image / WIDTH] + row) + image % WIDTH;
#pragma GCC unroll 32
            for (int r = 0; r < Rows; ++r) {
                const Lanes g = broadcast(of_image[r * WIDTH]);
#pragma GCC unroll 32
                for (int v = 0; v < Vectors; ++v) block[r][v] = fma(g, images[image][vector + v], block[r][v]);
            }
        }
#pragma GCC unroll 32
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 32
            for (int v = 0; v < Vectors; ++v) add(gradient + (row + r) * INPUTS, (vector + v) * WIDTH, block[r][v]);
    }

    // The last vector may reach beyond the end of a row of weights.
    static void add(float* row, int start, Lanes values) {
        if (start + WIDTH <= INPUTS)
            store(row + start, load(row + start) + values);
        else
            for (int i = start; i < INPUTS; ++i) row[i] += values[i - start];
    }
};

}  // namespace native
