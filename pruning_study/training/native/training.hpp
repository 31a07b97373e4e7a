// For any network with keep() and differentiate(): an epoch of training, and the gradient over a set of images.
#pragma once

#include <memory>
#include <vector>

#include "batch_norm.hpp"
#include "examples.hpp"
#include "loss.hpp"
#include "optimizer.hpp"
#include "quantization.hpp"

namespace native {

// Called after each step with the number of its batch; returns whether the training goes on. Null if nothing is to be
// called.
using Stepped = bool (*)(int64_t batch);

// Stochastic gradient descent over all batches; adds the images' losses, times their factors, to `loss`.
template <class Model>
void train(Model& model, float* parameters, float* velocity, Statistics statistics, Pruned pruned, Examples examples,
           const int64_t* order, const int64_t* batch_sizes, int64_t batches, Augmentation augmentation,
           const float* learning_rates, Optimizer optimizer, Quantization quantization, Distillation distillation,
           Outcomes outcomes, Stepped stepped, double& loss) {
    std::vector<float> gradient(Model::PARAMETERS), quantized(quantization.channels ? Model::PARAMETERS : 0);
    if (pruned.mask) model.keep(pruned.mask, pruned.withheld != nullptr);
    for (int64_t batch = 0; batch < batches; ++batch) {
        const int size = static_cast<int>(batch_sizes[batch]);
        const float* used = quantization.applied(parameters, Model::PARAMETERS, quantized.data());
        loss += model.differentiate(used, statistics, examples, order, size, size, augmentation, distillation, outcomes,
                                    gradient.data());
        step<Model::PARAMETERS>(parameters, velocity, gradient.data(), pruned, optimizer, learning_rates[batch]);
        order += size;
        augmentation = augmentation.from(size);
        if (stepped && !stepped(batch)) return;
    }
}

// Adds to `gradient` the gradient of the images' summed loss, divided by `divisor`.
template <class Model>
void find_gradient(Model& model, const float* parameters, Statistics statistics, Examples examples, int64_t count,
                   int64_t divisor, double* gradient) {
    constexpr int BATCH = 128;
    model.keep(parameters, true);
    std::vector<float> part(Model::PARAMETERS);
    std::vector<int64_t> order(BATCH);
    for (int64_t start = 0; start < count; start += BATCH) {
        const int size = static_cast<int>(std::min<int64_t>(BATCH, count - start));
        for (int i = 0; i < size; ++i) order[i] = start + i;
        model.differentiate(parameters, statistics, examples, order.data(), size, divisor, {}, {}, {}, part.data());
        for (int i = 0; i < Model::PARAMETERS; ++i) gradient[i] += part[i];
    }
}

}  // namespace native
