#include "backends/ops/linear_cross_entropy.h"
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/grad_needed.h"
#include "backends/ops/product.h"
#include "backends/ops/row_math.h"
#include <ATen/ops/addmm.h>
#include <cmath>
#include <torch/csrc/autograd/custom_function.h>

namespace dorabench {
namespace {

constexpr int64_t kChunkElements = int64_t(4) << 20;
constexpr int64_t kCudaChunkElements = int64_t(64) << 20; // a product of 2048 rows fills a GPU
// logits of one row -> its loss; the row becomes d loss / d logits
double loss_and_gradient(float* row, int64_t n, int64_t label, float scale) {
    const float top = row_maximum(row, n), target = row[label];
    const float sum = row_exponentials(row, top, n);
    row_multiply(row, scale / sum, n);
    row[label] -= scale;
    return static_cast<double>(scale) * (std::log(static_cast<double>(sum)) + top - target);
}

// Rows with labels, gathered: hidden [n, C], labels [n], scale [n] or undefined.
struct Kept {
    at::Tensor index, hidden, labels, scale;
};

Kept keep_labelled(const at::Tensor& hidden, const CrossEntropyRows& rows) {
    Kept kept;
    kept.index = (rows.labels >= 0).nonzero().squeeze(1);
    const bool all = kept.index.size(0) == hidden.size(0);
    kept.hidden = all ? hidden.contiguous() : hidden.index_select(0, kept.index);
    kept.labels = all ? rows.labels.contiguous() : rows.labels.index_select(0, kept.index);
    if (rows.scale.defined())
        kept.scale = (all ? rows.scale : rows.scale.index_select(0, kept.index)).contiguous();
    return kept;
}

// Turns a chunk's logits into gradients in place and returns the chunk's loss.
double chunk_cpu(at::Tensor& logits, const at::Tensor& labels, const at::Tensor& scale) {
    const int64_t rows = logits.size(0), n = logits.size(1);
    float* data = logits.mutable_data_ptr<float>();
    const int64_t* label = labels.const_data_ptr<int64_t>();
    const float* factor = scale.defined() ? scale.const_data_ptr<float>() : nullptr;
    std::vector<double> losses(rows);
    at::parallel_for(0, rows, row_grain(n), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
            losses[r] = loss_and_gradient(data + r * n, n, label[r], factor ? factor[r] : 1.0f);
    });
    double sum = 0; // in row order, so that the number of threads changes no bit
    for (double loss : losses) sum += loss;
    return sum;
}

double chunk_any(at::Tensor& logits, const at::Tensor& labels, const at::Tensor& scale) {
    at::Tensor index = labels.unsqueeze(1), logs = logits.log_softmax(-1);
    at::Tensor losses = -logs.gather(1, index).squeeze(1);
    logits = logs.exp_();
    logits.scatter_add_(1, index, at::full({labels.size(0), 1}, -1, logits.options()));
    if (scale.defined()) {
        losses = losses * scale.to(losses.scalar_type());
        logits.mul_(scale.to(logits.scalar_type()).unsqueeze(1));
    }
    return losses.sum(at::kDouble).item<double>();
}

struct Result {
    at::Tensor loss;             // scalar, float32 (float64 for float64 input)
    at::Tensor dhidden, dweight; // where asked for
};

at::Tensor as_scalar(double loss, const at::Tensor& hidden) {
    const auto wide = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    return at::full({}, loss, hidden.options().dtype(wide).requires_grad(false));
}

int64_t chunk_size(int64_t asked, int64_t elements, int64_t vocab) {
    return asked > 0 ? asked : std::clamp<int64_t>(elements / std::max<int64_t>(1, vocab), 64, 4096);
}

// On a GPU every row is worked on (one without a label gives a zero gradient), so that the host need not wait
// to learn which rows have labels; the loss stays on the device.
Result run_cuda(const CudaKernels& cuda, const at::Tensor& hidden_in, const at::Tensor& weight,
                const CrossEntropyRows& rows, int64_t chunk, bool need_dhidden, bool need_dweight) {
    const at::Tensor hidden = hidden_in.contiguous(), labels = rows.labels.contiguous();
    const at::Tensor scale = rows.scale.defined() ? rows.scale.to(at::kFloat).contiguous() : at::Tensor();
    const int64_t n = hidden.size(0), vocab = weight.size(0);
    chunk = std::min(n, chunk_size(chunk, kCudaChunkElements, vocab));
    Result result;
    if (need_dhidden) result.dhidden = at::empty_like(hidden);
    at::Tensor dweight = // summed over chunks in float32
        need_dweight ? at::zeros(weight.sizes(), weight.options().dtype(at::kFloat).requires_grad(false))
                     : at::Tensor();
    at::Tensor losses = at::zeros({n}, hidden.options().dtype(at::kFloat).requires_grad(false)), buffer;
    for (int64_t at = 0; at < n; at += chunk) {
        const int64_t size = std::min(chunk, n - at);
        const at::Tensor h = hidden.narrow(0, at, size);
        if (!buffer.defined()) buffer = at::empty({chunk, vocab}, hidden.options().requires_grad(false));
        at::Tensor logits = buffer.narrow(0, 0, size), part = losses.narrow(0, at, size);
        at::mm_out(logits, h, weight.t());
        cuda.cross_entropy(logits, labels.narrow(0, at, size),
                           scale.defined() ? scale.narrow(0, at, size) : scale, part,
                           need_dhidden || need_dweight);
        if (need_dhidden) {
            at::Tensor into = result.dhidden.narrow(0, at, size);
            at::mm_out(into, logits, weight);
        }
        if (need_dweight) dweight.add_(product_nt(logits.t(), h.t(), at::kFloat));
    }
    if (need_dweight) result.dweight = dweight.to(weight.scalar_type());
    result.loss = losses.sum(at::kDouble).to(at::kFloat);
    return result;
}

Result run(const at::Tensor& hidden, const at::Tensor& weight, const CrossEntropyRows& rows, int64_t chunk,
           bool need_dhidden, bool need_dweight) {
    if (const CudaKernels* cuda = kernels_for(hidden))
        return run_cuda(*cuda, hidden, weight, rows, chunk, need_dhidden, need_dweight);
    Kept kept = keep_labelled(hidden, rows);
    const int64_t n = kept.hidden.size(0), vocab = weight.size(0);
    chunk = chunk_size(chunk, kChunkElements, vocab);
    double loss = 0;
    const auto wide = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const bool plain = hidden.is_cpu() && wide == at::kFloat;
    Result result;
    at::Tensor dkept = need_dhidden ? at::empty_like(kept.hidden) : at::Tensor();
    if (need_dweight) result.dweight = at::zeros_like(weight);
    for (int64_t at = 0; at < n; at += chunk) {
        const int64_t size = std::min(chunk, n - at);
        at::Tensor h = kept.hidden.narrow(0, at, size), labels = kept.labels.narrow(0, at, size);
        at::Tensor scale = kept.scale.defined() ? kept.scale.narrow(0, at, size) : at::Tensor();
        at::Tensor logits = product_nt(h, weight).to(wide); // the same storage in float32
        loss += plain ? chunk_cpu(logits, labels, scale) : chunk_any(logits, labels, scale);
        at::Tensor dlogits = logits.to(hidden.scalar_type());
        if (need_dhidden) dkept.narrow(0, at, size).copy_(product_nt(dlogits, weight.t()));
        if (need_dweight) result.dweight.add_(product_nt(dlogits.t(), h.t()));
    }
    result.loss = as_scalar(loss, hidden);
    if (need_dhidden)
        result.dhidden =
            n == hidden.size(0) ? dkept : at::zeros_like(hidden).index_copy_(0, kept.index, dkept);
    return result;
}

class LinearCrossEntropy : public torch::autograd::Function<LinearCrossEntropy> {
public:
    static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& hidden,
                              const at::Tensor& weight, const at::Tensor& labels,
                              const std::optional<at::Tensor>& scale, int64_t chunk) {
        Result result = run(hidden, weight, {labels, scale.value_or(at::Tensor())}, chunk,
                            hidden.requires_grad(), weight.requires_grad());
        ctx->save_for_backward({result.dhidden, result.dweight});
        return result.loss;
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                   torch::autograd::variable_list grads) {
        auto saved = ctx->get_saved_variables();
        auto scaled = [&](const at::Tensor& x) {
            return x.defined() ? x * grads[0].to(x.scalar_type()) : at::Tensor();
        };
        return {scaled(saved[0]), scaled(saved[1]), at::Tensor(), at::Tensor(), at::Tensor()};
    }
};

} // namespace

at::Tensor linear_cross_entropy(const at::Tensor& hidden, const at::Tensor& weight,
                                const CrossEntropyRows& rows, int64_t chunk_rows) {
    TORCH_CHECK(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1),
                "[linear_cross_entropy] expected hidden [N, C] and weight [V, C], got ", hidden.sizes(),
                " and ", weight.sizes());
    TORCH_CHECK(rows.labels.dim() == 1 && rows.labels.size(0) == hidden.size(0),
                "[linear_cross_entropy] labels must be [N=", hidden.size(0), "], got ", rows.labels.sizes());
    TORCH_CHECK(kernels_for(hidden) || rows.labels.numel() == 0 ||
                    rows.labels.max().item<int64_t>() < weight.size(0),
                "[linear_cross_entropy] labels must be below the vocabulary of ", weight.size(0));
    if (grad_needed(hidden, weight))
        return LinearCrossEntropy::apply(hidden, weight, rows.labels,
                                         rows.scale.defined() ? std::optional(rows.scale) : std::nullopt,
                                         chunk_rows);
    return run(hidden, weight, rows, chunk_rows, false, false).loss;
}

} // namespace dorabench
