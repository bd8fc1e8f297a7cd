#include "region.h"

#include <cstring>

#include "errors.h"
#include "lane_runner.h"
#include "validate.h"

namespace nmc {

Region::Region(std::string symbol, std::string_view program_bytes, std::string_view constants)
    : symbol_(std::move(symbol)),
      program_bytes_(program_bytes),
      constants_(constants),
      program_(parse_program(program_bytes)) {
  if (static_cast<int64_t>(constants.size()) != program_.constant_bytes) {
    fail("'", symbol_, "' has ", constants.size(), " bytes of constants; its program is for ", program_.constant_bytes);
  }
}

void Region::validate() const {
  std::call_once(validated_, [this] { nmc::validate(program_, constants_); });
}

Timing Region::profile() const {
  validate();
  return time_program(program_, constants_);
}

void Region::run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs) const {
  validate();
  std::call_once(planned_, [this] { lanes_ = plan_lanes(program_, constants_, thread_count()); });
  std::unique_ptr<Memories> memories = take_memories(inputs);
  if (!run_lanes(lanes_, program_, *memories)) {
    // Which command failed first in time says nothing; the first of the list is found by executing it in order.
    memories.reset();
    memories = take_memories(inputs);
    execute_list(*memories);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& tensor = program_.outputs[i];
    std::memcpy(outputs[i], memories->dram.data() + tensor.dram, static_cast<size_t>(tensor.bytes()));
  }
  keep_memories(std::move(memories));
}

// The memories at the start of a run: constants and inputs, and else zeros.
std::unique_ptr<Memories> Region::take_memories(const std::vector<const void*>& inputs) const {
  std::unique_ptr<Memories> memories;
  {
    const std::lock_guard<std::mutex> guard(spare_lock_);
    memories = std::move(spare_);
  }
  if (memories) {
    memories->clear(program_.constant_bytes);
  } else {
    memories = std::make_unique<Memories>(program_, lanes_.size());
    std::memcpy(memories->dram.data(), constants_.data(), constants_.size());
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& tensor = program_.inputs[i];
    std::memcpy(memories->dram.data() + tensor.dram, inputs[i], static_cast<size_t>(tensor.bytes()));
  }
  return memories;
}

void Region::keep_memories(std::unique_ptr<Memories> memories) const {
  const std::lock_guard<std::mutex> guard(spare_lock_);
  spare_ = std::move(memories);
}

void Region::execute_list(Memories& memories) const {
  State state(program_.machine, memories, 0);
  for (size_t i = 0; i < program_.commands.size(); ++i) {
    try {
      execute(program_.commands[i], state);
    } catch (const ProgramError& error) {
      fail("command ", i, " of '", symbol_, "': ", error.what());
    }
  }
}

}  // namespace nmc
