"""Adoption: recipes from `docker inspect`."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.importers.accounts import Fate, Outcome
from reconciler.importers.inspected import read_inspected
from state.problems import Invalid
from state.recipes import Recipe

WHISPER: dict[str, Any] = {
    "Id": "0123456789abcdef",
    "Name": "/Whisper_1",
    "Image": "sha256:feed",
    "State": {"Status": "running", "Pid": 7},
    "RestartCount": 0,
    "Mounts": [
        {"Type": "bind", "Source": "/home/nvidia/models", "Destination": "/models", "RW": False},
        {
            "Type": "volume",
            "Name": "cache",
            "Source": "/var/lib/docker/volumes/cache/_data",
            "Destination": "/cache",
            "RW": True,
        },
        {"Type": "tmpfs", "Source": "", "Destination": "/scratch", "RW": True},
    ],
    "Config": {
        "Hostname": "0123456789ab",
        "Image": "org/whisper:1",
        "Env": ["PATH=/usr/bin", "MODE=fast", "HF_TOKEN=hf_abcdefghijkl", "FROM_IMAGE=1"],
        "Cmd": ["serve", "--model", "large"],
        "Entrypoint": ["/entry.sh"],
        "WorkingDir": "/app",
        "User": "1000:1000",
        "Labels": {"com.docker.compose.project": "speech", "com.docker.compose.project.working_dir": "/srv/speech"},
        "StopTimeout": 20,
        "Healthcheck": {"Test": ["CMD", "true"]},
        "OnBuild": None,
    },
    "HostConfig": {
        "Binds": ["/home/nvidia/models:/models:ro"],
        "NetworkMode": "speech_default",
        "PortBindings": {
            "9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9010"}],
            "9001/udp": [{"HostIp": "", "HostPort": "9011"}],
            "9002/tcp": None,
        },
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "AutoRemove": False,
        "Privileged": False,
        "IpcMode": "host",
        "ShmSize": 17179869184,
        "CapAdd": ["CAP_IPC_LOCK"],
        "SecurityOpt": ["no-new-privileges"],
        "Ulimits": [{"Name": "memlock", "Soft": -1, "Hard": -1}, {"Name": "nofile", "Soft": 1, "Hard": 2}],
        "Devices": [
            {"PathOnHost": "/dev/infiniband", "PathInContainer": "/dev/infiniband", "CgroupPermissions": "rwm"}
        ],
        "DeviceRequests": [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}],
        "Memory": 8589934592,
        "NanoCpus": 0,
        "Init": True,
        "ExtraHosts": None,
        "Runtime": "runc",
        "PidMode": "",
    },
    "NetworkSettings": {"Ports": {}},
}
IMAGE = {
    "Id": "sha256:feed",
    "RepoTags": ["org/whisper:1"],
    "RootFS": {"Type": "layers"},
    "Config": {
        "Env": ["PATH=/usr/bin", "FROM_IMAGE=1"],
        "Entrypoint": ["/entry.sh"],
        "Cmd": ["serve"],
        "WorkingDir": "/app",
        "Healthcheck": {"Test": ["CMD", "true"]},
    },
}


def read(*objects: dict[str, Any]) -> Outcome:
    outcome = read_inspected(json.dumps(list(objects)), "-")
    for each in outcome.imported:
        Recipe.model_validate(each.recipe)
    return outcome


def test_a_container_with_its_image() -> None:
    outcome = read(WHISPER, IMAGE)
    (imported,) = outcome.imported
    assert (imported.name, imported.section, imported.workload) == (
        "whisper-1",
        "models",
        {"on": "spark-1", "run": "always"},
    )
    assert imported.recipe == {
        "engine": "container",
        "source": "adopted from the compose project speech in /srv/speech",
        "image": "org/whisper:1",
        "command": ["serve", "--model", "large"],
        "env": {"MODE": "fast", "HF_TOKEN": {"secret": "hf-token"}},
        "mounts": [
            {"source": "/home/nvidia/models", "target": "/models", "readOnly": True},
            {"source": "cache", "target": "/cache"},
        ],
        "port": 9010,
        "ports": [{"host": 9010, "container": 9000}, {"host": 9011, "container": 9001, "protocol": "udp"}],
        "gpus": "all",
        "shm": 17179869184,
        "network": "bridge",
        "ipc": "host",
        "user": "1000:1000",
        "ulimits": {"memlock": -1},
        "devices": ["/dev/infiniband"],
        "capAdd": ["IPC_LOCK"],
        "securityOpt": ["no-new-privileges"],
        "init": True,
        "restart": "on-failure",
        "stopTimeout": 20,
    }
    assert "hf_abcdefghijkl" not in str(outcome)
    assert {note.key: note.message for note in outcome.lost} == {
        "Mounts[2]": "a tmpfs at /scratch: there is no field for it",
        "Config.Env[2]": "the value is a secret and was not copied: `sparkkeep secret set hf-token`",
        "HostConfig.NetworkMode": "speech_default is a network of its own: it becomes bridge",
        "HostConfig.PortBindings.9000/tcp": "the port is published on every address, not 127.0.0.1 alone",
        "HostConfig.PortBindings.9002/tcp": "Docker chose the port: name one under `ports`",
        "HostConfig.RestartPolicy.MaximumRetryCount": "there is no such limit here",
        "HostConfig.Ulimits[1]": "its two limits differ, and there is one number",
        "HostConfig.Memory": "was set, and there is no field for it",
    }


def test_without_the_image_everything_is_written_out() -> None:
    outcome = read(WHISPER)
    made = outcome.imported[0].recipe
    assert (made["entrypoint"], made["workdir"]) == (["/entry.sh"], "/app")
    assert set(made["env"]) == {"MODE", "HF_TOKEN", "FROM_IMAGE"}
    assert [note.key for note in outcome.lost if note.key.startswith("Config.H")] == ["Config.Healthcheck"]


def test_a_plain_service_on_the_host_network() -> None:
    found = {
        "Name": "/web",
        "Config": {"Image": "org/web:1", "Cmd": ["web", "--port", "8080"], "Env": None},
        "HostConfig": {"NetworkMode": "host", "ShmSize": 67108864},
        "Mounts": [],
    }
    (imported,) = read(found).imported
    assert imported.section == "services"
    assert imported.recipe == {
        "engine": "container",
        "source": "adopted from a running container",
        "image": "org/web:1",
        "command": ["web", "--port", "8080"],
        "port": 8080,
        "network": "host",
        "restart": "no",
    }


def test_our_own_container_is_not_adopted() -> None:
    found = copy.deepcopy(WHISPER)
    found["Config"]["Labels"]["sparkkeep.owner"] = "sparkkeep"
    with pytest.raises(Invalid) as invalid:
        read(found)
    assert str(invalid.value) == "-: Whisper_1: is sparkkeep's own already (owner sparkkeep)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "-:1:1: is not JSON: Expecting value"),
        ("[]", "-: holds no container: `docker inspect NAME` gives one"),
        ("[1]", "-: is not what `docker inspect` prints: a list of containers"),
        ('{"Config": 1}', "-: is not what `docker inspect` prints: a list of containers"),
        (json.dumps([IMAGE]), "-: holds no container: `docker inspect NAME` gives one"),
    ],
)
def test_what_is_no_container_is_refused(text: str, said: str) -> None:
    with pytest.raises(Invalid) as invalid:
        read_inspected(text, "-")
    assert str(invalid.value) == said


@given(
    st.sampled_from([(), ("Config",), ("HostConfig",)]),
    st.from_regex(r"[A-Z][A-Za-z]{0,12}", fullmatch=True),
    st.none()
    | st.integers(-1, 9)
    | st.text("ab", max_size=3)
    | st.lists(st.text("ab", max_size=2), max_size=2)
    | st.just({"a": 1}),
)
def test_any_key_added_is_in_the_account(place: tuple[str, ...], key: str, value: Any) -> None:
    found = copy.deepcopy(WHISPER)
    inner = found[place[0]] if place else found
    inner.setdefault(key, value)
    outcome = read(found)
    at = ".".join((*place, key))
    told = [note for note in outcome.notes if note.key == at or note.key.startswith((f"{at}.", f"{at}["))]
    assert told
    if key not in WHISPER and not place and key not in FOUND:
        assert told[0].fate is Fate.LOST


FOUND = {"Path", "Args", "Created", "Driver", "Platform", "Storage"}
