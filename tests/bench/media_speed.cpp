// Caption scores, video frames and image preprocessing, timed for scripts/bench_media beside their peers.
// Prints one JSON line; a wrong call or a file that cannot be read ends with exit code 1 and the reason.
//   media_speed caption FILE ROUNDS            FILE: JSON lines {"candidate", "references"}, tokenised
//   media_speed video FILE EVERY ROUNDS        EVERY: seconds between frames, 0 for every frame
//   media_speed images THREADS ROUNDS FILE...  file to CLIP's tensor, and the same from decoded pixels
#include "backends/media/media.h"
#include "harness/base/error.h"
#include "tasks/metrics/bleu.h"
#include "tasks/metrics/cider.h"
#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>

namespace dorabench {
namespace {

using Json = nlohmann::ordered_json;

double seconds_of(const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Json caption(const std::string& path, int rounds) {
    std::vector<std::string> candidates;
    std::vector<std::vector<std::string>> references;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
        const Json item = Json::parse(line);
        candidates.push_back(item.at("candidate").get<std::string>());
        references.push_back(item.at("references").get<std::vector<std::string>>());
    }
    if (candidates.empty()) throw Error::data(path, ": expected captions, found none");
    Json out{{"part", "caption"}, {"images", candidates.size()}};
    for (int round = 0; round < rounds; ++round) {
        out["cider_seconds"].push_back(seconds_of([&] {
            const auto scores = cider_d(candidates, references);
            out["cider"] =
                std::accumulate(scores.begin(), scores.end(), 0.0) / static_cast<double>(scores.size());
        }));
        out["bleu_seconds"].push_back(seconds_of([&] {
            BleuStatistics sum;
            for (size_t i = 0; i < candidates.size(); ++i)
                sum.add(bleu_statistics(candidates[i], references[i]));
            out["bleu"] = bleu(sum);
        }));
    }
    return out;
}

Json video(const std::string& path, double every, int rounds) {
    Json out{{"part", "video"}, {"versions", media_library().versions()}};
    for (int round = 0; round < rounds; ++round)
        out["seconds"].push_back(seconds_of([&] {
            int64_t count = 0;
            Image size; // without pixels
            auto see = [&](const VideoFrame& frame) {
                ++count;
                size.width = frame.image.width, size.height = frame.image.height;
                return true;
            };
            if (every > 0)
                for (const VideoFrame& frame : media_library().frames_every(path, every, {})) see(frame);
            else
                media_library().each_frame(path, {}, see);
            out["frames"] = Json{count, size.width, size.height};
        }));
    return out;
}

// Calls work(i) for every i below count, on `threads` threads.
void spread(int threads, size_t count, const std::function<void(size_t)>& work) {
    std::atomic<size_t> next = 0;
    auto run = [&] {
        for (size_t i = next++; i < count; i = next++) work(i);
    };
    std::vector<std::jthread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(run);
    run();
}

Json images(int threads, int rounds, const std::vector<std::string>& paths) {
    Json out{{"part", "images"}, {"images", paths.size()}, {"versions", media_library().versions()}};
    std::vector<Image> decoded;
    for (const std::string& path : paths) decoded.push_back(media_library().read_image(path, {}));
    std::vector<double> sums(paths.size());
    auto prepare = [&](const Image& image, size_t i) {
        const auto tensor = normalise(clip_crop(image, 224), kClipMean, kClipStd);
        sums[i] = tensor[tensor.size() / 2];
    };
    for (int round = 0; round < rounds; ++round) {
        out["file_seconds"].push_back(seconds_of([&] {
            spread(threads, paths.size(),
                   [&](size_t i) { prepare(media_library().read_image(paths[i], {}), i); });
        }));
        out["pixels_seconds"].push_back(
            seconds_of([&] { spread(threads, paths.size(), [&](size_t i) { prepare(decoded[i], i); }); }));
    }
    out["sum"] = std::accumulate(sums.begin(), sums.end(), 0.0);
    return out;
}

Json run(const std::vector<std::string>& words) {
    const std::string part = words.empty() ? "" : words[0];
    if (part == "caption" && words.size() == 3) return caption(words[1], std::stoi(words[2]));
    if (part == "video" && words.size() == 4)
        return video(words[1], std::stod(words[2]), std::stoi(words[3]));
    if (part == "images" && words.size() > 3)
        return images(std::stoi(words[1]), std::stoi(words[2]), {words.begin() + 3, words.end()});
    throw Error::config(
        "expected caption, video or images with what the head of media_speed.cpp names, got \"", part,
        "\" and ", words.empty() ? 0 : words.size() - 1, " words");
}

} // namespace
} // namespace dorabench

int main(int argc, char** argv) {
    try {
        std::cout << dorabench::run({argv + 1, argv + argc}).dump() << std::endl;
        return 0;
    } catch (const std::exception& error) {
        std::cerr << "media_speed: " << error.what() << std::endl;
        return 1;
    }
}
