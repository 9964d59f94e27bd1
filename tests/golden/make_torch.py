#!/usr/bin/python3
"""Writes torch.txt beside this script: what PyTorch computes, for tests/unit/test_golden.c.

    /usr/bin/python3 tests/golden/make_torch.py

Needs PyTorch (Debian 12: python3-torch, 1.13); the tests only need torch.txt. The same PyTorch
writes the same bytes.

The file has sections of lines "key value value ...", with an empty line behind each. The first line
of a section is its kind and name:

    network    codes, output and loss of some rows, and the gradient of loss, penalties and decay
    training   loss and norm of the gradient at each step, all rows in a batch, and how far the
               params have moved after each of the steps in `kept`
    schedule   the same, of twenty steps
    gradients  params, and the gradient of each step: from 1e-9 to 1, and always 0
    optimizer  how far these move them

Params stand as in src/nn/network.h: all weights, then all biases; a tied decoder has no weights.
Options are those of struct training_options; one that is left out is 0.

Numbers that go in are floats. All is computed in double and again in float; a draw is drawn again
where the two differ by more than float's own errors (a sum at relu's bend, a gradient that only
adam's division makes large), or where nothing flows through a layer. Gradients are checked against
differences, the schedule against PyTorch's own.
"""

import itertools
import math
import pathlib

import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, kl_divergence

AGREEMENT = 3e-6  # of float and double, relative to the largest of a tensor
DIFFERENCE = 1e-6  # step of the differences
N_ROWS = 6

ACTIVATIONS = {
    "linear": lambda x: x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "silu": F.silu,
    "elu": F.elu,
}

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda groups, lr: torch.optim.SGD(groups, lr, momentum=0.9),
    "nesterov": lambda groups, lr: torch.optim.SGD(groups, lr, momentum=0.9, nesterov=True),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


class Network:
    """The autoencoder of a section, with numbers of dtype."""

    def __init__(self, section, params, dtype):
        sizes = weight_sizes(section)
        n_own = len(sizes)
        sizes += [(width,) for width in section["widths"][1:]]
        pieces = params.to(dtype).split([math.prod(size) for size in sizes])
        tensors = [p.clone().view(size).requires_grad_() for p, size in zip(pieces, sizes)]
        self.weights, self.biases = tensors[:n_own], tensors[n_own:]
        self.section = section

    def params(self):
        return self.weights + self.biases

    def forward(self, rows):
        """Codes, sums that go into the last activation, output."""
        weights = self.weights
        if self.section.get("tied"):
            weights = weights + [weight.t() for weight in reversed(weights)]
        out, values = rows, []
        for weight, bias, name in zip(weights, self.biases, self.section["activations"]):
            sums = F.linear(out, weight, bias)
            out = ACTIVATIONS[name](sums)
            values.append(out)
        bounded = is_bounded(self.section)
        out = torch.where(bounded, torch.sigmoid(sums), out)
        return values[self.section["encoder_layers"] - 1], sums, out

    def loss(self, rows):
        _, sums, out = self.forward(rows)
        bounded = is_bounded(self.section)
        entropy = F.binary_cross_entropy_with_logits(
            sums[:, bounded], rows[:, bounded], reduction="sum"
        )
        square = F.mse_loss(out[:, ~bounded], rows[:, ~bounded], reduction="sum")
        return (entropy + square) / rows.numel()

    def penalties(self, rows):
        codes, _, _ = self.forward(rows)
        penalty = self.section.get("code_l1", 0.0) * codes.abs().sum(dim=1).mean()
        if "sparsity" in self.section:
            target = Bernoulli(torch.full_like(codes[0], self.section["sparsity_target"]))
            divergences = kl_divergence(target, Bernoulli(codes.mean(dim=0)))
            penalty = penalty + self.section["sparsity"] * divergences.sum()
        return penalty

    def decay(self):
        l2, l1 = self.section.get("weight_decay", 0.0), self.section.get("l1", 0.0)
        return sum(0.5 * l2 * (w * w).sum() + l1 * w.abs().sum() for w in self.weights)


def weight_sizes(section):
    """(n_out, n_in) of each layer that has weights of its own."""
    widths = section["widths"]
    sizes = list(zip(widths[1:], widths))
    return sizes[: section["encoder_layers"]] if section.get("tied") else sizes


def is_bounded(section):
    return torch.tensor(section.get("bounded", [0] * section["widths"][0]), dtype=torch.bool)


def flat(tensors):
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def evaluate(section, params, rows, dtype):
    network, rows = Network(section, params, dtype), rows.to(dtype)
    codes, _, out = network.forward(rows)
    loss = network.loss(rows)
    total = loss + network.penalties(rows) + network.decay()
    gradient = torch.autograd.grad(total, network.params())
    return {"codes": [codes], "out": [out], "loss": [loss], "gradient": gradient}


def check_gradient(section, params, rows, gradient):
    def total(moved):
        network = Network(section, moved, torch.float64)
        with torch.no_grad():
            return network.loss(rows) + network.penalties(rows) + network.decay()

    params = params.double()
    for i, got in enumerate(gradient):
        step = torch.zeros_like(params)
        step[i] = DIFFERENCE
        want = (total(params + step) - total(params - step)) / (2 * DIFFERENCE)
        assert abs(got - want) < 1e-8, (section, i, got, want)


def groups(weights, biases, section):
    return [
        {"params": weights, "weight_decay": section.get("weight_decay", 0.0)},
        {"params": biases, "weight_decay": 0.0},
    ]


def rate_factor(section, step):
    """step counts from 1."""
    warmup = section.get("warmup_steps", 0)
    if step < warmup:
        return step / warmup
    if not section.get("cosine"):
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / (section["n_steps"] - warmup)))


def train(section, params, rows, dtype):
    network, rows = Network(section, params, dtype), rows.to(dtype)
    start = [param.detach().clone() for param in network.params()]
    make = OPTIMIZERS[section["optimizer"]]
    optimizer = make(groups(network.weights, network.biases, section), lr=section["learning_rate"])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: rate_factor(section, done + 1)
    )
    losses, norms, moved = [], [], []
    for step in range(1, section["n_steps"] + 1):
        optimizer.zero_grad()
        loss = network.loss(rows)
        (loss + network.penalties(rows)).backward()
        clip = section.get("clip", math.inf)
        norms.append(torch.nn.utils.clip_grad_norm_(network.params(), clip))
        losses.append(loss)
        for weight in network.weights:  # what decays weights is not clipped
            weight.grad += section.get("l1", 0.0) * weight.detach().sign()
        optimizer.step()
        schedule.step()
        if step in section["kept"]:
            moved += [now - first for now, first in zip(network.params(), start)]
    return {"losses": losses, "norms": norms, "moved": moved}


def apply_gradients(section, params, gradients, dtype):
    n_weights = section["n_weights"]
    params = params.to(dtype)
    weights, biases = params[:n_weights].clone(), params[n_weights:].clone()
    make = OPTIMIZERS[section["optimizer"]]
    optimizer = make(groups([weights], [biases], section), lr=section["learning_rate"])
    for gradient in gradients.to(dtype):
        weights.grad = gradient[:n_weights] + section.get("l1", 0.0) * weights.sign()
        biases.grad = gradient[n_weights:].clone()
        optimizer.step()
    return {"moved": [flat([weights, biases]) - params]}


def agree(double, single):
    """Of tensors by name, each by its own scale; one that is all 0 would show nothing."""
    return all(
        want.any() and (want - got).abs().max() <= AGREEMENT * want.abs().max()
        for key in double
        for want, got in zip(double[key], single[key])
    )


def draw(section, random):
    """Params and rows, all floats."""
    widths = section["widths"]
    params = []
    for n_out, n_in in weight_sizes(section):
        limit = math.sqrt(6.0 / (n_in + n_out))
        params.append(limit * (2.0 * torch.rand(n_in * n_out, generator=random) - 1.0))
    params.append(0.3 * torch.randn(sum(widths[1:]), generator=random))
    rows = torch.randn(section.get("n_rows", N_ROWS), widths[0], generator=random)
    rows = torch.where(is_bounded(section), torch.sigmoid(rows), rows)
    return torch.cat(params), rows


def compute(section, function):
    """Section with what goes in and what comes out."""
    random = torch.Generator().manual_seed(section["seed"])
    for _ in range(1000):
        params, rows = draw(section, random)
        double = function(section, params, rows, torch.float64)
        if agree(double, function(section, params, rows, torch.float32)):
            break
    else:
        raise AssertionError(f"nothing drawn for {section['name']} is good enough")
    if "gradient" in double:
        check_gradient(section, params, rows.double(), flat(double["gradient"]))
    return section | {"params": params, "rows": rows} | results(double)


def results(tensors):
    return {key: flat(values) for key, values in tensors.items()}


def network(name, widths, encoder_layers, activations, **more):
    """activations: one for each layer, or one for all."""
    if isinstance(activations, str):
        activations = [activations] * (len(widths) - 1)
    shape = {"widths": widths, "encoder_layers": encoder_layers, "activations": activations}
    return {"kind": "network", "name": name, **shape, **more}


def networks():
    for name in ACTIVATIONS:
        yield network(f"{name}-undercomplete", [5, 4, 2, 4, 5], 2, name)
        yield network(f"{name}-tied", [5, 7, 3, 7, 5], 2, name, tied=1)
        yield network(f"{name}-overcomplete", [4, 9, 4], 1, [name, "linear"])
        yield network(f"{name}-asymmetric", [4, 6, 5, 3, 4], 1, [name] * 3 + ["linear"])
    every = list(ACTIVATIONS)
    mixed = {"bounded": [1, 0, 0, 1, 1]}
    yield network("every-activation", [4, 5, 5, 3, 5, 5, 4], 3, every)
    yield network("one-way", [5, 4, 3, 5], 2, ["silu", "tanh", "linear"])
    yield network("wide", [17, 21, 17], 1, ["silu", "linear"], n_rows=33)
    yield network("cross-entropy", [5, 4, 2, 4, 5], 2, "silu", bounded=[1] * 5)
    yield network("cross-entropy-tied", [5, 3, 5], 1, "tanh", tied=1, bounded=[1] * 5)
    yield network("mixed", [5, 4, 2, 4, 5], 2, ["elu"] * 3 + ["linear"], **mixed)
    yield network("mixed-tied", [5, 3, 5], 1, "tanh", tied=1, **mixed)
    sparse = {"sparsity": 0.3, "sparsity_target": 0.1}
    shape = ([5, 4, 6, 4, 5], 2, ["silu", "sigmoid", "silu", "linear"])
    yield network("code-l1-sigmoid", *shape, code_l1=0.25)
    yield network("sparsity", *shape, **sparse)
    yield network("sparsity-mixed", *shape, **sparse, **mixed)
    yield network("sparsity-tied", [5, 4, 6, 4, 5], 2, "sigmoid", tied=1, **sparse)
    yield network("sparsity-and-code-l1", *shape, code_l1=0.1, **sparse)
    yield network("code-l1-linear", [5, 7, 5], 1, "linear", code_l1=0.25)
    yield network("weight-decay", [5, 3, 5], 1, ["tanh", "linear"], weight_decay=0.1)
    yield network("weight-decay-tied", [5, 3, 5], 1, "tanh", tied=1, weight_decay=0.1)
    yield network("l1", [5, 3, 5], 1, ["tanh", "linear"], l1=0.05)
    yield network("all", *shape, code_l1=0.1, weight_decay=0.1, l1=0.05, **sparse, **mixed)


RATES = {"sgd": 0.5, "momentum": 0.1, "nesterov": 0.1, "adam": 0.01, "adamw": 0.01}
REGULARISED = {
    "plain": {},
    "weight-decay": {"weight_decay": 0.125},
    "l1": {"l1": 0.03125},
    "both": {"weight_decay": 0.125, "l1": 0.03125},
}


def trainings():
    shape = ([4, 3, 2, 3, 4], 2, ["silu", "sigmoid", "elu", "linear"])
    kinds = REGULARISED | {"clip": {"clip": 0.125}, "all": REGULARISED["both"] | {"clip": 0.125}}
    for optimizer, (name, options) in itertools.product(OPTIMIZERS, kinds.items()):
        yield network(f"{optimizer}-{name}", *shape) | options | {
            "kind": "training",
            "bounded": [0, 1, 0, 1],
            "n_steps": 10,
            "kept": [10],
            "optimizer": optimizer,
            "learning_rate": RATES[optimizer],
        }
    schedules = {
        "warm-up": {"warmup_steps": 5},
        "cosine": {"cosine": 1},
        "warm-up-and-cosine": {"warmup_steps": 5, "cosine": 1},
    }
    for name, options in schedules.items():
        yield network(name, [3, 2, 3], 1, ["tanh", "linear"]) | options | {
            "kind": "schedule",
            "n_steps": 20,
            "kept": list(range(1, 21)),
            "optimizer": "sgd",
            "learning_rate": 0.5,
        }


def check_schedule():
    """The warm-up and cosine of above against PyTorch's."""
    section = {"warmup_steps": 5, "cosine": 1, "n_steps": 20}
    scheduler = torch.optim.lr_scheduler
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    rising = scheduler.LinearLR(optimizer, start_factor=1 / 5, total_iters=4)
    for step in range(1, 6):
        assert abs(rate_factor(section, step) - rising.get_last_lr()[0]) < 1e-12
        optimizer.step()
        rising.step()
    optimizer = torch.optim.SGD([weight], lr=1.0)
    falling = scheduler.CosineAnnealingLR(optimizer, T_max=15)
    for step in range(5, 21):
        assert abs(rate_factor(section, step) - falling.get_last_lr()[0]) < 1e-12
        optimizer.step()
        falling.step()


def optimizers():
    """The gradients, then each optimizer on them."""
    random = torch.Generator().manual_seed(7)
    n_params, n_steps = 21, 10
    params = 0.01 * torch.randn(n_params, generator=random)
    sizes = 10.0 ** torch.linspace(-9, 0, n_params)[torch.randperm(n_params, generator=random)]
    gradients = sizes * torch.randn(n_steps, n_params, generator=random)
    gradients[:, -1] = 0.0  # adam divides 0 by epsilon
    yield {"kind": "gradients", "name": "all-sizes", "params": params, "gradients": gradients}
    for optimizer, (name, options) in itertools.product(OPTIMIZERS, REGULARISED.items()):
        section = {
            "kind": "optimizer",
            "name": f"{optimizer}-{name}",
            "optimizer": optimizer,
            "learning_rate": 0.01,
            "n_weights": 13,
        } | options
        double = apply_gradients(section, params, gradients, torch.float64)
        assert agree(double, apply_gradients(section, params, gradients, torch.float32)), name
        yield section | results(double)


def text_of(value):
    if isinstance(value, torch.Tensor):
        value = value.detach().reshape(-1).tolist()
    elif not isinstance(value, list):
        value = [value]
    return " ".join(f"{x:.9g}" if isinstance(x, float) else str(x) for x in value)


def write(file, section):
    file.write(f"{section['kind']} {section['name']}\n")
    for key, value in section.items():
        if key not in ("kind", "name", "seed", "n_rows"):
            file.write(f"{key} {text_of(value)}\n")
    file.write("\n")


def main():
    torch.set_num_threads(1)
    check_schedule()
    path = pathlib.Path(__file__).with_name("torch.txt")
    with path.open("w", encoding="ascii") as file:
        version = torch.__version__
        file.write(f"comment written by make_torch.py with PyTorch {version}; do not edit\n\n")
        for seed, section in enumerate(networks(), start=1):
            write(file, compute(section | {"seed": seed}, evaluate))
        for seed, section in enumerate(trainings(), start=1000):
            write(file, compute(section | {"seed": seed}, train))
        for section in optimizers():
            write(file, section)


if __name__ == "__main__":
    main()
