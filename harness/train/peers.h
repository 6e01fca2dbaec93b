#pragma once
// The processes that train one run together (data parallel). Each holds the whole model and the same adapter;
// a step's micro-batches are shared out and one flat all-reduce of the adapter's gradients follows the last
// backward pass, so every process makes the same update. Process 0 alone writes. c10d stands behind
// (peers.cpp): Gloo, and for gradients on GPUs NCCL where every process has it (libdorabench_nccl.so) and a
// GPU of its own; without, they pass through the host, which an adapter's size (a percent of the model)
// allows.
#include <ATen/core/TensorBody.h>
#include <exception>
#include <memory>
#include <string>
#include <vector>

namespace dorabench {

class Peers {
public:
    // How the processes find each other: torchrun's variables RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
    // MASTER_PORT (under torchrun itself, TORCHELASTIC_USE_AGENT_STORE: the agent holds the store), Slurm's
    // SLURM_PROCID, SLURM_NTASKS and SLURM_LOCALID in their place, or a file that all see instead of an
    // address.
    struct Place {
        int rank = 0, size = 1, local_rank = 0;
        std::string address; // host
        int port = 29500;
        bool agent_store = false;
        std::string file; // a rendezvous file; then address and port are unused
    };
    // Of the environment (the file: DORA_BENCH_RENDEZVOUS). Error::config names what is missing and how it is
    // set.
    static Place place_from_environment();

    // Waits for all of them. Error::resources with c10d's reason.
    explicit Peers(const Place& place);
    ~Peers();
    Peers(const Peers&) = delete;

    int rank() const { return place_.rank; }
    int size() const { return place_.size; }
    int local_rank() const { return place_.local_rank; }

    // Adds the numbers of all processes, in float64.
    std::vector<double> sum(std::vector<double> values);
    // Adds the gradients of all processes, as one buffer a dtype and device. A tensor that no process has a
    // gradient for keeps none; one that some lack counts as zero there.
    void sum_gradients(const std::vector<at::Tensor>& tensors);
    // What adds gradients that lie on this device, and why: "gloo", "nccl", "gloo through the host: no …".
    // Every process calls it at once.
    std::string gradients_by(const at::Device& device);
    // Every process calls it where one alone may have failed: throws in all of them when one has.
    void agree(const std::exception_ptr& failure, const std::string& doing);
    // What process 0 says, to all.
    int64_t from_first(int64_t value);

private:
    void all_reduce(at::Tensor& buffer);
    void meet_on_gpus();

    Place place_;
    struct Group;
    std::unique_ptr<Group> group_;
};

} // namespace dorabench
