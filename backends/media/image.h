#pragma once
// Pictures as bytes, and the preprocessing that the field's image encoders expect, equal to PIL's to the bit.
// No torch.
#include <array>
#include <cstdint>
#include <vector>

namespace dorabench {

struct Image { // RGB, 8 bits, rows from the top, no padding
    int width = 0, height = 0;
    std::vector<uint8_t> rgb; // [height, width, 3]
};

// PIL's antialiased bicubic (a = -0.5): separable, the axis that shrinks more first, 22-bit fixed point,
// rounded to 8 bits after each pass.
Image resize_bicubic(const Image& image, int width, int height);
// The shorter side becomes `side`, the longer int(side * longer / shorter), as HF's and torchvision's
// processors do.
Image resize_shorter_side(const Image& image, int side);
// side × side around the middle, at floor((size - side) / 2); smaller images are padded with black as HF's
// do.
Image center_crop(const Image& image, int side);
// A square with the image in the middle, at (side - short) / 2, on the given colour: LLaVA's "pad".
Image pad_to_square(const Image& image, std::array<uint8_t, 3> colour);

inline constexpr std::array<float, 3> kClipMean = {0.48145466f, 0.4578275f, 0.40821073f};
inline constexpr std::array<float, 3> kClipStd = {0.26862954f, 0.26130258f, 0.27577711f};
inline constexpr std::array<uint8_t, 3> kClipMeanColour = {122, 116, 104}; // int(255 * mean)

// [3, height, width]: value / 255, minus mean, divided by std.
std::vector<float> normalise(const Image& image, const std::array<float, 3>& mean,
                             const std::array<float, 3>& std_);
// Shorter side to `side`, centre crop: what CLIP sees. LLaVA's "pad" form squares the image first.
Image clip_crop(const Image& image, int side);
Image clip_pad(const Image& image, int side);

} // namespace dorabench
