#include "chain.h"

#include "errors.h"

namespace nmc {

namespace {

// What a command has to do with streams.
struct Ends {
  const isa::Operand* source = nullptr;
  const isa::Destination* destination = nullptr;
  int64_t elements = 0;
};

int64_t elements(const std::array<uint32_t, 3>& counts) { return int64_t{counts[0]} * counts[1] * counts[2]; }

template <typename Elementwise>
Ends elementwise_ends(const Elementwise& command) {
  return {&command.a, &command.destination, elements(command.counts)};
}

struct EndsOf {
  Ends operator()(const isa::Drain& drain) const {
    return {nullptr, &drain.destination, elements(drain.counts)};
  }
  Ends operator()(const isa::Hadamard& command) const { return elementwise_ends(command); }
  Ends operator()(const isa::Add& command) const { return elementwise_ends(command); }
  Ends operator()(const isa::Pwl& command) const { return elementwise_ends(command); }
  template <typename Other>
  Ends operator()(const Other&) const {
    return {};
  }
};

bool is_stream(const isa::Operand* source) { return source != nullptr && source->address == isa::kStream; }

}  // namespace

bool takes_stream(const isa::Command& command) { return is_stream(std::visit(EndsOf{}, command).source); }

void Chain::follow(const isa::Command& command) {
  if (queue_of(command) != static_cast<int>(isa::Queue::kCompute)) return;
  const Ends ends = std::visit(EndsOf{}, command);
  const bool consumes = is_stream(ends.source);
  if (consumes && !pending_) fail("'a' is the stream, and the command before it in the compute queue left none");
  if (!consumes && pending_) {
    fail("the command before it in the compute queue left a stream that this one does not take");
  }
  if (consumes && ends.source->type != type_) fail("'a' is not of the type of the stream it takes");
  if (consumes && ends.elements != elements_) {
    fail("it takes a stream of ", elements_, " elements as ", ends.elements);
  }
  pending_ = ends.destination != nullptr && ends.destination->address == isa::kStream;
  if (pending_) {
    type_ = ends.destination->type;
    elements_ = ends.elements;
  }
}

}  // namespace nmc
