// A compiled region: its program and constants, ready to run on arrays.
#ifndef NMC_REGION_H_
#define NMC_REGION_H_

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "lanes.h"
#include "program.h"
#include "state.h"
#include "timing.h"

namespace nmc {

class Region {
 public:
  // Throws ProgramError for damaged bytes or constants of another size than the program says.
  Region(std::string symbol, std::string_view program_bytes, std::string_view constants);

  const std::string& symbol() const { return symbol_; }
  const std::string& program_bytes() const { return program_bytes_; }
  const std::string& constants() const { return constants_; }
  const Program& program() const { return program_; }

  // Throws ProgramError for a program that the accelerator refuses; proves it once, however often it is asked.
  void validate() const;

  // When each command of the program runs; throws as validate does.
  Timing profile() const;

  // Runs the program once: reads program().inputs from `inputs`, writes program().outputs to `outputs`, all dense.
  // Throws ProgramError for a program that is not valid, and for what only the data can show.
  void run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs) const;

 private:
  std::string symbol_;
  std::string program_bytes_;
  std::string constants_;
  Program program_;
  mutable std::once_flag validated_;
  mutable std::once_flag planned_;
  mutable std::vector<Lane> lanes_;
  mutable std::mutex spare_lock_;
  mutable std::unique_ptr<Memories> spare_;  // those of an earlier run: filling new ones with constants takes long

  std::unique_ptr<Memories> take_memories(const std::vector<const void*>& inputs) const;
  void keep_memories(std::unique_ptr<Memories> memories) const;
  void execute_list(Memories& memories) const;
};

}  // namespace nmc

#endif  // NMC_REGION_H_
