"""Whole graphs as exporters write them: dynamic shapes, shape arithmetic, control flow, caches."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from nmc.errors import UnsupportedOperatorError
from nmc.frontend import ImportedModel, import_model

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'
rng = np.random.default_rng(7)


def parse(text: str, constants: Mapping[str, np.ndarray] | None = None) -> onnx.ModelProto:
    model = parser.parse_model(HEADER + text)
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in (constants or {}).items()
    )
    return model


def floats(*shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) * 0.5).astype(np.float32)


@pytest.fixture
def agrees(run, reference, assert_close):
    def check(
        model: onnx.ModelProto,
        feeds: Mapping[str, np.ndarray],
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> ImportedModel:
        imported = import_model(model, shapes=shapes or {})
        assert_close(reference(model, feeds), run(imported, feeds))
        return imported

    return check


def test_a_decoder_with_a_causal_mask_from_shape_arithmetic_and_a_cache(agrees) -> None:
    model = parse(
        """
        decoder (int64[batch, new] ids, float[batch, 2, past, 4] k_past, float[batch, 2, past, 4] v_past)
            => (float[batch, new, 16] logits, float[batch, 2, total, 4] k, float[batch, 2, total, 4] v)
        {
            x = Gather(table, ids)
            shape = Shape(x)
            zero = Constant<value_int = 0>()
            one = Constant<value_int = 1>()
            two = Constant<value_int = 2>()
            batch_size = Gather(shape, zero)
            new_size = Gather(shape, one)
            axis = Constant<value_ints = [0]>()
            b1 = Unsqueeze(batch_size, axis)
            n1 = Unsqueeze(new_size, axis)
            heads = Constant<value_ints = [2, 4]>()
            split_shape = Concat<axis = 0>(b1, n1, heads)
            qf = MatMul(x, wq)
            kf = MatMul(x, wk)
            vf = MatMul(x, wv)
            q4 = Reshape(qf, split_shape)
            k4 = Reshape(kf, split_shape)
            v4 = Reshape(vf, split_shape)
            q = Transpose<perm = [0, 2, 1, 3]>(q4)
            kn = Transpose<perm = [0, 2, 1, 3]>(k4)
            vn = Transpose<perm = [0, 2, 1, 3]>(v4)
            k = Concat<axis = 2>(k_past, kn)
            v = Concat<axis = 2>(v_past, vn)
            kt = Transpose<perm = [0, 1, 3, 2]>(k)
            scores = MatMul(q, kt)
            half = Constant<value_float = 0.5>()
            scaled = Mul(scores, half)
            kshape = Shape(k)
            total_size = Gather(kshape, two)
            past_size = Sub(total_size, new_size)
            columns = Range(zero, total_size, one)
            rows0 = Range(past_size, total_size, one)
            last = Constant<value_ints = [1]>()
            rows = Unsqueeze(rows0, last)
            visible = LessOrEqual(columns, rows)
            t1 = Unsqueeze(total_size, axis)
            mask_shape = Concat<axis = 0>(n1, t1)
            hidden = ConstantOfShape<value = float[1] {-inf}>(mask_shape)
            nought = Constant<value_float = 0.0>()
            mask = Where(visible, nought, hidden)
            masked = Add(scaled, mask)
            p = Softmax<axis = -1>(masked)
            context = MatMul(p, v)
            merged = Transpose<perm = [0, 2, 1, 3]>(context)
            minus = Constant<value_ints = [-1]>()
            flat_shape = Concat<axis = 0>(b1, n1, minus)
            flat = Reshape(merged, flat_shape)
            logits = MatMul(flat, wo)
        }
        """,
        {
            "table": floats(11, 8),
            "wq": floats(8, 8),
            "wk": floats(8, 8),
            "wv": floats(8, 8),
            "wo": floats(8, 16),
        },
    )
    feeds = {
        "ids": rng.integers(0, 11, (1, 3)),
        "k_past": floats(1, 2, 5, 4),
        "v_past": floats(1, 2, 5, 4),
    }
    imported = agrees(model, feeds, {"ids": (1, 3), "k_past": (1, 2, 5, 4)})
    operations = [binding.value.op.name for binding in imported.module["main"].body.blocks[0].bindings]
    assert "relax.where" not in operations  # the mask is a constant
    assert [spec.shape for spec in imported.outputs] == [(1, 3, 16), (1, 2, 8, 4), (1, 2, 8, 4)]


def test_a_u_net_with_transposed_convolution_and_resize(agrees) -> None:
    model = parse(
        """
        unet (float[n, 3, h, w] x) => (float[n, 2, h, w] y)
        {
            a = Conv<pads = [1, 1, 1, 1]>(x, w1)
            b = Relu(a)
            c = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(b)
            d = Conv<pads = [1, 1, 1, 1]>(c, w2)
            up = ConvTranspose<strides = [2, 2]>(d, w3)
            shape = Shape(c)
            half = Constant<value_ints = [2]>()
            scales = Constant<value_floats = [1.0, 1.0, 2.0, 2.0]>()
            wide = Resize<mode = "linear", coordinate_transformation_mode = "half_pixel">(d, , scales)
            joined = Concat<axis = 1>(b, up, wide)
            y = Conv(joined, w4)
        }
        """,
        {
            "w1": floats(4, 3, 3, 3),
            "w2": floats(4, 4, 3, 3),
            "w3": floats(4, 4, 2, 2),
            "w4": floats(2, 12, 1, 1),
        },
    )
    agrees(model, {"x": floats(1, 3, 8, 6)}, {"x": (1, 3, 8, 6)})


def test_a_bidirectional_tagger(agrees) -> None:
    model = parse(
        """
        tagger (int64[batch, time] ids) => (float[batch, time, 3] y)
        {
            x = Gather(table, ids)
            first = Transpose<perm = [1, 0, 2]>(x)
            h, last = LSTM<direction = "bidirectional", hidden_size = 5>(first, w, r, b)
            order = Transpose<perm = [2, 0, 1, 3]>(h)
            shape = Constant<value_ints = [0, 0, -1]>()
            flat = Reshape(order, shape)
            scores = MatMul(flat, wo)
            y = LogSoftmax<axis = -1>(scores)
        }
        """,
        {
            "table": floats(9, 4),
            "w": floats(2, 20, 4),
            "r": floats(2, 20, 5),
            "b": floats(2, 40),
            "wo": floats(10, 3),
        },
    )
    agrees(model, {"ids": rng.integers(0, 9, (2, 6))}, {"ids": (2, 6)})


def loop_model(count: int) -> onnx.ModelProto:
    body = parser.parse_graph(
        "body (int64 i, bool go, float[2] a) => (bool same, float[2] next, float[2] seen)"
        "{ same = Identity(go) f = Cast<to = 1>(i) next = Add(a, f) seen = Mul(next, x) }"
    )
    nodes = [helper.make_node("Loop", ["n", "", "x"], ["last", "rows"], name="loop", body=body)]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [2]), ("last", [2]), ("rows", [None, 2]))
    ]
    constants = [numpy_helper.from_array(np.array(count, np.int64), "n")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_loop_of_constant_length_is_unrolled(agrees) -> None:
    imported = agrees(loop_model(4), {"x": floats(2)})
    assert imported.outputs[1].shape == (4, 2)


def test_a_loop_too_long_to_unroll_is_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"Loop 'loop': runs more than 4096 times"):
        import_model(loop_model(5000))


def test_branches_on_data_are_both_computed_and_one_is_chosen(agrees) -> None:
    model = parse(
        """
        branches (float[3] x, bool up) => (float[3] y)
        {
            y = If(up) <
                then_branch = g1 () => (float[3] a) { a = Exp(x) },
                else_branch = g2 () => (float[3] b) { b = Neg(x) }
            >
        }
        """
    )
    for up in (True, False):
        agrees(model, {"x": floats(3), "up": np.array(up)})


def test_a_function_of_the_model_itself_is_imported_node_by_node(agrees) -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17, "own" : 1]>\n'
        "g (float[2, 3] x) => (float[2, 3] y) { y = own.Scaled<by = 3.0>(x) }\n"
        '<domain: "own", opset_import: ["" : 17]>\n'
        "Scaled<by>(a) => (b) { c = Constant<value_float: float = @by>() d = Tanh(a) b = Mul(d, c) }"
    )
    agrees(parser.parse_model(text), {"x": floats(2, 3)})


def test_a_result_whose_shape_depends_on_data_is_refused() -> None:
    model = parse("nonzero (float[4] x) => (int64[1, n] y) { y = NonZero(x) }")
    with pytest.raises(
        UnsupportedOperatorError, match=r"NonZero 'NonZero_0': the shape of its result depends"
    ):
        import_model(model)


def test_an_unsupported_node_inside_a_branch_is_the_only_one_named() -> None:
    model = parse(
        """
        branches (float[3] x, bool up) => (float[3] y)
        {
            y = If(up) <
                then_branch = g1 () => (float[3] a) { [inner] a = RandomNormalLike(x) },
                else_branch = g2 () => (float[3] b) { b = Neg(x) }
            >
        }
        """
    )
    with pytest.raises(UnsupportedOperatorError) as raised:
        import_model(model)
    assert str(raised.value).startswith("RandomNormalLike 'If_0': draws random numbers")
    assert ";" not in str(raised.value).replace("numbers;", "")
