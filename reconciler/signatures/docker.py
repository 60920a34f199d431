"""What Docker, its registries and the NVIDIA container toolkit say when a container does not come about."""

from __future__ import annotations

from typing import Final

from reconciler.signatures.known import Weight, known

DOCKER: Final = (
    known(
        r"manifest unknown|manifest for \S+ not found|repository does not exist|name unknown"
        r"|pull access denied for \S+, repository does not exist",
        "ImageNotFound",
        "the registry has no such image",
        "Check the image's name and tag; a private one needs `docker login` on the Spark.",
        terminal=True,
        example="Error response from daemon: manifest for vllm/vllm-openai:v9 not found: manifest unknown: "
        "manifest unknown",
    ),
    known(
        r"invalid reference format",
        "ImageNotFound",
        "the image's name is not one that Docker can read",
        "Write it as registry/name:tag or registry/name@sha256:..., in small letters.",
        terminal=True,
        example="docker: invalid reference format: repository name (library/Echo) must be lowercase",
    ),
    known(
        r"pull access denied|\bunauthorized: |/manifests/\S+: unauthorized|authentication required"
        r"|(?<!permission )denied: |no basic auth credentials|402 payment required",
        "PullDenied",
        "the registry refuses this image: is a login missing, or the name misspelt?",
        "Log in on the Spark: `docker login REGISTRY` (nvcr.io: user `$oauthtoken`, password an NGC API key).",
        terminal=True,
        example='Error response from daemon: Head "https://nvcr.io/v2/nim/meta/llama3-8b-instruct/manifests/1.0.0": '
        "unauthorized: authentication required.",
    ),
    known(
        r"no matching manifest for",
        "WrongArchitecture",
        "the image has no build for this Spark's processor",
        "Use an image that is built for linux/arm64.",
        terminal=True,
        example="no matching manifest for linux/arm64/v8 in the manifest list entries",
    ),
    known(
        r"exec format error",
        "WrongArchitecture",
        "the image's program is for another processor",
        "Use an image that is built for linux/arm64.",
        terminal=True,
        example="exec /usr/local/bin/vllm: exec format error",
    ),
    known(
        r"image's platform \(linux/amd64\S*\) does not match",
        "WrongArchitecture",
        "the image is built for another processor",
        "Use an image that is built for linux/arm64.",
        terminal=True,
        weight=Weight.HINT,
        example="WARNING: The requested image's platform (linux/amd64) does not match the detected host platform "
        "(linux/arm64/v8) and no specific platform was requested",
    ),
    known(
        r"shared memory segment /dev/shm|insufficient shared memory|/dev/shm.*no space left|ncclShmOpen"
        r"|killed by signal: bus error|fatal python error: bus error",
        "SharedMemoryTooSmall",
        "its shared memory (/dev/shm) is too small",
        "Give the recipe more, such as `shm: 16GiB`, or `ipc: host`.",
        terminal=True,
        example="NCCL WARN Error while creating shared memory segment /dev/shm/nccl-Qy1Uxs (size 9637888), "
        "error: No space left on device (28)",
    ),
    known(
        r"bus error",
        "SharedMemoryTooSmall",
        "it touched memory that was not there (bus error), most often for too small a /dev/shm",
        "Give the recipe more, such as `shm: 16GiB`, or `ipc: host`.",
        terminal=True,
        weight=Weight.HINT,
        example="/entrypoint.sh: line 9:    41 Bus error               (core dumped) python3 -m sglang.launch_server",
    ),
    known(
        r"no space left on device|disk quota exceeded",
        "DiskFull",
        "the Spark's disk is full",
        "Free space: `docker image prune`, or models that nobody uses.",
        example="failed to register layer: write /usr/lib/libcublasLt.so.13: no space left on device",
    ),
    known(
        r"address already in use|port is already allocated|EADDRINUSE|couldn't bind (?:http server|to server) socket",
        "PortTaken",
        "its port is taken by something else",
        "Stop what listens there, or give the workload another port.",
        example="OSError: [Errno 98] Address already in use",
    ),
    known(
        r"is already in use by container",
        "NameTaken",
        "a container of this name exists",
        "Remove it, or wait: the next look at the Spark tells whose it is.",
        example='Conflict. The container name "/echo" is already in use by container "4f2a"',
    ),
    known(
        r"bind source path does not exist",
        "MountMissing",
        "a folder to mount does not exist on the Spark (`create: true` makes it)",
        "Create the folder, correct the path, or write `create: true`.",
        terminal=True,
        example='invalid mount config for type "bind": bind source path does not exist: /nope',
    ),
    known(
        r"trying to mount a directory onto a file|error mounting \S+ to rootfs",
        "MountWrong",
        "a mount does not fit: a folder on a file, a file on a folder, or a target that can't be made",
        "Look at both ends of the recipe's mounts.",
        terminal=True,
        example='error mounting "/home/a/x" to rootfs at "/etc/passwd": not a directory: Are you trying to mount a '
        "directory onto a file (or vice-versa)?",
    ),
    known(
        r"error gathering device information",
        "DeviceMissing",
        "the Spark has no such device",
        "Correct the recipe's devices; /dev/infiniband appears with the network card's driver.",
        terminal=True,
        example='error gathering device information while adding custom device "/dev/infiniband": no such file or '
        "directory",
    ),
    known(
        r"unsatisfied condition: cuda|cuda driver version is insufficient|nvidia driver on your system is too old"
        r"|unsupported display driver / cuda driver combination",
        "DriverTooOld",
        "the Spark's NVIDIA driver is older than the image wants",
        "Update the Spark (its driver comes with DGX OS), or use an image for an older CUDA.",
        terminal=True,
        example="nvidia-container-cli: requirement error: unsatisfied condition: cuda>=13.2, please update your driver "
        "to a newer version, or use an earlier cuda container: unknown",
    ),
    known(
        r"was built for NVIDIA Driver Release",
        "DriverTooOld",
        "the image was built for a newer NVIDIA driver than the Spark has",
        "Update the Spark (its driver comes with DGX OS), or use an older image.",
        weight=Weight.HINT,
        example="ERROR: This container was built for NVIDIA Driver Release 590.48 or later, but",
    ),
    known(
        r"could not select device driver|unknown or invalid runtime name|nvidia-container-cli: (?!requirement)"
        r"|no cuda gpus are available|found no nvidia driver|failed to infer device type|unresolvable CDI devices",
        "NoGpu",
        "Docker on this Spark can't give a container the GPU",
        "Does `nvidia-smi` answer there? Is nvidia-container-toolkit set up for Docker? Has the recipe `gpus: all`?",
        terminal=True,
        example='could not select device driver "" with capabilities: [[gpu]]',
    ),
    known(
        r"executable file not found|no such file or directory: unknown|permission denied: unknown|exec: .* not found$",
        "BadCommand",
        "the image has no such program",
        "Correct the recipe's command or entrypoint (some images have one already: then write only its arguments).",
        terminal=True,
        example='exec: "nope": executable file not found in $PATH: unknown',
    ),
    known(
        r"permission denied while trying to connect to the docker",
        "DockerRefused",
        "the SSH user may not use Docker on the Spark",
        "Add the user to the group docker there, and log in anew.",
        terminal=True,
        example="permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
    ),
    known(
        r"cannot connect to the docker daemon|is the docker daemon running",
        "EngineDown",
        "Docker does not run on the Spark",
        "Look there: `systemctl status docker`.",
        example="Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
    ),
    known(
        r"toomanyrequests|pull rate limit|429 client error",
        "RateLimited",
        "the registry asks for patience (rate limit)",
        "Wait, or log in: an account is allowed more.",
        example="toomanyrequests: You have reached your pull rate limit",
    ),
    known(
        r"i/o timeout|TLS handshake timeout|connection refused|no such host|temporary failure in name resolution"
        r"|max retries exceeded with url|\bEOF$",
        "RegistryUnreachable",
        "the registry or the network can't be reached from the Spark",
        "Check the Spark's network and name resolution.",
        weight=Weight.HINT,
        example="dial tcp: lookup registry-1.docker.io: no such host",
    ),
)
