// Padded 3x3 convolutions of stride 1 or 2 by their definition, of bf16 numbers, summed in float32.
//
// Pixels lie one behind the other, with all their channels: [row][column][pair of channels]. The pixels that a row of a
// kernel meets are then rows of right tiles as they lie, wherever the window is. Kernels are left tiles. What is found
// for a few pixels is handed over before it leaves the cache, in float32.
#pragma once

#include "bf16_tiles.hpp"
#include "padded_direct.hpp"

namespace native {

constexpr int AT_ONCE = 4;  // pixels that are dealt with together, so that what is the same for all is loaded once

// Rows of an image with a border of 0, row 0 and column 0 of it: all rows, or the last `count`.
template <class Image>
struct BorderedRows {
    static constexpr int PAIRS = pairs_of(Image::CHANNELS), ROWS = Image::HEIGHT + 2, COLUMNS = Image::WIDTH + 2;

    // How far the last tile of a window, which is so many columns wide, reaches beyond it. Weights of 0 meet what is
    // there.
    static constexpr int excess(int columns) { return (columns * PAIRS + DEPTH - 1) / DEPTH * DEPTH - columns * PAIRS; }
    static constexpr int PITCH = COLUMNS * PAIRS + std::max(excess(2), excess(3));

    Halves* first;
    int count;

    Halves* operator[](int row) const { return first + row % count * PITCH; }

    // Takes the pixels of a row of the image by pixels(row, column of the image, to).
    template <class Pixels>
    static void fill(int row, Halves* to, Pixels&& pixels) {
        if (row == 0 || row > Image::HEIGHT) {
            std::fill(to, to + PITCH, Halves{});
            return;
        }
        std::fill(to, to + PAIRS, Halves{});
        std::fill(to + (COLUMNS - 1) * PAIRS, to + PITCH, Halves{});
        in_parts<Image::WIDTH, part_of(Image::WIDTH, AT_ONCE)>(
            [&](auto count, int at) { pixels(count, (row - 1) * Image::WIDTH + at, to + (at + 1) * PAIRS); });
    }

    static void take(int row, Halves* to, const Lanes* image) {
        fill(row, to, [&](auto count, int first, Halves* pixels) {
            for (int pixel = 0; pixel < count; ++pixel)
                for (int pair = 0; pair < PAIRS; ++pair) {
                    const Lanes* channel = image + 2 * pair * Image::PIXELS + first + pixel;
                    pixels[pixel * PAIRS + pair] =
                        rounded(*channel, 2 * pair + 1 < Image::CHANNELS ? channel[Image::PIXELS] : Lanes{});
                }
        });
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

    // Of a row: calls body(pixels, tile, first pixel, found [pixel][row of the tile]) for a few of them at a time,
    // which are Pass::PITCH apart. The first window has its corner at so many pairs from the start of each of the rows
    // `read`.
    template <class Body>
    void find(const Halves* const* read, int corner, int row, Body&& body) const {
        if (!Pass::has(row)) return;
        in_parts<TILES, TILES_AT_ONCE>([&](auto tiles, int tile) {
            in_parts<Pass::COLUMNS, COLUMNS_AT_ONCE>([&](auto columns, int column) {
                const int window = corner + column * Pass::STEP * PAIRS;
                TileSums<tiles, columns> sums;
                sums.clear();
                for (int y = 0; y < Pass::DOWN; ++y)
                    for (int step = 0; step < STEPS; ++step)
                        sums.add([&](int i) { return kernels_[tile + i][y][step]; }, sizeof kernels_[0][0][0][0],
                                 [&](int j) { return read[y] + window + j * Pass::STEP * PAIRS + step * DEPTH; });
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
    // With stride 2, even columns lie before odd ones: a tile has those that are two apart.
    static constexpr int ODD = COLUMNS + 1, PLACES = Stride == 1 ? COLUMNS + 2 : ODD + COLUMNS;
    static constexpr int LEFTS = tiles_of(FILTERS), LEFTS_AT_ONCE = part_of(LEFTS, 2);
    static constexpr int CHANNEL_TILES = groups_of(CHANNELS), RIGHTS = CHANNEL_TILES * TAPS;
    static constexpr int RIGHTS_AT_ONCE = LEFTS_AT_ONCE == 1 ? 5 : 2;

   public:
    static constexpr int BAND = part_of(Output::HEIGHT, std::max(1, 16 / BLOCKS));  // rows of outputs at once
    static constexpr int ROWS_READ = (BAND - 1) * Stride + 3;                       // of the input

    void clear() {
        std::memset(sums_, 0, sizeof sums_);
        std::memset(gradients_, 0, sizeof gradients_);
    }

    // What a band from `row` on contributes; from the first band to the last.
    void add(int row, BorderedRows<Input> input, BorderedRows<Output> gradient) {
        for (int i = row == 0 ? 0 : ROWS_READ - BAND * Stride; i < ROWS_READ; ++i) take_input(input, row * Stride + i);
        for (int of_band = 0; of_band < BAND; ++of_band) take_gradient(gradient, row + of_band, of_band);
        in_parts<LEFTS, LEFTS_AT_ONCE>([&](auto lefts, int left) {
            in_parts<RIGHTS, RIGHTS_AT_ONCE>(
                [&](auto rights, int right) { multiply<lefts, rights>(row, left, right); });
        });
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
    Halves pixels_[CHANNEL_TILES][ROWS_READ][PLACES][QUADS];  // [of a channel and two images]
    // The rows of filters lie apart by no power of two.
    alignas(64) Half gradients_[LEFTS * ROWS][BAND * COLUMNS + PIXELS][WIDTH];

    template <int Lefts, int Rights>
    void multiply(int row, int left, int right) {
        TileSums<Lefts, Rights> sums;
        sums.load(sums_[left] + right, RIGHTS);
        for (int of_band = 0; of_band < BAND; ++of_band) {
            const Halves* first[Rights];
            for (int j = 0; j < Rights; ++j) {
                const int tap = (right + j) % TAPS, kept = ((row + of_band) * Stride + tap / 3) % ROWS_READ;
                first[j] = pixels_[(right + j) / TAPS][kept][place(tap % 3)];
            }
            for (int step = 0; step < BLOCKS; ++step)
                sums.add([&](int i) { return gradients_[(left + i) * ROWS][of_band * COLUMNS + step * PIXELS]; },
                         sizeof gradients_[0], [&](int j) { return first[j] + step * DEPTH; });
        }
        sums.store(sums_[left] + right, RIGHTS);
    }

    static constexpr int place(int column) { return Stride == 1 ? column : column % 2 * ODD + column / 2; }

    void take_input(BorderedRows<Input> input, int row) {
        constexpr int READ = Stride == 1 ? COLUMNS + 2 : 2 * COLUMNS + 1, PAIRS = BorderedRows<Input>::PAIRS;
        constexpr int READ_ROWS = (Output::HEIGHT - 1) * Stride + 3;  // none is filled beyond
        const Halves* from = input[row];
        for (int column = 0; column < READ; ++column)
            for (int tile = 0; tile < CHANNEL_TILES; ++tile) {
                Halves pairs[QUADS];
                for (int i = 0; i < QUADS; ++i) {
                    const int pair = tile * QUADS + i;
                    const bool is_there = row < READ_ROWS && column < input.COLUMNS && pair < PAIRS;
                    pairs[i] = is_there ? from[column * PAIRS + pair] : Halves{};
                }
                pair_images(pairs);
                std::copy_n(pairs, QUADS, pixels_[tile][row % ROWS_READ][place(column)]);
            }
    }

    void take_gradient(BorderedRows<Output> gradient, int row, int of_band) {
        constexpr int PAIRS = BorderedRows<Output>::PAIRS;
        const Halves* from = gradient[row + 1] + PAIRS;
        for (int column = 0; column < Output::WIDTH; ++column)
            for (int pair = 0; pair < PAIRS; ++pair) {
                const Halves by_channel =
                    row < Output::HEIGHT ? split_channels(from[column * PAIRS + pair]) : Halves{};
                for (int i = 0; i < 2; ++i)
                    std::memcpy(gradients_[2 * pair + i][of_band * COLUMNS + column],
                                reinterpret_cast<const Half*>(&by_channel) + i * WIDTH, WIDTH * sizeof(Half));
            }
    }
};

}  // namespace native
