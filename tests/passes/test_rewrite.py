"""The core that every pass builds on."""

import numpy as np
from tvm import relax

from passes.rewrite import bindings_of, layer_of, rewrite_calls
from tests.passes.support import build_module, listing, random_array, run


def test_a_rule_replaces_each_call_once_and_keeps_the_binding_name() -> None:
    module = build_module(lambda emitter, x: relax.op.exp(emitter.emit(relax.op.exp(x))), (2, 3))
    rewritten = rewrite_calls(
        module, {"relax.exp": lambda emitter, call: relax.op.exp(relax.op.negative(call.args[0]))}
    )
    assert listing(rewritten) == ["y#2 = negative(x0)", "y = exp(y#2)", "y#3 = negative(y)", "y#1 = exp(y#3)"]


def test_a_rule_that_returns_none_leaves_the_call() -> None:
    module = build_module(lambda emitter, x: relax.op.exp(x), (2, 3))
    assert listing(rewrite_calls(module, {"relax.exp": lambda emitter, call: None})) == listing(module)


def test_what_a_rule_makes_unused_is_dropped() -> None:
    module = build_module(lambda emitter, x: relax.op.exp(emitter.emit(relax.op.negative(x))), (2, 3))
    rewritten = rewrite_calls(
        module, {"relax.exp": lambda emitter, call: relax.op.abs(module["main"].params[0])}
    )
    assert listing(rewritten) == ["y#1 = abs(x0)"]


def test_a_rewritten_module_still_computes() -> None:
    module = build_module(lambda emitter, x: (relax.op.exp(x), relax.op.abs(x)), (2, 3))
    x = random_array(2, 3)
    rules = {"relax.abs": lambda emitter, call: relax.op.sqrt(relax.op.multiply(call.args[0], call.args[0]))}
    exponential, magnitude = run(rewrite_calls(module, rules), x)
    np.testing.assert_allclose(exponential, np.exp(x), rtol=1e-6)
    np.testing.assert_allclose(magnitude, np.abs(x), rtol=1e-6)


def test_the_layer_of_every_new_binding_is_the_layer_it_came_from() -> None:
    module = build_module(lambda emitter, x: relax.op.exp(emitter.emit(relax.op.abs(x))), (2,))
    rewritten = rewrite_calls(
        module, {"relax.abs": lambda e, call: relax.op.negative(relax.op.negative(call.args[0]))}
    )
    variables = [binding.var for binding in bindings_of(rewritten["main"])[:-1]]
    assert {layer_of(variable) for variable in variables} == {"y"}
    assert len({variable.name for variable in variables}) == len(variables)
