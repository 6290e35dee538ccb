import socket

import pytest

from kefu_local.errors import BadSetting, PortsTaken
from kefu_local.ports import Ports, base_from_environment, require_free


def test_a_taken_port_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortsTaken, match=rf"{port} \(intake\).*KEFU_PORT_BASE="):
            require_free({"intake": port}, port - 1)


def test_two_bases_a_hundred_apart_share_no_port() -> None:
    one = set(Ports(8000).by_name(viewer=True, proxied=True).values())
    other = set(Ports(8100).by_name(viewer=True, proxied=True).values())
    assert len(one) == 13
    assert not one & other


@pytest.mark.parametrize("text", ["x", "-1", "80", "65535"])
def test_a_base_that_cannot_be_used_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEFU_PORT_BASE", text)
    with pytest.raises(BadSetting, match="KEFU_PORT_BASE"):
        Ports(base_from_environment())
