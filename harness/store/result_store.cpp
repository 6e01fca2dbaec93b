// The index: SQLite over the run folders. Writers take turns (WAL, busy timeout, immediate transactions);
// opening, moving a damaged file aside and creating the tables happen under a file lock, since SQLite's busy
// handler does not cover them.
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "harness/store/store.h"
#include <SQLiteCpp/SQLiteCpp.h>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dorabench {
namespace {

namespace fs = std::filesystem;
constexpr int kBusyMilliseconds = 60000;

const char* const kTables = R"sql(
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, schema_version INTEGER NOT NULL, name TEXT, status TEXT, error TEXT, backend TEXT, backbone TEXT,
    method TEXT, rank INTEGER, seed INTEGER, trainable INTEGER, total INTEGER, percent_of_total REAL, stored_bytes INTEGER,
    peak_memory_bytes INTEGER, train_seconds REAL, learning_rate REAL, average REAL, partial INTEGER, commit_hash TEXT,
    device TEXT, started TEXT, seedless_group TEXT, settings TEXT);
CREATE TABLE IF NOT EXISTS cells (
    run TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE, task TEXT NOT NULL, metric TEXT NOT NULL, is_primary INTEGER,
    value REAL, stderr REAL, ci95_low REAL, ci95_high REAL, n INTEGER, unparsed INTEGER, chance REAL,
    PRIMARY KEY (run, task, metric)) WITHOUT ROWID;
)sql";

class FileLock { // blocks; given back at the end of the scope or of the process
public:
    explicit FileLock(const std::string& path)
        : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
        if (fd_ < 0)
            throw Error::resources(path, ": the results folder must be writable, cannot open the lock: ",
                                   std::strerror(errno), "; give another folder with results=DIR");
        while (::flock(fd_, LOCK_EX) != 0)
            if (errno != EINTR) {
                int reason = errno;
                ::close(fd_);
                throw Error::resources(path, ": cannot lock the results folder: ", std::strerror(reason));
            }
    }
    ~FileLock() { ::close(fd_); }
    FileLock(const FileLock&) = delete;

private:
    int fd_;
};

bool is_damage(const SQLite::Exception& error) {
    int code = error.getErrorCode() & 0xff;
    return code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_FORMAT;
}

Error resources_error(const std::string& path, const SQLite::Exception& error) {
    return Error::resources(path, ": the index of results must be writable: ", error.what(),
                            "; results.sqlite can be deleted, it is rebuilt from the run folders");
}

uint64_t inode_of(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_ino) : 0;
}

void bind_real(SQLite::Statement& row, const char* name, double value, bool present) {
    if (present && std::isfinite(value))
        row.bind(name, value);
    else
        row.bind(name);
}

} // namespace

struct ResultStore::Index {
    explicit Index(const std::string& results) : folder(results), file(results + "/results.sqlite") {
        open();
    }

    void open() {
        FileLock lock(folder + "/.index.lock");
        try {
            open_unlocked();
        } catch (const SQLite::Exception& error) {
            if (!is_damage(error)) throw resources_error(file, error);
            move_aside(error.what());
            try {
                open_unlocked();
            } catch (const SQLite::Exception& again) {
                throw resources_error(file, again);
            }
        }
    }

    // An index of another schema version counts as one to be built anew.
    void open_unlocked() {
        database.reset();
        database = std::make_unique<SQLite::Database>(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE,
                                                      kBusyMilliseconds);
        database->exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;");
        SQLite::Statement check(*database, "PRAGMA quick_check(1)");
        if (!check.executeStep() || check.getColumn(0).getString() != "ok")
            throw SQLite::Exception("quick_check failed", SQLITE_CORRUPT);
        int version = database->execAndGet("PRAGMA user_version").getInt();
        if (version != kSchemaVersion) {
            SQLite::Transaction all(*database, SQLite::TransactionBehavior::IMMEDIATE);
            database->exec(
                "DROP TABLE IF EXISTS cells; DROP TABLE IF EXISTS runs; DROP TABLE IF EXISTS meta;");
            database->exec(kTables);
            database->exec(cat("INSERT INTO meta VALUES ('schema_version', '", kSchemaVersion, "')"));
            database->exec(cat("PRAGMA user_version=", kSchemaVersion));
            for (const RunRecord& record : read_runs(folder)) put(record);
            all.commit();
        }
        inode = inode_of(file);
    }

    void move_aside(const std::string& reason) {
        database.reset();
        std::string to;
        for (int i = 1; to.empty() || exists(to); ++i) to = cat(file, ".damaged-", i);
        std::error_code failed;
        fs::rename(file, to, failed);
        if (failed)
            throw Error::resources(file, ": the index is damaged (", reason,
                                   ") and cannot be moved aside: ", failed.message());
        for (const char* side : {"-wal", "-shm"}) fs::remove(file + side, failed);
        log::warning(file, ": the index was damaged (", reason, "); moved to ", to,
                     " and rebuilt from the run folders");
    }

    void put(const RunRecord& record);

    // Runs f in a write transaction; another process may have moved the file aside since it was opened.
    template <typename F>
    void write(const F& f) {
        for (int attempt = 0;; ++attempt) {
            if (!database || inode_of(file) != inode) open();
            try {
                SQLite::Transaction transaction(*database, SQLite::TransactionBehavior::IMMEDIATE);
                f();
                transaction.commit();
                return;
            } catch (const SQLite::Exception& error) {
                if (!is_damage(error) || attempt > 0) throw resources_error(file, error);
                FileLock lock(folder + "/.index.lock");
                if (inode_of(file) == inode) move_aside(error.what());
                database.reset();
            }
        }
    }

    std::string folder, file;
    uint64_t inode = 0;
    std::unique_ptr<SQLite::Database> database;
};

void ResultStore::Index::put(const RunRecord& record) {
    SQLite::Statement row(
        *database, R"sql(INSERT OR REPLACE INTO runs VALUES (:id, :version, :name, :status, :error, :backend,
        :backbone, :method, :rank, :seed, :trainable, :total, :percent, :stored, :peak, :seconds, :rate, :average, :partial,
        :commit, :device, :started, :group, :settings))sql");
    row.bind(":id", record.id);
    row.bind(":version", kSchemaVersion);
    const std::pair<const char*, const std::string&> texts[] = {
        {":name", record.name},       {":status", record.status},     {":error", record.error},
        {":backend", record.backend}, {":backbone", record.backbone}, {":method", record.method},
        {":commit", record.commit},   {":device", record.device},     {":started", record.started},
        {":group", record.group}};
    for (const auto& [name, text] : texts) {
        if (text.empty())
            row.bind(name);
        else
            row.bind(name, text);
    }
    const std::pair<const char*, int64_t> counts[] = {{":trainable", record.trainable},
                                                      {":total", record.total},
                                                      {":stored", record.stored_bytes},
                                                      {":peak", record.peak_memory_bytes}};
    for (const auto& [name, count] : counts) row.bind(name, count);
    if (record.rank > 0)
        row.bind(":rank", record.rank);
    else
        row.bind(":rank");
    row.bind(":seed", static_cast<int64_t>(record.seed));
    row.bind(":partial", record.partial ? 1 : 0);
    bind_real(row, ":percent", record.percent_of_total, record.total > 0);
    bind_real(row, ":seconds", record.train_seconds, record.train_seconds > 0);
    bind_real(row, ":rate", record.learning_rate, record.learning_rate > 0);
    bind_real(row, ":average", record.average, record.has_average);
    row.bind(":settings",
             nlohmann::json(record.settings).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    row.exec();

    SQLite::Statement gone(*database, "DELETE FROM cells WHERE run = ?");
    gone.bind(1, record.id);
    gone.exec();
    SQLite::Statement cell(
        *database, R"sql(INSERT INTO cells VALUES (:run, :task, :metric, :primary, :value, :stderr, :low,
        :high, :n, :unparsed, :chance))sql");
    for (const auto& [task, result] : record.tasks)
        for (const auto& [metric, measured] : result.metrics) {
            cell.bind(":run", record.id);
            cell.bind(":task", task);
            cell.bind(":metric", metric);
            cell.bind(":primary", metric == result.primary ? 1 : 0);
            bind_real(cell, ":value", measured.value, !measured.missing);
            bind_real(cell, ":stderr", measured.stderr_, !measured.missing);
            bind_real(cell, ":low", measured.ci_low, !measured.missing);
            bind_real(cell, ":high", measured.ci_high, !measured.missing);
            cell.bind(":n", measured.n);
            cell.bind(":unparsed", result.unparsed);
            bind_real(cell, ":chance", result.chance, result.has_chance);
            cell.exec();
            cell.reset();
        }
}

ResultStore::ResultStore(const std::string& results) : path_(results) {
    while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
    make_folder(path_ + "/runs");
    if (::access(path_.c_str(), W_OK) != 0)
        throw Error::resources(path_, ": the results folder must be writable: ", std::strerror(errno),
                               "; give another one with results=DIR");
    index_ = std::make_unique<Index>(path_);
}

ResultStore::~ResultStore() = default;

void ResultStore::index(const std::string& run_id) {
    RunRecord record = read_run(path_ + "/runs/" + run_id);
    index_->write([&] { index_->put(record); });
}

void ResultStore::rebuild() {
    std::vector<RunRecord> records = read_runs(path_);
    index_->write([&] {
        index_->database->exec("DELETE FROM cells; DELETE FROM runs;");
        for (const RunRecord& record : records) index_->put(record);
    });
}

std::vector<RunRecord> ResultStore::runs() const { return read_runs(path_); }

std::optional<RunRecord> ResultStore::find(const std::string& id_or_prefix) const {
    return find_run(path_, id_or_prefix);
}

} // namespace dorabench
