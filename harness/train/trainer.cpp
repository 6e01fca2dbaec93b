#include "harness/train/trainer.h"
#include "harness/base/log.h"
#include "harness/base/progress.h"
#include "harness/base/rng.h"
#include "harness/base/text.h"
#include "harness/train/device_memory.h"
#include <ATen/Context.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace dorabench {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

const char* const kSteps = "steps.jsonl";
const char* const kValidation = "validation.jsonl";

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int64_t file_bytes(const std::string& path) {
    std::error_code error;
    const auto size = fs::file_size(path, error);
    return error ? 0 : int64_t(size);
}

// Cuts a log back to what it was at a checkpoint.
void cut_file(const std::string& path, int64_t bytes) {
    if (!exists(path)) return;
    std::error_code error;
    fs::resize_file(path, uintmax_t(bytes), error);
    if (error)
        throw Error::resources(path, ": expected to cut it to ", bytes, " bytes, got: ", error.message());
}

TrainingRows validation_rows(const Backend& backend, const TrainingData& data, TrainSettings settings) {
    settings.packing = false;
    return data.validation.empty() ? TrainingRows{} : prepare_rows(backend, data.validation, {}, settings);
}

std::vector<RowShape> row_shapes(const TrainingRows& rows) {
    std::vector<RowShape> out;
    for (const EncodedExample* row : rows.rows) {
        const auto images = int64_t(row->media.images.size());
        out.push_back({int64_t(row->input_ids.size()) + 128 * images, images > 0});
    }
    return out;
}

at::Device device_of(AdapterSet& adapter) {
    const auto tensors = adapter.trainable();
    if (tensors.empty())
        throw Error::config(
            "adapter: expected something to train, got no trainable parameter; check adapter.method, "
            "target_modules and train_also");
    return tensors.front().tensor.device();
}

} // namespace

Trainer::Trainer(Backend& backend, AdapterSet& adapter, const TrainSettings& settings,
                 const TrainingData& data, uint64_t seed, const std::string& folder,
                 const std::atomic<int>& stop, Peers* peers, const std::string& base_name)
    : backend_(backend), adapter_(adapter), settings_(settings), seed_(seed), folder_(folder),
      base_name_(base_name), stop_(stop), peers_(peers && peers->size() > 1 ? peers : nullptr),
      writes_(!peers_ || peers_->rank() == 0),
      rows_(prepare_rows(backend, data.train, data.source_of, settings)),
      validation_(validation_rows(backend, data, settings)),
      batcher_(rows_.source_of, {settings.batch_size, data.batch_size_of, settings.shuffle, seed,
                                 settings.sampler, row_shapes(rows_)}),
      optimizer_(adapter.trainable(), settings), liveness_(optimizer_.tensors()),
      total_(total_steps_of(settings, batcher_.batches_per_epoch())),
      checkpoints_(folder, fingerprint(data)) {
    if (rows_.dropped > 0)
        log::warning(rows_.dropped, " of ", data.train.size(),
                     " training rows are left without a target and dropped");
    if (rows_.cut > 0)
        log::info(
            rows_.cut, " training rows are cut to train.max_length (", settings.max_length,
            " tokens) or their task's own limits (a decoder's prompts on the left; an encoder's sources, "
            "targets with a limit and conversations of several turns at their end)");
}

// What must be equal for a checkpoint to be continued.
std::string Trainer::fingerprint(const TrainingData& data) const {
    std::ostringstream text;
    text.precision(17);
    text << seed_ << ' ' << total_ << ' ' << settings_.batch_size << ' ' << settings_.micro_batch_size << ' '
         << settings_.learning_rate << ' ' << settings_.scheduler << ' ' << settings_.warmup_steps << ' '
         << settings_.warmup_ratio << ' ' << settings_.beta1 << ' ' << settings_.beta2 << ' ' << settings_.eps
         << ' ' << settings_.weight_decay << ' ' << settings_.max_grad_norm << ' ' << settings_.shuffle << ' '
         << settings_.evaluate_every << '\n';
    if (settings_.sampler != "random") text << settings_.sampler << '\n';
    for (int64_t size : data.batch_size_of) text << size << ' ';
    for (size_t i = 0; i < optimizer_.tensors().size(); ++i)
        text << '\n'
             << optimizer_.tensors()[i].name << optimizer_.tensors()[i].tensor.sizes() << ' '
             << optimizer_.learning_rate(i) << ' ' << optimizer_.weight_decay(i);
    text << '\n' << data_fingerprint(rows_) << data_fingerprint(validation_);
    return sha256_hex(text.str()).substr(0, 32);
}

TrainOutcome Trainer::run() {
    const at::Device device = device_of(adapter_);
    reset_peak_memory(device);
    resume();
    if (peers_ && peers_->sum({double(state_.step)}).front() != double(state_.step) * peers_->size())
        throw Error::failed("expected every process to go on after the same step, this one after step ",
                            state_.step, "; do all of them see the folder ", folder_, "?");
    if (peers_) {
        const std::string by = peers_->gradients_by(device);
        if (writes_) log::info(peers_->size(), " processes train together; gradients are added by ", by);
    }
    if (writes_) open_logs();
    backend_.set_gradient_checkpointing(settings_.gradient_checkpointing);
    backend_.set_training(true), adapter_.set_training(true);
    {
        Progress progress("train", total_, state_.step);
        while (state_.step < total_) {
            const double before = state_.seconds;
            const int64_t tokens = state_.tokens;
            train_step();
            state_.peak_bytes = std::max(state_.peak_bytes, peak_memory_bytes(device));
            validate_if_due();
            if (settings_.keep_every > 0 && state_.step % settings_.keep_every == 0 && state_.step < total_)
                keep();
            const bool due = settings_.save_every > 0 &&
                             (state_.step % settings_.save_every == 0 || state_.step == total_);
            const bool stop = peers_ ? stopping_ : stop_ != 0;
            if (due || stop) save();
            if (stop)
                throw Error(ErrorKind::interrupted,
                            cat("training interrupted after step ", state_.step, " of ", total_,
                                "; saved, run the same command again to go on"));
            const double speed = double(state_.tokens - tokens) / std::max(1e-9, state_.seconds - before);
            progress.update(state_.step, cat("loss ", fixed(state_.loss, 4), ", ",
                                             with_commas(int64_t(speed)), " tokens/s"));
        }
    }
    backend_.set_training(false), adapter_.set_training(false);
    TrainOutcome out = outcome(); // movement is of the last step, whichever step is kept
    if (writes_) restore_best();
    return out;
}

void Trainer::resume() {
    const auto found =
        checkpoints_.load_newest([&](const TrainState& state, const std::vector<NamedTensor>& tensors) {
            for (const auto& [name, bytes] :
                 {std::pair{kSteps, state.steps_bytes}, {kValidation, state.validation_bytes}})
                if (file_bytes(folder_ + "/" + name) < bytes)
                    throw Error::data(folder_, "/", name, ": expected at least the ", bytes,
                                      " bytes of the checkpoint, got ", file_bytes(folder_ + "/" + name));
            optimizer_.load_state(tensors);
        });
    if (!found) return;
    state_ = *found;
    saved_step_ = state_.step;
    liveness_.restore(state_.max_norms);
    adapter_.changed();
    log::info("training goes on after step ", state_.step, " of ", total_);
}

void Trainer::open_logs() {
    cut_file(folder_ + "/" + kSteps, state_.steps_bytes);
    cut_file(folder_ + "/" + kValidation, state_.validation_bytes);
    steps_ = LineAppender(folder_ + "/" + kSteps);
    if (!validation_.rows.empty()) validation_log_ = LineAppender(folder_ + "/" + kValidation);
}

void Trainer::train_step() {
    const double begin = now(), factor = schedule_factor(settings_, state_.step, total_);
    const std::vector<int64_t> batch = batcher_.batch(state_.step);
    const StepResult result = forward_backward(batch);
    if (!std::isfinite(result.loss) || !result.norms.finite()) not_finite(result, batch);
    optimizer_.clip(result.norms.total, settings_.max_grad_norm);
    optimizer_.step(factor);
    optimizer_.clear_gradients();
    adapter_.changed();
    liveness_.observe(result.norms, optimizer_, factor);
    synchronize(optimizer_.tensors().front().tensor.device());
    const double seconds = now() - begin;
    if (writes_)
        steps_.append(ordered_json{
            {"step", state_.step},
            {"loss", result.loss},
            {"learning_rate", settings_.learning_rate * factor},
            {"grad_norm", result.norms.total},
            {"tokens", result.tokens},
            {"seconds",
             seconds}}.dump());
    ++state_.step;
    state_.loss = result.loss;
    state_.tokens += result.tokens;
    state_.seconds += seconds;
}

Trainer::StepResult Trainer::forward_backward(const std::vector<int64_t>& batch) {
    StepResult result;
    for (int64_t row : batch) result.tokens += int64_t(rows_.rows[size_t(row)]->input_ids.size());
    optimizer_.clear_gradients();
    if (!peers_) {
        result.loss = own_micro_batches(batch);
    } else {
        std::exception_ptr failure;
        double loss = 0;
        try {
            loss = own_micro_batches(batch);
        } catch (...) {
            failure = std::current_exception();
        }
        peers_->agree(failure, cat("step ", state_.step));
        const std::vector<double> sums = peers_->sum({loss, stop_ != 0 ? 1.0 : 0.0});
        result.loss = sums[0];
        stopping_ = sums[1] > 0; // all of them stop after the same step
        std::vector<at::Tensor> tensors;
        for (const TrainableTensor& t : optimizer_.tensors()) tensors.push_back(t.tensor);
        peers_->sum_gradients(tensors);
    }
    result.norms = optimizer_.gradient_norms();
    return result;
}

double Trainer::own_micro_batches(const std::vector<int64_t>& batch) {
    try {
        return micro_batches(batch);
    } catch (const c10::Error& e) { // LibTorch's CPU allocator has no error class of its own
        const std::string what = e.what_without_backtrace();
        if (what.find("not enough memory") == std::string::npos &&
            what.find("out of memory") == std::string::npos)
            throw;
        throw Error::resources(
            "step ", state_.step, ": out of memory with train.micro_batch_size ", settings_.micro_batch_size,
            "; lower it (it changes nothing but speed) or set gradient_checkpointing: true (", what, ")");
    }
}

double Trainer::micro_batches(const std::vector<int64_t>& batch) {
    at::AutoGradMode with_gradients(true);
    std::vector<int64_t> order = batch;
    const size_t processes = peers_ ? size_t(peers_->size()) : 1, mine = peers_ ? size_t(peers_->rank()) : 0;
    auto micro = size_t(std::max<int64_t>(1, settings_.micro_batch_size));
    micro = std::min(micro, (order.size() + processes - 1) / processes); // a share for every process
    if (micro < order.size()) // rows of like length together: less padding, the same sum
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
            return rows_.rows[size_t(a)]->input_ids.size() > rows_.rows[size_t(b)]->input_ids.size();
        });
    const int64_t epoch = state_.step / batcher_.batches_per_epoch();
    std::vector<EncodedExample> rows;
    double weight = 0;
    for (int64_t row : order) {
        rows.push_back(visit(rows_, row, seed_, epoch));
        weight += backend_.loss_weight(rows.back());
    }
    at::Tensor total;
    for (size_t at = 0, m = 0; at < order.size(); at += micro, ++m) {
        if (stop_ > 1)
            throw Error(ErrorKind::interrupted,
                        cat("training stopped in step ", state_.step, " of ", total_));
        if (m % processes != mine) continue; // dropout goes by m: the same masks, whoever computes them
        // a backbone's own dropout draws from torch's generators: a function of the step as well
        at::manual_seed(stream_seed(seed_, cat("micro-batch ", state_.step, " ", m)));
        adapter_.begin_micro_batch(seed_, state_.step, int64_t(m));
        const at::Tensor sum =
            backend_.loss_sum(std::span(rows).subspan(at, std::min(micro, order.size() - at)));
        if (!sum.requires_grad())
            throw Error::check(
                "liveness: expected the loss to depend on the trainable parameters, got a constant");
        const at::Tensor part = sum.detach().to(at::kDouble);
        total = total.defined() ? total + part : part;
        (sum / weight).backward();
    }
    return total.defined() ? total.item<double>() / weight : 0;
}

void Trainer::not_finite(const StepResult& result, const std::vector<int64_t>& batch) const {
    std::vector<std::string> examples;
    for (int64_t row : batch) examples.push_back(std::to_string(rows_.rows[size_t(row)]->index));
    const double rate = settings_.learning_rate * schedule_factor(settings_, state_.step, total_);
    throw Error::failed("step ", state_.step, ": expected a finite loss and gradient, got loss ", result.loss,
                        " and gradient norm ", result.norms.total, " at learning rate ", rate,
                        " on examples [", join(examples, ", "), "]; ",
                        saved_step_ >= 0 ? cat("the checkpoint after step ", saved_step_, " stays")
                                         : "nothing was saved",
                        "; a lower learning rate, warm-up or float32 may help");
}

void Trainer::validate_if_due() {
    if (validation_.rows.empty()) return;
    const bool every = settings_.evaluate_every > 0 && state_.step % settings_.evaluate_every == 0;
    if (!every && state_.step != total_) return;
    const double loss = validation_loss();
    if (!std::isfinite(loss))
        throw Error::failed("step ", state_.step - 1, ": expected a finite validation loss, got ", loss);
    if (writes_) validation_log_.append(ordered_json{{"step", state_.step - 1}, {"loss", loss}}.dump());
    log::info("validation loss after step ", state_.step - 1, ": ", loss);
    if (state_.has_validation && !(loss < state_.best_loss)) return;
    state_.has_validation = true;
    state_.best_loss = loss;
    if (settings_.evaluate_every <= 0) return; // one measurement, of the last step: nothing to choose
    std::vector<NamedTensor> tensors;
    for (const TrainableTensor& t : optimizer_.tensors()) tensors.push_back({t.name, t.tensor});
    if (writes_)
        checkpoints_.save_best(state_, tensors);
    else
        state_.best_loss = loss, state_.best_step = state_.step;
}

double Trainer::validation_loss() {
    at::NoGradGuard no_grad;
    backend_.set_training(false), adapter_.set_training(false);
    double sum = 0, weight = 0;
    std::exception_ptr failure;
    try {
        sum = own_validation_sum(weight);
    } catch (...) {
        if (!peers_) throw;
        failure = std::current_exception();
    }
    if (peers_) {
        peers_->agree(failure, cat("validation after step ", state_.step));
        sum = peers_->sum({sum}).front();
    }
    backend_.set_training(true), adapter_.set_training(true);
    return sum / weight;
}

double Trainer::own_validation_sum(double& weight) {
    const size_t processes = peers_ ? size_t(peers_->size()) : 1, mine = peers_ ? size_t(peers_->rank()) : 0;
    const auto micro = size_t(std::max<int64_t>(1, settings_.micro_batch_size));
    double sum = 0;
    for (size_t at = 0, m = 0; at < validation_.rows.size(); at += micro, ++m) {
        if (stop_ > 1)
            throw Error(ErrorKind::interrupted,
                        cat("training stopped in step ", state_.step, " of ", total_));
        std::vector<EncodedExample> rows;
        for (size_t i = at; i < std::min(validation_.rows.size(), at + micro); ++i) {
            rows.push_back(*validation_.rows[i]);
            weight += validation_.weights[i];
        }
        if (m % processes == mine) sum += backend_.loss_sum(rows).item<double>();
    }
    return sum;
}

void Trainer::save() {
    if (!writes_ || saved_step_ == state_.step) return;
    steps_.sync();
    if (!validation_.rows.empty()) validation_log_.sync();
    state_.steps_bytes = file_bytes(folder_ + "/" + kSteps);
    state_.validation_bytes = validation_.rows.empty() ? 0 : file_bytes(folder_ + "/" + kValidation);
    state_.max_norms = liveness_.max_norms();
    checkpoints_.save(state_, optimizer_.state());
    saved_step_ = state_.step;
}

// Before the checkpoint of the same step: a run that goes on from it has what was to be kept. Written anew by
// a run that goes on from an earlier one, with the same bits.
void Trainer::keep() {
    if (writes_) adapter_.save(cat(folder_, "/adapters/step-", state_.step), base_name_);
}

void Trainer::restore_best() {
    if (state_.best_step < 0 || state_.best_step == state_.step) return;
    at::NoGradGuard no_grad;
    std::map<std::string, at::Tensor> best;
    for (const NamedTensor& t : checkpoints_.load_best(state_)) best[t.name] = t.tensor;
    for (const TrainableTensor& t : optimizer_.tensors()) {
        const auto at = best.find(t.name);
        if (at == best.end()) throw Error::data("expected \"", t.name, "\" in the best checkpoint, got none");
        at::Tensor(t.tensor).copy_(at->second);
    }
    adapter_.changed();
    log::info("the adapter of step ", state_.best_step - 1, " is kept (validation loss ", state_.best_loss,
              ")");
}

TrainOutcome Trainer::outcome() const {
    TrainOutcome out;
    out.steps = state_.step, out.tokens = state_.tokens;
    out.seconds = state_.seconds, out.final_loss = state_.loss;
    out.has_validation = state_.has_validation, out.best_validation_loss = state_.best_loss;
    out.dropped_rows = rows_.dropped, out.cut_rows = rows_.cut;
    out.peak_bytes = state_.peak_bytes;
    out.liveness = liveness_.result();
    return out;
}

TrainOutcome train(Backend& backend, AdapterSet& adapter, const TrainSettings& settings,
                   const TrainingData& data, uint64_t seed, const std::string& folder,
                   const std::atomic<int>& stop, Peers* peers, const std::string& base_name) {
    return Trainer(backend, adapter, settings, data, seed, folder, stop, peers, base_name).run();
}

} // namespace dorabench
