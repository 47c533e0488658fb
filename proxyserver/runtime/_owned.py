"""Our containers at the engine, found by their labels; the calls block, so threads make them."""

import contextlib

import docker
from docker.errors import APIError, NotFound

from ._containers import Inspected, Owner


def inspect_all(client: docker.DockerClient, labels: list[str]) -> list[Inspected]:
    """Look at all containers with these labels, running or not."""
    listed = client.api.containers(all=True, filters={"label": labels})
    looked = [inspect(client, container["Id"]) for container in listed]
    return [found for found in looked if found is not None]


def inspect(client: docker.DockerClient, container_id: str) -> Inspected | None:
    """Look at one container; None when it has been removed."""
    with contextlib.suppress(NotFound):
        return Inspected(client.api.inspect_container(container_id))
    return None


def find(client: docker.DockerClient, owner: Owner) -> Inspected | None:
    """Look for the container of one run."""
    found = inspect_all(client, owner.label_filter())
    return found[0] if found else None


def remove(client: docker.DockerClient, owner: Owner) -> None:
    """Remove the container of one run, alive or not, if there is one."""
    for container in inspect_all(client, owner.label_filter()):
        with contextlib.suppress(NotFound):
            try:
                # With the volumes that have no name, which nobody could find again.
                client.api.remove_container(container.id, v=True, force=True)
            except APIError as error:
                if error.status_code != 409:  # Somebody else is removing it.
                    raise
