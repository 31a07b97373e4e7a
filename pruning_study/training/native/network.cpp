// The source that `compiler.py` compiles for each model; NETWORK is the type that has the model's layers.
#include "network.hpp"
#include "residual_network.hpp"

#include "rounding.hpp"
#include "self_test.hpp"
#include "training.hpp"

using namespace native;
using Model = NETWORK;

// Calls body(model), and returns whether there was enough memory: no exception may reach the caller, which is C.
template <class Body>
static bool has_memory_for(Body&& body) try {
    const StandardRounding rounding;
    body(*std::make_unique<Model>());
    return true;
} catch (const std::bad_alloc&) {
    return false;
}

#pragma GCC visibility push(default)
extern "C" {

bool train(
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

bool logits(const float* parameters, float* running, const Statistics::Setting* settings, const float* images,
            int64_t count, float* scores) {
    return has_memory_for(
        [&](Model& model) { model.logits(parameters, {running, settings, false}, images, count, scores); });
}

bool gradient(const float* parameters, float* running, const Statistics::Setting* settings, const float* images,
              const int64_t* labels, int64_t count, int64_t divisor, double* gradient) {
    return has_memory_for([&](Model& model) {
        find_gradient(model, parameters, {running, settings, false}, {images, labels, nullptr}, count, divisor,
                      gradient);
    });
}

void probabilities(const float* logits, const int64_t* labels, int64_t count, float* shares, float* losses) {
    const StandardRounding rounding;
    probabilities<Model::CLASSES>(logits, labels, count, shares, losses);
}

uint64_t digest() {
    const StandardRounding rounding;
    return self_test();
}
}
#pragma GCC visibility pop
