// What every compiled library exports: an epoch of training for a network, the type NETWORK.
#pragma once

#include "rounding.hpp"
#include "training.hpp"

using namespace native;
using Model = NETWORK;

// Calls body(model), and returns whether there was memory enough: no exception may leave for the caller, who is in C.
template <class Body>
static bool has_memory_for(Body&& body) try {
    const StandardRounding rounding;
    body(*std::make_unique<Model>());
    return true;
} catch (const std::bad_alloc&) {
    return false;
}

extern "C" __attribute__((visibility("default"))) bool train(
    float* parameters, float* velocity, const float* mask, float* withheld, float* running,
    const Statistics::Setting* settings, const float* images, const int64_t* labels, const float* factors,
    const int64_t* order, const int64_t* batch_sizes, int64_t batches, const Augmentation::Crop* crops,
    const float* black, int64_t height, int64_t width, const float* learning_rates, float momentum,
    float squared, float absolute, float decoupled, const Quantization::Channel* channels, int64_t channel_count,
    float largest_integer, const float* wanted, float weight, float temperature, float* image_losses, bool* right,
    Stepped stepped, double* loss) {
    const Augmentation augmentation{crops, black, static_cast<int>(height), static_cast<int>(width)};
    return has_memory_for([&](Model& model) {
        train(model, parameters, velocity, {running, settings, true}, {mask, withheld}, {images, labels, factors},
              order, batch_sizes, batches, augmentation, learning_rates, {momentum, {squared, absolute, decoupled}},
              {channels, channel_count, largest_integer}, {wanted, weight, temperature}, {image_losses, right}, stepped,
              *loss);
    });
}
