"""The network of a `fast` model outside anomalyd: read from its .safetensors file, computed with
numpy, written as ONNX for those who run that. And rows to train and score, which hang on eight
causes."""
import json
import struct

import numpy

MOST = 100.0  # deviations that a standardised value is held within
FLOAT, INT = 1, 2  # AttributeProto.type and TensorProto.data_type of a float; of an integer


def make_rows(n_rows, n_features, seed=1):
    mix = numpy.random.default_rng(n_features).normal(size=(8, n_features))
    random = numpy.random.default_rng([n_features, seed])
    return (random.normal(size=(n_rows, 8)) @ mix
            + 0.3 * random.normal(size=(n_rows, n_features))).round(6)


def read_safetensors(path):
    """(tensors by name, metadata)"""
    with open(path, "rb") as file:
        n_header, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(n_header))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    tensors = {name: numpy.frombuffer(data[slice(*entry["data_offsets"])], "<f4")
               .reshape(entry["shape"]) for name, entry in header.items()}
    return tensors, metadata


def find_threshold(calibration, rate):
    """As docs/model-file.md says."""
    n, errors, tail = calibration["rows"], calibration["errors"], calibration.get("tail")
    if n * rate >= 10 or not tail:
        rank = int(numpy.ceil((n + 1) * (1 - rate)))
        return errors[min(rank - (n - len(errors)), len(errors)) - 1]
    return tail["level"] + tail["scale"] / tail["shape"] * (
        (tail["share"] / rate) ** tail["shape"] - 1)


class Network:
    """What a peer computes: standardise, forward, mean squared residual, threshold."""

    def __init__(self, path):
        tensors, metadata = read_safetensors(path)
        detector = json.loads(metadata["detector"])
        if detector["residual"]["kind"] != "mean_squared":
            raise ValueError(f"{path} is no model of preset fast")
        self.mean = numpy.array(detector["scaler"]["mean"], numpy.float32)
        self.std = numpy.array(detector["scaler"]["std"], numpy.float32)
        names = [f"networks.0.{part}.{i}" for part in ("encoder", "decoder")
                 for i in range(0, 100, 2) if f"networks.0.{part}.{i}.weight" in tensors]
        self.layers = [(tensors[f"{name}.weight"], tensors[f"{name}.bias"], activation)
                       for name, activation
                       in zip(names, detector["architecture"]["networks"][0]["activations"])]
        self.threshold = find_threshold(
            detector["calibration"], detector["training"]["options"]["false_alarm_rate"])

    def errors(self, rows):
        """One a row; only tanh and linear, as preset fast has them."""
        x = values = numpy.clip((numpy.asarray(rows, numpy.float32) - self.mean) / self.std,
                                -MOST, MOST)
        for weight, bias, activation in self.layers:
            values = values @ weight.T + bias
            if activation == "tanh":
                values = numpy.tanh(values)
        return ((x - values) ** 2).mean(axis=1)


# ---- ONNX: a protobuf written by hand ----

def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """An integer is a varint; text, bytes and messages have their length before them."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def attribute(name, value):
    """AttributeProto of an integer, or of a list of them."""
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, INT)
    return field(1, name) + b"".join(field(8, one) for one in value) + field(20, 7)


def node(kind, inputs, output, **attributes):
    return field(1, b"".join(field(1, name) for name in inputs) + field(2, output)
                 + field(4, kind)
                 + b"".join(field(5, attribute(*each)) for each in attributes.items()))


def tensor(name, values):
    values = numpy.asarray(values, "<f4")
    return field(5, b"".join(field(1, n) for n in values.shape) + field(2, FLOAT)
                 + field(8, name) + field(9, values.tobytes()))


def value_info(name, sizes):
    """ValueInfoProto of a float tensor; a size that is text has that name."""
    shape = b"".join(field(1, field(1 if isinstance(size, int) else 2, size)) for size in sizes)
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, shape)))


def onnx_bytes(network):
    """Input `x` [rows, features] in the user's units, output `error` [rows]."""
    n_features = len(network.mean)
    parts = [tensor("mean", network.mean), tensor("std", network.std),
             tensor("least", -MOST), tensor("most", MOST),
             node("Sub", ["x", "mean"], "centred"), node("Div", ["centred", "std"], "scaled"),
             node("Clip", ["scaled", "least", "most"], "z")]
    last = "z"
    for i, (weight, bias, activation) in enumerate(network.layers):
        parts += [tensor(f"w{i}", weight), tensor(f"b{i}", bias),
                  node("Gemm", [last, f"w{i}", f"b{i}"], f"h{i}", transB=1)]
        last = f"h{i}"
        if activation == "tanh":
            parts.append(node("Tanh", [last], f"a{i}"))
            last = f"a{i}"
    parts += [node("Sub", ["z", last], "r"), node("Mul", ["r", "r"], "squares"),
              node("ReduceMean", ["squares"], "error", axes=[1], keepdims=0)]
    graph = b"".join(parts) + field(2, "fast") + field(
        11, value_info("x", ["rows", n_features])) + field(12, value_info("error", ["rows"]))
    return field(1, 8) + field(2, "anomalyd") + field(7, graph) + field(8, field(2, 13))
