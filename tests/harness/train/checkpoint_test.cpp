#include "harness/base/files.h"
#include "harness/train/checkpoint.h"
#include "harness/train/train.h"
#include "tests/harness/train/toy.h"
#include "tests/support/paths.h"
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <sys/resource.h>

namespace dorabench {
namespace {

namespace fs = std::filesystem;

std::vector<NamedTensor> values(double value) { return {{"w", at::full({300}, value, at::kFloat)}}; }

TrainState at_step(int64_t step) {
    TrainState s;
    s.step = step, s.tokens = 10 * step, s.seconds = 0.1 * double(step), s.loss = 1.0 / 3;
    s.max_norms = {{"lora_A", 0.1}};
    return s;
}

std::set<std::string> names_in(const std::string& folder) {
    std::set<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder)) out.insert(entry.path().filename().string());
    return out;
}

std::optional<TrainState> newest(const CheckpointStore& store, double* value = nullptr) {
    return store.load_newest([&](const TrainState&, const std::vector<NamedTensor>& tensors) {
        if (value) *value = tensors.at(0).tensor[0].item<double>();
    });
}

TEST(CheckpointStore, KeepsTheNewestTwoAndReadsBackWhatWasWritten) {
    test::TempDir dir;
    CheckpointStore store(dir.path(), "f");
    EXPECT_FALSE(newest(store));
    for (int64_t step : {5, 10, 15}) store.save(at_step(step), values(double(step)));
    EXPECT_EQ(names_in(store.folder()), (std::set<std::string>{"step-10", "step-15"}));
    double value = 0;
    const auto state = newest(store, &value);
    ASSERT_TRUE(state);
    EXPECT_EQ(state->step, 15);
    EXPECT_EQ(state->tokens, 150);
    EXPECT_EQ(state->loss, 1.0 / 3); // doubles survive JSON bit for bit
    EXPECT_EQ(state->max_norms.at("lora_A"), 0.1);
    EXPECT_EQ(value, 15);
}

TEST(CheckpointStore, ADamagedOneIsSkipped) {
    for (const char* file : {"state.safetensors", "state.json", "manifest.json"}) {
        test::TempDir dir;
        CheckpointStore store(dir.path(), "f");
        store.save(at_step(5), values(5)), store.save(at_step(10), values(10));
        const std::string path = store.folder() + "/step-10/" + file;
        std::fstream out(path, std::ios::in | std::ios::out | std::ios::binary);
        out.seekp(int64_t(fs::file_size(path)) - 3); // one byte, the size unchanged
        out.put('#');
        out.close();
        ASSERT_TRUE(newest(store)) << file;
        EXPECT_EQ(newest(store)->step, 5) << file;
        fs::remove(store.folder() + "/step-5/" + file);
        EXPECT_FALSE(newest(store)) << file;
    }
}

TEST(CheckpointStore, ASkippedNewerOneDoesNotPushOutWhatIsMadeNow) {
    test::TempDir dir;
    CheckpointStore(dir.path(), "other data").save(at_step(500), values(1));
    CheckpointStore store(dir.path(), "f");
    EXPECT_FALSE(newest(store));
    store.save(at_step(5), values(5)), store.save(at_step(10), values(10));
    EXPECT_EQ(names_in(store.folder()), (std::set<std::string>{"step-10", "step-5"}));
}

TEST(CheckpointStore, WhatIsRefusedIsSkippedTooAndLeftoversAreCleared) {
    test::TempDir dir;
    make_folder(dir / "checkpoint/.step-7");
    CheckpointStore store(dir.path(), "f");
    EXPECT_TRUE(names_in(store.folder()).empty());
    store.save(at_step(5), values(5)), store.save(at_step(10), values(10));
    const auto state = store.load_newest([](const TrainState& s, const std::vector<NamedTensor>&) {
        if (s.step == 10) throw Error::data("not this one");
    });
    ASSERT_TRUE(state);
    EXPECT_EQ(state->step, 5);
}

TEST(CheckpointStore, TheBestTensorsStayAsLongAsAStateNamesThem) {
    test::TempDir dir;
    CheckpointStore store(dir.path(), "f");
    TrainState state = at_step(5);
    store.save_best(state, values(5));
    EXPECT_EQ(state.best_step, 5);
    store.save(state, values(5));
    state.step = 8;
    store.save_best(state,
                    values(8)); // not in any checkpoint yet: a kill now goes back to step 5 and its best
    EXPECT_EQ(names_in(store.folder()),
              (std::set<std::string>{"step-5", "best-5.safetensors", "best-8.safetensors"}));
    EXPECT_EQ(newest(store)->best_step, 5);
    state.step = 10, store.save(state, values(10));
    state.step = 15, store.save(state, values(15));
    EXPECT_EQ(names_in(store.folder()), (std::set<std::string>{"step-10", "step-15", "best-8.safetensors"}));
    EXPECT_EQ(store.load_best(state)[0].tensor[0].item<double>(), 8);
    std::ofstream(store.folder() + "/best-8.safetensors", std::ios::app) << "x";
    EXPECT_FALSE(newest(store)); // both refer to the damaged file
    EXPECT_THROW(store.load_best(state), Error);
}

TEST(CheckpointStore, AFullDiskIsAResourcesErrorAndTheOldOneStaysWhole) {
    test::TempDir dir;
    CheckpointStore store(dir.path(), "f");
    store.save(at_step(5), values(5));
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN); // a write past the limit then fails with EFBIG
    rlimit old{};
    getrlimit(RLIMIT_FSIZE, &old);
    const rlimit small{600, old.rlim_max}; // 300 floats take twice that
    setrlimit(RLIMIT_FSIZE, &small);
    std::string message;
    try {
        store.save(at_step(10), values(10));
    } catch (const Error& e) {
        message = e.kind() == ErrorKind::resources ? e.what() : "wrong kind";
    }
    setrlimit(RLIMIT_FSIZE, &old);
    std::signal(SIGXFSZ, old_handler);
    EXPECT_NE(message.find(store.folder()), std::string::npos) << message;
    EXPECT_EQ(names_in(store.folder()), (std::set<std::string>{"step-5"}));
    EXPECT_EQ(newest(store)->step, 5);
    store.save(at_step(10), values(10)); // room again
    EXPECT_EQ(newest(store)->step, 10);
}

TEST(CheckpointStore, AFileInTheFoldersPlaceIsAResourcesError) {
    test::TempDir dir;
    write_file_atomic(dir / "checkpoint", "not a folder");
    try {
        CheckpointStore store(dir.path(), "f");
        FAIL() << "expected an error";
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::resources);
        EXPECT_NE(std::string(e.what()).find(dir / "checkpoint"), std::string::npos) << e.what();
    }
}

TEST(CheckpointStore, RemovingCheckpointsLeavesTheRest) {
    test::TempDir dir;
    CheckpointStore(dir.path(), "f").save(at_step(5), values(5));
    write_file_atomic(dir / "steps.jsonl", "{}\n");
    remove_checkpoints(dir.path());
    EXPECT_EQ(names_in(dir.path()), (std::set<std::string>{"steps.jsonl"}));
}

} // namespace
} // namespace dorabench
