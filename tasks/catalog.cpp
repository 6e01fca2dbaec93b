#include "tasks/catalog.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/image_task.h"
#include "tasks/media_task.h"
#include "tasks/spec.h"
#include "tasks/templates.h"
#include "tasks/text_task.h"
#include "tasks/training_data.h"
#include <algorithm>
#include <filesystem>

namespace dorabench {

namespace {

namespace fs = std::filesystem;

bool is_spec_file(const std::string& name) {
    return (ends_with(name, ".yaml") || ends_with(name, ".yml")) && exists(name) && !is_folder(name);
}

std::vector<std::string> spec_files(const std::string& folder) {
    if (!is_folder(folder))
        throw Error::config("expected the task specs in ", folder,
                            ", found no such folder; is the program installed whole?");
    std::vector<std::string> out;
    for (const auto& entry :
         fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink)) {
        bool part = entry.path().parent_path().filename() == "parts"; // included, never a task by itself
        if (!part && entry.is_regular_file() && entry.path().extension() == ".yaml")
            out.push_back(entry.path().string());
    }
    std::sort(out.begin(), out.end());
    return out;
}

std::vector<TrainingPair> pairs_of(const TaskSpec& spec, const TaskOptions& options) {
    if (spec.kind == TaskKind::image_qa)
        throw Error::config("train.data: ", spec.name,
                            " is an evaluation alone; training conversations are a .json "
                            "or .jsonl file");
    return is_media_kind(spec.kind) ? media_training_pairs(spec, options)
                                    : spec_training_pairs(spec, options);
}

// What is not a task's name is a file: as it stands, or below data_dir.
std::string training_file(const std::string& name, const std::string& data_dir) {
    for (const std::string& path : {name, (fs::path(data_dir) / name).string()})
        for (const std::string& form : {path, path + ".gz"})
            if (exists(form) && !is_folder(form)) return form;
    return "";
}

} // namespace

struct TaskCatalog::Impl {
    std::vector<TaskSpec> specs;
    std::vector<TaskFactory> factories; // of plug-ins

    const TaskFactory* factory(const std::string& name) const {
        for (const TaskFactory& factory : factories)
            if (factory.name == name || (!factory.alias.empty() && factory.alias == name)) return &factory;
        return nullptr;
    }
    const TaskSpec* find(const std::string& name) const {
        for (const TaskSpec& spec : specs)
            if (spec.name == name || (!spec.alias.empty() && spec.alias == name)) return &spec;
        return nullptr;
    }
};

TaskCatalog::TaskCatalog(const std::string& specs_folder) {
    auto impl = std::make_shared<Impl>();
    for (const std::string& file : spec_files(specs_folder)) {
        TaskSpec spec = read_task_spec(file);
        for (const std::string& name : {spec.name, spec.alias})
            if (const TaskSpec* other = name.empty() ? nullptr : impl->find(name))
                throw Error::config(file, ": the name \"", name, "\" is taken by ", other->origin);
        impl->specs.push_back(std::move(spec));
    }
    impl_ = std::move(impl);
}

void TaskCatalog::add(const TaskFactory& factory) {
    for (const std::string& name : {factory.name, factory.alias}) {
        if (name.empty()) continue;
        const TaskFactory* other = impl_->factory(name);
        if (other && other->name == factory.name && other->origin == factory.origin) return;
        const TaskSpec* spec = impl_->find(name);
        if (other || spec)
            throw Error(ErrorKind::plugin,
                        cat("two tasks are called \"", name, "\": ", other ? other->origin : spec->origin,
                            " and ", factory.origin));
    }
    impl_->factories.push_back(factory);
}

std::vector<TaskInfo> TaskCatalog::tasks() const {
    std::vector<TaskInfo> out;
    for (const TaskSpec& spec : impl_->specs)
        out.push_back({spec.name, spec.alias, kind_name(spec.kind), spec.help, spec.origin});
    for (const TaskFactory& factory : impl_->factories)
        out.push_back({factory.name, factory.alias, factory.kind, factory.help, factory.origin});
    return out;
}

std::vector<std::string> TaskCatalog::names() const {
    std::vector<std::string> out;
    for (const TaskSpec& spec : impl_->specs) {
        out.push_back(spec.name);
        if (!spec.alias.empty()) out.push_back(spec.alias);
    }
    for (const TaskFactory& factory : impl_->factories) {
        out.push_back(factory.name);
        if (!factory.alias.empty()) out.push_back(factory.alias);
    }
    return out;
}

std::vector<std::string> TaskCatalog::template_names() const { return all_template_names(); }

bool TaskCatalog::has(const std::string& name) const {
    return impl_->find(name) || impl_->factory(name) || is_spec_file(name);
}

std::unique_ptr<Task> TaskCatalog::make(const std::string& name, const TaskOptions& options) const {
    if (const TaskFactory* factory = impl_->factory(name)) {
        if (!factory->make)
            throw Error::config("evaluate.tasks: ", factory->name, " is a training set, nothing to evaluate");
        return factory->make(options);
    }
    const TaskSpec* known = impl_->find(name);
    if (!known && !is_spec_file(name))
        throw Error::config("no task is called \"", name, "\"", did_you_mean(name, names()),
                            "; a task of your own is the path of its .yaml");
    TaskSpec spec = known ? *known : read_task_spec(name);
    if (spec.kind == TaskKind::training)
        throw Error::config("evaluate.tasks: ", spec.name, " is a training set, nothing to evaluate");
    if (spec.kind == TaskKind::image_qa) return std::make_unique<ImageTask>(spec, options);
    if (is_media_kind(spec.kind)) return std::make_unique<MediaTask>(spec, options);
    return std::make_unique<TextTask>(spec, options);
}

std::vector<TrainingPair> TaskCatalog::training_pairs(const std::string& task_or_file,
                                                      const TaskOptions& options) const {
    if (const TaskFactory* factory = impl_->factory(task_or_file)) {
        if (!factory->training_pairs)
            throw Error::config("train.data: ", factory->name, " has no training split");
        return factory->training_pairs(options);
    }
    if (const TaskSpec* known = impl_->find(task_or_file)) return pairs_of(*known, options);
    if (is_spec_file(task_or_file)) return pairs_of(read_task_spec(task_or_file), options);
    std::string file = training_file(task_or_file, options.data_dir);
    if (!file.empty())
        return read_training_file(file, {options.template_name, options.chat_template, options.data_dir});
    bool path = task_or_file.find('/') != std::string::npos || ends_with(task_or_file, ".json") ||
                ends_with(task_or_file, ".jsonl") || ends_with(task_or_file, ".gz");
    if (path)
        throw Error::data("train.data: no file ", task_or_file, ", nor one of that name in ",
                          options.data_dir);
    throw Error::config("train.data: no task and no file is called \"", task_or_file, "\"",
                        did_you_mean(task_or_file, names()));
}

void TaskCatalog::write_tokenizer(const std::string& task, const std::string& folder) const {
    const TaskSpec* spec = impl_->find(task);
    if (!spec) throw Error::config("no task is called \"", task, "\"", did_you_mean(task, names()));
    if (!spec->world) throw Error::config(task, " has no tokenizer of its own: expected a synthetic task");
    write_word_tokenizer(folder, world_tokenizer());
}

} // namespace dorabench
