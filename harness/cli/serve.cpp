// serve: the report page over the store while runs go on. Read-only, on 127.0.0.1 alone. A request's path is
// compared with three fixed texts and never becomes a file name; a Host header that is not this machine's own
// is refused, so that no page of another site can read results by a name that it has pointed at 127.0.0.1.
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "harness/cli/commands.h"
#include "harness/cli/execute.h"
#include "harness/page/page.h"
#include "harness/page/progress.h"
#include <httplib.h>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

namespace dorabench {
namespace {

constexpr const char* kHost = "127.0.0.1";

// Made anew when the store has changed; a page of 200 runs takes seconds to make.
class LivePage {
public:
    explicit LivePage(std::string results) : results_(std::move(results)) {}
    std::string html() {
        std::lock_guard<std::mutex> hold(mutex_);
        std::string stamp = store_stamp(results_);
        if (html_.empty() || stamp != stamp_) {
            html_ = report_page(read_runs(results_), {true, stamp, "dora-bench: " + results_});
            stamp_ = stamp;
        }
        return html_;
    }

private:
    std::string results_, stamp_, html_;
    std::mutex mutex_;
};

bool own_host(const httplib::Request& request, int port) {
    std::string host = request.get_header_value("Host");
    for (const char* name : {kHost, "localhost"})
        if (host == name || host == cat(name, ":", port)) return true;
    return false;
}

void add_routes(httplib::Server& server, LivePage& page, const std::string& results, const int& port) {
    server.set_pre_routing_handler([&port](const httplib::Request& request, httplib::Response& response) {
        response.set_header("X-Content-Type-Options", "nosniff");
        response.set_header("Cache-Control", "no-store");
        response.set_header("Referrer-Policy", "no-referrer");
        if (!own_host(request, port)) {
            response.status = 403;
            response.set_content("this server answers to 127.0.0.1 and localhost alone\n", "text/plain");
            return httplib::Server::HandlerResponse::Handled;
        }
        if (request.method != "GET" && request.method != "HEAD") {
            response.status = 405;
            response.set_header("Allow", "GET, HEAD");
            response.set_content("this server only reads\n", "text/plain");
            return httplib::Server::HandlerResponse::Handled;
        }
        return httplib::Server::HandlerResponse::Unhandled;
    });
    server.Get("/", [&page](const httplib::Request&, httplib::Response& response) {
        response.set_content(page.html(), "text/html; charset=utf-8");
    });
    server.Get("/progress\\.json", [results](const httplib::Request&, httplib::Response& response) {
        response.set_content(
            progress_of(results).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
            "application/json");
    });
    server.set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, std::exception_ptr thrown) {
            std::string what = "unknown";
            try {
                std::rethrow_exception(thrown);
            } catch (const std::exception& error) {
                what = error.what();
            } catch (...) {
            }
            log::warning("serve: ", what);
            response.status = 500;
            response.set_content("the report could not be made: " + what + "\n", "text/plain; charset=utf-8");
        });
}

} // namespace

int serve_command(const ServeOptions& options, const Globals&) {
    if (!is_folder(options.results + "/runs"))
        throw Error::data(options.results,
                          ": expected a results folder with runs/, found none; give it with --results");
    httplib::Server server;
    LivePage page(options.results);
    int port = options.port;
    add_routes(server, page, options.results, port);
    if (port == 0)
        port = server.bind_to_any_port(kHost);
    else if (!server.bind_to_port(kHost, port))
        port = -1;
    if (port < 0)
        throw Error::resources("--port ", options.port, ": expected a free port of ", kHost,
                               ", it is taken; another one, or 0 for any");
    watch_stop_signals(); // before the address is printed: whoever reads it may stop the server at once
    std::cout << "http://" << kHost << ":" << port << "/\n" << std::flush;
    std::thread watcher([&server] { // the server has no signal-safe stop of its own
        while (stop_requests() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
        server.stop();
    });
    bool stopped = server.listen_after_bind();
    watcher.detach();
    if (!stopped && stop_requests() == 0) throw Error::resources("serve: the server ended unexpectedly");
    return 0;
}

} // namespace dorabench
