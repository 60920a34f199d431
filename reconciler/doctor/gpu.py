"""The GPU: its driver, and whether containers get it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from reconciler.doctor.case import Case
from reconciler.doctor.checks import fail, ok, unknown, warn
from reconciler.doctor.docker import read_info
from reconciler.doctor.finding import Finding

GB10: Final = "GB10"
TOOLKIT: Final = (
    "sudo apt-get install nvidia-container-toolkit",
    "sudo nvidia-ctk runtime configure --runtime=docker",
    "sudo systemctl restart docker",
)


def judge(case: Case) -> Iterator[Finding]:
    """The driver, then the way into a container."""
    yield _driver(case)
    yield _runtime(case)


def name_of(case: Case) -> str | None:
    """The GPU's name, such as NVIDIA GB10; None where it is not known, also where there is none."""
    text = case.text("gpu")
    return text.strip().splitlines()[0].partition(",")[0].strip() if text and text.strip() else None


def _driver(case: Case) -> Finding:
    text = case.text("gpu")
    if text is not None and text.strip():
        names = [line.partition(",") for line in text.strip().splitlines()]
        return ok("gpu", "; ".join(f"{name.strip()}, driver {driver.strip()}" for name, _, driver in names))
    if case.status("gpu") is None:
        return unknown("gpu", "could not be asked")
    if case.late("gpu"):
        return fail(
            "gpu", "nvidia-smi did not answer within 10 s: the driver hangs, which only a reboot ends", "sudo reboot"
        )
    loaded = case.text("driver") is not None
    if case.missing("gpu"):
        elsewhere = next(
            (path for path in (case.text("elsewhere") or "").split() if path.endswith("/nvidia-smi")), None
        )
        if elsewhere is not None:
            what = f"nvidia-smi is at {elsewhere}, which is not in the PATH of a session"
            return warn("gpu", what, f"sudo ln -s {elsewhere} /usr/local/bin/nvidia-smi")
        if loaded:
            what = "there is no nvidia-smi, though the driver is loaded: its utilities are not installed"
            return fail("gpu", what, "sudo apt-get install nvidia-utils-580")
        what = "there is no nvidia-smi and no loaded driver: no GPU can be used; without one only services run here"
        return fail("gpu", what, "sudo apt-get install nvidia-driver-580-open", "sudo reboot")
    what = f"nvidia-smi failed: {case.said('gpu') or 'it said nothing'}"
    return fail("gpu", f"{what}. After an update of the driver the old one stays loaded until a reboot", "sudo reboot")


def _runtime(case: Case) -> Finding:
    info = read_info(case)
    if info is None:
        return unknown("gpu-runtime", "could not be asked while the Engine does not answer")
    runtimes = info.get("Runtimes") or {}
    if "nvidia" in runtimes:
        return ok("gpu-runtime", "the runtime nvidia is registered with Docker")
    tools = (case.text("toolkit") or "").split()
    if "nvidia-container-runtime-hook" in tools or "nvidia-container-toolkit" in tools:
        return ok("gpu-runtime", f"{tools[0]} is installed")
    devices = [str(device.get("ID", "")) for device in info.get("DiscoveredDevices") or [] if isinstance(device, dict)]
    if any(device.startswith("nvidia.com/gpu") for device in devices):
        return ok("gpu-runtime", "Docker knows the GPU by a CDI file")
    known = ", ".join(sorted(runtimes)) or "none"
    return fail(
        "gpu-runtime",
        f"Docker can't give a GPU to a container: NVIDIA's container toolkit is not installed, or not told to Docker "
        f"(its runtimes: {known})",
        *(TOOLKIT[1:] if "nvidia-ctk" in tools else TOOLKIT),
    )
