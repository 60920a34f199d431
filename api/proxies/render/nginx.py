"""The configuration for nginx, 1.11.5 or later: a file to be included inside `http { }`.

Streams pass unbuffered, whoever leaves is let go of at both ends, and a request is sent again only if no server took
it. A server that refuses a connection is left alone for some seconds; then the next is asked, and in the end sparkkeep.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from api.proxies.render.site import PATH, Pool, Site, about, pattern, servers, where

USE: Final = "Include it inside http { }; on Debian it may lie in /etc/nginx/conf.d. nginx 1.11.5 or later."
APP: Final = """\
# An app posts and names no origin; a page of a browser says whose it is, and sparkkeep judges whether it may.
map "$request_method $http_origin" $sparkkeep_app {
    default "";
    "POST " 1;
}
"""
SERVER: Final = (
    "client_max_body_size 0;",
    "proxy_http_version 1.1;",
    "proxy_buffering off;",
    "proxy_request_buffering off;",
    "proxy_connect_timeout 5s;",
    "proxy_send_timeout 1h;",
    "proxy_read_timeout 1h;",
    "proxy_next_upstream error timeout;",
    "proxy_next_upstream_tries 3;",
    "proxy_socket_keepalive on;",
)
TO_KEEPER: Final = (
    "proxy_set_header Host $http_host;",
    'proxy_set_header Connection "";',
    "proxy_set_header X-Forwarded-For $remote_addr;",
)
TO_POOL: Final = (
    *TO_KEEPER,
    *(f'proxy_set_header {name} "";' for name in ("Authorization", "Cookie", "X-Api-Key")),
)


def nginx(site: Site) -> str:
    """All of it, the same text for the same site."""
    parts = [
        about("nginx", USE, site),
        *([APP] if site.pools else []),
        _block("upstream sparkkeep", _keeper(site)),
        *(_block(f"upstream sparkkeep.{pool.name}", _upstream(pool, site)) for pool in site.pools),
        _block("server", _server(site)),
    ]
    return "\n".join(parts)


def _block(head: str, lines: Iterator[str]) -> str:
    return "\n".join([f"{head} {{", *(f"    {line}" for line in lines), "}"]) + "\n"


def _keeper(site: Site) -> Iterator[str]:
    yield "zone sparkkeep 128k;"
    yield f"server {site.keeper} max_fails=0;"
    yield "keepalive 64;"


def _upstream(pool: Pool, site: Site) -> Iterator[str]:
    yield f"zone sparkkeep.{pool.name} 128k;"
    yield "least_conn;"
    most = f" max_conns={pool.most}" if pool.most is not None else ""
    for backend in servers(pool):
        yield f"server {where(backend)} max_fails=1 fail_timeout=5s{most};  # {backend.spark}"
    yield f"server {site.keeper} backup;"
    yield "keepalive 64;"


def _server(site: Site) -> Iterator[str]:
    yield f"listen {site.listen.removeprefix(':')};"
    yield "server_name _;"
    yield from SERVER
    for pool in site.pools:
        yield from _direct(pool)
    yield f'location ~ "^/m/[^/]+(?<sparkkeep_path>{PATH})$" {{'
    yield from _indented(*TO_KEEPER, "proxy_pass http://sparkkeep$sparkkeep_path$is_args$args;")
    yield "location / {"
    yield from _indented(*TO_KEEPER, "proxy_pass http://sparkkeep;")


def _direct(pool: Pool) -> Iterator[str]:
    path = pattern(pool.name).replace(PATH, f"(?<sparkkeep_path>{PATH})")
    yield f'location ~ "{path}" {{'
    yield from _indented(
        "set $sparkkeep_to sparkkeep;",
        f"if ($sparkkeep_app) {{ set $sparkkeep_to sparkkeep.{pool.name}; }}",
        *TO_POOL,
        "proxy_pass http://$sparkkeep_to$sparkkeep_path$is_args$args;",
    )


def _indented(*lines: str) -> Iterator[str]:
    yield from (f"    {line}" for line in lines)
    yield "}"
