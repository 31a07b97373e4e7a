// Time each layer of a network, and measure the peak speed of a core's multiply-adds.
#include <ctime>

#include "network.hpp"
#include "residual_network.hpp"

using namespace native;

namespace {

constexpr int GROUPS = 4, REPEATS = 200;

// CPU time, so that the time of other programs does not count.
double seconds_since(std::clock_t start) { return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC; }

template <class Layer>
struct Measured {
    Lanes input[GROUPS][Layer::INPUTS], input_gradient[GROUPS][Layer::INPUTS];
    float parameters[Layer::PARAMETERS], gradient[Layer::PARAMETERS];
    typename Layer::template State<GROUPS> state;

    // The first layer's backward pass computes no gradient of its input.
    template <bool IsFirst>
    void measure(double* results) {
        for (auto& group : input)
            for (int i = 0; i < Layer::INPUTS; ++i) group[i] = broadcast(static_cast<float>(i % 7 - 3));
        for (auto& group : state.gradient)
            for (int i = 0; i < Layer::OUTPUTS; ++i) group[i] = broadcast(static_cast<float>(i % 5 - 2));
        for (int i = 0; i < Layer::PARAMETERS; ++i) parameters[i] = static_cast<float>(i % 3 - 1) / 64;
        auto start = std::clock();
        for (int i = 0; i < REPEATS; ++i) Layer::forward(parameters, input, state, GROUPS);
        results[2] = seconds_since(start);
        start = std::clock();
        for (int i = 0; i < REPEATS; ++i)
            Layer::template backward<!IsFirst>(parameters, input, state, input_gradient, gradient, GROUPS);
        results[3] = seconds_since(start);
        results[0] = REPEATS * GROUPS * WIDTH;
        results[1] = 2.0 * Layer::MULTIPLICATIONS;
    }
};

template <class Network>
struct Layers;

template <class First, class... Later>
struct Layers<Network<First, Later...>> {
    static void measure(double* results) {
        std::make_unique<Measured<First>>()->template measure<true>(results);
        ((std::make_unique<Measured<Later>>()->template measure<false>(results += 4)), ...);
    }
};

// A convolution as the network computes it, by its definition, and with a tenth of its weights.
template <class Convolution>
struct MeasuredConvolution {
    using Definition = PaddedDirect<typename Convolution::From, typename Convolution::To, Convolution::STRIDE>;
    static constexpr int WAYS = 3, GROUPS_AT_ONCE = 2, TENTH = 10;

    Lanes input[Convolution::INPUTS], input_gradient[Convolution::INPUTS];
    Lanes output[Convolution::OUTPUTS], output_gradient[Convolution::OUTPUTS];
    float weights[Convolution::WEIGHTS], mask[Convolution::WEIGHTS];
    typename Convolution::State state;
    typename Definition::State definition;

    template <bool IsFirst>
    void measure(double* results) {
        for (int i = 0; i < Convolution::INPUTS; ++i) input[i] = broadcast(static_cast<float>(i % 7 - 3));
        for (int i = 0; i < Convolution::OUTPUTS; ++i) output_gradient[i] = broadcast(static_cast<float>(i % 5 - 2));
        for (int i = 0; i < Convolution::WEIGHTS; ++i) weights[i] = static_cast<float>(i % 3 - 1) / 64;
        for (int i = 0; i < Convolution::WEIGHTS; ++i) mask[i] = i % TENTH == i / TENTH % TENTH;
        Convolution::begin(weights, state);
        measure_way<IsFirst>(results);
        Definition::begin(weights, definition);
        time(
            results + 4, [&] { Definition::forward(input, definition, output); },
            [&] {
                Definition::template backward<!IsFirst>(input, output_gradient, definition, input_gradient);
            });
        Convolution::keep(mask, state, false);
        Convolution::begin(weights, state);
        measure_way<IsFirst>(results + 8);
    }

   private:
    template <bool IsFirst>
    void measure_way(double* results) {
        time(
            results, [&] { Convolution::forward(input, state, output); },
            [&] { Convolution::template backward<!IsFirst>(input, output_gradient, state, input_gradient); });
    }

    // The best of many short rounds, because other programs use the caches and half of each core.
    template <class Forward, class Backward>
    static void time(double* results, Forward&& forward, Backward&& backward) {
        results[0] = GROUPS_AT_ONCE * WIDTH, results[1] = 2.0 * Convolution::MULTIPLICATIONS;
        results[2] = best_of_rounds(forward), results[3] = best_of_rounds(backward);
    }

    template <class Body>
    static double best_of_rounds(Body&& body) {
        double best = 1e9;
        for (int round = 0; round < REPEATS / GROUPS_AT_ONCE; ++round) {
            const auto start = std::clock();
            for (int group = 0; group < GROUPS_AT_ONCE; ++group) body();
            best = std::min(best, seconds_since(start));
        }
        return best;
    }
};

template <class Head, class First, class... Later>
struct Layers<ResidualNetwork<Head, First, Later...>> {
    static void measure(double* results) {
        measure_unit<First, true>(results);
        ((measure_unit<Later, false>(results += 12)), ...);
    }

   private:
    template <class Unit, bool IsFirst>
    static void measure_unit(double* results) {
        std::make_unique<MeasuredConvolution<typename Unit::Convolution>>()->template measure<IsFirst>(results);
    }
};

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// For each layer: number of images, operations forward per image, seconds of all images forward, and backward. In a
// residual network, each convolution is measured in three ways.
void layers(double* results) { Layers<NETWORK>::measure(results); }

// Operations per second of independent multiply-adds that fill the registers.
double peak() {
    constexpr int CHAINS = 12, STEPS = 2000000;
    Lanes chains[CHAINS];
    for (int i = 0; i < CHAINS; ++i) chains[i] = broadcast(static_cast<float>(i));
    const Lanes factor = broadcast(0.999f), summand = broadcast(0.001f);
    const auto start = std::clock();
    for (int step = 0; step < STEPS; ++step)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; ++i) chains[i] = chains[i] * factor + summand;
    Lanes total{};
    for (const Lanes& chain : chains) total += chain;
    volatile float result = sum(total);  // otherwise the compiler would remove the computation
    (void)result;
    return 2.0 * CHAINS * WIDTH * STEPS / seconds_since(start);
}
}
#pragma GCC visibility pop
