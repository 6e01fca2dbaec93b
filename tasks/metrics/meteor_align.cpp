#include "tasks/metrics/meteor_align.h"

#include <algorithm>
#include <cstdlib>

namespace dorabench {

namespace {

constexpr size_t kBeam = 40;
constexpr int kNone = -1;

struct Path {                               // a partial alignment, done up to reference word `done`
    std::vector<int> chosen;                // per reference word: the match that starts there, or kNone
    std::vector<char> candidate, reference; // words in use
    size_t done = 0;
    int last_end = kNone; // where in the candidate the open chunk would go on
    int covered = 0, chunks = 0, distance = 0;
};

bool better(const Path& a, const Path& b) {
    if (a.covered != b.covered) return a.covered > b.covered;
    if (a.chunks != b.chunks) return a.chunks < b.chunks;
    return a.distance < b.distance;
}

class Search {
public:
    Search(size_t candidate_words, size_t reference_words, const std::vector<MeteorMatch>& matches)
        : matches_(matches), at_(reference_words), candidate_words_(candidate_words) {
        for (size_t i = 0; i < matches.size(); ++i) at_[matches[i].reference].push_back(static_cast<int>(i));
    }

    MeteorAlignment run() {
        std::vector<Path> paths{start()}, next;
        for (size_t position = 0; position <= at_.size(); ++position) {
            std::stable_sort(paths.begin(), paths.end(), better);
            next.clear();
            for (size_t rank = 0; rank < std::min(kBeam, paths.size()); ++rank)
                advance(paths[rank], position, next);
            paths.swap(next);
        }
        std::stable_sort(paths.begin(), paths.end(), better);
        MeteorAlignment out;
        out.chunks = paths.front().chunks;
        for (int chosen : paths.front().chosen)
            if (chosen != kNone) out.matches.push_back(match(chosen));
        return out;
    }

private:
    const std::vector<MeteorMatch>& matches_;
    std::vector<std::vector<int>> at_; // matches that start at a reference word
    size_t candidate_words_;

    const MeteorMatch& match(int i) const { return matches_[static_cast<size_t>(i)]; }

    // Matches without an alternative are taken from the start: alone at their place, alone over all their
    // words.
    Path start() const {
        std::vector<int> over_candidate(candidate_words_, 0), over_reference(at_.size(), 0);
        for (const MeteorMatch& m : matches_) {
            for (size_t i = 0; i < m.candidate_length; ++i) ++over_candidate[m.candidate + i];
            for (size_t i = 0; i < m.reference_length; ++i) ++over_reference[m.reference + i];
        }
        Path path;
        path.chosen.assign(at_.size(), kNone);
        path.candidate.assign(candidate_words_, 0);
        path.reference.assign(at_.size(), 0);
        for (const auto& here : at_) {
            if (here.size() != 1) continue;
            const MeteorMatch& m = match(here[0]);
            bool alone = true;
            for (size_t i = 0; i < m.candidate_length; ++i)
                alone = alone && over_candidate[m.candidate + i] == 1;
            for (size_t i = 0; i < m.reference_length; ++i)
                alone = alone && over_reference[m.reference + i] == 1;
            if (!alone) continue;
            path.chosen[m.reference] = here[0];
            use(path, m);
        }
        return path;
    }

    static void use(Path& path, const MeteorMatch& m) {
        std::fill_n(path.candidate.begin() + static_cast<std::ptrdiff_t>(m.candidate), m.candidate_length,
                    char(1));
        std::fill_n(path.reference.begin() + static_cast<std::ptrdiff_t>(m.reference), m.reference_length,
                    char(1));
    }
    static bool is_free(const Path& path, const MeteorMatch& m) {
        for (size_t i = 0; i < m.candidate_length; ++i)
            if (path.candidate[m.candidate + i]) return false;
        for (size_t i = 0; i < m.reference_length; ++i)
            if (path.reference[m.reference + i]) return false;
        return true;
    }
    static int distance(const MeteorMatch& m) {
        return std::abs(static_cast<int>(m.reference) - static_cast<int>(m.candidate));
    }
    // Half weights are cut to whole numbers at every addition: a single word that is not exact adds nothing.
    static int covered(const MeteorMatch& m) {
        int divisor = m.module == MeteorModule::exact ? 1 : 2;
        return static_cast<int>(m.candidate_length) / divisor +
               static_cast<int>(m.reference_length) / divisor;
    }
    static void take(Path& path, const MeteorMatch& m) {
        path.covered += covered(m);
        if (path.last_end != kNone && path.last_end != static_cast<int>(m.candidate)) ++path.chunks;
        path.last_end = static_cast<int>(m.candidate + m.candidate_length);
        path.done = m.reference + m.reference_length;
    }

    void advance(Path& path, size_t position, std::vector<Path>& next) const {
        if (position == at_.size()) {
            if (path.last_end != kNone) ++path.chunks;
            path.last_end = kNone;
            next.push_back(std::move(path));
            return;
        }
        if (path.done > position) { // within a longer match
            next.push_back(std::move(path));
            return;
        }
        if (int fixed = path.chosen[position]; fixed != kNone) {
            take(path, match(fixed));
            path.distance += distance(match(fixed));
            next.push_back(std::move(path));
            return;
        }
        for (int i : at_[position]) {
            if (!is_free(path, match(i))) continue;
            Path child = path;
            child.chosen[position] = i;
            use(child, match(i));
            take(child, match(i));
            next.push_back(std::move(child));
            path.distance +=
                distance(match(i)); // as in the original: counted for the paths that come after the child
        }
        if (path.last_end != kNone) {
            ++path.chunks;
            path.last_end = kNone;
        }
        path.done = position + 1;
        next.push_back(std::move(path));
    }
};

} // namespace

MeteorAlignment align_meteor(size_t candidate_words, size_t reference_words,
                             const std::vector<MeteorMatch>& matches) {
    return Search(candidate_words, reference_words, matches).run();
}

} // namespace dorabench
