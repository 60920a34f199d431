"""What runs on a Spark and is not ours, asked of it over one connection, without the secrets in it."""

from __future__ import annotations

import json
from typing import Final

from api.doctor import Examined
from api.founding import Found, found_of, strangers
from reconciler.doctor.network import name_of
from reconciler.engine import docker_host
from reconciler.importers.live import inspect_image, masked
from reconciler.linkdown import LinkDown
from reconciler.shell import join
from reconciler.ssh import Link

LIMIT: Final = 20.0  # seconds for one answer


async def strangers_of(examined: Examined, link: Link) -> list[Found]:
    """Each container, read into a recipe where that is possible. Closes the connection."""
    host, images = docker_host(examined.case.spark.socket), dict[str, str]()
    found, name = list[Found](), "a container"
    try:
        for container in strangers(examined):
            name = name_of(container)
            image = str(container.get("Image") or "")
            if image and image not in images:
                told = await link.run(host + join(inspect_image(image)), timeout=LIMIT)
                images[image] = told.stdout if told.status == 0 else ""
            inspected = masked(json.dumps([container]), images.get(image, ""))
            found.append(found_of(examined.case.name, container, inspected))
    except (LinkDown, ValueError) as gone:
        why = f"what else runs there could not be read: {gone}"
        found.append(Found(spark=examined.case.name, container=name, why=why))
    finally:
        await link.close()
    return found
