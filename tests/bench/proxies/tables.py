"""What was measured, as tables; the goals are those of the data path's own issue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.bench.figures import Table, ms, p50
from tests.bench.proxies.load import CHUNKS, PACE
from tests.bench.proxies.measured import AT_ONCE, CONNECTIONS, ENOUGH, LONGEST, PACED, Seen, added, smooth

OURS, DIRECT, NGINX = "sparkkeep", "direct", "nginx"
GATEWAYS = ("Envoy", "Traefik", "Caddy")
MAIN = 32  # connections at which ratios are taken


def tables(
    seen: Mapping[str, Seen], versions: Sequence[str], absent: Sequence[str], *, rounds: int, seconds: float
) -> list[Table]:
    made = [_rates(seen), _paced(seen)]
    made[0].notes.append(
        f"{rounds} rounds of {seconds:g} s for each cell, every proxy in turn in every round; medians. Each proxy is held "
        "to one core (taskset) with everything it starts; what asks and what answers share the rest. JSON: wrk posts a "
        "chat of 0.5 KB, an nginx on a real host's network answers 0.6 KB. Streams: a client and an upstream in C "
        f"(tests/bench/proxies), {CHUNKS} events each, {AT_ONCE} streams at a time; `direct` is the ceiling of the tools. "
        "`added`: what one request at a time takes longer than directly. `µs/...`: of its core, "
        f"with {AT_ONCE} under way. Memory: resident, what processes share counted once."
    )
    made[0].notes.append(
        "sparkkeep is the whole product: it keeps that host, routes by the body's model, watches for clients that leave, "
        f"keeps records and limits. The others route by port. {', '.join(versions)}."
    )
    made[0].notes += [f"Not measured: {'; '.join(absent)}."] if absent else []
    made[1].notes.append(
        f"Streams that send a chunk every {PACE} ms, begun over a second, for {seconds:g} s. `longest silence`: between "
        f"two reads of any one stream. `at once`: the most of {', '.join(map(str, PACED))} without a silence over "
        f"{ms(LONGEST)}, more than {1 - ENOUGH:.0%} of the chunks late, or a stream broken off."
    )
    if OURS in seen:
        made.append(_goals(seen))
    return made


def _rates(seen: Mapping[str, Seen]) -> Table:
    columns = [f"JSON/s, c={connections}" for connections in CONNECTIONS]
    last = ("streams/s", "chunks/s", "added p50", "added p99", "µs/request", "µs/chunk", "memory", "failed")
    table = Table("Proxies: requests and streams a second", ("", *columns, *last))
    for name, one in seen.items():
        bare = name == DIRECT
        table.add(
            name,
            *(f"{one.rate(connections):,.0f}" for connections in CONNECTIONS),
            f"{one.streams():,.0f}",
            f"{one.streams() * CHUNKS:,.0f}",
            "" if bare else ms(added(one, seen[DIRECT], lambda each: each.p50)),
            "" if bare else ms(added(one, seen[DIRECT], lambda each: each.p99)),
            "" if bare else f"{p50(one.request_cost) * 1e6:.0f}",
            "" if bare else f"{p50(one.chunk_cost) * 1e6:.1f}",
            "" if bare else f"{one.memory:.0f} MiB",
            str(one.failed()),
        )
    return table


def _paced(seen: Mapping[str, Seen]) -> Table:
    most = PACED[0]
    table = Table(
        f"Proxies: {most:,} streams at {1000 // PACE} chunks a second",
        ("", "chunks/s", "gap p50", "gap p99", "longest silence", "of a core", "at once"),
    )
    for name, one in seen.items():
        first = one.paced[most]
        core = "" if name == DIRECT else f"{one.worked * 100:.0f} %"
        held = f"{one.ceiling():,}" if one.ceiling() else f"fewer than {PACED[-1]}"
        gaps = (ms(first.gap_p50), ms(first.gap_p99), ms(first.gap_max))
        table.add(name, f"{first.events:,.0f}", *gaps, core, held)
    return table


def _goals(seen: Mapping[str, Seen]) -> Table:
    table = Table("Proxies: sparkkeep's goals", ("", "measured", "goal"))
    ours = seen[OURS]
    gateways = [seen[name] for name in GATEWAYS if name in seen]

    def row(what: str, shown: str, goal: str, *, held: bool) -> None:
        table.add(what, shown, f"{goal}: {'held' if held else 'MISSED'}")

    if gateways:
        value = ours.rate(MAIN) / max(one.rate(MAIN) for one in gateways)
        names = ", ".join(name for name in GATEWAYS if name in seen)
        row(f"JSON/s, c={MAIN}, against the best of {names}", f"{value:.2f}", ">= 1.2", held=value >= 1.2)
    if NGINX in seen:
        value = ours.rate(MAIN) / seen[NGINX].rate(MAIN)
        row(f"JSON/s, c={MAIN}, against nginx", f"{value:.2f}", ">= 0.3", held=value >= 0.3)
        value = ours.streams() / seen[NGINX].streams()
        row("streamed chunks/s against nginx", f"{value:.2f}", ">= 0.9", held=value >= 0.9)
    value = added(ours, seen[DIRECT], lambda each: each.p50)
    row("added p50, one request at a time", ms(value), "<= 0.3 ms", held=value <= 0.0003)
    most = ours.paced[PACED[0]]
    shown = f"{ms(most.gap_max)}, {most.events / (PACED[0] * 1000 / PACE):.0%} of the chunks in time"
    goal = f"<= {ms(LONGEST)}, and {ENOUGH:.0%}"
    row(f"longest silence in {PACED[0]:,} paced streams", shown, goal, held=smooth(most, PACED[0]))
    return table
