// The only file that sees c10d (half a minute to compile).
#include "harness/train/peers.h"
#include "backends/ops/aten.h"
#include "harness/api/plugin.h"
#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/train/nccl/nccl_group.h"
#include <charconv>
#include <chrono>
#include <dlfcn.h>
#include <map>
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace dorabench {
namespace {

// While process 0 evaluates, the others wait in a collective; a process that dies closes its connections,
// which ends the wait at once.
constexpr auto kPatience = std::chrono::hours(24 * 14);
constexpr auto kMeeting = std::chrono::minutes(10);

std::string first_set(std::initializer_list<const char*> names) {
    for (const char* name : names)
        if (auto value = environment(name); value && !value->empty()) return *value;
    return "";
}

int number(std::initializer_list<const char*> names, int low, int high) {
    const std::string text = first_set(names);
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < low ||
        value > high)
        throw Error::config(
            "--launcher torchrun: expected ", *names.begin(), " to be a number from ", low, " to ", high,
            ", got ", text.empty() ? "nothing" : text,
            "; start it as `torchrun --no-python … dora-bench run …`, with srun, or with --jobs N for "
            "processes on this machine");
    return value;
}

// Empty, or why there is none.
std::string open_nccl(const c10::intrusive_ptr<c10d::Store>& keys, int rank, int size,
                      c10::intrusive_ptr<c10d::Backend>& group) {
    const std::string path = executable_folder() + "/libdorabench_nccl.so";
    void* object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        const char* reason = dlerror();
        return reason ? reason : path + " cannot be loaded";
    }
    const auto entry = reinterpret_cast<decltype(&dorabench_nccl_v1)>(dlsym(object, "dorabench_nccl_v1"));
    if (!entry) return path + " has no symbol dorabench_nccl_v1: it is of another build; build again";
    const auto own = c10::make_intrusive<c10d::PrefixStore>("nccl", keys);
    const char* reason = entry(TORCH_VERSION " " DORABENCH_COMPILER_ABI, own, rank, size, group);
    return reason ? reason : "";
}

} // namespace

struct Peers::Group {
    c10::intrusive_ptr<c10d::Store> store;
    c10::intrusive_ptr<c10d::Store> keys;
    c10::intrusive_ptr<c10d::Backend> gloo,
        nccl; // nccl: null before meet_on_gpus(), and where it cannot be had
    bool met_on_gpus = false;
    std::string no_nccl; // why not
};

Peers::Place Peers::place_from_environment() {
    Place place;
    place.size = number({"WORLD_SIZE", "SLURM_NTASKS"}, 1, 1 << 16);
    place.rank = number({"RANK", "SLURM_PROCID"}, 0, place.size - 1);
    if (!first_set({"LOCAL_RANK", "SLURM_LOCALID"}).empty())
        place.local_rank = number({"LOCAL_RANK", "SLURM_LOCALID"}, 0, 1 << 16);
    place.file = first_set({"DORA_BENCH_RENDEZVOUS"});
    if (!place.file.empty()) return place;
    place.address = first_set({"MASTER_ADDR"});
    if (place.address.empty() && first_set({"SLURM_JOB_NUM_NODES"}) == "1") place.address = "127.0.0.1";
    if (place.address.empty())
        throw Error::config(
            "--launcher torchrun: expected MASTER_ADDR to name the host of process 0, got nothing; "
            "under Slurm: export MASTER_ADDR=$(scontrol show hostnames | head -n 1)");
    if (!first_set({"MASTER_PORT"}).empty()) place.port = number({"MASTER_PORT"}, 1, 65535);
    place.agent_store = first_set({"TORCHELASTIC_USE_AGENT_STORE"}) == "True";
    return place;
}

Peers::Peers(const Place& place) : place_(place), group_(std::make_unique<Group>()) {
    try {
        if (!place.file.empty()) {
            group_->store = c10::make_intrusive<c10d::FileStore>(place.file, place.size);
        } else {
            c10d::TCPStoreOptions options;
            options.port = static_cast<uint16_t>(place.port);
            options.isServer = place.rank == 0 && !place.agent_store;
            options.numWorkers = static_cast<size_t>(place.size);
            options.waitWorkers = false;
            options.timeout = kMeeting;
            group_->store = c10::make_intrusive<c10d::TCPStore>(place.address, options);
        }
        // torchrun keeps one store over restarts: keys of an earlier attempt are not ours
        const std::string attempt = first_set({"TORCHELASTIC_RESTART_COUNT"});
        auto keys = c10::make_intrusive<c10d::PrefixStore>("dora-bench/" + attempt, group_->store);
        keys->setTimeout(kMeeting);
        auto options = c10d::ProcessGroupGloo::Options::create(kMeeting);
        options->devices = {place.address.empty() || place.address == "127.0.0.1" ||
                                    place.address == "localhost"
                                ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                                : c10d::ProcessGroupGloo::createDefaultDevice()};
        auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(keys, place.rank, place.size, options);
        gloo->setTimeout(kPatience);
        group_->gloo = gloo;
        group_->keys = keys;
    } catch (const std::exception& error) {
        const std::string what = error.what();
        throw Error::resources("process ", place.rank, " of ", place.size, ": the processes did not meet at ",
                               place.file.empty() ? cat(place.address, ":", place.port) : place.file, ": ",
                               what.substr(0, what.find('\n')));
    }
}

Peers::~Peers() = default;

void Peers::all_reduce(at::Tensor& buffer) {
    if (buffer.is_cuda()) meet_on_gpus();
    const bool by_nccl = buffer.is_cuda() && group_->nccl;
    std::vector<at::Tensor> buffers = {buffer.is_cuda() && !by_nccl ? buffer.cpu() : buffer};
    try {
        c10d::AllreduceOptions options;
        options.timeout = kPatience;
        (by_nccl ? group_->nccl : group_->gloo)->allreduce(buffers, options)->wait();
    } catch (const std::exception& error) {
        const std::string what = error.what();
        throw Error::failed(
            "process ", place_.rank, " of ", place_.size,
            ": another process ended or cannot be reached: ", what.substr(0, what.find('\n')));
    }
    if (!buffers.front().is_same(buffer)) buffer.copy_(buffers.front());
}

// Once, on the current device, by all processes at the same time; all of them take NCCL or none.
void Peers::meet_on_gpus() {
    if (group_->met_on_gpus) return;
    group_->met_on_gpus = true;
    c10::intrusive_ptr<c10d::Backend> nccl;
    std::string reason = open_nccl(group_->keys, place_.rank, place_.size, nccl);
    if (sum({reason.empty() ? 0.0 : 1.0}).front() > 0) {
        group_->no_nccl = reason.empty() ? "another process has no NCCL" : reason;
        return;
    }
    try { // two processes on one GPU, or GPUs that cannot reach each other: found out here, not in a step
        std::vector<at::Tensor> ones = {at::ones({1}, at::TensorOptions().device(at::kCUDA))};
        nccl->allreduce(ones)->wait();
        if (ones.front().item<float>() != static_cast<float>(place_.size)) reason = "NCCL added wrongly";
    } catch (const std::exception& error) {
        reason = error.what();
        reason = reason.substr(0, reason.find('\n'));
    }
    if (sum({reason.empty() ? 0.0 : 1.0}).front() > 0)
        group_->no_nccl = reason.empty() ? "NCCL failed in another process" : reason;
    else
        group_->nccl = nccl;
}

std::string Peers::gradients_by(const at::Device& device) {
    if (!device.is_cuda()) return "gloo";
    meet_on_gpus();
    return group_->nccl ? "nccl" : "gloo through the host: " + group_->no_nccl;
}

std::vector<double> Peers::sum(std::vector<double> values) {
    if (place_.size == 1 || values.empty()) return values;
    at::Tensor buffer = at::empty({static_cast<int64_t>(values.size())}, at::kDouble);
    std::copy(values.begin(), values.end(), buffer.data_ptr<double>());
    all_reduce(buffer);
    std::copy_n(buffer.data_ptr<double>(), values.size(), values.begin());
    return values;
}

void Peers::sum_gradients(const std::vector<at::Tensor>& tensors) {
    if (place_.size == 1) return;
    at::NoGradGuard no_grad;
    std::vector<double> have;
    for (const at::Tensor& tensor : tensors) have.push_back(tensor.grad().defined() ? 1 : 0);
    have = sum(have);
    std::map<std::pair<int, int>, std::vector<at::Tensor>> by_kind; // dtype and device
    for (size_t i = 0; i < tensors.size(); ++i)
        if (have[i] > 0)
            by_kind[{static_cast<int>(tensors[i].scalar_type()), tensors[i].is_cuda()}].push_back(tensors[i]);
    for (auto& [kind, group] : by_kind) {
        std::vector<at::Tensor> parts;
        for (const at::Tensor& tensor : group)
            parts.push_back(tensor.grad().defined() ? tensor.grad().reshape({-1})
                                                    : at::zeros({tensor.numel()}, tensor.options()));
        // 16-bit gradients (full fine-tuning) are added in float32
        at::Tensor flat = at::cat(parts).to(at::kFloat);
        all_reduce(flat);
        int64_t from = 0;
        for (at::Tensor& tensor : group) {
            const at::Tensor part = flat.narrow(0, from, tensor.numel()).view(tensor.sizes());
            tensor.mutable_grad() = part.to(tensor.scalar_type()).clone();
            from += tensor.numel();
        }
    }
}

void Peers::agree(const std::exception_ptr& failure, const std::string& doing) {
    const double failed = sum({failure ? 1.0 : 0.0}).front();
    if (failure) std::rethrow_exception(failure);
    if (failed > 0) throw Error::failed(doing, ": another process failed; its message says why");
}

int64_t Peers::from_first(int64_t value) {
    return static_cast<int64_t>(sum({place_.rank == 0 ? static_cast<double>(value) : 0.0}).front());
}

} // namespace dorabench
