"""The configuration for HAProxy, 2.4 or later: a file of its own beside the house's, loaded with a second `-f`.

Streams pass chunk by chunk, whoever leaves is let go of at both ends, and a request is sent again only if no server
took it. A server that refuses a connection is out at once; then the next is asked, and in the end sparkkeep.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from api.proxies.render.site import PATH, Pool, Site, about, pattern, servers, where

USE: Final = "Load it after your own: haproxy -f haproxy.cfg -f THIS. HAProxy 2.4 or later."
DEFAULTS: Final = """\
defaults sparkkeep
    mode http
    balance leastconn
    option http-no-delay
    option abortonclose
    option redispatch 1
    retries 2
    retry-on conn-failure
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout queue 10m
    timeout http-request 30s
    timeout http-keep-alive 60s
    timeout check 10s
    default-server check inter 5s fastinter 1s fall 3 rise 1 observe layer4 error-limit 1 on-error mark-down
"""
APP: Final = "{ method POST } !{ req.hdr(origin) -m found }"  # a page of a browser says whose it is
BODY: Final = f"{{ path_reg ^{PATH}$ }} {{ req.hdr(content-type) -m beg application/json }}"
CHECK: Final = "http-check send meth GET uri {page} ver HTTP/1.1 hdr host localhost"
UNSAID: Final = "if !{ res.hdr(sparkkeep-backend) -m found }"
SECRETS: Final = ("authorization", "cookie", "x-api-key")


def haproxy(site: Site) -> str:
    """All of it, the same text for the same site."""
    parts = [
        about("haproxy", USE, site),
        DEFAULTS,
        _section(_frontend(site)),
        _section(_keeper(site)),
        *(_section(_pool(pool, site)) for pool in site.pools),
    ]
    return "\n".join(parts)


def _section(lines: Iterator[str]) -> str:
    first, *rest = lines
    return "\n".join([first, *(f"    {line}" for line in rest)]) + "\n"


def _frontend(site: Site) -> Iterator[str]:
    yield "frontend sparkkeep from sparkkeep"
    yield f"bind {site.listen}"
    yield "http-request set-header x-forwarded-for %[src]"
    named = [pool for pool in site.pools if pool.model] if site.by_body else []
    if named:
        yield f"http-request wait-for-body time 30s if {BODY} {APP}"
        yield f"http-request set-var(txn.model) req.body,json_query('$.model') if {BODY} {APP}"
    for pool in site.pools:
        yield f"use_backend sparkkeep.{pool.name} if {{ path_reg {pattern(pool.name)} }} {APP}"
    for pool in named:
        yield f"use_backend sparkkeep.{pool.name} if {{ var(txn.model) -m str {pool.model} }}"
    yield "default_backend sparkkeep"


def _keeper(site: Site) -> Iterator[str]:
    yield "backend sparkkeep from sparkkeep"
    yield "option httpchk"
    yield CHECK.format(page="/healthz")
    yield f"http-request replace-path ^/m/[^/]+({PATH})$ \\1"
    yield f"server sparkkeep {site.keeper} on-error fastinter"


def _pool(pool: Pool, site: Site) -> Iterator[str]:
    yield f"backend sparkkeep.{pool.name} from sparkkeep"
    if pool.page:
        yield "option httpchk"
        yield CHECK.format(page=pool.page)
    yield f"http-request replace-path ^/m/[^/]+({PATH})$ \\1"
    for name in SECRETS:
        yield f"http-request del-header {name}"
    yield f"http-response set-header sparkkeep-backend {pool.name}@%[srv_name] {UNSAID}"
    most = f" maxconn {pool.most}" if pool.most is not None else ""
    for backend in servers(pool):
        yield f"server {backend.spark} {where(backend)} init-addr last,libc,none{most}"
    yield f"server sparkkeep {site.keeper} backup no-check track sparkkeep/sparkkeep"
