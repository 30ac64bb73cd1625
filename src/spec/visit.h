// One lambda for each kind of a variant, and no catch-all: a new kind fails to build until every plan handles it.
#pragma once

#include <variant>

namespace gannet {

template <typename... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace gannet
