"""What the engine tells while it fetches an image: bytes, the end, the reason of a failure. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.containers.build_output import Transfer
from appliance.errors import SpudError

_DONE = ("Status: Downloaded", "Status: Image is up to date")
"""The engine's last line. Without it a stream that ends has been cut off, whatever came before."""
_NO_LOGIN = (
    "Spud pulls without a login as yet; a private image gets here with: docker pull, as an administrator"
)
# What registries and the engine's client say (distribution/registry/api/errcode; moby/distribution).
_NOT_REACHED = (
    r"no such host|lookup |dial tcp|refused|timeout|deadline|TLS handshake|proxyconnect|EOF|reset by peer"
    r"|unreachable|server gave HTTP response"
)
_ADVICE = (
    (r"toomanyrequests|rate limit", "The registry limits how often one pulls; try again in some hours."),
    (r"unauthorized|denied|authentication|no basic auth", f"Check the name. {_NO_LOGIN}."),
    (r"manifest unknown|not found|name unknown|does not exist", f"Check the name and the tag. {_NO_LOGIN}."),
    (r"no matching manifest", "The image is not made for this box's processor; choose another one."),
    (r"x509|certificate", "The engine does not trust the registry's certificate; add its CA to the box's."),
    (r"no space left", "Free some space on the engine's disk, then submit again."),
    (
        _NOT_REACHED,
        "Check the registry's name and that the engine reaches it, through its proxy if there is one.",
    ),
)
_CUT_OFF = "the engine broke off before the image was whole"


class PullFailed(SpudError):
    """An image could not be fetched; `reason` is the registry's or the engine's own word."""

    def __init__(self, reference: str, reason: str) -> None:
        super().__init__(f"the image {reference} could not be pulled: {reason}")
        self.reason = reason
        self.advice = advice(reason)


@dataclass(slots=True)
class PullProgress:
    """Adds up the engine's messages of one pull."""

    reference: str
    is_done: bool = False
    _layers: dict[str, tuple[int, int]] = field(default_factory=dict)

    def feed(self, message: Mapping[str, Any]) -> Transfer:
        """Return the bytes so far; raises PullFailed when the message says so."""
        if error := message.get("error"):
            raise PullFailed(self.reference, _clean(str(error)))
        status = str(message.get("status", ""))
        self.is_done = self.is_done or status.startswith(_DONE)
        layer, detail = message.get("id"), message.get("progressDetail") or {}
        if layer and status == "Downloading" and detail.get("total"):
            self._layers[layer] = (int(detail["current"]), int(detail["total"]))
        elif layer in self._layers and status in ("Download complete", "Extracting", "Pull complete"):
            total = self._layers[layer][1]
            self._layers[layer] = (total, total)
        return self.transfer

    @property
    def transfer(self) -> Transfer:
        """The bytes of all layers whose size is known by now."""
        done, total = (sum(layer[part] for layer in self._layers.values()) for part in (0, 1))
        return Transfer(self.reference, done, total)

    def end(self) -> None:
        """Raise PullFailed unless the engine has said that the image is whole."""
        if not self.is_done:
            raise PullFailed(self.reference, _CUT_OFF)


def advice(reason: str) -> str:
    """Return the next step after a failure."""
    for pattern, sentence in _ADVICE:
        if re.search(pattern, reason, re.IGNORECASE):
            return sentence
    return "Try again: spud retry."


def _clean(reason: str) -> str:
    """Return the reason without the address that the engine asked, which tells nothing new."""
    text = reason.strip().removeprefix("Error response from daemon: ")
    return re.sub(r"^Get \"?https?://\S+?\"?: ", "", text).rstrip(".")[:500]
