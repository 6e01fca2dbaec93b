#include "harness/base/error.h"
#include "harness/store/store.h"
#include "tests/support/paths.h"
#include <SQLiteCpp/SQLiteCpp.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <sys/wait.h>

namespace dorabench {
namespace {

using nlohmann::json;

TaskResult boolq(double value, int64_t n = 100) {
    TaskResult result;
    result.primary = "accuracy";
    result.metrics["accuracy"] = {value, 0.05, value - 0.1, value + 0.1, n, false};
    result.n = n;
    result.unparsed = 3;
    result.chance = 0.5;
    result.has_chance = true;
    return result;
}

void write_run(const std::string& results, const std::string& id, double value, uint64_t seed = 1) {
    RunFolder folder(results, id);
    write_file_atomic(folder.file("config.yaml"), cat("name: small\nseed: ", seed,
                                                      "\nbackend: {type: llama, checkpoint: /models/tiny/}\n",
                                                      "adapter: {method: dora, rank: 4, target_modules: "
                                                      "[q_proj, v_proj]}\ntrain: {learning_rate: 0.0002}\n"));
    json metrics = {{"schema_version", kSchemaVersion},
                    {"run", id},
                    {"status", "done"},
                    {"method", "dora"},
                    {"rank", 4},
                    {"seed", seed},
                    {"trainable", 12},
                    {"total", 1200},
                    {"percent_of_total", 1.0},
                    {"stored_bytes", 48},
                    {"train_seconds", 2.5},
                    {"peak_memory_bytes", 4096},
                    {"tasks", {{"boolq", task_result_json(boolq(value))}}},
                    {"average", value},
                    {"checks", json::object()}};
    folder.write_json("metrics.json", metrics);
    folder.write_json("provenance.json",
                      {{"commit", "abc"},
                       {"device", "cpu"},
                       {"started", "2026-01-01T00:00:0" + std::to_string(seed % 10) + "Z"}});
}

int64_t count(const std::string& results, const std::string& table) {
    SQLite::Database database(results + "/results.sqlite", SQLite::OPEN_READONLY, 10000);
    return database.execAndGet("SELECT COUNT(*) FROM " + table).getInt64();
}

TEST(TaskResultJson, HasTheContractsFields) {
    json out = task_result_json(boolq(0.4));
    EXPECT_DOUBLE_EQ(out["accuracy"]["value"], 0.4);
    EXPECT_DOUBLE_EQ(out["accuracy"]["stderr"], 0.05);
    EXPECT_DOUBLE_EQ(out["accuracy"]["ci95"][0], 0.4 - 0.1);
    EXPECT_EQ(out["accuracy"]["n"], 100);
    EXPECT_EQ(out["unparsed"], 3);
    EXPECT_DOUBLE_EQ(out["chance"], 0.5);
    EXPECT_EQ(out["below_chance"], true);
    EXPECT_EQ(task_result_json(boolq(0.6))["below_chance"], false);
}

TEST(TaskResultJson, WritesNullForWhatIsMissingOrNotFinite) {
    TaskResult result = boolq(std::numeric_limits<double>::quiet_NaN());
    result.has_chance = false;
    json out = task_result_json(result);
    EXPECT_TRUE(out["accuracy"]["value"].is_null());
    EXPECT_TRUE(out["accuracy"]["ci95"].is_null());
    EXPECT_TRUE(out["chance"].is_null());
    EXPECT_TRUE(out["below_chance"].is_null());
    EXPECT_EQ(out.dump().find("nan"), std::string::npos);
    EXPECT_TRUE(task_result_from_json(out).metrics.at("accuracy").missing);
}

TEST(TaskResultJson, ReadsBackWhatItWrote) {
    TaskResult back = task_result_from_json(task_result_json(boolq(0.7)));
    EXPECT_EQ(back.primary, "accuracy");
    EXPECT_DOUBLE_EQ(back.metrics.at("accuracy").ci_high, 0.7 + 0.1);
    EXPECT_EQ(back.unparsed, 3);
    EXPECT_TRUE(back.has_chance);
    for (const char* odd :
         {"3", "[]", "{\"accuracy\":7}", "{\"accuracy\":{\"value\":\"x\"},\"unparsed\":\"y\",\"chance\":[]}"})
        EXPECT_NO_THROW(task_result_from_json(json::parse(odd))) << odd;
}

TEST(RunFolder, IsLockedByOneHolderAtATime) {
    test::TempDir temp;
    RunFolder first(temp.path(), "0123"), second(temp.path(), "0123");
    EXPECT_TRUE(first.try_lock());
    EXPECT_TRUE(first.try_lock());
    EXPECT_FALSE(second.try_lock());
    first = RunFolder(temp.path(), "4567");
    EXPECT_TRUE(second.try_lock());
}

TEST(RunFolder, GivesTheLockBackWhenTheProcessDies) {
    test::TempDir temp;
    pid_t child = fork();
    if (child == 0) {
        RunFolder folder(temp.path(), "0123");
        bool held = folder.try_lock();
        raise(held ? SIGKILL : SIGTERM);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    EXPECT_TRUE(RunFolder(temp.path(), "0123").try_lock());
}

TEST(RunFolder, ReadsDamagedJsonAsMissing) {
    test::TempDir temp;
    RunFolder folder(temp.path(), "0123");
    EXPECT_FALSE(folder.finished());
    std::ofstream(folder.file("metrics.json")) << "{\"status\": \"do";
    EXPECT_FALSE(folder.read_json("metrics.json"));
    EXPECT_FALSE(folder.finished());
    folder.write_json("metrics.json", {{"status", "done"}, {"text", "bad \xff byte"}});
    EXPECT_TRUE(folder.finished());
}

TEST(ReadRun, CollectsMetricsSettingsAndProvenance) {
    test::TempDir temp;
    write_run(temp.path(), "00aa", 0.7, 5);
    RunRecord record = read_run(temp / "runs/00aa");
    EXPECT_EQ(record.status, "done");
    EXPECT_EQ(record.backbone, "tiny");
    EXPECT_EQ(record.backend, "llama");
    EXPECT_EQ(record.name, "small");
    EXPECT_EQ(record.seed, 5u);
    EXPECT_DOUBLE_EQ(record.learning_rate, 2e-4);
    EXPECT_EQ(record.commit, "abc");
    EXPECT_DOUBLE_EQ(record.tasks.at("boolq").metrics.at("accuracy").value, 0.7);
    EXPECT_EQ(record.settings.at("adapter.target_modules"), "[q_proj, v_proj]");
}

TEST(ReadRun, GroupsRunsThatDifferInTheirSeedAlone) {
    test::TempDir temp;
    write_run(temp.path(), "00aa", 0.7, 5);
    write_run(temp.path(), "00ab", 0.6, 6);
    write_run(temp.path(), "00ac", 0.6, 6);
    std::ofstream(temp / "runs/00ac/config.yaml", std::ios::app) << "evaluate: {limit: 3}\n";
    EXPECT_EQ(read_run(temp / "runs/00aa").group, read_run(temp / "runs/00ab").group);
    EXPECT_NE(read_run(temp / "runs/00ac").group, read_run(temp / "runs/00ab").group);
    EXPECT_TRUE(read_run(temp / "runs/00ac").partial);
}

TEST(ReadRun, SurvivesWhateverTheFilesHold) {
    test::TempDir temp;
    const char* contents[] = {
        "",
        "null",
        "[1,2]",
        "{\"status\":",
        "{\"status\":7,\"rank\":\"x\",\"tasks\":[],\"seed\":-1e300}",
        "{\"status\":\"done\",\"tasks\":{\"a\":7,\"b\":{\"accuracy\":{\"value\":1e999}}},\"total\":1e300}",
        "\x00\xff\xfe"};
    for (const char* content : contents) {
        RunFolder folder(temp.path(), "00aa");
        for (const char* name : {"metrics.json", "config.yaml", "provenance.json"})
            std::ofstream(folder.file(name)) << content;
        RunRecord record;
        EXPECT_NO_THROW(record = read_run(folder.path())) << content;
        EXPECT_FALSE(record.status.empty());
    }
    std::ofstream(temp / "runs/00aa/metrics.json") << "{\"status\":";
    EXPECT_EQ(read_run(temp / "runs/00aa").status, "damaged");
    std::filesystem::remove(temp / "runs/00aa/metrics.json");
    EXPECT_EQ(read_run(temp / "runs/00aa").status, "incomplete");
}

TEST(ResultStore, IndexesRunsAndCells) {
    test::TempDir temp;
    ResultStore store(temp / "results");
    write_run(store.path(), "00aa", 0.7);
    store.index("00aa");
    store.index("00aa");
    EXPECT_EQ(count(store.path(), "runs"), 1);
    EXPECT_EQ(count(store.path(), "cells"), 1);
    SQLite::Database database(store.path() + "/results.sqlite");
    EXPECT_DOUBLE_EQ(database.execAndGet("SELECT value FROM cells WHERE task = 'boolq'").getDouble(), 0.7);
    EXPECT_EQ(database.execAndGet("SELECT value FROM meta WHERE key = 'schema_version'").getString(),
              std::to_string(kSchemaVersion));
}

TEST(ResultStore, FindsRunsByIdPrefixAndName) {
    test::TempDir temp;
    ResultStore store(temp.path());
    write_run(temp.path(), "00aa", 0.7, 1);
    EXPECT_EQ(store.find("small")->id, "00aa");
    write_run(temp.path(), "00ab", 0.6, 2);
    EXPECT_EQ(store.find("00aa")->id, "00aa");
    EXPECT_EQ(store.find("00ab")->seed, 2u);
    EXPECT_FALSE(store.find("ff"));
    try {
        store.find("00a");
        FAIL() << "an ambiguous prefix was taken";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::config);
        EXPECT_NE(std::string(error.what()).find("00ab"), std::string::npos);
    }
    EXPECT_EQ(store.runs().size(), 2u);
    EXPECT_EQ(store.runs().front().id, "00aa");
}

TEST(ResultStore, RebuildsItsIndexFromTheFolders) {
    test::TempDir temp;
    write_run(temp.path(), "00aa", 0.7, 1);
    write_run(temp.path(), "00ab", 0.6, 2);
    { ResultStore store(temp.path()); } // a fresh index reads the folders that are there
    EXPECT_EQ(count(temp.path(), "runs"), 2);
    std::filesystem::remove_all(temp / "runs/00aa");
    ResultStore store(temp.path());
    store.rebuild();
    EXPECT_EQ(count(temp.path(), "runs"), 1);
}

TEST(ResultStore, MovesADamagedIndexAsideAndRebuildsIt) {
    test::TempDir temp;
    write_run(temp.path(), "00aa", 0.7);
    std::ofstream(temp / "results.sqlite") << std::string(8192, 'x');
    ResultStore store(temp.path());
    EXPECT_EQ(count(temp.path(), "runs"), 1);
    EXPECT_TRUE(std::filesystem::exists(temp / "results.sqlite.damaged-1"));
}

TEST(ResultStore, MovesAnIndexWithABrokenPageAsideAndRebuildsIt) {
    test::TempDir temp;
    for (int i = 0; i < 40; ++i) write_run(temp.path(), "00a" + std::to_string(i), 0.7, 1);
    { ResultStore store(temp.path()); }
    {
        std::fstream file(temp / "results.sqlite", std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(4096);
        file << std::string(12000, '\x5a');
    }
    ResultStore store(temp.path());
    EXPECT_EQ(count(temp.path(), "runs"), 40);
}

TEST(ResultStore, GoesOnWhenTheIndexVanishesUnderIt) {
    test::TempDir temp;
    ResultStore store(temp.path());
    for (const char* side : {"", "-wal", "-shm"})
        std::filesystem::remove(temp / ("results.sqlite" + std::string(side)));
    write_run(temp.path(), "00aa", 0.7);
    store.index("00aa");
    EXPECT_EQ(count(temp.path(), "runs"), 1);
}

TEST(ResultStore, IsSharedByFourWritersThatStartTogether) {
    test::TempDir temp;
    constexpr int kWriters = 4, kRuns = 15;
    std::vector<pid_t> children;
    for (int writer = 0; writer < kWriters; ++writer) {
        pid_t child = fork();
        if (child == 0) {
            int code = 0;
            try {
                ResultStore store(temp.path());
                for (int i = 0; i < kRuns; ++i) {
                    std::string id = std::to_string(writer) + "f" + std::to_string(i);
                    write_run(temp.path(), id, 0.5, static_cast<uint64_t>(i));
                    store.index(id);
                }
            } catch (const std::exception& error) {
                fprintf(stderr, "writer %d: %s\n", writer, error.what());
                code = 1;
            }
            _exit(code);
        }
        children.push_back(child);
    }
    for (pid_t child : children) {
        int status = 0;
        waitpid(child, &status, 0);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    EXPECT_EQ(count(temp.path(), "runs"), kWriters * kRuns);
    EXPECT_EQ(count(temp.path(), "cells"), kWriters * kRuns);
}

TEST(ResultStore, SaysThatAFolderCannotBeWritten) {
    test::TempDir temp;
    std::string blocked = temp / "file";
    std::ofstream(blocked) << "not a folder";
    std::vector<std::string> places = {blocked + "/results", "/proc/results"};
    for (const std::string& place : places) {
        try {
            ResultStore store(place);
            FAIL() << place;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::resources) << error.what();
        }
    }
    if (geteuid() == 0) return; // root writes everywhere
    std::filesystem::create_directories(temp / "closed/runs");
    chmod((temp / "closed").c_str(), 0555);
    EXPECT_THROW(ResultStore(temp / "closed"), Error);
    chmod((temp / "closed").c_str(), 0755);
}

} // namespace
} // namespace dorabench
