"""docs/model-file.md is enough to judge rows: here by numpy alone, compared with `anomalyctl score`."""

import csv
import io
import json
import struct

import numpy
import pytest

import ctl

RNG = numpy.random.default_rng(5)


class ModelFile:
    """The recipe of the documentation, section by section."""

    def __init__(self, path):
        data = path.read_bytes()
        (n,) = struct.unpack("<Q", data[:8])
        self.header = json.loads(data[8 : 8 + n])
        self.block = data[8 + n :]
        self.document = json.loads(self.header["__metadata__"]["detector"])

    def tensor(self, name):
        begin, end = self.header[name]["data_offsets"]
        values = numpy.frombuffer(self.block[begin:end], "<f4")
        return values.reshape(self.header[name]["shape"]).astype(float)

    def standardise(self, rows):
        scaler = {key: numpy.array(values) for key, values in self.document["scaler"].items()}
        filled = numpy.where(numpy.isnan(rows), scaler["median"], rows)
        return numpy.clip((filled - scaler["mean"]) / scaler["std"], -100, 100)

    def encode(self, z):
        views = self.tensor("encoding.gain") * z + self.tensor("encoding.shift")
        if not self.document["encoding"]["rank_gauss"]:
            return views
        knots = self.tensor("encoding.rank_gauss.values")
        quantiles = self.tensor("encoding.rank_gauss.quantiles")
        ranks = numpy.empty_like(z)
        for j in range(z.shape[1]):
            inside = numpy.interp(z[:, j], knots[j], quantiles[j])
            above = numpy.maximum(z[:, j] - knots[j][-1], 0)
            below = numpy.maximum(knots[j][0] - z[:, j], 0)
            ranks[:, j] = inside + above - below
        return numpy.hstack([views, ranks])

    def reconstruct(self, which, x):
        network = self.document["architecture"]["networks"][which]
        functions = {
            "linear": lambda s: s,
            "tanh": numpy.tanh,
            "sigmoid": lambda s: 1 / (1 + numpy.exp(-s)),
            "silu": lambda s: s / (1 + numpy.exp(-s)),
            "relu": lambda s: numpy.maximum(s, 0),
            "elu": lambda s: numpy.where(s > 0, s, numpy.expm1(s)),
        }
        for layer, activation in enumerate(network["activations"]):
            encoder = layer < network["encoder_layers"]
            i = layer if encoder else layer - network["encoder_layers"]
            name = f"networks.{which}.{'encoder' if encoder else 'decoder'}.{2 * i}"
            sums = x @ self.tensor(f"{name}.weight").T + self.tensor(f"{name}.bias")
            x = functions[activation](sums)
        bounded = network["bounded"]
        x[:, bounded] = functions["sigmoid"](sums[:, bounded])
        return x

    def network_distance(self, which, residual):
        name = f"networks.{which}.residual"
        facts = self.document["residual"]["networks"][which]
        off = residual - self.tensor(f"{name}.mean")
        white = off @ self.tensor(f"{name}.whitening").T
        top = (self.tensor(f"{name}.variances") * white**2).sum(1)
        rest = ((off**2).sum(1) - top) / facts["rest_variance"]
        return numpy.sqrt((white**2).sum(1) + rest) / facts["scale"]

    def blend(self, z, x):
        d = z.shape[1]
        return (x[:, :d] + x[:, d:]) / 2 if self.document["encoding"]["rank_gauss"] else z

    def prototype_distance(self, b):
        centroids = self.tensor("prototypes.centroids")
        return numpy.sqrt(((b[:, None] - centroids) ** 2).sum(2)).min(1)

    def cluster_distance(self, b):
        centers = self.tensor("clusters.centers")
        whitening = self.tensor("clusters.whitening").reshape(len(centers), b.shape[1], -1)
        each = [((b - c) @ w.T) for c, w in zip(centers, whitening)]
        return numpy.sqrt(numpy.min([(e**2).sum(1) for e in each], axis=0))

    def errors(self, rows):
        z = self.standardise(rows)
        x = self.encode(z)
        n_networks = len(self.document["architecture"]["networks"])
        residuals = [x - self.reconstruct(j, x) for j in range(n_networks)]
        if self.document["residual"]["kind"] == "mean_squared":
            return (residuals[0] ** 2).mean(1)
        parts = self.document["parts"]
        distances = [self.network_distance(j, r) for j, r in enumerate(residuals)]
        b = self.blend(z, x)
        terms = [(1, sum(distances) / n_networks, "networks")]
        if parts["prototypes"]["count"] > 0:
            terms.append((1, self.prototype_distance(b), "prototypes"))
        if parts["clusters"]["count"] > 0:
            terms.append((0.5, self.cluster_distance(b), "clusters"))
        logs = [w * numpy.log(numpy.maximum(t / parts[name]["median"], 0.01)) for w, t, name in terms]
        return numpy.exp(sum(logs) / sum(w for w, _, _ in terms))

    def threshold(self, rate):
        calibration = self.document["calibration"]
        m, tail = calibration["rows"], calibration.get("tail")
        order = sorted(calibration["errors"])[min(m, int(numpy.ceil((m + 1) * (1 - rate)))) - 1]
        if m * rate >= 10:
            return order
        grown = (tail["share"] / rate) ** tail["shape"] - 1
        return tail["level"] + tail["scale"] / tail["shape"] * grown


def normal_rows(n, d):
    causes = RNG.normal(size=(n, 3))
    rows = causes @ RNG.normal(size=(3, d)) + 0.3 * RNG.normal(size=(n, d))
    rows[:, 0] = numpy.exp(rows[:, 0])
    rows[:, -1] = 7
    return 10 + rows


def write_csv(path, rows):
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(f"m{j}" for j in range(rows.shape[1]))
        table.writerows([repr(float(v)) for v in row] for row in rows.astype("f4"))
    return path


CASES = {
    "best": (6, ["--epochs", "20"]),
    "balanced": (6, ["--preset", "balanced", "--epochs", "20", "--tied"]),
    "fast": (6, ["--preset", "fast", "--epochs", "20"]),
    "networks alone": (6, ["--epochs", "5", "--prototypes", "0", "--clusters", "0"]),
    "pca": (6, ["--algorithm", "pca"]),
    "many features": (410, ["--epochs", "2"]),
}


@pytest.mark.parametrize("case", CASES)
def test_numpy_judges_rows_as_the_documentation_says(tmp_path, case):
    d, options = CASES[case]
    train = write_csv(tmp_path / "train.csv", normal_rows(300, d))
    odd = normal_rows(40, d)
    odd[::4, 1] += 8
    odd[1::4, -1] = 9
    test = write_csv(tmp_path / "test.csv", odd)
    path = tmp_path / "model.safetensors"
    ctl.succeed(
        "train", "--data", train, "--output", path, "--false-alarm-rate", 0.05, *options
    )  # fmt: skip

    out = ctl.succeed("score", "--model", path, "--data", test, "--format", "csv").stdout
    verdicts = list(csv.DictReader(io.StringIO(out)))
    model = ModelFile(path)
    errors = model.errors(odd.astype("f4").astype(float))

    assert errors == pytest.approx([float(v["reconstruction_error"]) for v in verdicts], rel=2e-4)
    score = float(verdicts[0]["reconstruction_error"]) / float(verdicts[0]["score"])
    assert model.threshold(0.05) == pytest.approx(score, rel=1e-9)
