// The loss of a training: cross-entropy with the labels, and with a teacher's soft predictions.
#pragma once

#include "examples.hpp"
#include "exponential.hpp"
#include "lanes.hpp"

namespace native {

// The distillation part of the loss; there is none if the weight is 0.
struct Distillation {
    const float* wanted;  // [N][classes], the teacher's softmax at the temperature
    float weight, temperature;
};

// Outcomes of training steps for each image, both [N]: its cross-entropy without its factor, and whether its label has
// the largest logit. Null if they are not wanted.
struct Outcomes {
    float* loss;
    bool* right;
};

// For the images in the lanes, sets the softmax of logits / temperature, and returns the logarithm of its normaliser.
template <int Classes>
Lanes softmax(const Lanes* logits, float temperature, Lanes* share) {
    Lanes most = logits[0], total{};
    for (int label = 1; label < Classes; ++label) most = most < logits[label] ? logits[label] : most;
    for (int label = 0; label < Classes; ++label)
        total += share[label] = exponential((logits[label] - most) / temperature);
    for (int label = 0; label < Classes; ++label) share[label] /= total;
    return logarithm(total) + most / temperature;
}

// Multiplies the loss of each of the images order[0..size) by the image's factor, and returns the sum of these losses.
// Sets the gradient of this sum with respect to the logits, times `scale`. A lane holds the logits of one image, and in
// unused lanes the gradient is 0. The teacher's part of a loss is a cross-entropy, which differs from the divergence by
// a constant.
template <int Classes>
double cross_entropy(const Lanes (*logits)[Classes], Examples examples, const int64_t* order, int size, float scale,
                     Distillation distillation, Outcomes outcomes, Lanes (*gradient)[Classes]) {
    const auto [wanted, weight, temperature] = distillation;
    double loss = 0;
    Lanes shares[Classes], soft[Classes];
    for (int group = 0; group < groups_of(size); ++group) {
        const Lanes total = softmax<Classes>(logits[group], 1, shares);
        const Lanes total_soft = weight > 0 ? softmax<Classes>(logits[group], temperature, soft) : Lanes{};
        for (int lane = 0; lane < WIDTH; ++lane) {
            const int image = group * WIDTH + lane;
            if (image >= size) {
                for (int label = 0; label < Classes; ++label) gradient[group][label][lane] = 0;
                continue;
            }
            const int64_t right = examples.labels[order[image]];
            const float factor = examples.factors ? examples.factors[order[image]] : 1;
            const float own = total[lane] - logits[group][right][lane];
            loss += factor * ((1 - weight) * own);
            if (outcomes.loss) {
                bool is_right = true;
                for (int label = 0; label < Classes; ++label) {
                    const float larger = logits[group][label][lane], of_right = logits[group][right][lane];
                    is_right = is_right && (label < right ? larger < of_right : larger <= of_right);
                }
                outcomes.loss[order[image]] = own, outcomes.right[order[image]] = is_right;
            }
            for (int label = 0; label < Classes; ++label) {
                float slope = (1 - weight) * (shares[label][lane] - (label == right));
                if (weight > 0) {
                    const float want = wanted[order[image] * Classes + label];
                    const float missing = total_soft[lane] - logits[group][label][lane] / temperature;
                    loss += factor * (weight * temperature * temperature * want * missing);
                    slope += weight * temperature * (soft[label][lane] - want);
                }
                gradient[group][label][lane] = slope * (factor * scale);
            }
        }
    }
    return loss;
}

// Computes the softmax of logits [count][Classes], and the cross-entropy of each image with its label. If `labels` is
// null, the entropy of each image's softmax is computed instead of the cross-entropy.
template <int Classes>
void probabilities(const float* logits, const int64_t* labels, int64_t count, float* shares, float* losses) {
    for (int64_t start = 0; start < count; start += WIDTH) {
        const int size = static_cast<int>(std::min<int64_t>(WIDTH, count - start));
        Lanes of_images[Classes]{}, softened[Classes];
        for (int lane = 0; lane < size; ++lane)
            for (int label = 0; label < Classes; ++label)
                of_images[label][lane] = logits[(start + lane) * Classes + label];
        const Lanes total = softmax<Classes>(of_images, 1, softened);
        Lanes entropy{};
        for (int label = 0; label < Classes; ++label)
            entropy = fma(softened[label], total - of_images[label], entropy);
        for (int lane = 0; lane < size; ++lane) {
            for (int label = 0; label < Classes; ++label)
                shares[(start + lane) * Classes + label] = softened[label][lane];
            losses[start + lane] = labels ? total[lane] - of_images[labels[start + lane]][lane] : entropy[lane];
        }
    }
}

}  // namespace native
