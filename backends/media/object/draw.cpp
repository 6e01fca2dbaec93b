// Shapes through OpenCV's imgproc. It takes coordinates with 4 bits behind the point.
#include "backends/media/object/object.h"
#include "harness/base/error.h"
#include <cmath>
#include <opencv2/imgproc.hpp>

namespace dorabench {
namespace {

constexpr int kBits = 4;

cv::Point at(double x, double y) {
    return {static_cast<int>(std::lround(x * (1 << kBits))), static_cast<int>(std::lround(y * (1 << kBits)))};
}

void fill(cv::Mat& pixels, const std::vector<cv::Point>& corners, const cv::Scalar& colour) {
    cv::fillConvexPoly(pixels, corners, colour, cv::LINE_AA, kBits);
}

void draw_one(cv::Mat& pixels, const DrawnShape& s) {
    const cv::Scalar colour(s.colour[0], s.colour[1], s.colour[2]);
    const double r = s.size / 2, bar = s.size / 6; // half a side, half a bar of the cross
    switch (s.kind) {
    case DrawnShape::Kind::circle:
        cv::circle(pixels, at(s.x, s.y), static_cast<int>(std::lround(r * (1 << kBits))), colour, cv::FILLED,
                   cv::LINE_AA, kBits);
        break;
    case DrawnShape::Kind::square:
        fill(pixels, {at(s.x - r, s.y - r), at(s.x + r, s.y - r), at(s.x + r, s.y + r), at(s.x - r, s.y + r)},
             colour);
        break;
    case DrawnShape::Kind::triangle:
        fill(pixels, {at(s.x, s.y - r), at(s.x + r, s.y + r), at(s.x - r, s.y + r)}, colour);
        break;
    case DrawnShape::Kind::cross:
        for (auto [w, h] : {std::pair{r, bar}, std::pair{bar, r}})
            fill(pixels,
                 {at(s.x - w, s.y - h), at(s.x + w, s.y - h), at(s.x + w, s.y + h), at(s.x - w, s.y + h)},
                 colour);
    }
}

} // namespace

Image draw_shapes(int width, int height, std::array<uint8_t, 3> background,
                  const std::vector<DrawnShape>& shapes) {
    if (width < 1 || height < 1 || int64_t(width) * height > MediaLimits().max_pixels)
        throw Error::internal("draw: expected a picture of 1 to ", MediaLimits().max_pixels, " pixels, got ",
                              width, " x ", height);
    Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
    cv::Mat pixels(height, width, CV_8UC3, image.rgb.data()); // RGB as it stands: drawing does not care
    pixels.setTo(cv::Scalar(background[0], background[1], background[2]));
    for (const DrawnShape& shape : shapes) draw_one(pixels, shape);
    return image;
}

} // namespace dorabench
