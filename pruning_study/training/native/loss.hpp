// The loss of a training: cross-entropy with the labels, and with a teacher's soft predictions.
#pragma once

#include <algorithm>
#include <cmath>

#include "examples.hpp"
#include "lanes.hpp"

namespace native {

// The part of the loss that wants a teacher's soft predictions; none where the weight is 0.
struct Distillation {
    const float* wanted;  // [N][classes], the teacher's softmax at the temperature
    float weight, temperature;
};

// What training steps see of each image, [N] both: its cross-entropy, whatever its factor, and whether its label has the
// largest logit; null where nobody asks.
struct Outcomes {
    float* loss;
    bool* right;
};

// Of an image's logits divided by the temperature; the logarithm of what it is normalised by.
template <int Classes>
float softmax(const float (&scores)[Classes], float temperature, float (&share)[Classes]) {
    float most = scores[0], total = 0;
    for (int label = 1; label < Classes; ++label) most = std::max(most, scores[label]);
    for (int label = 0; label < Classes; ++label)
        total += share[label] = std::exp((scores[label] - most) / temperature);
    for (int label = 0; label < Classes; ++label) share[label] /= total;
    return std::log(total) + most / temperature;
}

// The summed loss of images order[0..size), each times its factor, whose logits lie in lanes, and its gradient, times
// `scale`; lanes that are left over get none. Of the teacher's part the loss is the cross-entropy: what is missing of
// the divergence is a constant.
template <int Classes>
double cross_entropy(const Lanes (*logits)[Classes], Examples examples, const int64_t* order, int size, float scale,
                     Distillation distillation, Outcomes outcomes, Lanes (*gradient)[Classes]) {
    const auto [wanted, weight, temperature] = distillation;
    double loss = 0;
    for (int image = 0; image < groups_of(size) * WIDTH; ++image) {
        const bool counts = image < size;
        const int64_t right = counts ? examples.labels[order[image]] : -1;
        const float factor = counts && examples.factors ? examples.factors[order[image]] : 1;
        float scores[Classes], share[Classes], slope[Classes];
        for (int label = 0; label < Classes; ++label) scores[label] = logits[image / WIDTH][label][image % WIDTH];
        const float total = softmax(scores, 1, share);
        if (counts) loss += factor * ((1 - weight) * (total - scores[right]));
        if (counts && outcomes.loss) {
            outcomes.loss[order[image]] = total - scores[right];
            outcomes.right[order[image]] = std::max_element(scores, scores + Classes) == scores + right;
        }
        for (int label = 0; label < Classes; ++label) slope[label] = (1 - weight) * (share[label] - (label == right));
        if (counts && weight > 0) {
            const float total_soft = softmax(scores, temperature, share);
            for (int label = 0; label < Classes; ++label) {
                const float want = wanted[order[image] * Classes + label];
                loss += factor * (weight * temperature * temperature * want * (total_soft - scores[label] / temperature));
                slope[label] += weight * temperature * (share[label] - want);
            }
        }
        for (int label = 0; label < Classes; ++label)
            gradient[image / WIDTH][label][image % WIDTH] = counts ? slope[label] * (factor * scale) : 0.0f;
    }
    return loss;
}

}  // namespace native
