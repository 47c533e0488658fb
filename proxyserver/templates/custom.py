"""A plain container or process: everything is the user's own."""

import attrs

from proxyserver.runtime._protocol import ContainerSpec, Probe, ProcessSpec

from ._protocol import Draft


@attrs.frozen
class CustomOptions:
    """None: all there is to say is said in `container:` or `process:`."""


class Custom:
    """Proposes nothing but a question: any answer to `GET /` below 500 means ready."""

    name = "custom"
    options = CustomOptions

    def draft(self, options: CustomOptions) -> Draft:
        return Draft(
            container=ContainerSpec(image="", port=0),
            process=ProcessSpec(command=()),
            ready=Probe("/", status=None),
        )
