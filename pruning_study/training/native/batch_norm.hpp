// Batch normalization by the statistics of a batch or by the running ones, and its gradients.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "lanes.hpp"

namespace native {

// Running statistics and settings of a network's normalizations, one layer after the other.
struct Statistics {
    struct Setting {
        double epsilon, momentum;
    };
    float* running;           // [channels] means, then [channels] variances, of each layer
    const Setting* settings;  // of each layer
    bool of_batch;            // whether to use the batch's statistics, as in training, and update the running ones
};

// 1 in the lanes of a group that have an image of the batch, and 0 in the others.
inline Lanes present(int images, int group) {
    Lanes lanes{};
    for (int lane = 0; lane < WIDTH; ++lane) lanes[lane] = group * WIDTH + lane < images;
    return lanes;
}

// Parameters: [channels] weights, then [channels] biases.
//
// Each image's sums are computed in its lane while a layer's output is in the cache. They are then added in double
// precision, without the lanes that have no image.
template <int Channels, int Pixels>
class BatchNorm {
   public:
    static constexpr int PARAMETERS = 2 * Channels, RUNNING = 2 * Channels;

    NATIVE_SHARED void make_room(int groups) {
        if (sums_.size() < static_cast<std::size_t>(groups)) sums_.resize(groups);
    }

    // Computes the sums over a group's values.
    NATIVE_SHARED void measure(const Lanes* values, int group) {
        for (int channel = 0; channel < Channels; ++channel, values += Pixels) {
            // Sums deviations from a value near the mean, because squares of the values themselves would lose the
            // digits of the spread if the mean is much larger than the spread.
            Lanes pivot{};
            for (int pixel = 0; pixel < PROBED; ++pixel) pivot += values[pixel];
            pivot *= broadcast(1.0f / PROBED);
            const auto [total, squares] = both_sums([&](int pixel) {
                const Lanes deviation = values[pixel] - pivot;
                return Pair{deviation, deviation};
            });
            take(group, channel, pivot, total, squares);
        }
    }

    // Stores the statistics that follow from sums of a group's deviations from a pivot, and of their squares.
    void take(int group, int channel, Lanes pivot, Lanes total, Lanes squares) {
        const Lanes mean = total * broadcast(1.0f / Pixels);
        sums_[group].first[channel] = pivot + mean;
        sums_[group].second[channel] = fma(-total, mean, squares);
    }

    // Normalizes by the measured batch from now on, and updates the running statistics.
    NATIVE_SHARED void settle(int images, const float* parameters, float* running, Statistics::Setting setting) {
        const double count = static_cast<double>(images) * Pixels;
        for (int channel = 0; channel < Channels; ++channel) {
            double mean = 0, variance = 0;
            for_images(images, [&](const Sums& sums, int lane) { mean += sums.first[channel][lane]; });
            mean /= images;
            for_images(images, [&](const Sums& sums, int lane) {
                const double deviation = sums.first[channel][lane] - mean;
                variance += sums.second[channel][lane] + Pixels * deviation * deviation;
            });
            variance /= count;
            follow(running[channel], mean, setting.momentum);
            follow(running[Channels + channel], variance * count / (count - 1), setting.momentum);
            set(channel, mean, variance, parameters, setting.epsilon);
        }
    }

    // Normalizes by the running statistics from now on.
    NATIVE_SHARED void settle(const float* parameters, const float* running, Statistics::Setting setting) {
        for (int channel = 0; channel < Channels; ++channel)
            set(channel, running[channel], running[Channels + channel], parameters, setting.epsilon);
    }

    // The normalization of a channel's values.
    struct Line {
        Lanes mean, factor, summand;
        Lanes operator()(Lanes value) const { return fma(value - mean, factor, summand); }
    };

    Line operator[](int channel) const {
        return {broadcast(mean_[channel]), broadcast(factor_[channel]), broadcast(summand_[channel])};
    }

    // Passes a group's gradient, `behind`, back through the ReLU behind the normalization, and computes its sums. If
    // Joined, the gradient of a shortcut, which `gradient` holds, is added first. The result is stored in `gradient`.
    template <bool Joined>
    NATIVE_SHARED void measure_gradient(const Lanes* behind, const Lanes* activation, const Lanes* values,
                                        Lanes* gradient, int group) {
        for (int channel = 0; channel < Channels; ++channel) {
            const Lanes mean = broadcast(mean_[channel]);
            const auto [total, products] = both_sums([&](int pixel) {
                const int at = channel * Pixels + pixel;
                const Lanes slope = Joined ? behind[at] + gradient[at] : behind[at];
                gradient[at] = activation[at] <= Lanes{} ? Lanes{} : slope;
                return Pair{gradient[at], values[at] - mean};
            });
            take_gradient(group, channel, total, products);
        }
    }

    // Stores sums of a group's gradients, and of their products with deviations from the mean.
    void take_gradient(int group, int channel, Lanes total, Lanes products) {
        sums_[group].first[channel] = total;
        sums_[group].second[channel] = products;
    }

    // Adds to the parameters' gradient, and prepares find_input_gradient().
    NATIVE_SHARED void settle_gradient(int images, float* gradient, bool of_batch) {
        const double count = static_cast<double>(images) * Pixels;
        for (int channel = 0; channel < Channels; ++channel) {
            double total = 0, product = 0;
            for_images(images, [&](const Sums& sums, int lane) {
                total += sums.first[channel][lane];
                product += sums.second[channel][lane];
            });
            const double inverse = inverse_[channel], factor = factor_[channel];
            product -= rest_[channel] * total;
            gradient[channel] += static_cast<float>(product * inverse);
            gradient[Channels + channel] += static_cast<float>(total);
            const double slope = of_batch ? -factor * inverse * inverse * product / count : 0;
            slope_[channel] = static_cast<float>(slope);
            level_[channel] = of_batch ? static_cast<float>(-factor * total / count - slope * rest_[channel]) : 0;
        }
    }

    // Computes the gradient of a group's values from that of the normalized values; it is 0 in lanes without an image.
    NATIVE_SHARED void find_input_gradient(const Lanes* gradient, const Lanes* values, Lanes present,
                                           Lanes* input_gradient) const {
        for (int channel = 0; channel < Channels; ++channel) {
            const Lanes mean = broadcast(mean_[channel]), factor = broadcast(factor_[channel]);
            const Lanes slope = slope_[channel] * present, level = level_[channel] * present;
            for (int pixel = 0; pixel < Pixels; ++pixel, ++gradient, ++values)
                *input_gradient++ = fma(factor, *gradient, fma(slope, *values - mean, level));
        }
    }

    // Terms of a value's gradient, besides factor * gradient: slope * (value - mean) + level.
    float slope(int channel) const { return slope_[channel]; }
    float level(int channel) const { return level_[channel]; }

   private:
    static constexpr int PROBED = std::min(Pixels, 32);

    struct Sums {
        // In the forward pass, an image's mean and its sum of squared deviations. In the backward pass, the sum of the
        // image's gradients, and the sum of their products with deviations.
        Lanes first[Channels], second[Channels];
    };

    std::vector<Sums> sums_;
    // The mean in single precision, and its rounding error.
    float mean_[Channels], rest_[Channels];
    float factor_[Channels], summand_[Channels], slope_[Channels], level_[Channels];
    double inverse_[Channels];  // of the standard deviation

    struct Pair {
        Lanes first, second;
    };

    // Returns the sum of the first values of the pairs term(pixel), and the sum of the products of each pair's values.
    template <class Term>
    static Pair both_sums(Term&& term) {
        constexpr int CHAINS = 4;  // several at once: an addition waits for the one before
        Pair chains[CHAINS]{};
        const auto add = [&](Pair& sums, Pair pair) {
            sums.first += pair.first;
            sums.second = fma(pair.first, pair.second, sums.second);
        };
        constexpr int LEFT = Pixels % CHAINS;
        for (int pixel = 0; pixel < Pixels - LEFT; pixel += CHAINS)
#pragma GCC unroll 4
            for (int i = 0; i < CHAINS; ++i) add(chains[i], term(pixel + i));
        for (int i = 0; i < LEFT; ++i) add(chains[i], term(Pixels - LEFT + i));
        return {(chains[0].first + chains[1].first) + (chains[2].first + chains[3].first),
                (chains[0].second + chains[1].second) + (chains[2].second + chains[3].second)};
    }

    template <class Body>
    void for_images(int images, Body&& body) const {
        for (int image = 0; image < images; ++image) body(sums_[image / WIDTH], image % WIDTH);
    }

    static void follow(float& running, double value, double momentum) {
        running = static_cast<float>((1 - momentum) * running + momentum * value);
    }

    void set(int channel, double mean, double variance, const float* parameters, double epsilon) {
        inverse_[channel] = 1 / std::sqrt(variance + epsilon);
        mean_[channel] = static_cast<float>(mean);
        rest_[channel] = static_cast<float>(mean - mean_[channel]);
        const double factor = parameters[channel] * inverse_[channel];
        factor_[channel] = static_cast<float>(factor);
        summand_[channel] = static_cast<float>(parameters[Channels + channel] - rest_[channel] * factor);
    }
};

}  // namespace native
