"""Which port belongs to whom, counted from one base, so that several checkouts can run side by side."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from kefu_local.errors import BadSetting, PortsTaken

HOST = "127.0.0.1"
DEFAULT_BASE = 8000
HIGHEST_OFFSET = 94


@dataclass(frozen=True)
class Ports:
    """Everything listens on 127.0.0.1 only."""

    base: int = DEFAULT_BASE

    def __post_init__(self) -> None:
        if not 1024 <= self.base <= 65535 - HIGHEST_OFFSET:
            raise BadSetting(
                f"KEFU_PORT_BASE={self.base} cannot be used: choose from 1024 to {65535 - HIGHEST_OFFSET}."
            )

    @property
    def intake(self) -> int:
        return self.base + 1

    @property
    def routing(self) -> int:
        return self.base + 2

    @property
    def notifications(self) -> int:
        return self.base + 3

    @property
    def reporting(self) -> int:
        return self.base + 4

    @property
    def sink(self) -> int:
        return self.base + 5

    @property
    def traces(self) -> int:
        return self.base + 6

    @property
    def otlp_bridge(self) -> int:
        return self.base + 7

    @property
    def lmtp(self) -> int:
        return self.base + 24

    @property
    def smtp(self) -> int:
        return self.base + 25

    @property
    def postgres(self) -> int:
        return self.base + 32

    @property
    def kafka(self) -> int:
        return self.base + 92

    @property
    def kafka_controller(self) -> int:
        return self.base + 93

    @property
    def kafka_proxied(self) -> int:
        return self.base + 94

    def by_name(self, *, viewer: bool, proxied: bool = False) -> dict[str, int]:
        """All that a stack will listen on."""
        names = [
            "intake",
            "routing",
            "notifications",
            "reporting",
            "sink",
            "lmtp",
            "smtp",
            "postgres",
            "kafka",
            "kafka_controller",
        ]
        names += ["traces", "otlp_bridge"] if viewer else []
        names += ["kafka_proxied"] if proxied else []
        return {name: getattr(self, name) for name in names}


def base_from_environment() -> int:
    text = os.environ.get("KEFU_PORT_BASE", "").strip() or str(DEFAULT_BASE)
    if not text.isdecimal():
        raise BadSetting(f"KEFU_PORT_BASE={text} is not a number: choose a port such as {DEFAULT_BASE}.")
    return int(text)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # A socket of our last run that only waits out its time does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require_free(ports: Mapping[str, int], base: int) -> None:
    """Raises PortsTaken, which names every taken port and a base where all would be free."""
    taken = {name: port for name, port in ports.items() if not is_free(port)}
    if taken:
        raise PortsTaken(taken, _free_base([port - base for port in ports.values()], base))


def _free_base(offsets: list[int], base: int) -> int:
    candidates = [*range(base + 1000, 32000, 1000), *range(9000, 32000, 100)]
    return next((b for b in candidates if all(is_free(b + offset) for offset in offsets)), base + 1000)
