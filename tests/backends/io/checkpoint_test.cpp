#include "backends/io/safetensors.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <fstream>
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using test::TempDir;
using testing::AllOf;
using testing::HasSubstr;

void shard(const std::string& path, const std::vector<std::string>& names) {
    static const std::byte zeros[4]{};
    std::vector<TensorBytes> tensors;
    for (const auto& name : names) tensors.push_back({name, Dtype::f32, {1}, zeros});
    write_safetensors(path, tensors);
}
void put(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}
std::string message_of(const std::string& path) {
    try {
        Checkpoint::open(path);
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data);
        return e.what();
    }
    return "";
}

TEST(Checkpoint, ReadsOneFileAndAFolderAlike) {
    TempDir dir;
    shard(dir / "model.safetensors", {"a", "b"});
    for (const std::string& path : {dir.path(), dir / "model.safetensors"}) {
        Checkpoint c = Checkpoint::open(path);
        EXPECT_EQ(c.tensors().size(), 2u);
        EXPECT_FALSE(c.sharded());
        ASSERT_NE(c.find("a"), nullptr);
        EXPECT_EQ(c.find("c"), nullptr);
    }
}

TEST(Checkpoint, ReadsShardsThroughTheIndex) {
    TempDir dir;
    shard(dir / "model-00001-of-00002.safetensors", {"a"});
    shard(dir / "model-00002-of-00002.safetensors", {"b", "c"});
    put(dir / "model.safetensors.index.json",
        R"({"metadata":{"total_size":12,"list":[1,{"weight_map":{}}]},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"model-00002-of-00002.safetensors"}})");
    Checkpoint c = Checkpoint::open(dir.path());
    EXPECT_TRUE(c.sharded());
    EXPECT_EQ(c.tensors().size(), 3u);
    EXPECT_THAT(c.files()[0], testing::EndsWith("model-00001-of-00002.safetensors"));
}

TEST(Checkpoint, NamesFileAndKeyOfWhatIsMissingOrDoubled) {
    TempDir dir;
    shard(dir / "one.safetensors", {"a"});
    shard(dir / "two.safetensors", {"a", "b"});
    auto index = [&](const std::string& map) {
        put(dir / "model.safetensors.index.json", "{\"weight_map\":" + map + "}");
    };
    index(R"({"a":"one.safetensors","x":"one.safetensors"})");
    EXPECT_THAT(message_of(dir.path()), AllOf(HasSubstr("one.safetensors: \"x\" is missing")));
    index(R"({"a":"one.safetensors","b":"two.safetensors"})");
    EXPECT_THAT(message_of(dir.path()),
                AllOf(HasSubstr("two.safetensors: \"a\" stands in"), HasSubstr("one.safetensors too")));
    index(R"({"a":"three.safetensors"})");
    EXPECT_THAT(message_of(dir.path()), HasSubstr("three.safetensors: is missing"));
    index(R"({"a":"one.safetensors","a":"one.safetensors"})");
    EXPECT_THAT(message_of(dir.path()), HasSubstr("\"a\" stands twice"));
    for (const char* map :
         {R"({"a":"../one.safetensors"})", R"({"a":"/etc/passwd"})", R"({"a":".."})", R"({"a":""})",
          R"({"a":1})", R"({"a":{"b":"c"}})", R"({"a":["b"]})", "{}", "[]", "null", "{\"a\":"}) {
        index(map);
        EXPECT_THAT(message_of(dir.path()), HasSubstr("index.json")) << map;
    }
}

TEST(Checkpoint, SaysThatPicklesAreNotRead) {
    TempDir dir;
    EXPECT_THAT(message_of(dir.path()), HasSubstr("found neither"));
    put(dir / "pytorch_model.bin", "x");
    EXPECT_THAT(message_of(dir.path()), HasSubstr("pytorch_model.bin is a pickle"));
    EXPECT_THAT(message_of(dir / "absent"), HasSubstr("there is nothing"));
}

TEST(ResolveCheckpoint, FindsASnapshotInTheLocalCache) {
    TempDir dir;
    std::string model = dir / "models--some-org--Model-1.0";
    make_folder(model + "/snapshots/abc");
    make_folder(model + "/snapshots/def");
    make_folder(model + "/refs");
    put(model + "/refs/main", "abc\n");
    setenv("HF_HUB_CACHE", dir.path().c_str(), 1);
    EXPECT_EQ(resolve_checkpoint("some-org/Model-1.0"), model + "/snapshots/abc");
    EXPECT_EQ(resolve_checkpoint(dir.path()), dir.path());
    try {
        resolve_checkpoint("some-org/other");
        FAIL();
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data);
        EXPECT_THAT(e.what(), AllOf(HasSubstr("some-org/other"), HasSubstr("models--some-org--other")));
    }
    put(model + "/refs/main", "../../..");
    EXPECT_THAT(resolve_checkpoint("some-org/Model-1.0"), HasSubstr("/snapshots/"));
    unsetenv("HF_HUB_CACHE");
}

} // namespace
} // namespace dorabench
