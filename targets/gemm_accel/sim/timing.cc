#include "timing.h"

#include <algorithm>
#include <array>
#include <deque>
#include <optional>

#include "compute_units.h"
#include "cost.h"
#include "footprint.h"

namespace nmc {

namespace {

constexpr int kLoad = static_cast<int>(isa::Queue::kLoad);
constexpr int kCompute = static_cast<int>(isa::Queue::kCompute);
constexpr int kStore = static_cast<int>(isa::Queue::kStore);

const isa::Operand* source_of(const isa::Command& command) {
  if (const auto* each = std::get_if<isa::Hadamard>(&command)) return &each->a;
  if (const auto* each = std::get_if<isa::Add>(&command)) return &each->a;
  if (const auto* each = std::get_if<isa::Pwl>(&command)) return &each->a;
  return nullptr;
}

struct Queue {
  std::vector<size_t> commands;  // their places in the list
  size_t next = 0;
  int64_t time = 0;      // when its last command was issued, or let it go
  int64_t complete = 0;  // when all so far are complete
  std::deque<int64_t> transfers;  // when those that may be incomplete will be complete

  bool done() const { return next == commands.size(); }
};

// The next command of a queue: when it could start, and since when it asks.
struct Candidate {
  int queue;
  int64_t start, asked;

  bool before(const Candidate& other) const {
    return std::array<int64_t, 3>{start, asked, queue} < std::array<int64_t, 3>{other.start, other.asked, other.queue};
  }
};

class Simulation {
 public:
  Simulation(const Program& program, std::string_view constants)
      : program_(program),
        constants_(constants),
        units_(program.machine),
        signals_(static_cast<size_t>(program.machine.semaphores)) {
    timing_.commands.resize(program.commands.size());
    for (size_t i = 0; i < program.commands.size(); ++i) {
      if (!std::holds_alternative<isa::End>(program.commands[i])) {
        queues_[queue_of(program.commands[i])].commands.push_back(i);
      }
    }
  }

  // Always takes the command that can start first: nothing that happens later can make another start before it.
  Timing run() {
    while (true) {
      pass_semaphores();
      std::optional<Candidate> first;
      for (int queue = 0; queue < isa::kQueues; ++queue) {
        const std::optional<Candidate> candidate = candidate_of(queue);
        if (candidate && (!first || candidate->before(*first))) first = candidate;
      }
      if (!first) break;
      first->queue == kCompute ? compute() : transfer(*first);
    }
    for (const Queue& queue : queues_) timing_.cycles = std::max(timing_.cycles, queue.complete);
    timing_.commands.back().start = timing_.commands.back().end = timing_.cycles;  // END
    return std::move(timing_);
  }

 private:
  const isa::Command& head(const Queue& queue) const { return program_.commands[queue.commands[queue.next]]; }

  // Takes SIGNALs, and WAITs whose SIGNAL's time is known, off the front of all queues.
  void pass_semaphores() {
    for (bool passed = true; passed;) {
      passed = false;
      for (Queue& queue : queues_) passed = pass_semaphores(queue) || passed;
    }
  }

  // Whether one was taken.
  bool pass_semaphores(Queue& queue) {
    const size_t before = queue.next;
    for (; !queue.done(); ++queue.next) {
      CommandTiming& timing = timing_.commands[queue.commands[queue.next]];
      if (const auto* signal = std::get_if<isa::Signal>(&head(queue))) {
        timing.start = queue.time;
        timing.end = std::max(queue.time, queue.complete);
        signals_[signal->semaphore].push_back(timing.end);
      } else if (const auto* wait = std::get_if<isa::Wait>(&head(queue))) {
        std::deque<int64_t>& signals = signals_[wait->semaphore];
        if (signals.empty()) break;
        timing.start = queue.time;
        queue.time = timing.end = std::max(queue.time, signals.front());
        signals.pop_front();
      } else {
        break;
      }
    }
    return queue.next != before;
  }

  std::optional<Candidate> candidate_of(int which) {
    const Queue& queue = queues_[which];
    if (queue.done() || std::holds_alternative<isa::Wait>(head(queue))) return std::nullopt;
    if (which == kCompute) {
      if (!operation_) operation_ = next_operation();
      const ComputeUnits::Slot slot = units_.plan(*operation_, queue.time);
      return Candidate{which, slot.issue, slot.issue};
    }
    const size_t most = static_cast<size_t>(program_.machine.outstanding_transfers);
    int64_t asked = queue.time;
    if (queue.transfers.size() >= most) asked = std::max(asked, queue.transfers[queue.transfers.size() - most]);
    return Candidate{which, std::max(asked, port_free_), asked};
  }

  // The command at the head of the compute queue with those that take its stream.
  Operation next_operation() const {
    const Queue& queue = queues_[kCompute];
    const isa::Command& first = head(queue);
    Operation operation;
    operation.unit = std::holds_alternative<isa::Drain>(first) ? Operation::kDrain : Operation::kArray;
    operation.cycles = compute_cycles(first, program_.machine);
    operation.weights = weights_cost(first, program_.machine);
    operation.lines = delay_lines_of(first);
    for (size_t i = queue.next; i < chain_end(); ++i) {
      auto accesses = accesses_of(program_.commands[queue.commands[i]], program_, constants_);
      std::move(accesses.begin(), accesses.end(), std::back_inserter(operation.accesses));
    }
    return operation;
  }

  size_t chain_end() const {
    const Queue& queue = queues_[kCompute];
    size_t end = queue.next + 1;
    while (end < queue.commands.size()) {
      const isa::Operand* source = source_of(program_.commands[queue.commands[end]]);
      if (source == nullptr || source->address != isa::kStream) break;
      ++end;
    }
    return end;
  }

  void compute() {
    Queue& queue = queues_[kCompute];
    const ComputeUnits::Slot slot = units_.plan(*operation_, queue.time);
    units_.run(*operation_, slot);
    (operation_->unit == Operation::kArray ? timing_.array_cycles : timing_.drain_cycles) += operation_->cycles;
    const size_t end = chain_end();
    for (size_t i = queue.next; i < end; ++i) {
      timing_.commands[queue.commands[i]] = {slot.start, slot.end, i == queue.next ? operation_->cycles : 0, 0};
    }
    queue.next = end;
    queue.time = slot.issue;
    queue.complete = std::max(queue.complete, slot.end);
    operation_.reset();
  }

  void transfer(const Candidate& candidate) {
    Queue& queue = queues_[candidate.queue];
    const size_t place = queue.commands[queue.next++];
    const DramCost cost = dram_cost(program_.commands[place], program_, constants_);
    port_free_ = candidate.start + cost.beats;
    const int64_t end = port_free_ + cost.latencies * program_.machine.dram_latency_cycles;
    timing_.commands[place] = {candidate.start, end, cost.beats, cost.bytes};
    timing_.port_cycles += cost.beats;
    (candidate.queue == kLoad ? timing_.bytes_read : timing_.bytes_written) += cost.bytes;
    queue.time = candidate.asked;
    queue.complete = std::max(queue.complete, end);
    queue.transfers.push_back(queue.complete);
    const size_t most = static_cast<size_t>(program_.machine.outstanding_transfers);
    if (queue.transfers.size() > most) queue.transfers.pop_front();
  }

  const Program& program_;
  std::string_view constants_;
  ComputeUnits units_;
  Timing timing_;
  std::array<Queue, isa::kQueues> queues_;
  std::vector<std::deque<int64_t>> signals_;  // when each SIGNAL not yet waited for is done
  std::optional<Operation> operation_;        // the head of the compute queue, once it can be issued
  int64_t port_free_ = 0;
};

}  // namespace

Timing time_program(const Program& program, std::string_view constants) { return Simulation(program, constants).run(); }

}  // namespace nmc
