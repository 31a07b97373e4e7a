// Padded 3x3 convolutions of stride 1 or 2 by their definition, of bf16 numbers, summed in float32.
//
// Pixels lie one behind the other, with all their channels: [row][column][pair of channels]. The pixels that a row of a
// kernel meets are then rows of right tiles as they lie, wherever the window is. Kernels are left tiles. What is found
// for a few pixels is handed over before it leaves the cache, in float32.
#pragma once

#include "bf16_tiles.hpp"
#include "padded_direct.hpp"

namespace native {

// The pixels of an image with a border of 0.
template <class Image>
struct Padded {
    static constexpr int PAIRS = pairs_of(Image::CHANNELS), COLUMNS = Image::WIDTH + 2, ROW = COLUMNS * PAIRS;
    // A tile may reach beyond the last pixel. Weights of 0 meet what is there.
    static constexpr int SIZE = (Image::HEIGHT + 2) * ROW + DEPTH;

    // Where a pixel is; the image's first is at 1, 1.
    static constexpr int at(int row, int column) { return row * ROW + column * PAIRS; }

    static void clear_border(Halves* pixels) {
        const auto clear = [&](int from, int to) { std::fill(pixels + from, pixels + to, Halves{}); };
        clear(0, at(1, 1));
        for (int row = 1; row < Image::HEIGHT; ++row) clear(at(row, COLUMNS - 1), at(row + 1, 1));
        clear(at(Image::HEIGHT, COLUMNS - 1), SIZE);
    }

    static void fill(const Lanes* image, Halves* pixels) {
        clear_border(pixels);
        for (int row = 0; row < Image::HEIGHT; ++row)
            for (int column = 0; column < Image::WIDTH; ++column)
                for (int channel = 0; channel < Image::CHANNELS; channel += 2) {
                    const Lanes* first = image + channel * Image::PIXELS + row * Image::WIDTH + column;
                    pixels[at(row + 1, column + 1) + channel / 2] =
                        rounded(*first, channel + 1 < Image::CHANNELS ? first[Image::PIXELS] : Lanes{});
                }
    }
};

// A pass by all weights.
template <class Pass>
class Bf16Product {
    static constexpr int PAIRS = pairs_of(Pass::READ), RUN = Pass::ACROSS * PAIRS;  // of pairs that lie in a row
    static constexpr int STEPS = (RUN + DEPTH - 1) / DEPTH, TILES = tiles_of(Pass::FOUND);
    static constexpr int TILES_AT_ONCE = part_of(TILES, 2);
    static constexpr int COLUMNS_AT_ONCE = part_of(std::max(1, Pass::COLUMNS), 4 / TILES_AT_ONCE);

   public:
    void take(const float* weights) {
        std::memset(kernels_, 0, sizeof kernels_);
        for (int found = 0; found < Pass::FOUND; ++found)
            for (int read = 0; read < Pass::READ; ++read)
                for (int y = 0; y < Pass::DOWN; ++y)
                    for (int x = 0; x < Pass::ACROSS; ++x) {
                        const int pair = x * PAIRS + read / 2;
                        kernels_[found / ROWS][y][pair / DEPTH][found % ROWS][2 * (pair % DEPTH) + read % 2] =
                            rounded(weights[Pass::weight(found, read, y, x)]);
                    }
    }

    // Of a row: calls body(pixels, tile, first pixel, found [pixel][row of the tile]) for a few of them at a time, which
    // are Pass::PITCH apart. `corner` is that of the first window.
    template <class Image, class Body>
    void find(const Halves* corner, int row, Body&& body) const {
        if (!Pass::has(row)) return;
        in_parts<TILES, TILES_AT_ONCE>([&](auto tiles, int tile) {
            in_parts<Pass::COLUMNS, COLUMNS_AT_ONCE>([&](auto columns, int column) {
                const Halves* window = corner + column * Pass::STEP * PAIRS;
                TileSums<tiles, columns> sums;
                sums.clear();
                for (int y = 0; y < Pass::DOWN; ++y)
                    for (int step = 0; step < STEPS; ++step)
                        sums.add([&](int i) { return kernels_[tile + i][y][step]; }, sizeof kernels_[0][0][0][0],
                                 [&](int j) {
                                     return window + y * Padded<Image>::ROW + j * Pass::STEP * PAIRS + step * DEPTH;
                                 });
                Lanes found[tiles * columns][ROWS];
                sums.store(found, columns);
                for (int i = 0; i < tiles; ++i)
                    body(columns, tile + i, Pass::place(row) + column * Pass::PITCH, found + i * columns);
            });
        });
    }

   private:
    alignas(64) Half kernels_[TILES][Pass::DOWN][STEPS][ROWS][2 * DEPTH];
};

// The gradient of the weights: of filters times pixels of many images, and pixels of many images times channels. Two
// images are a pair here, so that a window may begin at any pixel.
template <class Input, class Output, int Stride>
class Bf16WeightGradient {
    static constexpr int CHANNELS = Input::CHANNELS, FILTERS = Output::CHANNELS, TAPS = 9;
    static constexpr int PIXELS = DEPTH / QUADS;  // of a tile
    static constexpr int BLOCKS = (Output::WIDTH + PIXELS - 1) / PIXELS, COLUMNS = BLOCKS * PIXELS;
    static constexpr int BAND = part_of(Output::HEIGHT, std::max(1, 16 / BLOCKS));  // rows of outputs at once
    static constexpr int KEPT_ROWS = (BAND - 1) * Stride + 3;
    // With stride 2, even columns lie before odd ones: a tile has those that are two apart.
    static constexpr int ODD = COLUMNS + 1, PLACES = Stride == 1 ? COLUMNS + 2 : ODD + COLUMNS;
    static constexpr int LEFTS = tiles_of(FILTERS), LEFTS_AT_ONCE = part_of(LEFTS, 2);
    static constexpr int CHANNEL_TILES = groups_of(CHANNELS), RIGHTS = CHANNEL_TILES * TAPS;
    static constexpr int RIGHTS_AT_ONCE = LEFTS_AT_ONCE == 1 ? 5 : 2;

   public:
    void clear() {
        std::memset(sums_, 0, sizeof sums_);
        std::memset(gradients_, 0, sizeof gradients_);
    }

    void add(const Halves* input, const Halves* gradient) {
        int filled = 0;
        for (int row = 0; row < Output::HEIGHT; row += BAND) {
            for (; filled < row * Stride + KEPT_ROWS; ++filled) take_input(input, filled);
            for (int of_band = 0; of_band < BAND; ++of_band) take_gradient(gradient, row + of_band, of_band);
            in_parts<LEFTS, LEFTS_AT_ONCE>([&](auto lefts, int left) {
                in_parts<RIGHTS, RIGHTS_AT_ONCE>([&](auto rights, int right) { multiply<lefts, rights>(row, left, right); });
            });
        }
    }

    void end(float* gradient) const {
        for (int filter = 0; filter < FILTERS; ++filter)
            for (int channel = 0; channel < CHANNELS; ++channel)
                for (int tap = 0; tap < TAPS; ++tap)
                    gradient[(filter * CHANNELS + channel) * TAPS + tap] +=
                        sums_[filter / ROWS][channel / WIDTH * TAPS + tap][filter % ROWS][channel % WIDTH];
    }

   private:
    Lanes sums_[LEFTS][RIGHTS][ROWS];
    Halves pixels_[CHANNEL_TILES][KEPT_ROWS][PLACES][QUADS];  // [of a channel and two images]
    // The rows of filters lie apart by no power of two.
    alignas(64) Half gradients_[LEFTS * ROWS][BAND * COLUMNS + PIXELS][WIDTH];

    template <int Lefts, int Rights>
    void multiply(int row, int left, int right) {
        TileSums<Lefts, Rights> sums;
        sums.load(sums_[left] + right, RIGHTS);
        for (int of_band = 0; of_band < BAND; ++of_band) {
            const Halves* first[Rights];
            for (int j = 0; j < Rights; ++j) {
                const int tap = (right + j) % TAPS, kept = ((row + of_band) * Stride + tap / 3) % KEPT_ROWS;
                first[j] = pixels_[(right + j) / TAPS][kept][place(tap % 3)];
            }
            for (int step = 0; step < BLOCKS; ++step)
                sums.add([&](int i) { return gradients_[(left + i) * ROWS][of_band * COLUMNS + step * PIXELS]; },
                         sizeof gradients_[0], [&](int j) { return first[j] + step * DEPTH; });
        }
        sums.store(sums_[left] + right, RIGHTS);
    }

    static constexpr int place(int column) { return Stride == 1 ? column : column % 2 * ODD + column / 2; }

    void take_input(const Halves* input, int row) {
        using From = Padded<Input>;
        constexpr int READ = Stride == 1 ? COLUMNS + 2 : 2 * COLUMNS + 1;
        for (int column = 0; column < READ; ++column)
            for (int tile = 0; tile < CHANNEL_TILES; ++tile) {
                Halves pairs[QUADS];
                for (int i = 0; i < QUADS; ++i) {
                    const int pair = tile * QUADS + i;
                    const bool is_there = row < Input::HEIGHT + 2 && column < From::COLUMNS && pair < From::PAIRS;
                    pairs[i] = is_there ? input[From::at(row, column) + pair] : Halves{};
                }
                pair_images(pairs);
                std::copy_n(pairs, QUADS, pixels_[tile][row % KEPT_ROWS][place(column)]);
            }
    }

    void take_gradient(const Halves* gradient, int row, int of_band) {
        using From = Padded<Output>;
        for (int column = 0; column < Output::WIDTH; ++column)
            for (int pair = 0; pair < From::PAIRS; ++pair) {
                const Halves by_channel =
                    row < Output::HEIGHT ? split_channels(gradient[From::at(row + 1, column + 1) + pair]) : Halves{};
                for (int i = 0; i < 2; ++i)
                    std::memcpy(gradients_[2 * pair + i][of_band * COLUMNS + column],
                                reinterpret_cast<const Half*>(&by_channel) + i * WIDTH, WIDTH * sizeof(Half));
            }
    }
};

}  // namespace native
