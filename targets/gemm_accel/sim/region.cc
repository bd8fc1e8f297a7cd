#include "region.h"

#include <cstring>

#include "errors.h"
#include "state.h"
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
  State state(program_);
  std::memcpy(state.dram.data(), constants_.data(), constants_.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& tensor = program_.inputs[i];
    std::memcpy(state.dram.data() + tensor.dram, inputs[i], static_cast<size_t>(tensor.bytes()));
  }
  for (size_t i = 0; i < program_.commands.size(); ++i) {
    try {
      std::visit([&state](const auto& command) { execute(command, state); }, program_.commands[i]);
    } catch (const ProgramError& error) {
      fail("command ", i, " of '", symbol_, "': ", error.what());
    }
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& tensor = program_.outputs[i];
    std::memcpy(outputs[i], state.dram.data() + tensor.dram, static_cast<size_t>(tensor.bytes()));
  }
}

}  // namespace nmc
