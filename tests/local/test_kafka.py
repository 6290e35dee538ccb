import os
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from kefu_local.kafka import KafkaConfig, KafkaServer, properties
from kefu_local.supervisor import Supervisor
from tests.processes import free_ports


async def test_kafka_needs_no_java_on_the_path_and_keeps_its_topics_when_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.defpath.replace("/usr", "/nowhere"))
    port, controller_port = free_ports(2)
    server = KafkaServer(KafkaConfig(tmp_path / "kafka", port, controller_port, tmp_path / "kafka.log"))
    supervisor = Supervisor()
    try:
        await server.prepare()
        await supervisor.start(server.spec())
        await supervisor.wait_ready("kafka", within_s=60)
        admin = AIOKafkaAdminClient(bootstrap_servers=server.address)
        await admin.start()
        await admin.create_topics([NewTopic("kept", 1, 1)])
        await admin.close()

        await supervisor.kill("kafka")
        await supervisor.wait_ready("kafka", within_s=60)

        admin = AIOKafkaAdminClient(bootstrap_servers=server.address)
        await admin.start()
        assert "kept" in await admin.list_topics()
        await admin.close()
    finally:
        await supervisor.stop()


def test_the_proxied_listener_sends_clients_back_to_the_proxy() -> None:
    plain = properties(KafkaConfig(Path("k"), 1, 2, Path("log")))
    assert "PROXIED" not in plain
    proxied = properties(KafkaConfig(Path("k"), 1, 2, Path("log"), proxied_port=3, proxy_port=4))
    assert "\nlisteners=MAIN://127.0.0.1:1,CONTROLLER://127.0.0.1:2,PROXIED://127.0.0.1:3\n" in proxied
    assert "\nadvertised.listeners=MAIN://127.0.0.1:1,PROXIED://127.0.0.1:4\n" in proxied
