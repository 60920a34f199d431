"""Other proxies before the same upstream, each as its manual says for one core, and each on two ports: JSON, streams."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.proxies.load import JSON_MODEL, KEY, STREAM_MODEL, Target
from tests.bench.proxies.programs import (
    HERE,
    Cores,
    Running,
    free_port,
    installed,
    listens,
    of_the_peers,
    pinned,
    running,
)
from tests.bench.proxies.upstream import Upstream

HERE_ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class Started:
    """How one is started. `files` are written first, in its folder."""

    argv: Sequence[str]
    files: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rival:
    """A proxy. `shape` says how it is started from (its program, folder, upstream, JSON port, stream port)."""

    name: str
    program: str
    shape: Callable[[str, Path, Upstream, int, int], Started]
    find: Callable[[str], str | None] = of_the_peers
    version: Sequence[str] = ("--version",)
    one_port: bool = False
    patience: float = 30

    def missing(self) -> bool:
        return self.find(self.program) is None


@dataclass(frozen=True)
class Proxy:
    """One that runs. Without `process` there is none: the upstream is asked directly."""

    name: str
    target: Target
    process: Running | None = None


@contextmanager
def started(rival: Rival, folder: Path, upstream: Upstream, cores: Cores) -> Iterator[Proxy]:
    program = rival.find(rival.program)
    assert program is not None
    own = folder / rival.program
    own.mkdir()
    json_port = free_port()
    stream_port = json_port if rival.one_port else free_port()
    shape = rival.shape(program, own, upstream, json_port, stream_port)
    for name, text in shape.files.items():
        (own / name).write_text(text)
    log = own / "log"
    environ = {"HOME": str(own), "XDG_DATA_HOME": str(own), "XDG_CONFIG_HOME": str(own), **shape.environ}
    with running(pinned(cores.proxy, shape.argv), log, environ) as one:
        listens(one, [(HERE_ADDRESS, json_port), (HERE_ADDRESS, stream_port)], log, seconds=rival.patience)
        yield Proxy(rival.name, Target(HERE_ADDRESS, json_port, stream_port), one)


def version(rival: Rival) -> str:
    """What it says of itself, in a few words."""
    program = rival.find(rival.program)
    assert program is not None
    done = subprocess.run([program, *rival.version], capture_output=True, text=True, timeout=60, check=False)
    words = (done.stdout + done.stderr).replace("/", " ").split()
    numbers = (w.strip(",").removeprefix("v") for w in words if w.strip(",v")[:1].isdigit() and "." in w)
    return next(numbers, "")


def _nginx(program: str, folder: Path, upstream: Upstream, json_port: int, stream_port: int) -> Started:
    pools = "".join(
        f"upstream {name} {{ server {there}; keepalive 1024; keepalive_requests 1000000000; }}\n"
        f"server {{ listen {HERE_ADDRESS}:{port} backlog=2048; location / {{ proxy_pass http://{name}; }} }}\n"
        for name, there, port in (("json", upstream.json, json_port), ("stream", upstream.stream, stream_port))
    )
    config = (
        f"worker_processes 1; daemon off; user root; pid {folder}/pid; error_log stderr crit;\n"
        "worker_rlimit_nofile 20000; events { worker_connections 8192; }\n"
        "http { access_log off; keepalive_requests 1000000000; proxy_buffering off; proxy_http_version 1.1;\n"
        f'proxy_set_header Connection ""; proxy_read_timeout 1h;\n{pools}}}\n'
    )
    return Started([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], {"nginx.conf": config})


def _haproxy(program: str, folder: Path, upstream: Upstream, json_port: int, stream_port: int) -> Started:
    pools = "".join(
        f"frontend {name}_in\n  bind {HERE_ADDRESS}:{port} backlog 2048\n  default_backend {name}\n"
        f"backend {name}\n  server upstream {there}\n"
        for name, there, port in (("json", upstream.json, json_port), ("stream", upstream.stream, stream_port))
    )
    config = (
        "global\n  nbthread 1\n  maxconn 8000\n"
        "defaults\n  mode http\n  option http-no-delay\n  http-reuse always\n"
        f"  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n{pools}"
    )
    return Started([program, "-f", str(folder / "haproxy.cfg")], {"haproxy.cfg": config})


def _envoy(program: str, folder: Path, upstream: Upstream, json_port: int, stream_port: int) -> Started:
    ways = (("json", upstream.json, json_port), ("stream", upstream.stream, stream_port))
    config = {
        "static_resources": {
            "listeners": [_envoy_listener(name, port) for name, _, port in ways],
            "clusters": [_envoy_cluster(name, there) for name, there, _ in ways],
        }
    }
    argv = [program, "--config-path", str(folder / "envoy.json"), "--concurrency", "1", "--log-level", "error"]
    return Started([*argv, "--disable-hot-restart"], {"envoy.json": json.dumps(config)})


def _envoy_listener(name: str, port: int) -> dict[str, object]:
    types = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "stream_idle_timeout": "3600s",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": name,
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": name, "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [router],
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": HERE_ADDRESS, "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _envoy_cluster(name: str, there: str) -> dict[str, object]:
    address, _, port = there.partition(":")
    most = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 1000000)
    endpoint = {"address": {"socket_address": {"address": address, "port_value": int(port)}}}
    return {
        "name": name,
        "connect_timeout": "5s",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
    }


def _traefik(program: str, folder: Path, upstream: Upstream, json_port: int, stream_port: int) -> Started:
    ways = {"json": upstream.json, "stream": upstream.stream}
    routes = {
        "http": {
            "routers": {name: {"entryPoints": [name], "rule": "PathPrefix(`/`)", "service": name} for name in ways},
            "services": {
                name: {"loadBalancer": {"servers": [{"url": f"http://{there}"}]}} for name, there in ways.items()
            },
        }
    }
    argv = [
        program,
        f"--entryPoints.json.address={HERE_ADDRESS}:{json_port}",
        f"--entryPoints.stream.address={HERE_ADDRESS}:{stream_port}",
        f"--providers.file.filename={folder}/routes.yaml",
        "--serversTransport.maxIdleConnsPerHost=1024",
        "--log.level=ERROR",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
    ]
    return Started(argv, {"routes.yaml": json.dumps(routes)})


def _caddy(program: str, folder: Path, upstream: Upstream, json_port: int, stream_port: int) -> Started:
    sites = "".join(
        f"http://{HERE_ADDRESS}:{port} {{\n  reverse_proxy {there} {{\n    flush_interval -1\n"
        "    transport http {\n      keepalive_idle_conns_per_host 1024\n    }\n  }\n}\n"
        for there, port in ((upstream.json, json_port), (upstream.stream, stream_port))
    )
    config = f"{{\n  admin off\n  persist_config off\n  auto_https off\n  log {{\n    level ERROR\n  }}\n}}\n{sites}"
    return Started([program, "run", "--config", str(folder / "Caddyfile")], {"Caddyfile": config})


def _litellm(program: str, folder: Path, upstream: Upstream, port: int, _: int) -> Started:
    """As docs.litellm.ai/docs/proxy/prod: production mode, errors alone logged, a worker for each core."""
    models = [
        {
            "model_name": model,
            "litellm_params": {"model": f"openai/{model}", "api_base": f"http://{there}/v1", "api_key": "none"},
        }
        for model, there in ((JSON_MODEL, upstream.json), (STREAM_MODEL, upstream.stream))
    ]
    config = {
        "model_list": models,
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"request_timeout": 600, "set_verbose": False, "json_logs": False},
    }
    environ = {
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # there is no internet to fetch it from
        "LITELLM_MASTER_KEY": KEY,
    }
    argv = [program, "--config", str(folder / "config.yaml"), "--host", HERE_ADDRESS, "--port", str(port)]
    return Started([*argv, "--num_workers", "1"], {"config.yaml": json.dumps(config)}, environ)


def _passing_on(program: str, _: Path, upstream: Upstream, json_port: int, stream_port: int) -> Started:
    ways = [f"{json_port}=http://{upstream.json}", f"{stream_port}=http://{upstream.stream}"]
    return Started([program, str(HERE / "passing_on.py"), *ways])


GO = ("version",)
RIVALS = (
    Rival("nginx", "nginx", _nginx, find=installed, version=("-v",)),
    Rival("HAProxy", "haproxy", _haproxy, find=installed, version=("-v",)),
    Rival("Envoy", "envoy", _envoy),
    Rival("Traefik", "traefik", _traefik, version=GO),
    Rival("Caddy", "caddy", _caddy, version=GO),
    Rival("LiteLLM proxy", "litellm", _litellm, one_port=True, patience=120),
    Rival("FastAPI + httpx", "python", _passing_on, version=("-c", "import fastapi; print(fastapi.__version__)")),
)
