"""Every policy and mode against a server that the project did not write, and no way below what is configured."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from servers.node_opcua import NodeOpcUa
from servers.opcua_simulator import SimulatorProcess
from servers.recording import RecordingSink, running

from twinloom.adapters.opcua.certificates import CertificateStore, thumbprint
from twinloom.adapters.opcua.mapping import OpcUaMapping
from twinloom.adapters.opcua.security import discover_endpoints
from twinloom.adapters.opcua.session import connect
from twinloom.adapters.opcua.settings import OpcUaSettings, Security
from twinloom.adapters.opcua.source import OpcUaSource
from twinloom.twin.errors import BadFile, BadSetting, NotFound, SourceUnavailable

MATRIX = [
    (policy, mode)
    for policy in ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
    for mode in ("Sign", "SignAndEncrypt")
]


def settings_of(server: Any, store: Path, policy: str, mode: str, **more: Any) -> OpcUaSettings:
    security = Security(policy=policy, mode=mode, store=store, **more)  # type: ignore[arg-type]
    return OpcUaSettings("plant", server.endpoint, security=security, timeout_s=10.0, connect_timeout_s=20.0)


async def trusting(server: NodeOpcUa, store: Path) -> None:
    """Refused once, then trusted by its thumbprint, as an engineer does it."""
    with pytest.raises(SourceUnavailable, match="is not trusted"):
        async with connect(settings_of(server, store, "Basic256Sha256", "SignAndEncrypt")):
            pass
    (rejected,) = [info for info in CertificateStore(store).list() if info.place == "rejected"]
    CertificateStore(store).trust(rejected.thumbprint[:12])


async def test_the_endpoints_of_a_server_are_listed_the_safest_first(node_opcua: NodeOpcUa) -> None:
    endpoints = await discover_endpoints(node_opcua.endpoint)
    assert len(endpoints) == 7
    assert endpoints[0].mode == "SignAndEncrypt" and endpoints[-1].policy == "None"
    assert {"anonymous", "username"} <= set(endpoints[0].tokens)


async def test_every_policy_and_mode_connects_anonymously_and_by_user_once_the_server_is_trusted(
    node_opcua: NodeOpcUa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANT_PASSWORD", "secret")
    await trusting(node_opcua, tmp_path)
    for policy, mode in MATRIX:
        for user in ({}, {"user": "reader", "password_env": "PLANT_PASSWORD"}):
            async with connect(settings_of(node_opcua, tmp_path, policy, mode, **user)) as session:
                assert session.client.security_policy.URI.endswith(session.client.security_policy.URI)
                assert session.client.security_policy.Mode.name == mode
                assert "urn:twinloom:simulator:cnc" in session.namespaces


@pytest.mark.parametrize(("policy", "mode"), [("Basic256Sha256", "SignAndEncrypt"), ("Aes256Sha256RsaPss", "Sign")])
async def test_values_stream_over_a_secured_channel(
    policy: str, mode: str, node_opcua: NodeOpcUa, cnc_mapping: OpcUaMapping, tmp_path: Path
) -> None:
    await trusting(node_opcua, tmp_path)
    security = Security(policy=policy, mode=mode, store=tmp_path)  # type: ignore[arg-type]
    settings = replace(cnc_mapping.servers[0], endpoint=node_opcua.endpoint, security=security, connect_timeout_s=20.0)
    sink = RecordingSink()
    async with running(OpcUaSource(settings, cnc_mapping), sink):
        await sink.until(lambda: sink.count > 80, 40.0)
    assert sink.duplicates() == 0 and len(sink.slots) == 10


async def test_a_server_without_the_configured_policy_is_refused_and_never_used_unsecured(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    with pytest.raises(SourceUnavailable, match="does not offer Basic256Sha256/SignAndEncrypt"):
        async with connect(settings_of(simulator, tmp_path, "Basic256Sha256", "SignAndEncrypt")):
            pytest.fail("connected below the configured policy")


async def test_a_wrong_password_is_refused_and_appears_in_no_log(
    node_opcua: NodeOpcUa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PLANT_PASSWORD", "canary-password")
    await trusting(node_opcua, tmp_path)
    user = {"user": "reader", "password_env": "PLANT_PASSWORD"}
    with pytest.raises(SourceUnavailable, match=r"refused the session \(BadUserAccessDenied|BadIdentityTokenRejected"):
        async with connect(settings_of(node_opcua, tmp_path, "Basic256Sha256", "SignAndEncrypt", **user)):
            pass
    assert "canary-password" not in caplog.text
    key = (tmp_path / "own" / "key.pem").read_text(encoding="ascii").splitlines()[1]
    assert key not in caplog.text


async def test_a_password_is_never_sent_in_clear(
    simulator: SimulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANT_PASSWORD", "secret")
    user = {"user": "reader", "password_env": "PLANT_PASSWORD"}
    with pytest.raises(SourceUnavailable, match="password in clear"):
        async with connect(settings_of(simulator, tmp_path, "None", "None", **user)):
            pass


async def test_a_missing_password_is_a_setting_to_correct(simulator: SimulatorProcess, tmp_path: Path) -> None:
    user = {"user": "reader", "password_env": "NOT_SET_ANYWHERE"}
    with pytest.raises(BadSetting, match="NOT_SET_ANYWHERE"):
        async with connect(settings_of(simulator, tmp_path, "None", "None", **user)):
            pass


def certificate(
    name: str,
    *,
    uri: str = "urn:plant:server",
    days: tuple[int, int] = (-1, 10),
    issuer: tuple[x509.Certificate, rsa.RSAPrivateKey] | None = None,
    authority: bool = False,
) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), True)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    return made, key


def der(made: x509.Certificate) -> bytes:
    return made.public_bytes(serialization.Encoding.DER)


def put(store: CertificateStore, place: str, made: x509.Certificate) -> None:
    folder = store.root / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{thumbprint(made)}.der").write_bytes(der(made))


Check = Callable[[x509.Certificate], None]


@pytest.fixture
def store(tmp_path: Path) -> CertificateStore:
    return CertificateStore(tmp_path / "pki")


def check(store: CertificateStore, made: x509.Certificate, uri: str = "urn:plant:server") -> None:
    store.check("plant", der(made), uri)


def test_an_expired_or_early_certificate_is_refused_although_it_is_trusted(store: CertificateStore) -> None:
    for days, message in (((-10, -1), "expired on"), ((1, 10), "is not valid yet")):
        made, _ = certificate("server", days=days)
        put(store, "trusted", made)
        with pytest.raises(SourceUnavailable, match=message):
            check(store, made)


def test_a_certificate_of_another_application_is_refused(store: CertificateStore) -> None:
    made, _ = certificate("server")
    put(store, "trusted", made)
    check(store, made)
    with pytest.raises(SourceUnavailable, match="does not name urn:plant:other"):
        check(store, made, "urn:plant:other")


def test_a_trusted_authority_vouches_also_through_an_intermediate(store: CertificateStore) -> None:
    root = certificate("root", authority=True)
    middle = certificate("middle", authority=True, issuer=root)
    leaf, _ = certificate("server", issuer=middle)
    with pytest.raises(SourceUnavailable, match="is not trusted"):
        check(store, leaf)
    put(store, "issuers", middle[0])
    with pytest.raises(SourceUnavailable, match="is not trusted"):
        check(store, leaf)
    put(store, "trusted", root[0])
    check(store, leaf)


def test_a_server_that_is_no_authority_vouches_for_nobody(store: CertificateStore) -> None:
    server = certificate("server")
    leaf, _ = certificate("guest", issuer=server)
    put(store, "trusted", server[0])
    with pytest.raises(SourceUnavailable, match="is not trusted"):
        check(store, leaf)


def test_a_revoked_certificate_is_refused(store: CertificateStore) -> None:
    root = certificate("root", authority=True)
    leaf, _ = certificate("server", issuer=root)
    put(store, "trusted", root[0])
    check(store, leaf)
    now = datetime.now(UTC)
    revoked = x509.RevokedCertificateBuilder().serial_number(leaf.serial_number).revocation_date(now).build()
    revocations = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root[0].subject)
        .last_update(now)
        .next_update(now + timedelta(days=1))
        .add_revoked_certificate(revoked)
        .sign(root[1], hashes.SHA256())
    )
    (store.root / "crl").mkdir()
    (store.root / "crl" / "root.crl").write_bytes(revocations.public_bytes(serialization.Encoding.DER))
    with pytest.raises(SourceUnavailable, match="is revoked"):
        check(store, leaf)


def test_trust_can_be_given_and_taken_back_by_thumbprint_or_file(store: CertificateStore, tmp_path: Path) -> None:
    made, _ = certificate("server")
    with pytest.raises(SourceUnavailable):
        check(store, made)
    print_ = thumbprint(made)
    with pytest.raises(NotFound):
        store.trust("ffff" + print_)
    assert store.trust(print_[:8]).place == "trusted"
    check(store, made)
    store.distrust(print_)
    with pytest.raises(SourceUnavailable):
        check(store, made)
    file = tmp_path / "server.der"
    file.write_bytes(der(made))
    store.trust(str(file))
    check(store, made)


def test_a_file_that_is_no_certificate_is_named(store: CertificateStore, tmp_path: Path) -> None:
    file = tmp_path / "note.der"
    file.write_text("hello", encoding="ascii")
    with pytest.raises(BadFile, match=r"note\.der"):
        store.trust(str(file))


def test_the_own_certificate_is_made_once_and_its_key_is_private(store: CertificateStore) -> None:
    first = store.own()
    assert store.own() == first
    assert first[1].stat().st_mode & 0o077 == 0
    made = x509.load_der_x509_certificate(first[0].read_bytes())
    assert made.not_valid_after_utc > datetime.now(UTC) + timedelta(days=365)
    first[1].unlink()
    with pytest.raises(BadFile, match=r"key\.pem: is missing"):
        store.own()
