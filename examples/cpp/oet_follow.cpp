// Runs a script on an OetDevice and follows it to its end, by events alone; or stops it half-way.
//
//     oet_follow run  mid-oet/subarray/01 file://scan.py '{"duration": 2}'
//     oet_follow stop mid-oet/subarray/01 file://scan.py '{"duration": 60}'
//
// Exit status: 0 COMPLETE, 1 FAILED or UNKNOWN, 2 wrong arguments, 3 refused, 4 STOPPED.

#include <tango.h>

#include <condition_variable>
#include <deque>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

using nlohmann::json;

namespace {

// Asks a command with JSON, or with whatever Tango type it takes, and returns the JSON that it answers.
template <typename Argument>
json ask(Tango::DeviceProxy &device, const char *command, Argument argument) {
    Tango::DeviceData given;
    given << argument;
    Tango::DeviceData told = device.command_inout(command, given);
    std::string text;
    told >> text;
    return json::parse(text);
}

// What Tango's own threads hear; the main thread takes it out, and it alone asks the device.
class News : public Tango::CallBack {
public:
    // Tells lifecycle events, and the newest sequence number, which the device repeats a second later: should the very
    // first events have reached nobody, because Tango was still making the connection, it shows that there were some.
    void push_event(Tango::EventData *data) override {
        if (data->err) {
            return;  // the server is being started anew, say: Tango's library subscribes again by itself
        }
        std::lock_guard<std::mutex> guard(lock_);
        if (data->attr_value->get_type() == Tango::DEV_STRING) {
            std::string text;
            *data->attr_value >> text;
            news_.push_back(json::parse(text));
        } else {
            Tango::DevLong64 newest = 0;
            *data->attr_value >> newest;
            news_.push_back(newest);
        }
        arrived_.notify_one();
    }

    json next() {
        std::unique_lock<std::mutex> guard(lock_);
        arrived_.wait(guard, [this] { return !news_.empty(); });
        json first = std::move(news_.front());
        news_.pop_front();
        return first;
    }

private:
    std::mutex lock_;
    std::condition_variable arrived_;
    std::deque<json> news_;
};

// All lifecycle events of a device from now on: in order, each once, none missed.
class Follower {
public:
    explicit Follower(Tango::DeviceProxy &device) : device_(device) {
        Tango::DeviceAttribute newest = device.read_attribute("lifecycleSequence");
        newest >> last_;
        for (const char *name : {"lifecycleEvent", "lifecycleSequence"}) {
            subscriptions_.push_back(device.subscribe_event(name, Tango::CHANGE_EVENT, &news_));
        }
    }

    ~Follower() {
        for (int subscription : subscriptions_) {
            device_.unsubscribe_event(subscription);
        }
    }

    Follower(const Follower &) = delete;
    Follower &operator=(const Follower &) = delete;

    json next() {
        while (true) {
            if (!waiting_.empty()) {
                json event = std::move(waiting_.front());
                waiting_.pop_front();
                last_ = event["sequence"];
                return event;
            }
            const json news = news_.next();
            const bool is_event = news.is_object() && !news.empty();  // {}: there has been none yet
            const Tango::DevLong64 number = is_event ? news["sequence"].get<Tango::DevLong64>()
                                            : news.is_number() ? news.get<Tango::DevLong64>() : 0;
            if (is_event && number == last_ + 1) {
                waiting_.push_back(news);
            } else if (number > last_) {  // numbers have no gaps: some were missed
                for (const json &missed : ask(device_, "LifecycleEvents", last_)) {
                    waiting_.push_back(missed);
                }
            }
        }
    }

private:
    Tango::DeviceProxy &device_;
    News news_;
    std::vector<int> subscriptions_;
    std::deque<json> waiting_;
    Tango::DevLong64 last_ = 0;
};

int status_of(const std::string &state) {
    return state == "COMPLETE" ? 0 : state == "STOPPED" ? 4 : state == "FAILED" || state == "UNKNOWN" ? 1 : -1;
}

int follow(Tango::DeviceProxy &device, const std::string &script, const json &kwargs, bool stops) {
    Follower events(device);  // before anything is asked for: nothing is missed
    const json source = {{"script_type", "filesystem"}, {"script_uri", script}};
    const json prepared = ask(device, "Prepare", json{{"script", source}, {"user", "oet_follow"}}.dump());
    const int id = prepared["id"];
    std::cout << "procedure " << id << " of " << prepared["uri"].get<std::string>() << std::endl;
    bool is_started = false;
    while (true) {
        const json event = events.next();
        if (event["process_uid"] != id) {
            continue;
        }
        const std::string state = event["state"];
        std::cout << event["sequence"] << " " << state;
        if (!event["reason"].is_null()) {
            std::cout << ": " << event["reason"].get<std::string>();
        }
        std::cout << std::endl;
        if (state == "READY" && !is_started) {
            is_started = true;
            ask(device, "Start", json{{"process_uid", id}, {"run_args", {{"kwargs", kwargs}}}}.dump());
        } else if (state == "RUNNING" && stops) {
            ask(device, "Stop", json{{"process_uid", id}, {"reason", "oet_follow was to stop it"}}.dump());
        } else if (status_of(state) >= 0) {
            return status_of(state);
        }
    }
}

}  // namespace

int main(int argc, char **argv) {
    const std::string mode = argc > 1 ? argv[1] : "";
    if (argc < 4 || argc > 5 || (mode != "run" && mode != "stop")) {
        std::cerr << "usage: oet_follow run|stop DEVICE SCRIPT [KWARGS]" << std::endl;
        return 2;
    }
    const json kwargs = argc > 4 ? json::parse(argv[4], nullptr, false) : json::object();
    if (!kwargs.is_object()) {
        std::cerr << "oet_follow: KWARGS is no JSON object" << std::endl;
        return 2;
    }
    try {
        Tango::DeviceProxy device(argv[2]);
        return follow(device, argv[3], kwargs, mode == "stop");
    } catch (const Tango::DevFailed &failure) {  // the reason says what kind of refusal it is, see the contract
        std::cerr << "oet_follow: " << failure.errors[0].reason << ": " << failure.errors[0].desc << std::endl;
        return 3;
    }
}
