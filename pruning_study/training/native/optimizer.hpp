// A step of stochastic gradient descent over all parameters of a network, which may be pruned.
#pragma once

#include "lanes.hpp"

namespace native {

// Strengths of the terms that pull weights towards 0 (see `regularizers.py`).
struct Regularizer {
    float squared, absolute, decoupled;
};

struct Optimizer {
    float momentum;
    Regularizer regularizer;
};

// A weight after a step of SGD with Nesterov's momentum, as torch computes it. `kept` is 0 where the gradient is
// masked.
inline float after_step(float weight, float& velocity, float gradient, float kept, Optimizer optimizer,
                        float learning_rate) {
    const auto [squared, absolute, decoupled] = optimizer.regularizer;
    const float sign = static_cast<float>((weight > 0) - (weight < 0));
    const float slope = fma(absolute, sign, fma(squared, weight, gradient * kept));
    velocity = fma(optimizer.momentum, velocity, slope);
    const float direction = fma(decoupled, weight, fma(optimizer.momentum, velocity, slope));
    return fma(-learning_rate, direction, weight);
}

// The mask of pruned weights, null if there are none, and their withheld values, null if these do not learn.
struct Pruned {
    const float* mask;  // 0 where pruned
    float* withheld;    // the values of the pruned weights, 0 elsewhere
};

template <int Parameters>
void step(float* parameters, float* velocity, const float* gradient, const float* mask, Optimizer optimizer,
          float learning_rate) {
    if (mask)
        for (int i = 0; i < Parameters; ++i)
            parameters[i] = after_step(parameters[i], velocity[i], gradient[i], mask[i], optimizer, learning_rate);
    else  // a loop of its own: GCC does not find out by itself that it can be vectorised
        for (int i = 0; i < Parameters; ++i)
            parameters[i] = after_step(parameters[i], velocity[i], gradient[i], 1, optimizer, learning_rate);
}

// The same step, but the pruned weights learn too, and change in `withheld`.
template <int Parameters>
void step_all(float* parameters, float* velocity, const float* gradient, Pruned pruned, Optimizer optimizer,
              float learning_rate) {
    for (int i = 0; i < Parameters; ++i) {
        const float before = parameters[i] + pruned.withheld[i];
        const float after = after_step(before, velocity[i], gradient[i], 1, optimizer, learning_rate);
        parameters[i] = pruned.mask[i] ? after : 0;
        pruned.withheld[i] = pruned.mask[i] ? 0 : after;
    }
}

template <int Parameters>
void step(float* parameters, float* velocity, const float* gradient, Pruned pruned, Optimizer optimizer,
          float learning_rate) {
    if (pruned.withheld)
        step_all<Parameters>(parameters, velocity, gradient, pruned, optimizer, learning_rate);
    else
        step<Parameters>(parameters, velocity, gradient, pruned.mask, optimizer, learning_rate);
}

}  // namespace native
