#include "hazards.h"

#include "errors.h"

namespace nmc {

namespace {

constexpr const char* kQueueNames[] = {"load", "compute", "store"};
constexpr const char* kMemoryNames[] = {"DRAM byte ", "scratchpad byte ", "accumulator ", "table slot "};

}  // namespace

Hazards::Hazards(const Program& program)
    : program_(program), semaphores_(static_cast<size_t>(program.machine.semaphores)) {
  for (auto& memory : memories_) memory[INT64_MIN] = {};
}

void Hazards::follow(int64_t number, const isa::Command& command, const std::vector<Access>& accesses) {
  if (const auto* each = std::get_if<isa::Signal>(&command)) return signal(number, *each);
  if (const auto* each = std::get_if<isa::Wait>(&command)) return wait(number, *each);
  const int queue = queue_of(command);
  ++issued_[queue];
  // Reads first: a command may write what it has read.
  for (const bool writes : {false, true}) {
    for (const Access& access : accesses) {
      if (access.writes != writes) continue;
      for (const Range& part : access.parts) record(number, queue, access, part);
    }
  }
}

void Hazards::signal(int64_t number, const isa::Signal& command) {
  const int queue = static_cast<int>(command.on);
  Semaphore& semaphore = semaphores_[command.semaphore];
  if (semaphore.signaller >= 0 && semaphore.signaller != queue) {
    fail("command ", number, " (SIGNAL) raises semaphore ", command.semaphore, " from the ", kQueueNames[queue],
         " queue; the ", kQueueNames[semaphore.signaller], " queue did before, and one queue alone may");
  }
  semaphore.signaller = queue;
  Clock clock = known_[queue];
  clock[queue] = issued_[queue];
  semaphore.signals.push_back(clock);
}

void Hazards::wait(int64_t number, const isa::Wait& command) {
  const int queue = static_cast<int>(command.on);
  Semaphore& semaphore = semaphores_[command.semaphore];
  if (semaphore.signals.empty()) {
    fail("command ", number, " (WAIT) waits for semaphore ", command.semaphore, ", which no SIGNAL before it raises");
  }
  if (semaphore.waiter >= 0 && semaphore.waiter != queue) {
    fail("command ", number, " (WAIT) lowers semaphore ", command.semaphore, " for the ", kQueueNames[queue],
         " queue; the ", kQueueNames[semaphore.waiter], " queue did before, and one queue alone may");
  }
  semaphore.waiter = queue;
  for (int other = 0; other < isa::kQueues; ++other) {
    known_[queue][other] = std::max(known_[queue][other], semaphore.signals.front()[other]);
  }
  semaphore.signals.pop_front();
}

void Hazards::record(int64_t number, int queue, const Access& access, const Range& range) {
  if (range.empty()) return;
  if (access.memory == Memory::kDram && range.stop <= program_.constant_bytes) return;  // nothing writes constants
  auto& memory = memories_[static_cast<int>(access.memory)];
  const auto split = [&memory](int64_t position) {
    auto next = memory.lower_bound(position);
    if (next != memory.end() && next->first == position) return next;
    return memory.emplace_hint(next, position, std::prev(next)->second);
  };
  const auto first = split(range.start);
  const auto last = split(range.stop);
  const Event event{issued_[queue] - 1, number};
  for (auto each = first, before = memory.end(); each != last;) {
    History& history = each->second;
    for (int other = 0; other < isa::kQueues; ++other) {
      if (other == queue) continue;
      check(number, queue, access, range, history.written[other], other, "writes");
      if (access.writes) check(number, queue, access, range, history.read[other], other, "reads");
    }
    if (access.writes) history = {};
    (access.writes ? history.written : history.read)[queue] = event;
    // What the range was split into is joined where it has one history again, as it always has once it is written.
    const bool joins = before != memory.end() && before->second == history;
    if (!joins) before = each;
    each = joins ? memory.erase(each) : std::next(each);
  }
}

void Hazards::check(int64_t number, int queue, const Access& access, const Range& range, const Event& event, int other,
                    const char* did) const {
  if (event.place < known_[queue][other]) return;
  fail("command ", number, " (", mnemonic(program_.commands[static_cast<size_t>(number)]), ") ",
       access.writes ? "writes " : "reads ", kMemoryNames[static_cast<int>(access.memory)], range.start, " to ",
       range.stop - 1, " ('", access.operand, "') and does not wait for command ", event.number, " (",
       mnemonic(program_.commands[static_cast<size_t>(event.number)]), ") of the ", kQueueNames[other],
       " queue, which ", did, " there");
}

}  // namespace nmc
