// bench: what a training step of each method costs on a named shape with random weights. One backbone is
// shared by all methods, whose adapters take turns step by step, so that a ratio is of one moment of the
// machine; memory is measured for one method at a time, before the timing.
//   --ops: each op alone (bench_ops.h); --peer: another tool's step in turn with ours (bench_peer.h).
//   step: forward, backward and AdamW on one row of random ids, labels = ids; alpha = 2 rank, B not zero,
//   dropout 0. flops: of a step, from shapes: 2 per multiply-add of the linear layers (forward, dx, and dW
//   where trained), the low-rank paths, DoRA's norm, and causal attention. bytes: the least that a step moves
//   of weights, gradients and optimizer state (activations are not counted).
#include "backends/ops/device.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/env.h"
#include "harness/base/files.h"
#include "harness/base/heap.h"
#include "harness/base/log.h"
#include "harness/base/progress.h"
#include "harness/base/rng.h"
#include "harness/base/text.h"
#include "harness/cli/bench_ops.h"
#include "harness/cli/bench_peer.h"
#include "harness/cli/commands.h"
#include "harness/report/table.h"
#include "harness/train/device_memory.h"
#include "harness/train/optimizer.h"
#include <algorithm>
#include <chrono>
#include <ctime>
#include <iostream>
#include <malloc.h>
#include <map>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace dorabench {
namespace {

using nlohmann::ordered_json;

double wall() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double own_cpu() { return double(std::clock()) / CLOCKS_PER_SEC; }

double machine_cpu() { // seconds that all processes together have used; 0 where /proc/stat is absent
    if (!exists("/proc/stat")) return 0;
    std::istringstream line(read_file("/proc/stat"));
    std::string word;
    line >> word;
    double sum = 0, value = 0;
    for (int column = 0; column < 8 && line >> value; ++column)
        if (column != 3 && column != 4) sum += value; // not idle, not waiting for a disk
    return sum / double(::sysconf(_SC_CLK_TCK));
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const size_t n = values.size();
    return n == 0 ? 0 : n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

struct Method {
    std::string name;
    std::unique_ptr<AdapterSet> adapter;
    std::vector<std::shared_ptr<AdapterLayer>> layers; // one a site; null where it has none
    std::unique_ptr<Optimizer> optimizer;
    std::vector<double> seconds, other_cores;
    int64_t memory_before = 0, memory_peak = 0, steps_done = 0;
    double loss = 0;
};

class Bench {
public:
    Bench(const BenchOptions& options, const BackendFactory& factory, const std::string& shape,
          const std::string& dtype);
    const ModelShapes& shapes() const { return backend_->shapes(); }
    const at::Device& device() const { return device_; }
    void add(const std::string& method);
    void measure_memory();
    void measure_time();
    std::vector<ordered_json> lines(const Roofline& roofline) const;

private:
    AdapterSettings adapter_settings(const std::string& method) const;
    void activate(Method& method, bool on);
    void step(Method& method);
    void timed_step(Method& method);
    double flops(const Method& method) const;
    double bytes(const Method& method) const;
    ordered_json line(const Method& method, const Roofline& roofline) const;

    const BenchOptions& options_;
    std::string shape_, dtype_, family_;
    at::Device device_;
    std::unique_ptr<Backend> backend_;
    std::vector<Method> methods_;
    EncodedExample example_;
};

Bench::Bench(const BenchOptions& options, const BackendFactory& factory, const std::string& shape,
             const std::string& dtype)
    : options_(options), shape_(shape), dtype_(dtype), family_(factory.name),
      device_(resolve_device(options.device)) {
    BackendSettings settings;
    settings.type = factory.name, settings.shape = shape, settings.dtype = dtype,
    settings.device = options.device;
    log::info("bench: ", shape, " in ", dtype, " on ", options.device);
    backend_ = factory.load(settings, 0);
    // one layer stands for an inner layer of the whole model, whose input needs a gradient
    if (shape == "llama-7b-slice") backend_->set_input_gradients(true);
    Rng rng(0, "bench-ids");
    const auto vocab = uint64_t(std::max<int64_t>(backend_->shapes().vocab, 4));
    for (int64_t t = 0; t < options.tokens; ++t)
        example_.input_ids.push_back(int64_t(3 + rng.below(vocab - 3)));
    example_.labels = example_.input_ids;
}

AdapterSettings Bench::adapter_settings(const std::string& method) const {
    AdapterSettings s;
    s.method = method;
    if (method == "ft") return s;
    s.rank = options_.rank;
    if (method == "lora" || method == "dora") s.alpha = 2.0 * double(options_.rank), s.has_alpha = true;
    if (family_ == "vlbart")
        s.target_modules = {"q_proj", "v_proj"};
    else
        s.target_modules = {"q_proj", "k_proj", "v_proj", "up_proj", "down_proj"};
    return s;
}

void Bench::add(const std::string& name) {
    Method method;
    method.name = name;
    method.adapter = attach_adapter(*backend_, adapter_settings(name), 0);
    Rng rng(1, "bench-b");
    {
        at::NoGradGuard no_grad;
        for (const TrainableTensor& t : method.adapter->trainable()) {
            if (t.group != "lora_B" && t.group != "vera_b")
                continue; // zero: its partner's gradient would be trivial
            at::Tensor values = at::empty(t.tensor.sizes(), at::kFloat);
            for (int64_t i = 0; i < values.numel(); ++i)
                values.data_ptr<float>()[i] = float(0.02 * rng.normal());
            at::Tensor(t.tensor).copy_(values);
        }
    }
    method.adapter->changed();
    method.adapter->set_training(true);
    for (LinearSite* site : backend_->sites()) method.layers.push_back(site->layer());
    activate(method, false);
    methods_.push_back(std::move(method));
}

void Bench::activate(Method& method, bool on) {
    const auto sites = backend_->sites();
    for (size_t i = 0; i < sites.size(); ++i) {
        if (on && method.layers[i])
            sites[i]->attach(method.layers[i]);
        else
            sites[i]->detach();
    }
    for (const TrainableTensor& t : method.adapter->trainable()) at::Tensor(t.tensor).set_requires_grad(on);
}

void Bench::step(Method& method) {
    at::AutoGradMode with_gradients(true);
    method.adapter->begin_micro_batch(0, method.steps_done++, 0);
    const at::Tensor loss = backend_->loss_sum(std::span(&example_, 1)) / backend_->loss_weight(example_);
    loss.backward();
    method.optimizer->step(1);
    method.optimizer->clear_gradients();
    method.adapter->changed();
    method.loss = loss.item<double>();
    synchronize(device_);
}

void Bench::measure_memory() {
    TrainSettings settings; // AdamW as hf_step's peers use it
    settings.learning_rate = 1e-4, settings.weight_decay = 0.01;
    Progress progress("memory", int64_t(methods_.size()));
    backend_->set_training(true);
    int64_t done = 0;
    for (Method& method : methods_) {
        activate(method, true);
        for (int round = 0; round < 2; ++round) { // libraries are loaded and thread pools made in the first
            method.optimizer.reset();
            malloc_trim(0);
            reset_peak_memory(device_);
            method.memory_before = used_memory_bytes(device_);
            method.optimizer = std::make_unique<Optimizer>(method.adapter->trainable(), settings);
            step(method), step(method);
            method.memory_peak = peak_memory_bytes(device_);
            if (done > 0) break;
        }
        activate(method, false);
        progress.update(++done, method.name);
    }
}

void Bench::timed_step(Method& method) {
    const double machine = machine_cpu(), own = own_cpu(), start = wall();
    step(method);
    const double seconds = wall() - start;
    method.seconds.push_back(seconds);
    method.other_cores.push_back(std::max(0.0, (machine_cpu() - machine - (own_cpu() - own)) / seconds));
}

void Bench::measure_time() {
    const int64_t rounds = options_.warmup + options_.steps;
    Progress progress("steps", rounds * int64_t(methods_.size()));
    int64_t done = 0;
    const auto turn = [&](Method& method, int64_t round) {
        activate(method, true);
        if (round < options_.warmup)
            step(method);
        else
            timed_step(method);
        activate(method, false);
        progress.update(++done, method.name);
    };
    if (options_.interleave) {
        for (int64_t round = 0; round < rounds; ++round)
            for (Method& method : methods_) turn(method, round);
    } else {
        for (Method& method : methods_)
            for (int64_t round = 0; round < rounds; ++round) turn(method, round);
    }
}

double Bench::flops(const Method& method) const {
    const ModelShapes& shapes = backend_->shapes();
    const double T = double(options_.tokens), r = double(options_.rank);
    const bool full = method.name == "ft";
    double linear = 0;
    for (const ParameterShape& p : shapes.parameters)
        if ((p.linear || p.head) && p.shape.size() == 2) linear += double(p.shape[0]) * double(p.shape[1]);
    double total = 2 * T * linear * (full ? 3 : 2);
    total += 3 * 0.5 * 4 * T * T *
             double(shapes.layers * shapes.heads * shapes.head_dim); // scores and values, causal
    if (full) return total;
    const bool vectors = method.name == "vera" || method.name == "dvora",
               norm = method.name == "dora" || method.name == "dvora";
    const auto sites = backend_->sites();
    for (size_t i = 0; i < sites.size(); ++i) {
        if (!method.layers[i]) continue;
        const double in = double(sites[i]->base().in()), out = double(sites[i]->base().out());
        total +=
            2 * T * r * (in + out) * (vectors ? 2 : 3); // forward and dx, and dA, dB where they are trained
        if (norm) total += 2 * in * out * r;            // W A^T of the factored norm
    }
    return total;
}

double Bench::bytes(const Method& method) const {
    double trainable = 0, weights = 0;
    for (const TrainableTensor& t : method.adapter->trainable())
        trainable += double(t.tensor.numel()) * double(t.tensor.element_size());
    for (const NamedTensor& p : backend_->parameters())
        weights += double(p.tensor.numel()) * double(p.tensor.element_size());
    // weights are read forward and backward; a trained tensor's gradient is written and read, its value and
    // two moments are read and written
    return 2 * weights + 8 * trainable;
}

ordered_json Bench::line(const Method& method, const Roofline& roofline) const {
    int64_t trainable = 0;
    for (const TrainableTensor& t : method.adapter->trainable()) trainable += t.tensor.numel();
    const double seconds = median(method.seconds);
    return {
        {"kind", "step"},
        {"tool", "dora-bench"},
        {"shape", shape_},
        {"method", method.name},
        {"rank", method.name == "ft" ? ordered_json() : ordered_json(options_.rank)},
        {"tokens", options_.tokens},
        {"dtype", dtype_},
        {"device", device_.str()},
        {"step_seconds", seconds},
        {"step_seconds_min", *std::min_element(method.seconds.begin(), method.seconds.end())},
        {"step_seconds_all", method.seconds},
        {"tokens_per_second", double(options_.tokens) / seconds},
        {"peak_memory_bytes", std::max<int64_t>(0, method.memory_peak - method.memory_before)},
        {"memory_before_bytes", method.memory_before},
        {"flops", flops(method)},
        {"bytes", bytes(method)},
        {"roofline_fraction", roofline.seconds(flops(method), bytes(method)) / seconds},
        {"roofline",
         {{"flops_per_second", roofline.flops_per_second}, {"bytes_per_second", roofline.bytes_per_second}}},
        {"trainable", trainable},
        {"loss", method.loss},
        {"steps", options_.steps},
        {"interleaved", options_.interleave && methods_.size() > 1},
        {"other_load_cores", median(method.other_cores)},
        {"threads", at::get_num_threads()},
        {"allocator", heap_environment()}};
}

std::vector<ordered_json> Bench::lines(const Roofline& roofline) const {
    std::vector<ordered_json> out;
    for (const Method& method : methods_) out.push_back(line(method, roofline));
    return out;
}

const BackendFactory& family_of(const std::string& shape, const Registries& registries) {
    std::vector<std::string> known;
    for (const std::string& name : registries.backends.names()) {
        const BackendFactory& factory = registries.backends.get(name);
        if (!factory.shape_names) continue;
        for (const std::string& candidate : factory.shape_names()) {
            if (candidate == shape) return factory;
            known.push_back(candidate);
        }
    }
    throw Error::config("--shape: expected one of ", join(known, ", "), ", got \"", shape, "\"",
                        did_you_mean(shape, known));
}

void check_options(const BenchOptions& options) {
    const auto need = [](const char* option, int64_t value, int64_t least) {
        if (value < least) throw Error::config(option, " must be at least ", least, ", got ", value);
    };
    need("--rank", options.rank, 1), need("--tokens", options.tokens, 2);
    need("--steps", options.steps, 1), need("--warmup", options.warmup, 0),
        need("--rounds", options.rounds, 1);
    if (!options.peer.empty() && !exists(options.peer)) throw Error::data("--peer: no file ", options.peer);
    std::vector<std::string> methods = adapter_methods();
    std::erase(methods, "none"); // trains nothing
    for (const std::string& method : options.methods)
        if (std::find(methods.begin(), methods.end(), method) == methods.end())
            throw Error::config("--method: expected one of ", join(methods, ", "), ", got \"", method, "\"",
                                did_you_mean(method, methods));
    for (const std::string& dtype : options.dtypes)
        if (dtype != "float32" && dtype != "bfloat16" && dtype != "float16")
            throw Error::config("--dtype: expected float32, bfloat16 or float16, got \"", dtype, "\"");
}

std::string table_of(const std::vector<ordered_json>& lines) {
    Table steps, ops, ratios;
    steps.header = {"tool",   "shape", "method",   "rank",        "tokens",  "dtype",
                    "step s", "min s", "tokens/s", "step memory", "GFLOP/s", "of roofline"};
    ops.header = {"op", "shape", "ms", "min ms", "GFLOP/s", "GB/s", "of roofline", "bound"};
    ratios.header = {"ratio", "medians", "minima", "step memory"};
    double load = 0;
    for (const ordered_json& j : lines) {
        const std::string kind = j["kind"];
        if (kind == "ratio") {
            ratios.rows.push_back({j["name"], fixed(j["medians"], 2), fixed(j["minima"], 2),
                                   j["memory"].is_null() ? "-" : fixed(j["memory"], 2)});
        } else if (kind == "op") {
            const double seconds = j["seconds"];
            std::vector<std::string> sizes;
            for (const auto& size : j["shape"]) sizes.push_back(size.dump());
            ops.rows.push_back({j["op"], join(sizes, " x "), fixed(seconds * 1e3, 3),
                                fixed(j["seconds_min"].get<double>() * 1e3, 3),
                                fixed(j["flops"].get<double>() / seconds / 1e9, 1),
                                fixed(j["bytes"].get<double>() / seconds / 1e9, 1),
                                fixed(j["roofline_fraction"], 2), j["bound"]});
        } else {
            const double seconds = j["step_seconds"];
            const bool own = j.contains("flops");
            if (own) load = std::max(load, j["other_load_cores"].get<double>());
            steps.rows.push_back({j["tool"], j["shape"], j["method"],
                                  j["rank"].is_null() ? "-" : j["rank"].dump(), j["tokens"].dump(),
                                  j["dtype"], fixed(seconds, 4), fixed(j["step_seconds_min"], 4),
                                  fixed(j["tokens"].get<double>() / seconds, 1),
                                  human_bytes(j["peak_memory_bytes"].get<double>()),
                                  own ? fixed(j["flops"].get<double>() / seconds / 1e9, 1) : "-",
                                  own ? fixed(j["roofline_fraction"], 2) : "-"});
        }
    }
    if (load > 0.15)
        steps.notes.push_back(
            cat("other processes used ", fixed(load, 2), " cores meanwhile: compare ratios, not seconds"));
    std::string text = render(steps, "text");
    for (const Table* table : {&ratios, &ops})
        if (!table->rows.empty()) text += "\n" + render(*table, "text");
    return text;
}

// Several rounds of the peer's as one line: the median of medians, the least of minima.
ordered_json merged(const std::vector<ordered_json>& rounds) {
    ordered_json line = rounds.front();
    std::vector<double> medians, memory;
    double least = rounds.front()["step_seconds_min"];
    for (const ordered_json& round : rounds) {
        medians.push_back(round["step_seconds"]);
        memory.push_back(round["peak_memory_bytes"]);
        least = std::min(least, round["step_seconds_min"].get<double>());
    }
    line["step_seconds"] = median(medians), line["step_seconds_min"] = least;
    line["peak_memory_bytes"] = int64_t(median(memory)), line["rounds"] = rounds.size();
    return line;
}

ordered_json ratio(const ordered_json& a, const ordered_json& b, bool tools) {
    const auto over = [&](const char* key) { return a[key].get<double>() / b[key].get<double>(); };
    const auto name = [&](const ordered_json& j) {
        const std::string method = j["method"], tool = j["tool"];
        return tools ? method + " (" + tool + ")" : method;
    };
    const bool memory = b["peak_memory_bytes"].get<double>() > 0;
    return {{"kind", "ratio"},
            {"shape", a["shape"]},
            {"dtype", a["dtype"]},
            {"name", name(a) + " / " + name(b)},
            {"medians", over("step_seconds")},
            {"minima", over("step_seconds_min")},
            {"memory", memory ? ordered_json(over("peak_memory_bytes")) : ordered_json()}};
}

// Ours over LoRA's, and over the peer's of the same method.
std::vector<ordered_json> ratios_of(const std::vector<ordered_json>& ours,
                                    const std::vector<ordered_json>& peers) {
    std::vector<ordered_json> out;
    for (const ordered_json& mine : ours) {
        for (const ordered_json& other : ours)
            if (mine["method"] != "lora" && other["method"] == "lora")
                out.push_back(ratio(mine, other, false));
        for (const ordered_json& peer : peers)
            if (mine["method"] == peer["method"]) out.push_back(ratio(mine, peer, true));
    }
    return out;
}

std::vector<ordered_json> bench_one(const BenchOptions& options, const BackendFactory& factory,
                                    const std::string& shape, const std::string& dtype) {
    Bench bench(options, factory, shape, dtype);
    for (const std::string& method : options.methods) bench.add(method);
    bench.measure_memory();
    std::map<std::string, std::vector<ordered_json>> rounds;
    for (int64_t round = 0; round < options.rounds; ++round) {
        const auto peers = [&] {
            for (const std::string& method : options.methods)
                if (!options.peer.empty() && peer_knows(method))
                    rounds[method].push_back(run_peer(options, shape, dtype, method));
        };
        if (round % 2 == 0) peers();
        bench.measure_time();
        if (round % 2 == 1) peers();
    }
    const at::ScalarType type = parse_dtype(dtype);
    const Roofline roofline = measure_roofline(bench.device(), type);
    std::vector<ordered_json> lines = bench.lines(roofline), peers;
    for (const auto& [method, all] : rounds) peers.push_back(merged(all));
    const std::vector<ordered_json> ratios = ratios_of(lines, peers);
    lines.insert(lines.end(), peers.begin(), peers.end());
    lines.insert(lines.end(), ratios.begin(), ratios.end());
    if (options.ops)
        for (ordered_json& line : bench_ops(bench.shapes(), options, bench.device(), type, roofline)) {
            line["dtype"] = dtype;
            lines.push_back(std::move(line));
        }
    return lines;
}

} // namespace

int bench_command(const BenchOptions& options, const Globals& globals) {
    check_options(options);
    for (const std::string& shape : options.shapes) family_of(shape, *globals.registries);
    std::vector<ordered_json> all;
    for (const std::string& shape : options.shapes)
        for (const std::string& dtype : options.dtypes)
            for (ordered_json& line :
                 bench_one(options, family_of(shape, *globals.registries), shape, dtype)) {
                // a line is a measurement; ratios only where another tool's lines stand beside ours
                if (globals.format == "json" && (line["kind"] != "ratio" || !options.peer.empty()))
                    std::cout << line.dump() << std::endl;
                all.push_back(std::move(line));
            }
    if (globals.format != "json") std::cout << table_of(all);
    return 0;
}

} // namespace dorabench
