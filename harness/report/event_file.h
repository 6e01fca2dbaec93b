#pragma once
// TensorBoard's event files, written by hand (linking a protobuf library beside LibTorch's crashes before
// main): a TFRecord holds length, masked CRC-32C of it, payload and masked CRC-32C of that; a payload is the
// message Event of TensorFlow's event.proto with wall_time, step and one scalar, the first one naming the
// version "brain.Event:2".
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dorabench {

struct ScalarEvent {
    double wall_time = 0; // seconds since 1970
    int64_t step = 0;
    std::string tag; // "train/loss"
    double value = 0;
};

// The whole content of a file "events.out.tfevents.<seconds>.<host>".
std::string event_file(double begin, const std::vector<ScalarEvent>& events);
uint32_t crc32c(std::string_view bytes); // Castagnoli, reflected

} // namespace dorabench
