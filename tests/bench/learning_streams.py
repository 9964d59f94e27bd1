"""The streams that the learning loop must stand, made from labelled rows. Each function drives one
backend (learning_backends.py) and returns what was measured; learning.py knows what is demanded."""
import csv
import gzip
import json
import sqlite3

import numpy

from learning_backends import BATCH, MODEL

FIRST_ROWS = 10000  # that the first version learns from
ROLES = {"train": 0, "calibrate": 1, "gate": 2, "quarantine": 3, "confirmed": 4}


class Pool:
    """Labelled rows of one data set; what is drawn is drawn with replacement."""

    def __init__(self, name, normal, anomalies):
        self.name = name
        self.normal, self.anomalies = normal.astype("f4"), anomalies.astype("f4")
        self.n_features = normal.shape[1]
        # What one sd of a shift is: of the middle 98 %, or one spike in ten thousand rows would
        # make a column that stands still move by what it has never moved.
        low, high = numpy.quantile(self.normal, [0.01, 0.99], axis=0)
        self.sd = numpy.clip(self.normal, low, high).std(axis=0)

    def draw(self, random, n):
        return self.normal[random.integers(len(self.normal), size=n)]


def read_rows(path):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path, encoding="ascii")
    with opened as file:
        table = csv.reader(file)
        header = next(table)
        return header, list(table)


def is_recording(folder):
    return (folder / "normal.csv").exists()


def read_recording(folder):
    """A host's normal.csv and incidents.csv: (past, rows, what was happening in each row)."""
    header, past = read_rows(folder / "normal.csv")
    columns = [i for i, name in enumerate(header) if name not in ("timestamp", "series")]
    _, lines = read_rows(folder / "incidents.csv")
    numbers = lambda table: numpy.array([[line[i] for i in columns] for line in table], dtype="f4")
    return numbers(past), numbers(lines), [line[-1] for line in lines]


def read_pool(folder):
    if is_recording(folder):
        past, rows, marks = read_recording(folder)
        quiet = numpy.array([mark == "" for mark in marks])
        faulty = numpy.array([mark not in ("", "recovery") for mark in marks])
        return Pool(folder.name, numpy.concatenate([past, rows[quiet]]), rows[faulty])
    _, train = read_rows(folder / "train.csv.gz")
    _, test = read_rows(folder / "test.csv.gz")
    with gzip.open(folder / "labels.txt.gz", "rt") as file:
        labels = numpy.array(file.read().split(), dtype=int)
    train, test = numpy.array(train, dtype="f4"), numpy.array(test, dtype="f4")
    return Pool(folder.name, numpy.concatenate([train, test[labels == 0]]), test[labels == 1])


def read_month(folder):
    """The same of a server, whose incidents have names or are just labelled."""
    _, past = read_rows(folder / "train.csv.gz")
    if (folder / "incidents.csv.gz").exists():
        _, lines = read_rows(folder / "incidents.csv.gz")
        rows, marks = [line[:-1] for line in lines], [line[-1] for line in lines]
    else:
        _, rows = read_rows(folder / "test.csv.gz")
        with gzip.open(folder / "labels.txt.gz", "rt") as file:
            marks = ["x" if label == "1" else "" for label in file.read().split()]
    return numpy.array(past, dtype="f4"), numpy.array(rows, dtype="f4"), marks


def read_server(folder):
    """Rows in time order: (past, rows, incident number of each row or -1)."""
    if is_recording(folder):
        past, rows, marks = read_recording(folder)
    else:
        past, rows, marks = read_month(folder)
    incidents, number = numpy.full(len(rows), -1), -1
    for i, mark in enumerate(marks):
        if mark and (i == 0 or marks[i - 1] != mark):
            number += 1
        if mark:
            incidents[i] = number
    return past, rows, incidents


# ---- measuring ----

def roc_auc(normal, anomalous):
    """Of two lists of errors."""
    both = numpy.concatenate([normal, anomalous])
    _, place, count = numpy.unique(both, return_inverse=True, return_counts=True)
    ranks = (numpy.cumsum(count) - (count - 1) / 2)[place]
    n, m = len(normal), len(anomalous)
    return (ranks[n:].sum() - m * (m + 1) / 2) / (n * m)


def false_alarms(backend, rows):
    return backend.score(rows, learn=False)[:, 2].mean()


def auc(backend, pool, random):
    normal = backend.score(pool.draw(random, 4000), learn=False)[:, 0]
    return roc_auc(normal, backend.score(pool.anomalies, learn=False)[:, 0])


def runs_of(backend):
    runs = backend.get("runs").get("runs", [])
    return {**{state: sum(run["state"] == state for run in runs)
               for state in ("promoted", "refused", "failed")},
            "excess": len(events_of(backend, "excess"))}


def events_of(backend, kind=None):
    events = backend.get("events").get("events", [])
    return [event for event in events if kind in (None, event["kind"])]


def stored_rows(backend, role=None):
    """The buffer's rows as they lie in the store."""
    with sqlite3.connect(backend.folder / "state" / "state.db") as store:
        found = store.execute("SELECT vector FROM rows WHERE ? IN (-1, role)",
                              (-1 if role is None else ROLES[role],)).fetchall()
    store.close()
    return [numpy.frombuffer(blob, "<f4") for blob, in found]


def keys(rows):
    return {row.tobytes() for row in numpy.ascontiguousarray(rows, "<f4")}


def n_stored_of(backend, rows, roles=("train", "calibrate", "gate")):
    wanted = keys(rows)
    return sum(row.tobytes() in wanted for role in roles for row in stored_rows(backend, role))


def begin(backend, pool, random, n_rows=None):
    backend.observe(pool.draw(random, n_rows or FIRST_ROWS))
    backend.score(pool.draw(random, 1), learn=False) # tells the version


# ---- streams ----

def stationary(backend, pool, random, rate, retrains, first_rows=None, fresh_rows=10000):
    """The same rows for ever: false alarms on fresh ones after each retrain."""
    begin(backend, pool, random, first_rows)
    first_auc, version, rates, n_rows = auc(backend, pool, random), backend.version, [], 0
    while len(rates) < retrains and n_rows < 2 * 2000 * retrains + 20000:
        backend.score(pool.draw(random, BATCH))
        n_rows += BATCH
        if backend.version != version:
            version = backend.version
            rates.append(false_alarms(backend, pool.draw(random, fresh_rows)) / rate)
    runs = runs_of(backend)
    rates = rates or [false_alarms(backend, pool.draw(random, fresh_rows)) / rate]
    return {"retrains": len(rates), "mean": numpy.mean(rates), "least": min(rates),
            "most": max(rates), "within": numpy.mean([0.5 <= x <= 2 for x in rates]),
            "auc_change": auc(backend, pool, random) - first_auc, **runs}


def slow_shift(backend, pool, random, rate, sd_per_5000, total_sd=3.0):
    """All features move together, slowly enough to be learned."""
    begin(backend, pool, random)
    n, shares = int(total_sd / sd_per_5000 * 5000), []
    for begin_row in range(0, n, 5000):
        flags = []
        for at in range(begin_row, min(begin_row + 5000, n), BATCH):
            rows = pool.draw(random, BATCH)
            steps = (numpy.arange(at, at + len(rows)) / 5000 * sd_per_5000)[:, None]
            flags.append(backend.score((rows + steps * pool.sd).astype("f4"))[:, 2])
        shares.append(numpy.concatenate(flags).mean() / rate)
    at_end = (pool.draw(random, 10000) + total_sd * pool.sd).astype("f4")
    return {"most": max(shares), "end": false_alarms(backend, at_end) / rate,
            "asked": len(events_of(backend, "regime_change")), **runs_of(backend)}


def fast_shift(backend, pool, random, rate, sd_per_5000, n_rows=15000):
    """Too fast to follow: then it must be said. rows_to_ask: from the first 500 rows of which more
    than ten times the rate are flagged to the event; 0: it was never so bad."""
    begin(backend, pool, random)
    recent, bad_since, asked = [], None, None
    for at in range(0, n_rows, BATCH):
        steps = (numpy.arange(at, at + BATCH) / 5000 * sd_per_5000)[:, None]
        told = backend.score((pool.draw(random, BATCH) + steps * pool.sd).astype("f4"))
        recent = (recent + [told[:, 2].mean()])[-2:]
        if numpy.mean(recent) <= 10 * rate:
            bad_since = None # it follows
        elif bad_since is None:
            bad_since = at
        if asked is None and events_of(backend, "regime_change"):
            asked = at + BATCH
            break
    return {"rows_to_ask": 0 if bad_since is None else
            (max(asked - bad_since - BATCH, 0) if asked else n_rows),
            "incidents": len(events_of(backend, "incident"))}


def open_incident(backend):
    newest = [event for event in events_of(backend, "incident") if event.get("open")]
    return newest[0]["id"] if newest else None


def step_normal(backend, pool, random, rate, sd, after=8000):
    """A level change at once; after 500 rows somebody says that it is normal."""
    begin(backend, pool, random)
    backend.score(pool.draw(random, 2000))
    new = lambda n: (pool.draw(random, n) + sd * pool.sd).astype("f4")
    backend.score(new(500))
    incident, before = open_incident(backend), runs_of(backend)["promoted"]
    if incident:
        backend.do("feedback", incident, "normal")
    rows, reached = 0, None
    while rows < 6000 and reached is None:
        if false_alarms(backend, new(5000)) <= 2 * rate:
            reached = rows
            break
        backend.score(new(BATCH))
        rows += BATCH
    retrains = runs_of(backend)["promoted"] - before
    for _ in range(after // BATCH):
        backend.score(new(BATCH))
    return {"rows": rows if reached is not None else 99999, "retrains": retrains,
            "asked": incident is not None,
            "new": false_alarms(backend, new(10000)) / rate,
            "old": false_alarms(backend, pool.draw(random, 10000)) / rate, **runs_of(backend)}


def unanswered(backend, pool, random, change, n_rows=5000):
    """The same without an answer: nothing of it may be learned."""
    begin(backend, pool, random)
    backend.score(pool.draw(random, 2000))
    rows = change(pool.draw(random, n_rows)).astype("f4")
    told = backend.score(rows)
    changed = rows[numpy.cumsum(told[:, 2]) > 0] # a row before the first flag looks like any other
    return {"stored": n_stored_of(backend, changed), "flagged": told[:, 2].mean(),
            "open": open_incident(backend) is not None,
            "asked": len(events_of(backend, "regime_change"))}


def frozen(backend, pool, random, n_rows=2000):
    """A collector that repeats its last row."""
    begin(backend, pool, random)
    backend.score(pool.draw(random, 2000))
    row = pool.draw(random, 1)[0] + 1e-3 * pool.sd * random.standard_normal(pool.n_features)
    row = row.astype("f4")
    backend.score(numpy.repeat(row[None, :], n_rows, axis=0))
    backend.score(pool.draw(random, 500))
    return {"stored": n_stored_of(backend, row[None, :]),
            "told": len(events_of(backend, "stale_input"))}


def bursts(backend, pool, random, rate, retrains=10, size=200, share=0.05):
    """Real anomalies in bursts that nobody answers."""
    begin(backend, pool, random)
    first_auc = auc(backend, pool, random)
    errors = backend.score(pool.anomalies, learn=False)
    sure = keys(pool.anomalies[errors[:, 2] == 1])
    sent, admitted, normal, quarantined = set(), set(), 0, set()
    promoted = 0
    for _ in range(4 * retrains):
        usual = pool.draw(random, int(size / share) - size)
        cut = int(random.integers(len(usual)))
        burst = pool.anomalies[random.integers(len(pool.anomalies), size=size)]
        # every burst row its own value, or the same anomaly would count once for all
        burst = (burst + 1e-4 * pool.sd * random.standard_normal(burst.shape)).astype("f4")
        found = backend.score(burst, learn=False)[:, 2] == 1
        for part in (usual[:cut], burst, usual[cut:]):
            if len(part):
                backend.score(part)
        sent |= keys(burst[found])
        normal += len(usual)
        admitted |= keys(stored_rows(backend, "train")) & sent
        quarantined |= keys(stored_rows(backend, "quarantine")) & keys(usual)
        promoted = runs_of(backend)["promoted"] - 1
        if promoted >= retrains:
            break
    return {"retrains": promoted, "auc_change": auc(backend, pool, random) - first_auc,
            "admitted": len(admitted) / max(len(sent), 1), "sure": len(sure),
            "quarantined": len(quarantined) / normal, **runs_of(backend)}


def poison_rows(backend, pool, random, target, n, most=0.98):
    """Rows on the way from normal ones to the target, as far as the live version lets them pass."""
    base = pool.draw(random, n)
    low, high = numpy.zeros(n), numpy.ones(n)
    for _ in range(10):
        middle = (low + high) / 2
        rows = base + middle[:, None] * (target - base)
        passes = backend.score(rows.astype("f4"), learn=False)[:, 0] < most * backend.threshold
        low, high = numpy.where(passes, middle, low), numpy.where(passes, high, middle)
    return (base + low[:, None] * (target - base)).astype("f4")


def poisoning(backend, pool, random, share, retrains=40, every=2000):
    """Somebody teaches the service an anomaly bit by bit. passed: after how many retrains the
    target is normal; 0: never."""
    begin(backend, pool, random)
    first = backend.score(pool.anomalies, learn=False)
    order = numpy.argsort(first[:, 0] / backend.threshold)
    flagged = [i for i in order if first[i, 0] > 1.5 * backend.threshold]
    target = pool.anomalies[flagged[len(flagged) // 2]]
    excess_at, n_periods = None, 0
    for period in range(1, retrains + 1):
        version = backend.version
        for part in range(20): # until the run after about `every` stored rows
            n = round(share * every / 5)
            rows = pool.draw(random, every // 5 - n)
            rows = numpy.concatenate([rows, poison_rows(backend, pool, random, target, n)])
            backend.score(rows[random.permutation(len(rows))])
            if backend.version != version or (part >= 7 and period > 1):
                break
        n_periods = period
        if excess_at is None and events_of(backend, "excess"):
            excess_at = period
        if backend.score(target[None, :], learn=False)[0, 2] == 0:
            return {"passed": period, "excess_at": excess_at or 0, "periods": n_periods,
                    **runs_of(backend)}
    return {"passed": 0, "excess_at": excess_at or 0, "periods": n_periods, **runs_of(backend)}


def drift_alarms(backend, pool, random, stretches=20, rows=20000):
    """Stretches of exchangeable rows, each from a meter that begins anew."""
    begin(backend, pool, random, 30000)
    alarms = 0
    for _ in range(stretches):
        before = len(events_of(backend, "drift"))
        backend.do("promote", backend.version)
        for _ in range(rows // 5000):
            backend.score(pool.draw(random, 5000))
        alarms += len(events_of(backend, "drift")) > before
    return {"stretches": stretches, "alarms": alarms / stretches}


def drift_delay(backend, pool, random, sd, rounds=20):
    """Rows until the meter alarms after a shift of the score by sd of its normal deviate."""
    begin(backend, pool, random, 30000)
    p = backend.score(pool.normal, learn=False)[:, 1]
    ranks = numpy.argsort(numpy.argsort(-p + 1e-9 * random.random(len(p))))
    z = numpy.sqrt(2) * inverse_erf(2 * (ranks + 0.5) / len(p) - 1)
    weight = numpy.exp(sd * z)
    weight /= weight.sum()
    delays = []
    for _ in range(rounds):
        backend.do("promote", backend.version)
        before, n = len(events_of(backend, "drift")), 0
        while len(events_of(backend, "drift")) == before and n < 2000:
            backend.score(pool.normal[random.choice(len(p), size=10, p=weight)])
            n += 10
        delays.append(n)
    return {"delay": numpy.mean(delays)}


def inverse_erf(y):
    """Winitzki's approximation, then two steps of Newton."""
    log = numpy.log(1 - y * y)
    part = 2 / (numpy.pi * 0.147) + log / 2
    x = numpy.sign(y) * numpy.sqrt(numpy.sqrt(part * part - log / 0.147) - part)
    erf = numpy.vectorize(__import__("math").erf)
    for _ in range(2):
        x = x - (erf(x) - y) / (2 / numpy.sqrt(numpy.pi) * numpy.exp(-x * x))
    return x


def real_order(backend, server, rate):
    """A month of a server as it came; rows near no incident should not alarm."""
    past, rows, incidents = server
    backend.observe(past)
    flags = backend.score(rows)[:, 2]
    hit = [flags[incidents == i].any() for i in range(incidents.max() + 1)]
    return {"false_alarms": flags[incidents < 0].mean(), "hit": numpy.mean(hit),
            "incidents": len(hit), "asked": len(events_of(backend, "regime_change")),
            **runs_of(backend)}


def noise_rows(pool, random, n):
    low, high = pool.normal.min(axis=0), pool.normal.max(axis=0)
    return random.uniform(low, high, (n, pool.n_features)).astype("f4")


def frozen_rows(pool, random, n):
    return numpy.repeat(pool.draw(random, 1), n, axis=0)


def narrow_rows(pool, random, n, share=0.02):
    """Of the normal rows that are nearest to one of them."""
    sd = numpy.where(pool.sd > 0, pool.sd, 1)
    distances = (((pool.normal - pool.draw(random, 1)) / sd) ** 2).sum(axis=1)
    nearest = numpy.argsort(distances)[:max(int(share * len(distances)), 1)]
    return pool.normal[nearest[random.integers(len(nearest), size=n)]]


def is_promoted(backend):
    """Asks for a run."""
    backend.do("retrain")
    newest = max(backend.get("runs")["runs"], key=lambda run: run["id"])
    return newest["state"] == "promoted"


def power(backend, pool, rate):
    """[ROC AUC, share of the anomalies flagged, FAR/α], always of the same rows."""
    same = numpy.random.default_rng(1)
    return numpy.array([auc(backend, pool, same),
                        backend.score(pool.anomalies, learn=False)[:, 2].mean(),
                        false_alarms(backend, pool.draw(same, 4000)) / rate])


def is_worse(now, before):
    """By more than the gate allows of made-up anomalies; half of what was found is missed; or it
    flags more than a slow shift may. Looser ones would take chance for a loss."""
    return now[0] < before[0] - 0.015 or now[1] < before[1] / 2 or now[2] > 3


def try_bad(backend, pool, random, rate, n_before, rows):
    """None: refused. Else what version 1 can do, and what the new one can."""
    backend.do("promote", 1)
    backend.do("reset")
    backend.observe(pool.draw(random, n_before))
    before = power(backend, pool, rate)
    backend.observe(rows)
    return (before, power(backend, pool, rate)) if is_promoted(backend) else None


def try_good(backend, pool, random, rate, n, every):
    """(how many were promoted, how many of these were worse than the version before)"""
    promoted, worse, before = 0, 0, power(backend, pool, rate)
    for _ in range(n):
        backend.score(pool.draw(random, every))
        promoted += is_promoted(backend)
        now = power(backend, pool, rate)
        worse += is_worse(now, before)
        before = now
    return promoted, worse


def candidates(backend, pool, random, rate, n_good=16, every=1000, n_bad=5000):
    """Good candidates must pass, bad ones be refused. good: the share promoted of trainings after
    `every` fresh rows each. Bad rows come by /observe, where nothing keeps them from the store:

    - into a store that a reset has emptied. All rows, those that judge as well, are bad, and only
      the pinned version and the live one remember better ones. Nothing good can come of it:
      whatever is promoted was let through. So it is with good rows that are too few: 20, or 1,500,
      of which 750 train (the gate wants 1,000).
    - behind 10,000 good rows, of which they push out half: the newest half of what trains is bad,
      and half of what calibrates and judges. Guard and thinning may take the bad rows out of the
      training, and then the candidate may be as good as any: so it was let through if it is worse.

    excess: of how many that were let through an `excess` told. worse: of all bad ones promoted, to
    be held against good_worse; the rest is the worst of them."""
    begin(backend, pool, random)
    good, good_worse = try_good(backend, pool, random, rate, n_good, every)
    bad = {"noise": noise_rows, "frozen": frozen_rows, "narrow": narrow_rows}
    tried = [(n_before, kind, make(pool, random, n_bad))
             for n_before in (0, FIRST_ROWS) for kind, make in bad.items()]
    tried += [(0, "few", pool.draw(random, n)) for n in (20, 1500)]
    through, promoted, worse, excess = dict.fromkeys([*bad, "few"], 0), [], 0, 0
    for n_before, kind, rows in tried:
        n_excess = len(events_of(backend, "excess"))
        found = try_bad(backend, pool, random, rate, n_before, rows)
        if found:
            before, now = found
            promoted.append([now[0] - before[0], now[1] - before[1], -now[2]])
            worse += is_worse(now, before)
            is_through = n_before == 0 or is_worse(now, before)
            through[kind] += is_through
            excess += is_through and len(events_of(backend, "excess")) > n_excess
    worst = numpy.min([[0.0, 0.0, 0.0], *promoted], axis=0)
    return {"good": good / n_good, "good_worse": good_worse, "bad": len(tried),
            "refused": len(tried) - len(promoted), "bad_through": sum(through.values()),
            **{f"through_{kind}": n for kind, n in through.items()}, "excess": excess,
            "worse": worse, "auc_change": worst[0], "recall_change": worst[1], "most": -worst[2]}


def dumps(result):
    return json.dumps(result, default=float)


__all__ = [name for name in dir() if not name.startswith("_")] + [MODEL]
