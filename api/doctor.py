"""Which Sparks doctor looks at, with what is wanted of each, and how several are looked at at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from api.folder import Unusable
from api.offline import load_desired
from api.reach import Reach
from reconciler.doctor.case import Case, Wanted
from reconciler.doctor.examine import examine
from reconciler.doctor.finding import Finding, Verdict
from reconciler.doctor.verdict import healthy, judge
from state.checks import host_ports, listening_on
from state.desired import Spark
from state.load import Loaded

AT_ONCE: Final = 16  # Sparks
ADDRESS: Final = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[^\]\s]+\]|[^@:\s]+)(?::(?P<port>\d{1,5}))?")
Tell = Callable[[str, str], None]  # Spark, what is being done
Asked = tuple[str, Spark, Wanted]  # under which name, where, and what is wanted of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One Spark, what is known of it, and what follows."""

    case: Case
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Nothing fails."""
        return healthy(self.findings)

    def of(self, *verdicts: Verdict) -> tuple[Finding, ...]:
        """The findings with these verdicts."""
        return tuple(each for each in self.findings if each.verdict in verdicts)


def spark_at(address: str) -> Spark:
    """The Spark at `[user@]host[:port]`; an IPv6 address stands in brackets. Raises Unusable."""
    found = ADDRESS.fullmatch(address.strip())
    what = f"{address!r} is no address: write user@host, or user@host:port (an IPv6 address in brackets)"
    if found is None:
        raise Unusable(what)
    given = {key: value for key, value in found.groupdict().items() if value}
    try:
        return Spark.model_validate({**given, **({"port": int(given["port"])} if "port" in given else {})})
    except ValidationError:
        raise Unusable(what) from None


def named(names: Sequence[str], desired: Path, environ: Mapping[str, str]) -> list[Asked]:
    """The Sparks of these names or addresses; all that are declared if none is given. Raises Invalid, Unusable."""
    there = desired.exists() or any(name.startswith("SPARK") and name.endswith("_HOST") for name in environ)
    loaded = load_desired(desired, environ) if there or not names else None
    declared = loaded.desired.sparks if loaded is not None else {}
    found = list[Asked]()
    for name in names or declared:
        if name in declared and loaded is not None:
            found.append((name, declared[name], wanted_of(name, loaded)))
        elif re.search(r"[@.:]", name):
            found.append((name, spark_at(name), Wanted()))
        else:
            known = ", ".join(declared) or "none"
            what = f"no Spark is called {name} in {desired} (there are: {known}); one that is not declared is user@host"
            raise Unusable(what)
    if not found:
        raise Unusable(f"{desired} declares no Spark: name one as user@host, or begin with `sparkkeep init`")
    return found


def wanted_of(name: str, loaded: Loaded) -> Wanted:
    """What this desired state wants of a Spark."""
    settings, spark = loaded.desired.settings, loaded.desired.sparks[name]
    ports, groups = dict[int, str](), list[str]()
    for workload, declaration in loaded.resolved.items():
        if name in (declaration.workload.across or []):
            groups.append(workload)
        if declaration.workload.run != "never" and name in listening_on(declaration):
            ports |= {port: workload for port, protocol in host_ports(declaration.recipe) if protocol == "tcp"}
    return Wanted(
        ports=ports,
        groups=tuple(groups),
        owner=settings.owner,
        reserve=settings.reserve if spark.reserve is None else spark.reserve,
        disk_reserve=settings.disk_reserve,
    )


async def look(sparks: Sequence[Asked], reach: Reach, tell: Tell) -> list[Examined]:
    """All of them, several at once, in the order given."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, spark: Spark, wanted: Wanted) -> Examined:
        key = spark.key or (str(reach.key) if reach.key else "")
        case = Case(name=name, spark=spark, wanted=wanted, key=key)
        async with room:
            case = await examine(reach.link(name, spark), case, lambda what: tell(name, what))
        return Examined(case=case, findings=judge(case))

    return list(await asyncio.gather(*(one(*each) for each in sparks)))


def as_json(all_of_them: Sequence[Examined]) -> dict[str, Any]:
    """For programs."""
    return {
        "healthy": all(each.healthy for each in all_of_them),
        "sparks": {
            each.case.name: {
                "host": each.case.spark.host,
                "user": each.case.user,
                "healthy": each.healthy,
                "findings": [finding.as_dict() for finding in each.findings],
            }
            for each in all_of_them
        },
    }


def told(examined: Examined) -> Iterator[str]:
    """What is not well, one paragraph for each finding: what, why, and what to do.

    What is unknown while something fails is most likely unknown because of that.
    """
    unknown = () if examined.of(Verdict.FAIL) else (Verdict.UNKNOWN,)
    for finding in examined.of(Verdict.FAIL, Verdict.WARN, *unknown):
        yield f"{examined.case.name}: {finding.check}: {finding.verdict}: {finding.message}"
        yield f"    why: {finding.why}"
        place = "here" if finding.where == "here" else f"on {examined.case.name}"
        yield from (f"    {place}: {command}" for command in finding.fix)
