// A step of stochastic gradient descent over all parameters of a network, which may be pruned.
#pragma once

namespace native {

struct Optimizer {
    float momentum, weight_decay;
};

// The weights that are pruned, null where none are; what they would be, null where they do not learn.
struct Pruned {
    const float* mask;  // 0 where pruned
    float* withheld;    // the values of the pruned weights, 0 elsewhere
};

// SGD with Nesterov's momentum, as torch writes it.
template <int Parameters>
void step(float* parameters, float* velocity, const float* gradient, const float* mask, Optimizer optimizer,
          float learning_rate) {
    for (int i = 0; i < Parameters; ++i) {
        const float slope = gradient[i] * (mask ? mask[i] : 1.0f) + optimizer.weight_decay * parameters[i];
        velocity[i] = optimizer.momentum * velocity[i] + slope;
        parameters[i] -= learning_rate * (slope + optimizer.momentum * velocity[i]);
    }
}

// The same for all weights: those that the mask has pruned change where they are withheld.
template <int Parameters>
void step_all(float* parameters, float* velocity, const float* gradient, Pruned pruned, Optimizer optimizer,
              float learning_rate) {
    for (int i = 0; i < Parameters; ++i) {
        const float before = parameters[i] + pruned.withheld[i];
        const float slope = gradient[i] + optimizer.weight_decay * before;
        velocity[i] = optimizer.momentum * velocity[i] + slope;
        const float after = before - learning_rate * (slope + optimizer.momentum * velocity[i]);
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
