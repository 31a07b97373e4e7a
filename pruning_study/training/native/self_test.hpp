// Arithmetic on fixed numbers, whose results the caller compares with known ones. They differ if a compiler fuses
// products and sums, adds in another order or replaces a division, although it was told not to.
#pragma once

#include <cstring>

#include "linear.hpp"
#include "loss.hpp"
#include "network.hpp"
#include "optimizer.hpp"
#include "training.hpp"

namespace native {

// A digest of the bits of all numbers that it is given (FNV-1a).
class Digest {
   public:
    template <class Number>
    void add(const Number* numbers, std::size_t count) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(numbers);
        for (std::size_t i = 0; i < count * sizeof(Number); ++i) value_ = (value_ ^ bytes[i]) * 0x100000001b3u;
    }
    uint64_t value() const { return value_; }

   private:
    uint64_t value_ = 0xcbf29ce484222325u;
};

// Numbers from -1 to 1 that look random and need no rounding.
class FixedNumbers {
   public:
    void fill(float* to, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<float>(next() >> 8) / (1 << 23) - 1;
    }
    uint32_t next() { return state_ = state_ * 1664525u + 1013904223u; }

   private:
    uint32_t state_ = 1;
};

// Trains a small network for two batches with momentum, all terms of a regularizer and a teacher.
inline uint64_t self_test() {
    constexpr int INPUTS = 9, IMAGES = 21, BATCHES = 2, CLASSES = 5;
    using Model = Network<Linear<INPUTS, 11, true>, Linear<11, CLASSES, false>>;
    float parameters[Model::PARAMETERS], velocity[Model::PARAMETERS], images[IMAGES * INPUTS], wanted[IMAGES * CLASSES];
    float logits[IMAGES * CLASSES], shares[IMAGES * CLASSES], losses[IMAGES];
    int64_t labels[IMAGES], order[IMAGES];
    FixedNumbers numbers;
    numbers.fill(parameters, Model::PARAMETERS);
    numbers.fill(velocity, Model::PARAMETERS);
    numbers.fill(images, IMAGES * INPUTS);
    numbers.fill(logits, IMAGES * CLASSES);
    for (int image = 0; image < IMAGES; ++image) labels[image] = order[image] = image;
    for (int64_t& label : labels) label %= CLASSES;
    probabilities<CLASSES>(logits, labels, IMAGES, wanted, losses);
    const int64_t sizes[BATCHES]{IMAGES - 4, 4};
    const float rates[BATCHES]{0.3f, 0.2f};
    double loss = 0;
    const auto model = std::make_unique<Model>();
    train(*model, parameters, velocity, {}, {}, {images, labels, nullptr}, order, sizes, BATCHES, {}, rates,
          {0.9f, {0.01f, 0.02f, 0.03f}}, {}, {wanted, 0.3f, 1.7f}, {}, nullptr, loss);
    model->logits(parameters, {}, images, IMAGES, logits);
    probabilities<CLASSES>(logits, labels, IMAGES, shares, losses);
    Digest digest;
    digest.add(parameters, Model::PARAMETERS);
    digest.add(velocity, Model::PARAMETERS);
    digest.add(shares, IMAGES * CLASSES);
    digest.add(losses, IMAGES);
    digest.add(&loss, 1);
    return digest.value();
}

}  // namespace native
