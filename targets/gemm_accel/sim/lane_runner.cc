// There are fewer threads than lanes. Where a lane has to wait, its thread takes up any other that nobody works on: what
// it waits for may be the next step of one whose thread the operating system has put aside.
#include "lane_runner.h"

#include <atomic>
#include <chrono>
#include <deque>
#include <exception>
#include <thread>


namespace nmc {

namespace {

// A lane as it is executed. Each has cache lines of its own: they change all the time.
struct alignas(128) Course {
  Course(const std::vector<Lane>& lanes, size_t lane, const isa::Machine& machine, Memories& memories)
      : steps(lanes[lane]), state(machine, memories, lane) {}

  bool ended() const { return complete.load(std::memory_order_acquire) == static_cast<int32_t>(steps.size()); }

  const Lane& steps;
  State state;
  std::atomic<int32_t> complete{0};
  std::atomic<bool> taken{false};
};

// How long a thread waits in vain. Where other programs need the processors, a thread is put aside with its step half
// done, and the others wait longer than a step ever takes: then one thread alone is faster.
class Patience {
 public:
  bool ends() {
    constexpr int kEager = 4096;  // attempts before the processor goes to whoever needs it
    constexpr auto kLongest = std::chrono::milliseconds(2);
    if (++attempts_ < kEager) return false;
    if (attempts_ == kEager) since_ = Clock::now();
    std::this_thread::yield();
    return Clock::now() - since_ > kLongest;
  }

 private:
  using Clock = std::chrono::steady_clock;

  int64_t attempts_ = 0;
  Clock::time_point since_;
};

class Runner {
 public:
  Runner(const std::vector<Lane>& lanes, const Program& program, Memories& memories) : program_(program) {
    for (size_t lane = 0; lane < lanes.size(); ++lane) courses_.emplace_back(lanes, lane, program.machine, memories);
  }

  // Works until every lane is at its end, or one has failed; a thread but the first also until the machine is crowded.
  void work(size_t home) {
    size_t lane = home;
    for (Patience patience; !failed_.load(std::memory_order_relaxed);) {
      if (advance(courses_[lane])) patience = {};
      lane = (lane + 1) % courses_.size();
      if (lane == home && all_ended()) return;
      if (patience.ends()) crowded_ = true;
      if (home > 0 && crowded_.load(std::memory_order_relaxed)) return;
    }
  }

  bool failed() const { return failed_; }

 private:
  bool all_ended() const {
    for (const Course& course : courses_) {
      if (!course.ended()) return false;
    }
    return true;
  }

  bool may_begin(const Step& step) const {
    for (size_t lane = 0; lane < courses_.size(); ++lane) {
      if (courses_[lane].complete.load(std::memory_order_acquire) < step.after[lane]) return false;
    }
    return true;
  }

  bool waits(const Course& course) const {
    const int32_t next = course.complete.load(std::memory_order_acquire);
    return next == static_cast<int32_t>(course.steps.size()) || !may_begin(course.steps[static_cast<size_t>(next)]);
  }

  // Executes a lane's steps up to one that has to wait; false if there was none to execute, or another thread does.
  bool advance(Course& course) {
    if (waits(course)) return false;  // known without taking it from a thread that could go on
    if (course.taken.load(std::memory_order_relaxed) || course.taken.exchange(true, std::memory_order_acquire)) {
      return false;
    }
    const int32_t first = course.complete.load(std::memory_order_relaxed);
    int32_t next = first;
    try {
      for (; next < static_cast<int32_t>(course.steps.size()); ++next) {
        const Step& step = course.steps[static_cast<size_t>(next)];
        if (!may_begin(step)) break;
        execute(program_.commands[static_cast<size_t>(step.command)], course.state);
        course.complete.store(next + 1, std::memory_order_release);
      }
    } catch (const std::exception&) {  // of whatever kind: the list alone says which command is at fault
      failed_ = true;
    }
    course.taken.store(false, std::memory_order_release);
    return next > first;
  }

  const Program& program_;
  std::deque<Course> courses_;
  std::atomic<bool> failed_{false};
  std::atomic<bool> crowded_{false};
};

}  // namespace

bool run_lanes(const std::vector<Lane>& lanes, const Program& program, Memories& memories) {
  Runner runner(lanes, program, memories);
  std::vector<std::thread> threads;
  for (size_t home = 1; home + kSpareLanes < lanes.size(); ++home) {
    threads.emplace_back([&runner, home] { runner.work(home); });
  }
  runner.work(0);
  for (std::thread& thread : threads) thread.join();
  return !runner.failed();
}

}  // namespace nmc
