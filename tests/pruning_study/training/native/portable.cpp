// All that a library computes of a network, on numbers drawn here, as digests: a program that needs neither Python nor
// torch, so that it also runs in an emulator of another processor.
#include <cstdio>
#include <vector>

#include "network.cpp"

namespace {

FixedNumbers numbers;

std::vector<float> drawn(std::size_t count) {
    std::vector<float> values(count);
    numbers.fill(values.data(), count);
    return values;
}

void print(const char* name, const Digest& digest) { std::printf("%s %016llx\n", name, (unsigned long long)digest.value()); }

// Trains with all that a step may have; then evaluates. A mask keeps one weight in `one_in`.
void run(const char* name, int images, int one_in) {
    using Setting = Statistics::Setting;
    const int batch = images > 20 ? images - 7 : images, classes = Model::CLASSES;
    std::vector<float> parameters = drawn(Model::PARAMETERS), velocity(Model::PARAMETERS), mask, withheld;
    for (float& value : parameters) value /= 4;
    std::vector<float> running(STATISTICS, 0.75f), pixels = drawn(images * Model::PIXELS), wanted = drawn(images * classes);
    std::vector<float> scores(images * classes), shares(images * classes), losses(images), rates{0.1f, 0.05f, 0.025f};
    std::vector<Setting> settings(STATISTICS + 1, Setting{1e-5, 0.1});
    std::vector<int64_t> labels(images), order(images), sizes{batch};
    if (batch < images) sizes.push_back(images - batch);
    for (int i = 0; i < images; ++i) labels[i] = numbers.next() / 7 % classes, order[i] = images - 1 - i;
    if (one_in > 1) {
        for (float& value : parameters) mask.push_back(numbers.next() / 7 % one_in == 0), value *= mask.back();
    }
    probabilities(wanted.data(), nullptr, images, shares.data(), losses.data());
    wanted = shares;
    double loss = 0;
    train(parameters.data(), velocity.data(), mask.empty() ? nullptr : mask.data(), nullptr, running.data(),
          settings.data(), pixels.data(), labels.data(), losses.data(), order.data(), sizes.data(), sizes.size(), nullptr,
          nullptr, 0, 0, rates.data(), 0.9f, 1e-3f, 1e-5f, 1e-4f, nullptr, 0, 1, wanted.data(), 0.25f, 2, nullptr,
          nullptr, nullptr, &loss);
    Digest trained, evaluated;
    trained.add(parameters.data(), parameters.size());
    trained.add(velocity.data(), velocity.size());
    trained.add(running.data(), running.size());
    trained.add(&loss, 1);
    logits(parameters.data(), running.data(), settings.data(), pixels.data(), images, scores.data());
    probabilities(scores.data(), labels.data(), images, shares.data(), losses.data());
    std::vector<double> slopes(Model::PARAMETERS);
    gradient(parameters.data(), running.data(), settings.data(), pixels.data(), labels.data(), images, images,
             slopes.data());
    evaluated.add(scores.data(), scores.size());
    evaluated.add(shares.data(), shares.size());
    evaluated.add(losses.data(), losses.size());
    evaluated.add(slopes.data(), slopes.size());
    std::printf("%s ", name), print("trained", trained);
    std::printf("%s ", name), print("evaluated", evaluated);
}

}  // namespace

int main() {
    std::printf("self-test %016llx\n", (unsigned long long)digest());
    run("one image pair", 2, 1);
    run("part of a register", 13, 1);
    run("several registers", 53, 1);
    run("two chunks", 150, 1);
    run("half of the weights", 53, 2);
    run("few weights", 53, 6);
}
