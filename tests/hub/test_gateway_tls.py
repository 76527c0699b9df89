"""MQTT over TLS: real clients, certificates as identity, and every file that may be missing or wrong."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from hub.gateway_settings import GatewaySettings, TlsSettings
from streams.errors import MisuseError
from streams.mqtt import Acknowledge, Connack, Connect, PacketType, Publish, Reason
from streams.settings import SettingsError, build
from tests.hub.gateway_world import GatewayWorld, RawClient, gateway


class Files:
    """An authority, the hub's certificate, a device's, and one of a stranger."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = trustme.CA()
        self.path_of_ca = directory / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.path_of_ca))
        self.certificate, self.key = self.issue(self.ca, "127.0.0.1", name="hub")

    def issue(self, ca: trustme.CA, *names: str, name: str) -> tuple[Path, Path]:
        made = ca.issue_cert(*names, common_name=name)
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        return certificate, key

    def settings(self, **more: Any) -> TlsSettings:
        given: dict[str, Any] = {"port": 0, "certificate": self.certificate, "key": self.key, **more}
        return TlsSettings(**given)

    def client_context(self, name: str | None = None, ca: trustme.CA | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.path_of_ca))
        if name is not None:
            context.load_cert_chain(*self.issue(ca or self.ca, f"{name}@example.org", name=name))
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def connect(world: GatewayWorld, context: ssl.SSLContext, client_id: str, version: int = 5) -> RawClient:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.ports["tls"], ssl=context)
    client = RawClient(reader, writer, version)
    await client.send(Connect(client_id, version))
    return client


@pytest.mark.parametrize("version", [4, 5])
async def test_a_device_publishes_over_tls(files: Files, version: int) -> None:
    async with gateway(tls=files.settings()) as world:
        client = await connect(world, files.client_context(), "dev", version)
        assert isinstance(await client.read(), Connack)
        payload = bytes(200_000)
        await client.send(Publish("penstock/v1/dev/frames", payload, 1, 1))
        assert await client.read() == Acknowledge(PacketType.PUBACK, 1)
        assert world.intake.payloads == [payload]
        plain = await world.client("other")
        await plain.close()
        await client.close()


async def test_the_name_in_the_certificate_says_which_device_it_is(files: Files) -> None:
    tls = files.settings(client_certificates="required", client_ca=files.path_of_ca)
    async with gateway(tls=tls, plain=False, identity="certificate") as world:
        context = files.client_context("dev")
        for client_id, reason in (
            ("dev", Reason.SUCCESS),
            ("dev/app", Reason.SUCCESS),
            ("other", Reason.NOT_AUTHORIZED),
        ):
            client = await connect(world, context, client_id)
            answer = await client.read()
            assert isinstance(answer, Connack)
            assert answer.reason == reason, client_id
            await client.close()


@pytest.mark.parametrize("who", ["nobody", "a stranger"])
async def test_who_shows_no_certificate_of_ours_is_not_spoken_to(files: Files, who: str) -> None:
    tls = files.settings(client_certificates="required", client_ca=files.path_of_ca)
    async with gateway(tls=tls, plain=False) as world:
        context = files.client_context(*(("dev", trustme.CA()) if who == "a stranger" else ()))
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            await (await connect(world, context, "dev")).read()
        assert world.intake.history == []


async def test_a_client_that_says_nothing_in_tls_holds_no_place(files: Files) -> None:
    async with gateway(tls=files.settings(), connect_timeout_s=0.5) as world:
        raw = await RawClient.open(world.gateway.ports["tls"])
        assert await raw.until_closed() == b""
        await raw.close()


async def test_a_renewed_certificate_is_used_without_a_restart(files: Files) -> None:
    async with gateway(tls=files.settings()) as world:
        certificates = world.gateway._certificates
        assert certificates is not None and not certificates.renew()
        old = world.gateway.ports["tls"]
        files.issue(files.ca, "127.0.0.1", name="hub")
        assert certificates.renew()
        client = await connect(world, files.client_context(), "dev")
        assert isinstance(await client.read(), Connack)
        shown = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert ssl.DER_cert_to_PEM_cert(shown).strip() in files.certificate.read_text().replace("\r", "")
        assert world.gateway.ports["tls"] == old
        files.certificate.write_text("junk")
        with pytest.raises(MisuseError):
            certificates.renew()
        await client.close()


@pytest.mark.parametrize("fault", ["no certificate", "no key", "another key", "junk", "a directory", "encrypted"])
async def test_a_file_that_cannot_be_used_is_named_with_the_remedy(files: Files, fault: str) -> None:
    says = {
        "no certificate": r"hub\.mqtt\.tls\.certificate: there is no file .*hub\.pem; name one",
        "no key": r"hub\.mqtt\.tls\.key: there is no file .*hub\.key",
        "another key": r"hub\.mqtt\.tls\.key: .*other\.key is not the key of the certificate in .*hub\.pem",
        "junk": r"hub\.mqtt\.tls: .* must hold a certificate and its key",
        "a directory": r"hub\.mqtt\.tls\.key: .* cannot be read: Is a directory",
        "encrypted": r"hub\.mqtt\.tls\.key: .*hub\.key is encrypted",
    }[fault]
    tls = files.settings()
    match fault:
        case "no certificate":
            files.certificate.unlink()
        case "no key":
            files.key.unlink()
        case "another key":
            tls = files.settings(key=files.issue(files.ca, "127.0.0.1", name="other")[1])
        case "junk":
            files.certificate.write_text("this is no certificate")
        case "a directory":
            tls = files.settings(key=files.directory)
        case _:
            encrypt(files.key)
    with pytest.raises(MisuseError, match=says):
        async with gateway(tls=tls):
            pass


def encrypt(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key: Any = serialization.load_pem_private_key(path.read_bytes(), None)
    kind = serialization.BestAvailableEncryption(b"x")
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, kind)
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tls": {"port": 8883}}, r"no hub\.mqtt\.tls\.certificate"),
        ({"tls": {"client_certificates": "required"}}, r"there is no hub\.mqtt\.tls\.client_ca"),
        ({"tls": {"client_certificates": "maybe"}}, r"must be one of none, optional, required"),
        ({"plain": False}, r"hub\.mqtt\.plain is false, and neither"),
        ({"websocket": {"port": 0, "tls": True}}, r"hub\.mqtt\.websocket\.tls is set, but no"),
        ({"identity": "certificate"}, r"every client must show one"),
        ({"identity": "username"}, r"hub\.mqtt\.users names none"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        build(GatewaySettings, given)


def test_an_open_address_needs_no_users_when_every_client_shows_a_certificate(files: Files) -> None:
    tls = {"port": 8883, "certificate": "x.pem", "client_certificates": "required", "client_ca": "ca.pem"}
    assert build(GatewaySettings, {"host": "0.0.0.0", "plain": False, "tls": tls}).host == "0.0.0.0"
    with pytest.raises(SettingsError, match="everybody would be let in"):
        build(GatewaySettings, {"host": "0.0.0.0", "tls": tls})
