// What `compiler.py` builds for each model, with its layers as NETWORK.
#include "network.hpp"
#include "residual_network.hpp"

#include "exports.hpp"
#include "self_test.hpp"

#pragma GCC visibility push(default)
extern "C" {

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
