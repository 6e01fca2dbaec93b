// Videos through FFmpeg's libraries: frame-exact by presentation time.
#include "backends/media/object/object.h"
#include "harness/base/error.h"
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <sched.h>
#include <utility>
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
}

namespace dorabench {
namespace {

std::string reason(int code) {
    char text[AV_ERROR_MAX_STRING_SIZE] = {};
    av_strerror(code, text, sizeof text);
    return text;
}

struct PacketDelete {
    void operator()(AVPacket* p) const { av_packet_free(&p); }
};
struct FrameDelete {
    void operator()(AVFrame* f) const { av_frame_free(&f); }
};
struct CodecDelete {
    void operator()(AVCodecContext* c) const { avcodec_free_context(&c); }
};
struct ScaleDelete {
    void operator()(SwsContext* s) const { sws_freeContext(s); }
};
using PacketPtr = std::unique_ptr<AVPacket, PacketDelete>;
using FramePtr = std::unique_ptr<AVFrame, FrameDelete>;

using Clock = std::chrono::steady_clock;

// An opened file with its best video stream. Local files alone: the protocol list keeps playlists and
// references inside a container from opening anything else.
class Input {
public:
    Input(const std::string& path, double max_seconds)
        : path_(path),
          deadline_(Clock::now() +
                    std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(max_seconds))) {
        av_log_set_level(AV_LOG_QUIET);
        std::error_code ignored;
        if (!std::filesystem::is_regular_file(path, ignored)) throw Error::data(path, ": no such file");
        context_ = avformat_alloc_context();
        context_->interrupt_callback = {[](void* self) { return static_cast<Input*>(self)->late() ? 1 : 0; },
                                        this};
        AVDictionary* options = nullptr;
        av_dict_set(&options, "protocol_whitelist", "file", 0);
        int code = avformat_open_input(&context_, ("file:" + path).c_str(), nullptr, &options);
        av_dict_free(&options);
        if (code < 0)
            throw Error::data(path, ": not a readable video (", reason(code),
                              ")"); // open_input freed the context
        code = avformat_find_stream_info(context_, nullptr);
        if (code >= 0) code = av_find_best_stream(context_, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
        if (code < 0) {
            avformat_close_input(&context_);
            throw Error::data(path, ": has no video stream (", reason(code), ")");
        }
        stream_ = context_->streams[code];
        for (unsigned i = 0; i < context_->nb_streams; ++i)
            if (context_->streams[i] != stream_) context_->streams[i]->discard = AVDISCARD_ALL;
    }
    ~Input() { avformat_close_input(&context_); }
    Input(const Input&) = delete;
    bool late() const { return Clock::now() > deadline_; }
    AVFormatContext* context() const { return context_; }
    AVStream* stream() const { return stream_; }
    double seconds(int64_t time) const { return static_cast<double>(time) * av_q2d(stream_->time_base); }
    // Degrees that the picture is to be turned clockwise to stand upright: 0, 90, 180 or 270.
    int rotation() const {
        size_t size = 0;
        const uint8_t* matrix = av_stream_get_side_data(stream_, AV_PKT_DATA_DISPLAYMATRIX, &size);
        if (!matrix || size < 9 * sizeof(int32_t)) return 0;
        double degrees = -av_display_rotation_get(reinterpret_cast<const int32_t*>(matrix));
        if (std::isnan(degrees)) return 0;
        return static_cast<int>(std::lround(degrees / 90.0) % 4 + 4) % 4 * 90;
    }

private:
    std::string path_;
    Clock::time_point deadline_;
    AVFormatContext* context_ = nullptr;
    AVStream* stream_ = nullptr;
};

Image turn(const Image& image, int degrees) {
    if (degrees == 0) return image;
    bool swap = degrees != 180;
    Image out{swap ? image.height : image.width, swap ? image.width : image.height,
              std::vector<uint8_t>(image.rgb.size())};
    for (int y = 0; y < out.height; ++y)
        for (int x = 0; x < out.width; ++x) {
            int from_x = degrees == 90 ? y : degrees == 180 ? image.width - 1 - x : image.width - 1 - y;
            int from_y = degrees == 90 ? image.height - 1 - x : degrees == 180 ? image.height - 1 - y : x;
            const uint8_t* from = &image.rgb[(static_cast<size_t>(from_y) * image.width + from_x) * 3];
            std::copy(from, from + 3, &out.rgb[(static_cast<size_t>(y) * out.width + x) * 3]);
        }
    return out;
}

class ToRgb {
public:
    // Into `image`, whose memory is used again where it fits; false: swscale refuses.
    bool convert(const AVFrame& frame, Image& image) {
        auto format = static_cast<AVPixelFormat>(frame.format);
        int space = frame.colorspace == AVCOL_SPC_UNSPECIFIED ? SWS_CS_DEFAULT : frame.colorspace;
        const std::array<int, 5> source{frame.width, frame.height, format, space,
                                        frame.color_range == AVCOL_RANGE_JPEG};
        if (!scale_ || source != source_) { // a context and its tables take longer than a small frame
            scale_.reset(sws_getContext(frame.width, frame.height, format, frame.width, frame.height,
                                        AV_PIX_FMT_RGB24, SWS_BICUBIC, nullptr, nullptr, nullptr));
            if (!scale_) return false;
            sws_setColorspaceDetails(scale_.get(), sws_getCoefficients(space), source[4],
                                     sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
            source_ = source;
        }
        image.width = frame.width, image.height = frame.height;
        const size_t row = static_cast<size_t>(frame.width) * 3;
        image.rgb.resize(row * static_cast<size_t>(frame.height));
        // swscale's vector code writes whole registers: rows of its own with room to spare, copied out after,
        // unless whole registers make up a row
        const bool direct = frame.width % 32 == 0;
        const size_t stride = direct ? row : (row + 63) / 64 * 64;
        if (!direct) buffer_.resize(stride * static_cast<size_t>(frame.height) + 64);
        uint8_t* planes[4] = {direct ? image.rgb.data() : buffer_.data()};
        int strides[4] = {static_cast<int>(stride)};
        if (sws_scale(scale_.get(), frame.data, frame.linesize, 0, frame.height, planes, strides) !=
            frame.height)
            return false;
        if (!direct)
            for (size_t y = 0; y < static_cast<size_t>(frame.height); ++y)
                std::copy_n(buffer_.data() + y * stride, row, image.rgb.data() + y * row);
        return true;
    }

private:
    std::unique_ptr<SwsContext, ScaleDelete> scale_;
    std::vector<uint8_t> buffer_;
    std::array<int, 5> source_{}; // what the context was made for
};

int own_processors() {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? std::clamp(CPU_COUNT(&set), 1, 4) : 1;
}

std::unique_ptr<AVCodecContext, CodecDelete> open_decoder(const Input& input, const std::string& path,
                                                          const MediaLimits& limits) {
    const AVCodec* codec = avcodec_find_decoder(input.stream()->codecpar->codec_id);
    if (!codec)
        throw Error::data(path, ": no decoder for its codec (",
                          avcodec_get_name(input.stream()->codecpar->codec_id), ")");
    std::unique_ptr<AVCodecContext, CodecDelete> decoder(avcodec_alloc_context3(codec));
    avcodec_parameters_to_context(decoder.get(), input.stream()->codecpar);
    decoder->pkt_timebase = input.stream()->time_base;
    // of small frames a second thread costs more than it brings (480 x 270: 56 ms for 44, results/LOG.md)
    const bool small = int64_t(decoder->width) * decoder->height < 640 * 360;
    decoder->thread_count = limits.threads > 0 ? limits.threads : small ? 1 : own_processors();
    decoder->max_pixels = limits.max_pixels;
    int code = avcodec_open2(decoder.get(), codec, nullptr);
    if (code < 0) throw Error::data(path, ": its decoder does not open (", reason(code), ")");
    return decoder;
}

// The video stream's packets in the file's order. scan() reads to the end first, for the times; what it reads
// is kept for next() as long as it is not much, else the file is passed a second time.
class Packets {
public:
    Packets(const std::string& path, const MediaLimits& limits)
        : path_(path), limits_(limits), input_(std::make_unique<Input>(path, limits.max_seconds)) {}
    const Input& input() const { return *input_; }

    struct Time {
        int64_t at = AV_NOPTS_VALUE, end = AV_NOPTS_VALUE;
        bool key = false, shown = false; // shown: not cut off by an edit list
    };
    const std::vector<Time>& scan() {
        size_t bytes = 0;
        bool keeps = true;
        PacketPtr packet(av_packet_alloc());
        while (read(packet.get())) {
            const bool timed = packet->pts != AV_NOPTS_VALUE;
            times_.push_back(
                {packet->pts, timed ? packet->pts + std::max<int64_t>(packet->duration, 0) : AV_NOPTS_VALUE,
                 (packet->flags & AV_PKT_FLAG_KEY) != 0, (packet->flags & AV_PKT_FLAG_DISCARD) == 0});
            bytes += static_cast<size_t>(std::max(packet->size, 0));
            if (keeps && bytes > kKept) keeps = false, kept_.clear();
            if (keeps) kept_.push_back(std::exchange(packet, PacketPtr(av_packet_alloc())));
            av_packet_unref(packet.get());
        }
        if (!keeps) input_ = std::make_unique<Input>(path_, limits_.max_seconds);
        return times_;
    }
    double length() const { // in seconds, by the packets' times
        int64_t first = std::numeric_limits<int64_t>::max(), last = std::numeric_limits<int64_t>::min();
        for (const Time& time : times_)
            if (time.at != AV_NOPTS_VALUE) first = std::min(first, time.at), last = std::max(last, time.end);
        return first > last ? 0 : input_->seconds(last) - input_->seconds(first);
    }
    // The next packet, which the caller unrefs; false at the end.
    bool next(AVPacket* packet) {
        if (given_ < kept_.size()) {
            av_packet_move_ref(packet, kept_[given_].get());
            kept_[given_++].reset();
            return true;
        }
        return kept_.empty() && read(packet);
    }

private:
    static constexpr size_t kKept = size_t(256) << 20;
    bool read(AVPacket* packet) {
        while (av_read_frame(input_->context(), packet) >= 0) {
            if (input_->late())
                throw Error::data(path_, ": decoding takes longer than the limit of ", limits_.max_seconds,
                                  " s");
            if (packet->stream_index == input_->stream()->index) return true;
            av_packet_unref(packet);
        }
        return false;
    }
    const std::string& path_;
    const MediaLimits& limits_;
    std::unique_ptr<Input> input_;
    std::vector<Time> times_;
    std::vector<PacketPtr> kept_;
    size_t given_ = 0;
};

// Which packets hold a frame that is on screen at one of the times; all of them where the packets' times do
// not say so beyond doubt: some absent or twice, or a stream that does not begin with its earliest frame.
std::vector<bool> needed_packets(const std::vector<Packets::Time>& packets, const Input& input,
                                 const std::vector<double>& times) {
    std::vector<size_t> order;
    for (size_t i = 0; i < packets.size(); ++i)
        if (packets[i].shown) order.push_back(i);
    const std::vector<bool> all(packets.size(), true);
    if (order.empty() || !packets[order.front()].key) return all;
    const size_t begin = order.front();
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return packets[a].at < packets[b].at; });
    if (order.front() != begin || packets[begin].at == AV_NOPTS_VALUE) return all;
    for (size_t i = 1; i < order.size(); ++i)
        if (packets[order[i]].at == packets[order[i - 1]].at) return all;
    std::vector<bool> out(packets.size(), false);
    const double first = input.seconds(packets[begin].at);
    size_t next = 0;
    for (size_t i = 0; i < order.size(); ++i) {
        const bool last = i + 1 == order.size();
        const double until = last ? 0 : input.seconds(packets[order[i + 1]].at) - first;
        for (; next < times.size() && (last || times[next] < until); ++next) out[order[i]] = true;
    }
    return out;
}

// What becomes of the frames that a stream is decoded to.
class Decoding {
public:
    // How many times the frame at `seconds`, on screen until `until`, is wanted; what is done with it, false:
    // enough.
    using Wanted = std::function<int(double seconds, double until)>;
    Decoding(const std::string& path, const MediaLimits& limits, Packets& packets, Wanted wanted,
             MediaLibrary::FrameVisitor keep)
        : path_(path), limits_(limits), packets_(packets), wanted_(std::move(wanted)), keep_(std::move(keep)),
          decoder_(open_decoder(packets.input(), path, limits)), rotation_(packets.input().rotation()) {}

    // needed: of each packet; empty: all. A frame's fate is known when the next one's time is: it is on
    // screen until then.
    void run(const std::vector<bool>& needed) {
        PacketPtr packet(av_packet_alloc());
        for (size_t number = 0; more_ && packets_.next(packet.get()); ++number) {
            const bool skip = number < needed.size() && !needed[number];
            decoder_->skip_frame = skip ? AVDISCARD_NONREF : AVDISCARD_DEFAULT;
            if (avcodec_send_packet(decoder_.get(), packet.get()) == AVERROR(EAGAIN)) {
                receive();
                avcodec_send_packet(decoder_.get(), packet.get());
            }
            receive(); // a damaged packet is skipped: what else decodes is kept
            av_packet_unref(packet.get());
            if (packets_.input().late())
                throw Error::data(path_, ": decoding takes longer than the limit of ", limits_.max_seconds,
                                  " s");
        }
        if (more_) {
            avcodec_send_packet(decoder_.get(), nullptr);
            receive();
            if (more_ && has_waiting_) settle(std::numeric_limits<double>::infinity());
        }
        if (decoded_ == 0) throw Error::data(path_, ": no frame could be decoded (truncated or damaged)");
    }

private:
    void receive() {
        while (more_ && avcodec_receive_frame(decoder_.get(), frame_.get()) == 0) {
            const int64_t time = frame_->best_effort_timestamp;
            double at = time == AV_NOPTS_VALUE ? (has_waiting_ ? waiting_at_ + 1.0 / 25 : 0)
                                               : packets_.input().seconds(time);
            if (std::isnan(first_)) first_ = at;
            at -= first_;
            ++decoded_;
            if (has_waiting_) {
                if (at <= waiting_at_) at = waiting_at_ + 1e-6; // broken times: keep the order of decoding
                settle(at);
                av_frame_unref(waiting_.get());
            }
            av_frame_move_ref(waiting_.get(), frame_.get());
            waiting_at_ = at;
            has_waiting_ = true;
        }
    }
    void settle(double until) { // decides on the frame that waits
        const int wanted = wanted_(waiting_at_, until);
        if (wanted < 1 || !to_rgb_.convert(*waiting_, shown_.image)) return;
        if (rotation_ != 0) shown_.image = turn(shown_.image, rotation_);
        shown_.seconds = waiting_at_;
        for (int i = 0; i < wanted && more_; ++i) more_ = keep_(shown_);
    }

    const std::string& path_;
    const MediaLimits& limits_;
    Packets& packets_;
    Wanted wanted_;
    MediaLibrary::FrameVisitor keep_;
    std::unique_ptr<AVCodecContext, CodecDelete> decoder_;
    int rotation_ = 0;
    FramePtr frame_{av_frame_alloc()}, waiting_{av_frame_alloc()};
    VideoFrame shown_;
    ToRgb to_rgb_;
    double waiting_at_ = 0, first_ = std::numeric_limits<double>::quiet_NaN();
    bool has_waiting_ = false, more_ = true;
    int64_t decoded_ = 0;
};

} // namespace

void decode_all(const std::string& path, const MediaLimits& limits, const MediaLibrary::FrameVisitor& visit) {
    Packets packets(path, limits);
    auto every = [](double, double) { return 1; };
    Decoding(path, limits, packets, every, visit).run({});
}

std::vector<VideoFrame> decode_at(const std::string& path, const MediaLimits& limits,
                                  const FrameTimes& times_of) {
    Packets packets(path, limits);
    const std::vector<Packets::Time>& packet_times = packets.scan();
    const std::vector<double> times = times_of(packets.length());
    const std::vector<bool> needed = needed_packets(packet_times, packets.input(), times);
    size_t next = 0;
    std::vector<VideoFrame> frames;
    auto wanted = [&](double, double until) {
        int count = 0;
        for (; next < times.size() && times[next] < until; ++next) ++count;
        return count;
    };
    auto keep = [&](const VideoFrame& frame) {
        if (static_cast<int64_t>(frames.size()) >= limits.max_frames)
            throw Error::data(path, ": more than ", limits.max_frames, " frames would be kept");
        frames.push_back(frame);
        return frames.size() < times.size(); // nothing behind the last time is decoded
    };
    Decoding(path, limits, packets, wanted, keep).run(needed);
    return frames;
}

VideoInfo probe_video(const std::string& path) {
    Input input(path, 60);
    const AVCodecParameters& codec = *input.stream()->codecpar;
    VideoInfo info;
    info.rotation = input.rotation();
    info.width = info.rotation % 180 == 0 ? codec.width : codec.height;
    info.height = info.rotation % 180 == 0 ? codec.height : codec.width;
    info.codec = avcodec_get_name(codec.codec_id);
    info.container = input.context()->iformat->name;
    if (input.stream()->duration != AV_NOPTS_VALUE) info.seconds = input.seconds(input.stream()->duration);
    AVRational rate = input.stream()->avg_frame_rate;
    if (rate.num > 0 && rate.den > 0) info.frames_per_second = av_q2d(rate);
    return info;
}

std::string ffmpeg_version() { return cat("FFmpeg ", av_version_info(), " (", avcodec_license(), ")"); }

namespace {

void write_packets(AVCodecContext* encoder, AVFormatContext* out, AVStream* stream, const AVFrame* frame,
                   const std::string& path) {
    PacketPtr packet(av_packet_alloc());
    int code = avcodec_send_frame(encoder, frame);
    while (code >= 0 && (code = avcodec_receive_packet(encoder, packet.get())) == 0) {
        packet->duration = 1; // else an MP4's edit list ends before its last frame
        av_packet_rescale_ts(packet.get(), encoder->time_base, stream->time_base);
        packet->stream_index = stream->index;
        code = av_interleaved_write_frame(out, packet.get());
    }
    if (code < 0 && code != AVERROR(EAGAIN) && code != AVERROR_EOF)
        throw Error::resources(path, ": cannot write video (", reason(code), ")");
}

void fill(AVFrame& frame, const Image& image, SwsContext* scale, int64_t number) {
    av_frame_make_writable(&frame);
    const uint8_t* planes[4] = {image.rgb.data()};
    int strides[4] = {image.width * 3};
    sws_scale(scale, planes, strides, 0, image.height, frame.data, frame.linesize);
    frame.pts = number;
}

} // namespace

void write_video_file(const std::string& path, const std::vector<Image>& frames, double frames_per_second) {
    if (frames.empty()) throw Error::internal(path, ": a video needs a frame");
    AVFormatContext* raw = nullptr;
    if (avformat_alloc_output_context2(&raw, nullptr, nullptr, path.c_str()) < 0)
        throw Error::config(path, ": no video container has this ending (mp4, avi, mkv)");
    struct Close {
        void operator()(AVFormatContext* c) const {
            if (c->pb) avio_closep(&c->pb);
            avformat_free_context(c);
        }
    };
    std::unique_ptr<AVFormatContext, Close> out(raw);
    const AVCodec* codec = avcodec_find_encoder(AV_CODEC_ID_MPEG4);
    AVStream* stream = avformat_new_stream(raw, nullptr);
    std::unique_ptr<AVCodecContext, CodecDelete> encoder(avcodec_alloc_context3(codec));
    encoder->width = frames[0].width;
    encoder->height = frames[0].height;
    encoder->time_base = av_d2q(1.0 / frames_per_second, 1 << 16);
    encoder->pix_fmt = AV_PIX_FMT_YUV420P;
    encoder->bit_rate = 4'000'000;
    encoder->flags |=
        AV_CODEC_FLAG_BITEXACT | (raw->oformat->flags & AVFMT_GLOBALHEADER ? AV_CODEC_FLAG_GLOBAL_HEADER : 0);
    raw->flags |= AVFMT_FLAG_BITEXACT;
    int code = avcodec_open2(encoder.get(), codec, nullptr);
    if (code < 0) throw Error::resources(path, ": the MPEG-4 encoder does not open (", reason(code), ")");
    avcodec_parameters_from_context(stream->codecpar, encoder.get());
    stream->time_base = encoder->time_base;
    code = avio_open(&raw->pb, path.c_str(), AVIO_FLAG_WRITE);
    if (code < 0 || (code = avformat_write_header(raw, nullptr)) < 0)
        throw Error::resources(path, ": cannot write (", reason(code), ")");
    std::unique_ptr<SwsContext, ScaleDelete> scale(
        sws_getContext(encoder->width, encoder->height, AV_PIX_FMT_RGB24, encoder->width, encoder->height,
                       AV_PIX_FMT_YUV420P, SWS_BICUBIC | SWS_ACCURATE_RND, nullptr, nullptr, nullptr));
    FramePtr frame(av_frame_alloc());
    frame->format = AV_PIX_FMT_YUV420P;
    frame->width = encoder->width;
    frame->height = encoder->height;
    if (av_frame_get_buffer(frame.get(), 0) < 0) throw std::bad_alloc();
    for (size_t i = 0; i < frames.size(); ++i) {
        if (frames[i].width != encoder->width || frames[i].height != encoder->height)
            throw Error::internal(path, ": frames differ in size");
        fill(*frame, frames[i], scale.get(), static_cast<int64_t>(i));
        write_packets(encoder.get(), raw, stream, frame.get(), path);
    }
    write_packets(encoder.get(), raw, stream, nullptr, path);
    if ((code = av_write_trailer(raw)) < 0)
        throw Error::resources(path, ": cannot write (", reason(code), ")");
}

} // namespace dorabench
