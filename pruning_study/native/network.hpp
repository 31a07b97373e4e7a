// A stack of layers, and what is done with it: an epoch of training, logits, the gradient over a set.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <tuple>
#include <vector>

#include "linear.hpp"
#include "masked_convolution.hpp"

namespace native {

struct Optimizer {
    float learning_rate, momentum, weight_decay;
};

struct Examples {
    const float* images;    // [N][pixels]
    const int64_t* labels;  // [N]
};

// How the images of a training are flipped and shifted before they are taken; null crops where they are not.
struct Augmentation {
    struct Crop {
        int8_t flipped, row, column;  // of the upper left corner among the rows and columns of the image
    };
    const Crop* crops;   // of each image in the order in which they are taken
    const float* black;  // [channels], what stands around the image
    int height, width;

    Augmentation from(int64_t place) const { return {crops ? crops + place : nullptr, black, height, width}; }
};

// The weights that are pruned, null where none are; what they would be, null where they do not learn.
struct Pruned {
    const float* mask;  // 0 where pruned
    float* withheld;    // the values of the pruned weights, 0 elsewhere
};

// The part of the loss that wants a teacher's soft predictions; none where the weight is 0.
struct Distillation {
    const float* wanted;  // [N][classes], the teacher's softmax at the temperature
    float weight, temperature;
};

template <class... Layers>
class Network {
    template <std::size_t I>
    using Layer = std::tuple_element_t<I, std::tuple<Layers...>>;
    static constexpr std::size_t LAST = sizeof...(Layers) - 1;
    // So many groups of WIDTH images go through the network at once: enough for the tiles of the linear layers, and
    // few enough for all that is stored on the way to stay in the second-level cache.
    static constexpr int GROUPS = 4;

   public:
    static constexpr int PIXELS = Layer<0>::INPUTS, CLASSES = Layer<LAST>::OUTPUTS;
    static constexpr int PARAMETERS = (Layers::PARAMETERS + ...);

    // Stochastic gradient descent over all batches; the sum of the images' losses.
    double train(float* parameters, float* velocity, Pruned pruned, Examples examples, const int64_t* order,
                 const int64_t* batch_sizes, int64_t batches, Augmentation augmentation, Optimizer optimizer,
                 Distillation distillation) {
        if (pruned.mask) keep<0>(pruned.mask, pruned.withheld != nullptr);
        double loss = 0;
        for (int64_t batch = 0; batch < batches; ++batch) {
            const int64_t size = batch_sizes[batch];
            loss += differentiate(parameters, examples, order, size, size, augmentation, distillation);
            if (pruned.withheld)
                step_all(parameters, velocity, pruned, optimizer);
            else
                step(parameters, velocity, pruned.mask, optimizer);
            order += size;
            augmentation = augmentation.from(size);
        }
        return loss;
    }

    void logits(const float* parameters, const float* images, int64_t count, float* scores) {
        keep<0>(parameters, false);  // which are their own mask
        for (int64_t start = 0; start < count; start += CHUNK) {
            const int size = static_cast<int>(std::min<int64_t>(CHUNK, count - start));
            gather(images, nullptr, start, size, {});
            forward<0>(parameters, input_, groups_of(size));
            for (int image = 0; image < size; ++image)
                for (int label = 0; label < CLASSES; ++label) *scores++ = score(image, label);
        }
    }

    // Of the mean loss over all images.
    void gradient(const float* parameters, Examples examples, int64_t count, float* gradient) {
        keep<0>(parameters, true);
        // Summed in double: of 60,000 images single precision would lose the last digits.
        std::vector<double> total(PARAMETERS);
        std::vector<int64_t> order(BATCH);
        for (int64_t start = 0; start < count; start += BATCH) {
            const int64_t size = std::min(BATCH, count - start);
            for (int64_t i = 0; i < size; ++i) order[i] = start + i;
            differentiate(parameters, examples, order.data(), size, count, {}, {});
            for (int i = 0; i < PARAMETERS; ++i) total[i] += gradient_[i];
        }
        std::copy(total.begin(), total.end(), gradient);
    }

   private:
    static constexpr int CHUNK = GROUPS * WIDTH;
    static constexpr int64_t BATCH = 128;

    Lanes input_[GROUPS][PIXELS];
    float cropped_[WIDTH][PIXELS];
    std::tuple<typename Layers::template State<GROUPS>...> states_;
    float gradient_[PARAMETERS];
    std::size_t first_ = 0;  // the last layer that keeps no weight: those before it neither matter nor learn

    static int groups_of(int images) { return (images + WIDTH - 1) / WIDTH; }

    // The gradient of a batch's summed loss divided by `divisor`, into gradient_; its summed loss.
    double differentiate(const float* parameters, Examples examples, const int64_t* order, int64_t count,
                         int64_t divisor, Augmentation augmentation, Distillation distillation) {
        std::fill_n(gradient_, PARAMETERS, 0.0f);
        double loss = 0;
        for (int64_t start = 0; start < count; start += CHUNK) {
            const int size = static_cast<int>(std::min<int64_t>(CHUNK, count - start)), groups = groups_of(size);
            gather(examples.images, order + start, 0, size, augmentation.from(start));
            forward<0>(parameters, input_, groups);
            const float scale = 1.0f / static_cast<float>(divisor);
            loss += cross_entropy(examples.labels, order + start, size, scale, distillation);
            backward<0>(parameters, input_, nullptr, gradient_, groups);
        }
        return loss;
    }

    template <std::size_t I>
    void keep(const float* mask, bool all_learn) {
        Layer<I>::keep(mask, std::get<I>(states_), all_learn);
        if (!all_learn && std::count(mask, mask + Layer<I>::WEIGHTS, 0.0f) == Layer<I>::WEIGHTS) first_ = I;
        if constexpr (I < LAST) keep<I + 1>(mask + Layer<I>::PARAMETERS, all_learn);
    }

    template <std::size_t I>
    void forward(const float* parameters, const Lanes (*input)[Layer<I>::INPUTS], int groups) {
        auto& state = std::get<I>(states_);
        if (I >= first_) Layer<I>::forward(parameters, input, state, groups);
        if constexpr (I < LAST) forward<I + 1>(parameters + Layer<I>::PARAMETERS, state.output, groups);
    }

    template <std::size_t I>
    void backward(const float* parameters, const Lanes (*input)[Layer<I>::INPUTS],
                  Lanes (*input_gradient)[Layer<I>::INPUTS], float* gradient, int groups) {
        auto& state = std::get<I>(states_);
        if constexpr (I < LAST)
            backward<I + 1>(parameters + Layer<I>::PARAMETERS, state.output, state.gradient,
                            gradient + Layer<I>::PARAMETERS, groups);
        if (I >= first_)
            Layer<I>::template backward<(I > 0)>(parameters, input, state, input_gradient, gradient, groups);
    }

    // Images order[0..size), or start..start + size, each into a lane; lanes that are left over get blank ones.
    void gather(const float* images, const int64_t* order, int64_t start, int size, Augmentation augmentation) {
        static const float blank[PIXELS]{};
        for (int group = 0; group < groups_of(size); ++group) {
            const float* rows[WIDTH];
            for (int lane = 0; lane < WIDTH; ++lane) {
                const int image = group * WIDTH + lane;
                rows[lane] = image < size ? images + (order ? order[image] : start + image) * PIXELS : blank;
                if (augmentation.crops && image < size) {
                    crop(rows[lane], augmentation.crops[image], augmentation, cropped_[lane]);
                    rows[lane] = cropped_[lane];
                }
            }
            gather_pixels(rows, input_[group]);
        }
    }

    static void crop(const float* image, Augmentation::Crop crop, const Augmentation& augmentation, float* cropped) {
        const auto [crops, black, height, width] = augmentation;
        // Of each line of the crop, the pixels from `first` up to `last` are the image's.
        const int first = std::clamp<int>(-crop.column, 0, width), last = std::clamp(width - crop.column, 0, width);
        for (int line = 0; line < PIXELS / width; ++line, cropped += width) {
            const int channel = line / height, row = line % height + crop.row;
            if (row < 0 || row >= height) {
                std::fill_n(cropped, width, black[channel]);
                continue;
            }
            const float* from = image + ((channel * height + row) * width + crop.column + first);
            std::fill_n(cropped, first, black[channel]);
            std::copy_n(from, last - first, cropped + first);
            std::fill(cropped + last, cropped + width, black[channel]);
            if (crop.flipped) std::reverse(cropped, cropped + width);
        }
    }

    static void gather_pixels(const float* const (&rows)[WIDTH], Lanes* pixels) {
        if constexpr (PIXELS < WIDTH) {
            for (int pixel = 0; pixel < PIXELS; ++pixel)
                for (int lane = 0; lane < WIDTH; ++lane) pixels[pixel][lane] = rows[lane][pixel];
        } else {
            for (int next = 0; next < PIXELS; next += WIDTH) {
                const int pixel = std::min(next, PIXELS - WIDTH);  // the last ones overlap those before
                Lanes block[WIDTH];
#pragma GCC unroll 16
                for (int lane = 0; lane < WIDTH; ++lane) block[lane] = load(rows[lane] + pixel);
                transpose(block);
#pragma GCC unroll 16
                for (int i = 0; i < WIDTH; ++i) pixels[pixel + i] = block[i];
            }
        }
    }

    float score(int image, int label) const {
        return std::get<LAST>(states_).output[image / WIDTH][label][image % WIDTH];
    }

    // The summed loss of a chunk; its gradient, times `scale`, where the last layer's backward pass finds it. Of the
    // teacher's part the loss is the cross-entropy: what is missing of the divergence is a constant.
    double cross_entropy(const int64_t* labels, const int64_t* order, int size, float scale,
                         Distillation distillation) {
        auto& gradient = std::get<LAST>(states_).gradient;
        const auto [wanted, weight, temperature] = distillation;
        double loss = 0;
        for (int image = 0; image < groups_of(size) * WIDTH; ++image) {
            const bool counts = image < size;
            const int64_t right = counts ? labels[order[image]] : -1;
            float share[CLASSES], slope[CLASSES];
            const float total = softmax(image, 1, share);
            if (counts) loss += (1 - weight) * (total - score(image, static_cast<int>(right)));
            for (int label = 0; label < CLASSES; ++label) slope[label] = (1 - weight) * (share[label] - (label == right));
            if (counts && weight > 0) {
                const float total_soft = softmax(image, temperature, share);
                for (int label = 0; label < CLASSES; ++label) {
                    const float want = wanted[order[image] * CLASSES + label];
                    loss += weight * temperature * temperature * want * (total_soft - score(image, label) / temperature);
                    slope[label] += weight * temperature * (share[label] - want);
                }
            }
            for (int label = 0; label < CLASSES; ++label)
                gradient[image / WIDTH][label][image % WIDTH] = counts ? slope[label] * scale : 0.0f;
        }
        return loss;
    }

    // Of an image's logits divided by the temperature; the logarithm of what it is normalised by.
    float softmax(int image, float temperature, float (&share)[CLASSES]) const {
        float most = score(image, 0), total = 0;
        for (int label = 1; label < CLASSES; ++label) most = std::max(most, score(image, label));
        for (int label = 0; label < CLASSES; ++label)
            total += share[label] = std::exp((score(image, label) - most) / temperature);
        for (int label = 0; label < CLASSES; ++label) share[label] /= total;
        return std::log(total) + most / temperature;
    }

    // SGD with Nesterov's momentum, as torch writes it.
    void step(float* parameters, float* velocity, const float* mask, Optimizer optimizer) const {
        for (int i = 0; i < PARAMETERS; ++i) {
            const float slope = gradient_[i] * (mask ? mask[i] : 1.0f) + optimizer.weight_decay * parameters[i];
            velocity[i] = optimizer.momentum * velocity[i] + slope;
            parameters[i] -= optimizer.learning_rate * (slope + optimizer.momentum * velocity[i]);
        }
    }

    // The same for all weights: those that the mask has pruned change where they are withheld.
    void step_all(float* parameters, float* velocity, Pruned pruned, Optimizer optimizer) const {
        for (int i = 0; i < PARAMETERS; ++i) {
            const float before = parameters[i] + pruned.withheld[i];
            const float slope = gradient_[i] + optimizer.weight_decay * before;
            velocity[i] = optimizer.momentum * velocity[i] + slope;
            const float after = before - optimizer.learning_rate * (slope + optimizer.momentum * velocity[i]);
            parameters[i] = pruned.mask[i] ? after : 0;
            pruned.withheld[i] = pruned.mask[i] ? 0 : after;
        }
    }
};

}  // namespace native
