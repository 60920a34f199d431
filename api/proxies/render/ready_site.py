"""The site of this moment: of what apps can ask for, what a proxy may ask without us."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from api.proxies.render.site import Pool, Site, ordered
from api.proxies.routing.offers import Offers
from reconciler.model import Instance, ProbeSpec
from reconciler.probe import has_canary

NOTHING: Final = frozenset({"none", ""})


def site(
    offers: Offers, target: Mapping[str, Iterable[Instance]], *, keeper: str, listen: str, by_body: bool, closed: str
) -> Site:
    """`target`: the instances of each Spark. `closed`: why nobody may be let past sparkkeep, if that is so."""
    probes = {i.workload: i.probe for instances in target.values() for i in instances if i.rank == 0}
    pools = [
        Pool(
            name=offer.name,
            backends=offer.backends,
            model=_one(backend.model for backend in offer.backends),
            page=_page(probes.get(offer.name, ProbeSpec())),
            most=offer.limit,
        )
        for offer in offers.each.values()
        if offer.run == "always" and offer.backends and not closed
    ]
    return Site(pools=ordered(pools), keeper=keeper, listen=listen, by_body=by_body, note=closed)


def _one(names: Iterable[str]) -> str:
    """The name that all its servers go by."""
    found = set(names)
    return found.pop() if len(found) == 1 else ""


def _page(probe: ProbeSpec) -> str:
    """The page that tells whether its server is well."""
    if probe.kind in NOTHING:
        return ""
    return probe.health if has_canary(probe) else probe.path
