// How processes find each other, and what they add, over threads: each has a place of its own at one
// rendezvous file.
#include "backends/ops/aten.h"
#include "harness/base/error.h"
#include "harness/train/peers.h"
#include "tests/support/paths.h"
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <cstdlib>
#include <gmock/gmock.h>
#include <thread>

namespace dorabench {
namespace {

using ::testing::HasSubstr;

// The launchers' variables for one test; what was set before is put back.
class Environment : public ::testing::Test {
protected:
    void SetUp() override {
        for (const char* name : kNames) {
            const char* value = std::getenv(name);
            before_[name] = value ? std::optional<std::string>(value) : std::nullopt;
            unsetenv(name);
        }
    }
    void TearDown() override {
        for (const auto& [name, value] : before_)
            value ? setenv(name.c_str(), value->c_str(), 1) : unsetenv(name.c_str());
    }
    static void set(std::initializer_list<std::pair<const char*, const char*>> variables) {
        for (const auto& [name, value] : variables) setenv(name, value, 1);
    }
    static std::string refusal() {
        try {
            Peers::place_from_environment();
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::config);
            return error.what();
        }
        return "";
    }
    static constexpr const char* kNames[] = {"RANK",
                                             "WORLD_SIZE",
                                             "LOCAL_RANK",
                                             "MASTER_ADDR",
                                             "MASTER_PORT",
                                             "SLURM_PROCID",
                                             "SLURM_NTASKS",
                                             "SLURM_LOCALID",
                                             "SLURM_JOB_NUM_NODES",
                                             "TORCHELASTIC_USE_AGENT_STORE",
                                             "TORCHELASTIC_RESTART_COUNT",
                                             "DORA_BENCH_RENDEZVOUS"};
    std::map<std::string, std::optional<std::string>> before_;
};

using PeersEnvironment = Environment;

TEST_F(PeersEnvironment, IsReadAsTorchrunSetsIt) {
    set({{"RANK", "3"},
         {"WORLD_SIZE", "8"},
         {"LOCAL_RANK", "1"},
         {"MASTER_ADDR", "node7"},
         {"MASTER_PORT", "1234"},
         {"TORCHELASTIC_USE_AGENT_STORE", "True"}});
    const Peers::Place place = Peers::place_from_environment();
    EXPECT_EQ(place.rank, 3);
    EXPECT_EQ(place.size, 8);
    EXPECT_EQ(place.local_rank, 1);
    EXPECT_EQ(place.address, "node7");
    EXPECT_EQ(place.port, 1234);
    EXPECT_TRUE(place.agent_store);
    EXPECT_TRUE(place.file.empty());
}

TEST_F(PeersEnvironment, IsReadAsSlurmSetsItOnOneNode) {
    set({{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}, {"SLURM_LOCALID", "1"}, {"SLURM_JOB_NUM_NODES", "1"}});
    const Peers::Place place = Peers::place_from_environment();
    EXPECT_EQ(place.rank, 1);
    EXPECT_EQ(place.size, 2);
    EXPECT_EQ(place.local_rank, 1);
    EXPECT_EQ(place.address, "127.0.0.1");
    EXPECT_EQ(place.port, 29500);
    set({{"SLURM_JOB_NUM_NODES", "2"}}); // then nobody but the user knows the first host
    EXPECT_THAT(refusal(), HasSubstr("scontrol show hostnames"));
}

TEST_F(PeersEnvironment, TakesARendezvousFileInsteadOfAnAddress) {
    set({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"DORA_BENCH_RENDEZVOUS", "/tmp/meet"}});
    EXPECT_EQ(Peers::place_from_environment().file, "/tmp/meet");
}

TEST_F(PeersEnvironment, SaysWhatIsMissingOrNoNumber) {
    EXPECT_THAT(refusal(), HasSubstr("expected WORLD_SIZE to be a number from 1 to 65536, got nothing"));
    set({{"WORLD_SIZE", "2"}});
    EXPECT_THAT(refusal(), HasSubstr("expected RANK to be a number from 0 to 1, got nothing"));
    for (const char* wrong : {"2", "-1", "1x", "0x1", " 1", "99999999999999999999"}) {
        setenv("RANK", wrong, 1);
        EXPECT_THAT(refusal(), HasSubstr("RANK")) << wrong;
    }
    set({{"RANK", "1"}});
    EXPECT_THAT(refusal(), HasSubstr("MASTER_ADDR"));
    set({{"MASTER_ADDR", "a"}, {"MASTER_PORT", "70000"}});
    EXPECT_THAT(refusal(), HasSubstr("MASTER_PORT"));
}

void together(int size, const std::function<void(Peers&)>& work) {
    test::TempDir temp;
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank)
        threads.emplace_back([&, rank] {
            Peers::Place place;
            place.rank = rank, place.size = size, place.file = temp / "meet";
            Peers peers(place);
            work(peers);
        });
    for (std::thread& thread : threads) thread.join();
}

TEST(Peers, AddNumbersAndHearTheFirst) {
    together(3, [](Peers& peers) {
        EXPECT_EQ(peers.sum({1.0, static_cast<double>(peers.rank())}), (std::vector<double>{3.0, 3.0}));
        EXPECT_EQ(peers.from_first(peers.rank() == 0 ? 41 : 7), 41);
        EXPECT_EQ(peers.gradients_by(at::Device(at::kCPU)), "gloo");
    });
}

TEST(Peers, AddGradientsOfEveryDtypeAndLeaveWhatNobodyHas) {
    together(2, [](Peers& peers) {
        auto leaf = [](int64_t size, at::ScalarType type) {
            return at::full({size}, 1.0, type).requires_grad_(true);
        };
        at::Tensor both = leaf(3, at::kFloat), one = leaf(2, at::kFloat), none = leaf(2, at::kFloat),
                   half = leaf(2, at::kBFloat16);
        both.mutable_grad() = at::full({3}, peers.rank() + 1.0, at::kFloat);
        half.mutable_grad() = at::full({2}, 0.5, at::kBFloat16);
        if (peers.rank() == 1) one.mutable_grad() = at::full({2}, 4.0, at::kFloat);
        peers.sum_gradients({both, one, none, half});
        EXPECT_TRUE(at::equal(both.grad(), at::full({3}, 3.0, at::kFloat)));
        EXPECT_TRUE(at::equal(one.grad(), at::full({2}, 4.0, at::kFloat)));
        EXPECT_FALSE(none.grad().defined());
        EXPECT_TRUE(at::equal(half.grad(), at::full({2}, 1.0, at::kBFloat16)));
    });
}

TEST(Peers, AllFailWhereOneHasFailed) {
    std::atomic<int> own{0}, others{0};
    together(3, [&](Peers& peers) {
        std::exception_ptr failure;
        if (peers.rank() == 2) failure = std::make_exception_ptr(Error::data("the disk is full"));
        try {
            peers.agree(failure, "step 7");
            ADD_FAILURE() << "process " << peers.rank() << " goes on";
        } catch (const Error& error) {
            const std::string what = error.what();
            (what.find("the disk is full") != std::string::npos ? own : others) += 1;
            if (peers.rank() != 2) EXPECT_THAT(what, HasSubstr("step 7: another process failed"));
        }
    });
    EXPECT_EQ(own, 1);
    EXPECT_EQ(others, 2);
}

} // namespace
} // namespace dorabench
