#pragma once
// What VL-BART sees of an image or video: features and boxes out of a file, pooled to the model's number of
// boxes, and the embedding that puts them behind the text (VisualEmbedding of VL-T5 and VL-Adapter):
//   v = LN(Linear(feats)) + LN(Linear([box, area])) + image_order[image number] + shared[V - 1 - box number]
// area is (p3 - p2) (p1 - p0) whatever the columns hold, as in the source; the shared table is read without
// its scale.
#include "backends/nn/weights.h"
#include "backends/vlbart/config.h"

namespace dorabench {

struct VisualInput {         // of one example; feats undefined: none
    at::Tensor feats, boxes; // float32 CPU [N, feat_dim] and [N, 4], the images' rows behind each other
    int64_t images = 1;      // N is a multiple
    int64_t rows() const { return feats.defined() ? feats.size(0) : 0; }
};

// Adaptive max pooling of each image's rows to n_boxes (the square grid, or the sequence), which leaves rows
// that are pooled already as they are; a sequence that is shorter gets rows of zeros behind it; boxes are cut
// to the first n_boxes of each image. Error::data for rows that are no square grid. what: "request 7", for
// messages.
VisualInput pool_visual(const VisualInput& input, const VisualConfig& config, const std::string& what);
// A features file (feats [N, D], boxes [N, 4] or none: zeros; any floating-point dtype) checked against the
// config and pooled. Nothing for media without features. Error::data names file, tensor and shape, and
// refuses what this backbone cannot read (images, video, features for a plain BART).
// Media::features may be one file, or n_images files, one a line.
VisualInput read_visual(const Media& media, const VisualConfig& config, const std::string& what);

class VisualEmbedding {
public:
    VisualEmbedding(const BartConfig& config, const Weights& weights);
    at::Tensor forward(std::span<const VisualInput* const> inputs) const; // -> [sum of rows, d_model]

private:
    at::Tensor normed(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const;
    VisualConfig config_;
    at::Tensor shared_, feat_weight_, feat_bias_, feat_norm_, feat_norm_bias_, box_weight_, box_bias_,
        box_norm_, box_norm_bias_, image_order_, norm_, norm_bias_;
};

} // namespace dorabench
