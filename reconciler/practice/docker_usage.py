"""The commands of the docker CLI (28.2) that a practice Spark has, with all the flags docker knows for them.

`run` and `create` know every flag of the real one; those that mean nothing here are kept in `Spec.other`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reconciler.practice.docker_flags import Usage, usage

CREATE_FLAGS: Final = """
add-host=list annotation=list attach,a=list blkio-weight=int blkio-weight-device=list cap-add=list cap-drop=list
cgroup-parent cgroupns cidfile cpu-period=int cpu-quota=int cpu-rt-period=int cpu-rt-runtime=int cpu-shares,c=int
cpus cpuset-cpus cpuset-mems device=list device-cgroup-rule=list device-read-bps=list device-read-iops=list
device-write-bps=list device-write-iops=list disable-content-trust=bool dns=list dns-option=list dns-search=list
domainname entrypoint env,e=env env-file=list expose=list gpus=gpus group-add=list health-cmd health-interval
health-retries=int health-start-interval health-start-period health-timeout help=bool hostname,h init=bool
interactive,i=bool ip ip6 ipc isolation kernel-memory=bytes label,l=label label-file=list link=list
link-local-ip=list log-driver log-opt=list mac-address memory,m=bytes memory-reservation=bytes memory-swap
memory-swappiness=int mount=mount name network=list net=list network-alias=list no-healthcheck=bool
oom-kill-disable=bool oom-score-adj=int pid pids-limit=int platform privileged=bool publish,p=list
publish-all,P=bool pull quiet,q=bool read-only=bool restart rm=bool runtime security-opt=list shm-size=bytes
stop-signal stop-timeout=int storage-opt=list sysctl=list tmpfs=list tty,t=bool ulimit=ulimit use-api-socket=bool
user,u userns uts volume,v=list volume-driver volumes-from=list workdir,w
"""
SHOW: Final = "filter,f=list format no-trunc=bool quiet,q=bool"
STOP: Final = "signal,s timeout,t=int time=int"

_ALL: Final = (
    usage(
        "run",
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        f"{CREATE_FLAGS} detach,d=bool detach-keys sig-proxy=bool",
        least=1,
        interspersed=False,
    ),
    usage("create", "[OPTIONS] IMAGE [COMMAND] [ARG...]", CREATE_FLAGS, least=1, interspersed=False),
    usage("start", "[OPTIONS] CONTAINER [CONTAINER...]", "attach,a=bool interactive,i=bool", least=1),
    usage("stop", "[OPTIONS] CONTAINER [CONTAINER...]", STOP, least=1),
    usage("restart", "[OPTIONS] CONTAINER [CONTAINER...]", STOP, least=1),
    usage("kill", "[OPTIONS] CONTAINER [CONTAINER...]", "signal,s", least=1),
    usage("rm", "[OPTIONS] CONTAINER [CONTAINER...]", "force,f=bool link,l=bool volumes,v=bool", least=1),
    usage("pause", "CONTAINER [CONTAINER...]", "", least=1),
    usage("unpause", "CONTAINER [CONTAINER...]", "", least=1),
    usage("rename", "CONTAINER NEW_NAME", "", least=2, most=2),
    usage(
        "update",
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "restart memory,m=bytes cpus cpu-shares,c=int memory-swap pids-limit=int memory-reservation=bytes",
        least=1,
    ),
    usage("wait", "CONTAINER [CONTAINER...]", "", least=1),
    usage(
        "logs",
        "[OPTIONS] CONTAINER",
        "details=bool follow,f=bool since tail,n timestamps,t=bool until",
        least=1,
        most=1,
    ),
    usage("ps", "[OPTIONS]", f"{SHOW} all,a=bool last,n=int latest,l=bool size,s=bool", most=0),
    usage("inspect", "[OPTIONS] NAME|ID [NAME|ID...]", "format,f size,s=bool type", least=1),
    usage("images", "[OPTIONS] [REPOSITORY[:TAG]]", f"{SHOW} all,a=bool digests=bool tree=bool", most=1),
    usage("pull", "[OPTIONS] NAME[:TAG|@DIGEST]", "all-tags,a=bool platform quiet,q=bool", least=1, most=1),
    usage("login", "[OPTIONS] [SERVER]", "password,p password-stdin=bool username,u", most=1),
    usage("rmi", "[OPTIONS] IMAGE [IMAGE...]", "force,f=bool no-prune=bool", least=1),
    usage("tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "", least=2, most=2),
    usage(
        "build",
        "[OPTIONS] PATH | URL | -",
        "build-arg=list file,f force-rm=bool label=label network no-cache=bool platform progress pull=bool "
        "quiet,q=bool rm=bool tag,t=list target",
        least=1,
        most=1,
    ),
    usage("events", "[OPTIONS]", "filter,f=list format since until", most=0),
    usage("version", "[OPTIONS]", "format,f", most=0),
    usage("info", "[OPTIONS]", "format,f", most=0),
)
COMMANDS: Final[Mapping[str, Usage]] = {command.name: command for command in _ALL}
GROUPS: Final[Mapping[str, Mapping[str, str]]] = {  # `docker container ls` and its like
    "container": {
        **{name: name for name in ("run", "create", "start", "stop", "restart", "kill", "rm", "pause", "unpause")},
        "rename": "rename",
        "update": "update",
        "wait": "wait",
        "logs": "logs",
        "ls": "ps",
        "list": "ps",
        "ps": "ps",
        "inspect": "inspect",
        "remove": "rm",
    },
    "image": {"ls": "images", "list": "images", "pull": "pull", "rm": "rmi", "build": "build", "tag": "tag"},
    "system": {"events": "events", "info": "info"},
}
