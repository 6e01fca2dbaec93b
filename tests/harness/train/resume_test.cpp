// Interruptions of the training loop: by the stop flag, by an exception at any forward pass, by a real
// SIGKILL.
#include "harness/base/env.h"
#include "harness/base/files.h"
#include "harness/train/train.h"
#include "tests/harness/train/toy.h"
#include "tests/support/paths.h"
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <thread>

namespace dorabench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::ToyAdapter;
using test::ToyBackend;

constexpr uint64_t kSeed = 7;
struct Killed {};

TrainSettings settings() {
    TrainSettings s = test::toy_settings();
    s.max_steps = 20, s.save_every = 3, s.evaluate_every = 4, s.learning_rate = 0.1;
    return s;
}

TrainingData data() {
    TrainingData d;
    d.train = test::toy_examples(14), d.validation = test::toy_examples(4, 77);
    return d;
}

// What must be equal bit for bit: tensors, and the outcome without its clock and memory.
struct Result {
    std::vector<at::Tensor> tensors;
    std::string outcome, steps;
};

std::string steps_without_seconds(const std::string& folder) {
    std::string out;
    for_each_line(folder + "/steps.jsonl", [&](size_t, std::string_view line) {
        json step = json::parse(line);
        step.erase("seconds");
        out += step.dump() + "\n";
    });
    return out;
}

Result train_once(const std::string& folder, const std::function<void()>& on_loss = {},
                  std::atomic<int>* stop = nullptr) {
    ToyBackend backend;
    ToyAdapter adapter(backend, test::toy_adapter("dora", 0.2), 3);
    backend.on_loss = on_loss;
    std::atomic<int> go{0};
    const TrainOutcome o = train(backend, adapter, settings(), data(), kSeed, folder, stop ? *stop : go);
    Result result;
    for (const TrainableTensor& t : adapter.trainable()) result.tensors.push_back(t.tensor.detach().clone());
    json j{
        {"steps", o.steps}, {"tokens", o.tokens}, {"loss", o.final_loss}, {"best", o.best_validation_loss}};
    for (const auto& [group, state] : o.liveness) j[group] = {state.max_grad_norm, state.moved};
    result.outcome = j.dump();
    result.steps = steps_without_seconds(folder);
    return result;
}

void expect_same(const Result& got, const Result& want) {
    ASSERT_EQ(got.tensors.size(), want.tensors.size());
    for (size_t i = 0; i < want.tensors.size(); ++i) EXPECT_TRUE(got.tensors[i].equal(want.tensors[i])) << i;
    EXPECT_EQ(got.outcome, want.outcome);
    EXPECT_EQ(got.steps, want.steps);
}

const Result& uninterrupted() {
    static const Result result = [] {
        test::TempDir dir;
        return train_once(dir.path());
    }();
    return result;
}

TEST(Resume, EndsWithTheSameBitsWhereverItWasCutOff) {
    int64_t passes = 0;
    {
        test::TempDir dir;
        train_once(dir.path(), [&] { ++passes; });
    }
    Rng rng(1, "cuts");
    for (int round = 0; round < 6; ++round) {
        test::TempDir dir;
        int attempts = 0;
        for (bool done = false; !done && attempts < 40; ++attempts) {
            int64_t left =
                int64_t(5 + rng.below(uint64_t(passes))); // at least two steps and a half each time
            try {
                const Result result = train_once(dir.path(), [&] {
                    if (--left == 0) throw Killed{};
                });
                expect_same(result, uninterrupted());
                done = true;
            } catch (const Killed&) {
            }
        }
        EXPECT_LT(attempts, 40);
    }
}

TEST(Resume, AStopFinishesTheStepSavesAndGoesOnFromThere) {
    test::TempDir dir;
    std::atomic<int> stop{0};
    int passes = 0;
    try {
        train_once(
            dir.path(),
            [&] {
                if (++passes == 9) stop = 1;
            },
            &stop); // within a step that is no save_every
        FAIL() << "expected an error";
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::interrupted);
    }
    int64_t steps = 0;
    for_each_line(dir / "steps.jsonl", [&](size_t, std::string_view) { ++steps; });
    EXPECT_TRUE(exists(dir / ("checkpoint/step-" + std::to_string(steps)))) << steps;
    passes = 0;
    expect_same(train_once(dir.path(), [&] { ++passes; }), uninterrupted());
    EXPECT_LT(passes, 20 * 2 + 5 * 2); // nothing that was done is done again
}

TEST(Resume, ASecondStopEndsAtOnce) {
    test::TempDir dir;
    std::atomic<int> stop{0};
    int passes = 0;
    EXPECT_THROW(train_once(
                     dir.path(),
                     [&] {
                         if (++passes == 3) stop = 2;
                     },
                     &stop),
                 Error);
    EXPECT_LE(passes, 4);
    expect_same(train_once(dir.path()), uninterrupted());
}

TEST(Resume, AFinishedTrainingIsNotDoneAgain) {
    test::TempDir dir;
    train_once(dir.path());
    int passes = 0;
    expect_same(train_once(dir.path(), [&] { ++passes; }), uninterrupted());
    EXPECT_EQ(passes, 0);
}

TEST(Resume, DamagedCheckpointsAndLogsCostOnlyTime) {
    test::TempDir dir;
    int passes = 0;
    try {
        train_once(dir.path(), [&] {
            if (++passes == 30) throw Killed{};
        });
    } catch (const Killed&) {
    }
    std::vector<int64_t> steps;
    for (const auto& entry : fs::directory_iterator(dir / "checkpoint"))
        if (entry.path().filename().string().rfind("step-", 0) == 0)
            steps.push_back(std::stoll(entry.path().filename().string().substr(5)));
    ASSERT_EQ(steps.size(), 2u);
    const std::string newest = dir / ("checkpoint/step-" + std::to_string(std::max(steps[0], steps[1])));
    fs::resize_file(newest + "/state.safetensors", 100);
    std::ofstream(dir / "steps.jsonl", std::ios::app)
        << "{\"step\": 99, \"lo"; // a line that was being written
    expect_same(train_once(dir.path()), uninterrupted());
    fs::resize_file(dir / "steps.jsonl", 10); // the log is gone: all over again
    expect_same(train_once(dir.path()), uninterrupted());
}

TEST(Resume, OtherDataIsNotContinued) {
    test::TempDir dir;
    train_once(dir.path());
    ToyBackend backend;
    ToyAdapter adapter(backend, test::toy_adapter("dora", 0.2), 3);
    TrainingData other = data();
    other.train[0].input_ids[1] ^= 1;
    int passes = 0;
    backend.on_loss = [&] { ++passes; };
    std::atomic<int> go{0};
    EXPECT_EQ(train(backend, adapter, settings(), other, kSeed, dir.path(), go).steps, 20);
    EXPECT_GE(passes, 40);
    EXPECT_FALSE(exists(dir / "checkpoint/step-99"));
}

// The other process of the next test: trains in the given folder, slowly, and writes what came out.
TEST(ResumeChild, DISABLED_TrainsInTheFolderGiven) {
    const auto folder = environment("DORABENCH_TEST_FOLDER");
    ASSERT_TRUE(folder);
    const Result result =
        train_once(*folder, [] { std::this_thread::sleep_for(std::chrono::milliseconds(6)); });
    std::vector<NamedTensor> tensors;
    for (size_t i = 0; i < result.tensors.size(); ++i)
        tensors.push_back({std::to_string(100 + i), result.tensors[i]});
    write_tensors(*folder + "/tensors.safetensors", tensors);
    write_file_atomic(*folder + "/result.json",
                      json{{"outcome", result.outcome}, {"steps", result.steps}}.dump());
}

pid_t start_child(const std::string& folder) {
    const pid_t child = fork();
    if (child != 0) return child;
    setenv("DORABENCH_TEST_FOLDER", folder.c_str(), 1);
    (void)!freopen("/dev/null", "w", stdout);
    (void)!freopen("/dev/null", "w", stderr);
    execl("/proc/self/exe", "test_train", "--gtest_also_run_disabled_tests",
          "--gtest_filter=ResumeChild.DISABLED_TrainsInTheFolderGiven", nullptr);
    _exit(127);
}

TEST(Resume, SurvivesSigkillAtRandomMoments) {
    test::TempDir dir;
    Rng rng(11, "kills");
    const auto bytes = [&] {
        std::error_code error;
        const auto size = fs::file_size(dir / "steps.jsonl", error);
        return error ? 0 : int64_t(size);
    };
    int kills = 0; // in the midst of training
    for (int attempt = 0; attempt < 4; ++attempt) {
        const pid_t child = start_child(dir.path());
        ASSERT_GT(child, 0);
        const int64_t start = bytes();
        for (int waited = 0; waited < 20000 && bytes() <= start && waitpid(child, nullptr, WNOHANG) == 0;
             ++waited)
            std::this_thread::sleep_for(std::chrono::milliseconds(1)); // its first step of this life
        std::this_thread::sleep_for(std::chrono::microseconds(rng.below(60000)));
        ::kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        if (exists(dir / "result.json")) break;
        ++kills;
    }
    EXPECT_GE(kills, 1);
    if (!exists(dir / "result.json")) {
        const pid_t child = start_child(dir.path());
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    }
    const json written = json::parse(read_file(dir / "result.json"));
    Result result;
    for (const NamedTensor& t : read_tensors(dir / "tensors.safetensors")) result.tensors.push_back(t.tensor);
    result.outcome = written["outcome"], result.steps = written["steps"];
    expect_same(result, uninterrupted());
}

} // namespace
} // namespace dorabench
