"""The limiter's scripts alone, on a real Redis, against a model that counts by brute force: random tiers of every kind,
random weights, times and afterthoughts (refunds, calls sent late).  Time is Redis' own: the model goes by the instant
that each answer names."""

import random
import time

import pytest

from harness import Redis
from harness.process import ROOT, SLOWER

LUA = ROOT / "common" / "queue" / "lua"
LOG, SUB, FIXED, BUCKET = range(4)
PARTS = 60


class Tier:
    def __init__(self, rng, kind):
        self.kind = kind
        self.window = rng.randrange(40, 400) * 1000
        self.margin = rng.choice((0, 2000, 9000))
        self.limit = rng.randrange(3, 40)
        self.units = 1 if kind == LOG else rng.randrange(1, 4)
        self.guard = rng.randrange(1, self.window // 4000) * 1000 if kind == FIXED else 0
        self.burst = rng.randrange(self.units, self.limit + self.units) if kind == BUCKET else 0
        self.size = -(-self.window // PARTS)

    def args(self):
        return [self.kind, self.limit, self.window, self.margin, self.units, self.burst or self.guard]

    def __repr__(self):
        return f"Tier(kind={self.kind} {self.limit}/{self.window}us margin={self.margin} units={self.units} extra={self.burst or self.guard})"

    # What may be granted at `now` at most, and what must be at least, after calls that count at `times`.

    def bounds(self, now, times):
        if self.kind == LOG:
            room = self.limit - sum(t > now - self.window - self.margin for t in times)
            return room, room
        if self.kind == SUB:
            used = sum(t > now - self.window - self.margin for t in times)
            at_most = sum(t > now - self.window - self.margin - self.size for t in times)
            return (self.limit - used * self.units) // self.units, (self.limit - at_most * self.units) // self.units
        if self.kind == FIXED:
            most = []
            for shift in (-self.guard, 0, self.guard):
                start = (now + shift) // self.window * self.window - shift
                used = sum(start <= t < start + self.window for t in times)
                most.append((self.limit - used * self.units) // self.units)
            near = sum(t > now - self.window - 2 * self.guard - self.margin for t in times)
            return min(most), (self.limit - near * self.units) // self.units
        return self.bucket_bounds(now, times)

    def level(self, now, times, slack):
        """Units in the partner's bucket before a call at `now`, if calls came `slack` later than said and this one does not."""
        level, last = float(self.burst), None
        for t in sorted(times):
            if last is not None:
                level = min(self.burst, level + (t - last) * self.limit / self.window)
            level -= self.units
            last = t
        return level if last is None else min(self.burst, level + max(now - last - slack, 0) * self.limit / self.window)

    def bucket_bounds(self, now, times):
        most = (self.level(now, times, 0) + 1e-3) // self.units
        least = (self.level(now, times, self.margin) - self.margin * self.limit / self.window - 1e-3) // self.units
        return int(most), int(least)


class Limiter:
    def __init__(self, redis, tiers, prefix):
        self.tiers = tiers
        self.acquire = redis.register_script((LUA / "acquire.lua").read_text())
        self.amend = redis.register_script((LUA / "amend.lua").read_text())
        names = ["", ":flight", ":hold", ":run", ":sum", ":set"]
        self.keys = [f"limit:{{p}}:{prefix}{j}{n}" for j in range(len(tiers)) for n in names]
        redis.set("limit:{p}:since", 1)
        self.calls = 0

    def ask(self, want):
        self.calls += 1
        scopes = []
        for tiers in self.tiers:
            scopes += [0, 60000, 0, len(tiers)] + [a for t in tiers for a in t.args()]
        token = f"t{self.calls}"
        granted, now, wait, why = self.acquire(
            keys=["limit:{p}:since"] + self.keys + ["limit:{p}:gone"], args=[want, token, "run", 0, len(self.tiers), "i1", want, 0] + scopes)[:4]
        return token, granted, int(now), int(wait), why.decode() if isinstance(why, bytes) else why

    def ask_in_turn(self, who, want, waiting):
        """One scope of one tier, which integrations share."""
        self.calls += 1
        (tier,), = self.tiers
        granted, _, _, why, _, _, again, _ = self.acquire(
            keys=["limit:{p}:since"] + self.keys + [self.keys[0] + ":turn", self.keys[0] + ":due", "limit:{p}:gone"],
            args=[want, f"t{self.calls}", "run", 0, 1, who, waiting, 0, 0, 60000, 1, 1] + tier.args())
        return granted, again / 1e6, why

    def say(self, op, token, granted, number=0):
        for j, tiers in enumerate(self.tiers):
            keys = [self.keys[6 * j], self.keys[6 * j + 4], self.keys[6 * j + 1]]
            self.amend(keys=keys, args=[len(tiers)] + [a for t in tiers for a in t.args()] + [op, token, granted, number])


def tier_of(kind, limit, window_us, margin_us=2000):
    tier = Tier(random.Random(1), kind)
    tier.limit, tier.window, tier.margin, tier.units, tier.size = limit, window_us, margin_us, 1, -(-window_us // PARTS)
    return tier


@pytest.fixture(scope="module")
def redis_alone(tmp_path_factory):
    server = Redis(tmp_path_factory.mktemp("redis")).start()
    yield server.client
    server.stop()


def play(client, seed, kinds, amends, seconds):
    rng = random.Random(seed)
    scopes = [[Tier(rng, rng.choice(kinds)) for _ in range(rng.randrange(1, 4))] for _ in range(rng.randrange(1, 3))]
    for tiers in scopes:  # one log serves the tiers of a scope; of the others each window is one tier
        for k, tier in enumerate(tiers):
            tier.window += 1000 * k
            tier.size = -(-tier.window // PARTS)
    limiter = Limiter(client, scopes, f"s{seed}.")
    tiers = [t for scope in scopes for t in scope]
    times, total, denials, under = [], 0, 0, []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        want = rng.randrange(1, 6)
        token, granted, now, wait, why = limiter.ask(want)
        bounds = [t.bounds(now, times) for t in tiers]
        most, least = min(b[0] for b in bounds), min(b[1] for b in bounds)
        case = f"seed {seed}: asked {want}, granted {granted}, {most} at most, {least} at least; {tiers}"
        assert granted <= max(most, 0), "over: " + case
        if granted < min(want, least):  # seen once under a load of thirty: a limiter that is timid is so again and again
            under.append(case)
        assert len(under) <= 1, f"under: {under}"
        if granted == 0:
            assert wait > 0 and why == "tier", case
            denials += 1
            longest = max(t.window + t.margin + t.size + 2 * t.guard + t.units * t.window // t.limit for t in tiers)
            assert wait <= longest, case
            time.sleep(min(wait, rng.choice((1000, 20000, 400000))) / 1e6)
        total += granted
        for k in range(1, granted + 1):
            at = now
            if amends and rng.random() < 0.2:
                limiter.say("r", f"{token}:{k}", now)
                continue
            if amends and rng.random() < 0.2:
                time.sleep(rng.random() * 0.004)
                at = 1000000 * client.time()[0] + client.time()[1]
                limiter.say("m", f"{token}:{k}", now, at)
            times.append(at)
        if rng.random() < 0.3:
            time.sleep(rng.random() * 0.02)
    return total, denials


@pytest.mark.parametrize("kinds", [(LOG,), (SUB,), (FIXED,), (BUCKET,), (LOG, SUB, FIXED, BUCKET)],
                         ids=["log", "sub-buckets", "fixed", "token-bucket", "all"])
def test_grants_are_what_a_brute_force_count_allows(redis_alone, kinds):
    total = denials = 0
    for seed in range(4):
        granted, denied = play(redis_alone, seed + 100 * len(kinds) + 1000 * kinds[0], kinds, False, 0.35)
        total, denials = total + granted, denials + denied
    assert total > 20 and denials > 5


@pytest.mark.parametrize("kinds", [(LOG,), (LOG, SUB)], ids=["log", "with sub-buckets"])
def test_refunds_and_late_calls_count_where_they_belong(redis_alone, kinds):
    assert sum(play(redis_alone, 5000 + seed + 10 * len(kinds), kinds, True, 0.5)[0] for seed in range(4)) > 20


def test_a_late_call_is_never_forgotten_early(redis_alone):
    """Of every kind: after a move by a third of the window nothing more is granted than with the call at its true place."""
    for kind in (LOG, SUB, BUCKET):
        rng = random.Random(kind)
        tier = Tier(rng, kind)
        tier.window, tier.margin, tier.limit, tier.units, tier.burst = 300000, 0, 3, 1, 3 if kind == BUCKET else 0
        tier.size = tier.window // PARTS
        limiter = Limiter(redis_alone, [[tier]], f"late{kind}.")
        token, granted, now, _, _ = limiter.ask(3)
        assert granted == 3
        time.sleep(0.1)
        sent = now + 100000
        for k in (1, 2, 3):
            limiter.say("m", f"{token}:{k}", now, sent)
        denied = now
        while True:
            _, granted, at, wait, _ = limiter.ask(1)
            if granted:
                break
            denied = at
            time.sleep(min(wait, 2000) / 1e6)
        full = sent + tier.window // 3 if kind == BUCKET else sent + tier.window
        assert denied <= full + tier.size and full <= at, (kind, denied - full, at - full)
        _, again, _, _, _ = limiter.ask(9)
        assert again <= 2


def test_a_log_in_steady_use_outlives_its_windows(redis_alone):
    """Its life must be given anew however close the calls are: a log that expires in use forgets a whole window."""
    tier = Tier(random.Random(1), LOG)
    tier.window, tier.margin, tier.limit = 800000, 0, 2
    limiter = Limiter(redis_alone, [[tier]], "steady.")
    times, until = [], time.monotonic() + 5
    while time.monotonic() < until:
        _, granted, now, _, _ = limiter.ask(1)
        times += [now] * granted
        time.sleep(0.04)
    assert len(times) > 8
    assert all(b - a >= tier.window for a, b in zip(times, times[2:])), "more than 2 in a window"


@pytest.mark.parametrize("kind", [LOG, SUB, FIXED, BUCKET], ids=["log", "sub-buckets", "fixed", "token-bucket"])
def test_integrations_take_turns(redis_alone, kind):
    """One with a thousand jobs always asks first, one has five at a time, one stops to come in the middle; another comes then."""
    for play in range(6):  # who comes 100 ms late has lost his turn: a machine that lets them be late is asked again
        unfair = take_turns(redis_alone, kind, play)
        if not unfair:
            return
    raise AssertionError(unfair)


def take_turns(redis_alone, kind, play):
    """What was not fair, or None."""
    tier = Tier(random.Random(kind), kind)
    tier.window, tier.margin, tier.limit, tier.units, tier.guard, tier.burst = SLOWER * 300000, 0, 12, 1, 1000 if kind == FIXED else 0, 4
    tier.burst, tier.size = 4 if kind == BUCKET else 0, tier.window // PARTS
    limiter = Limiter(redis_alone, [[tier]], f"turns{kind}.{play}.")
    waiting = {"greedy": 1000, "small": 5, "leaves": 20}
    got, due = {who: [] for who in [*waiting, "comes"]}, dict.fromkeys(waiting, 0.0)
    began = time.monotonic()
    while (now := time.monotonic() - began) < 2.6 * SLOWER:
        if now > 1.3 * SLOWER and "leaves" in due:
            del due["leaves"]  # as a process that is killed: nobody says so
            due["comes"], waiting["comes"] = 0.0, 7
        who = min(due, key=lambda w: (max(due[w], now), list(waiting).index(w)))
        if due[who] > now:
            time.sleep(due[who] - now)
        granted, again, why = limiter.ask_in_turn(who, min(waiting[who], 64), waiting[who])
        at = time.monotonic() - began
        got[who] += [at] * granted
        assert granted or why in (b"tier", b"turn", "tier", "turn")
        due[who] = at if granted else at + again
    for first, last, there in (0.4, 1.3, ("greedy", "small", "leaves")), (1.7, 2.6, ("greedy", "small", "comes")):
        counts = [sum(first <= t / SLOWER < last for t in got[who]) for who in there]
        if sum(counts) <= 0.6 * 12 * (last - first) / 0.3 or min(counts) <= 0.7 * max(counts):
            return there, counts
    return None


def test_log_outlives_calls_that_wait_to_be_sent(redis_alone):
    """Connections that take longer than the window: the entries are moved along, and nobody else is granted meanwhile."""
    limiter = Limiter(redis_alone, [[tier_of(LOG, 2, 1000000)]], "late")
    (token, granted, now, _, _), log = limiter.ask(2), limiter.keys[0]
    assert granted == 2
    redis_alone.pexpire(log, 300)  # what is left of its life after some seconds
    limiter.say("m", f"{token}:1", now, now + 1)
    assert redis_alone.pttl(log) > 1002


def test_sub_buckets_count_what_was_sent_long_after_its_grant(redis_alone):
    """Granted over a window ago, and sent now: it counts, though all that was known at its grant has left."""
    limiter = Limiter(redis_alone, [[tier_of(SUB, 5, 60000000)]], "long")
    token, granted, now, _, _ = limiter.ask(5)
    assert granted == 5
    total, then = limiter.keys[4], now // 1000000 - 150
    redis_alone.delete(total)  # as if that had been 150 s ago
    redis_alone.hset(total, mapping={"s60000000:n": 5, "s60000000:o": then, f"s60000000:{then}": 5})
    for _ in range(5):
        limiter.say("m", f"{token}:1", now - 150 * 1000000, now)
    assert limiter.ask(1)[1] == 0
    limiter.say("e", f"{token}:1", now)
    assert int(redis_alone.hget(total, "s60000000:n")) == 5
