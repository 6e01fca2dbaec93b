#include "harness/train/optimizer.h"
#include "backends/ops/adamw.h"
#include "harness/base/error.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <cmath>
#include <tuple>

namespace dorabench {

bool GradientNorms::finite() const { return std::isfinite(total); }

Optimizer::Optimizer(std::vector<TrainableTensor> tensors, const TrainSettings& settings)
    : tensors_(std::move(tensors)), beta1_(settings.beta1), beta2_(settings.beta2), eps_(settings.eps) {
    at::NoGradGuard no_grad;
    std::vector<bool> used(settings.groups.size(), false);
    for (const TrainableTensor& t : tensors_) {
        double rate = settings.learning_rate, decay = settings.weight_decay;
        for (size_t g = 0; g < settings.groups.size(); ++g) {
            const ParameterGroup& group = settings.groups[g];
            if (!matches_pattern(group.match, t.name)) continue;
            if (group.learning_rate) rate = *group.learning_rate;
            if (group.learning_rate_ratio) rate *= *group.learning_rate_ratio;
            if (group.weight_decay) decay = *group.weight_decay;
            used[g] = true;
            break;
        }
        rates_.push_back(rate), decays_.push_back(decay), steps_.push_back(0);
        exp_avg_.push_back(at::zeros_like(t.tensor));
        exp_avg_sq_.push_back(at::zeros_like(t.tensor));
    }
    for (size_t g = 0; g < used.size(); ++g)
        if (!used[g])
            log::warning("train.groups: the pattern \"", settings.groups[g].match,
                         "\" is the first match of no trainable tensor");
}

void Optimizer::clear_gradients() {
    for (TrainableTensor& t : tensors_) t.tensor.mutable_grad() = at::Tensor();
}

GradientNorms Optimizer::gradient_norms() const {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> gradients;
    std::vector<size_t> owner;
    for (size_t i = 0; i < tensors_.size(); ++i) {
        if (!tensors_[i].tensor.grad().defined()) continue;
        gradients.push_back(tensors_[i].tensor.grad());
        owner.push_back(i);
    }
    GradientNorms norms;
    for (const TrainableTensor& t : tensors_) norms.by_group[t.group] += 0;
    if (gradients.empty()) return norms;
    const at::Tensor each = at::stack(at::_foreach_norm(gradients, 2, at::kFloat)).to(at::kCPU, at::kDouble);
    double total = 0;
    for (size_t i = 0; i < owner.size(); ++i) {
        const double square = each.data_ptr<double>()[i] * each.data_ptr<double>()[i];
        total += square;
        norms.by_group[tensors_[owner[i]].group] += square;
    }
    for (auto& [group, square] : norms.by_group) square = std::sqrt(square);
    norms.total = std::sqrt(total);
    return norms;
}

void Optimizer::clip(double norm, double max_norm) {
    const double factor = max_norm / (norm + 1e-6);
    if (max_norm <= 0 || factor >= 1) return;
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> gradients;
    for (const TrainableTensor& t : tensors_)
        if (t.tensor.grad().defined()) gradients.push_back(t.tensor.grad());
    at::_foreach_mul_(gradients, factor);
}

void Optimizer::step(double factor) {
    struct Lists {
        std::vector<at::Tensor> params, grads, exp_avg, exp_avg_sq;
    };
    std::map<std::tuple<double, double, int64_t>, Lists>
        calls; // tensors of one rate, decay and count go in one call
    for (size_t i = 0; i < tensors_.size(); ++i) {
        const at::Tensor& tensor = tensors_[i].tensor;
        if (!tensor.grad().defined()) continue;
        Lists& lists = calls[{rates_[i] * factor, decays_[i], ++steps_[i]}];
        lists.params.push_back(tensor);
        lists.grads.push_back(tensor.grad());
        lists.exp_avg.push_back(exp_avg_[i]);
        lists.exp_avg_sq.push_back(exp_avg_sq_[i]);
    }
    for (const auto& [key, lists] : calls) {
        const auto& [rate, decay, count] = key;
        adamw_step(lists.params, lists.grads, lists.exp_avg, lists.exp_avg_sq,
                   {.lr = rate, .beta1 = beta1_, .beta2 = beta2_, .eps = eps_, .weight_decay = decay}, count);
    }
}

bool Optimizer::group_learns(const std::string& group, double factor) const {
    for (size_t i = 0; i < tensors_.size(); ++i)
        if (tensors_[i].group == group && rates_[i] * factor > 0) return true;
    return false;
}

std::vector<NamedTensor> Optimizer::state() const {
    std::vector<NamedTensor> out;
    for (size_t i = 0; i < tensors_.size(); ++i) {
        out.push_back({"param." + tensors_[i].name, tensors_[i].tensor.detach()});
        out.push_back({"exp_avg." + tensors_[i].name, exp_avg_[i]});
        out.push_back({"exp_avg_sq." + tensors_[i].name, exp_avg_sq_[i]});
    }
    at::Tensor steps = at::zeros({int64_t(steps_.size())}, at::kLong);
    std::copy(steps_.begin(), steps_.end(), steps.data_ptr<int64_t>());
    out.push_back({"steps", steps});
    return out;
}

void Optimizer::load_state(const std::vector<NamedTensor>& state) {
    at::NoGradGuard no_grad;
    std::map<std::string, at::Tensor> by_name;
    for (const NamedTensor& t : state) by_name[t.name] = t.tensor;
    const std::vector<NamedTensor> mine = this->state(); // shares storage with what is to be filled
    if (by_name.size() != mine.size())
        throw Error::data("expected ", mine.size(), " tensors in the checkpoint, got ", by_name.size());
    for (const NamedTensor& t : mine) {
        const auto at = by_name.find(t.name);
        if (at == by_name.end())
            throw Error::data("expected a tensor \"", t.name, "\" in the checkpoint, got none");
        if (at->second.sizes() != t.tensor.sizes() || at->second.scalar_type() != t.tensor.scalar_type())
            throw Error::data("tensor \"", t.name, "\": expected ", t.tensor.sizes(), " of ",
                              t.tensor.scalar_type(), ", got ", at->second.sizes(), " of ",
                              at->second.scalar_type());
    }
    for (const NamedTensor& t : mine) at::Tensor(t.tensor).copy_(by_name[t.name]);
    const at::Tensor steps = by_name["steps"].contiguous();
    steps_.assign(steps.data_ptr<int64_t>(), steps.data_ptr<int64_t>() + steps.numel());
}

} // namespace dorabench
