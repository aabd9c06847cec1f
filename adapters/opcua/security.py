"""How a client is secured: policy, mode, certificates and identity, never below what is configured.

The endpoint must offer exactly the policy and mode asked for; the server's certificate must be trusted; a password is
never sent where anybody could read it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from asyncua.crypto import security_policies

from twinloom.adapters.opcua.certificates import CertificateStore, thumbprint
from twinloom.adapters.opcua.settings import OpcUaSettings, SecurityPolicy
from twinloom.twin.errors import BadFile, BadSetting, SourceUnavailable

_POLICIES: dict[SecurityPolicy, Any] = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128Sha256RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256Sha256RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
_MODES = {
    "Sign": ua.MessageSecurityMode.Sign,
    "SignAndEncrypt": ua.MessageSecurityMode.SignAndEncrypt,
}
DEFAULT_STORE = Path("pki")


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    """One way into a server, as GetEndpoints lists it. `tokens`: anonymous, username, certificate."""

    url: str
    policy: str
    mode: str
    tokens: tuple[str, ...]
    level: int
    server: str
    thumbprint: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a later connection needs to take over a session that the server still holds (Part 4, 6.7)."""

    token: ua.NodeId
    nonce: bytes | None
    policies: tuple[Any, ...]


class SecuredClient(Client):  # type: ignore[misc]
    """asyncua's client, which sends no password in clear and can take over the session of a lost connection."""

    ticket: Ticket | None = None

    def _try_load_persisted_session(self) -> bool:
        # asyncua would keep the token in a file; here it stays in memory, and goes with the process.
        if self.ticket is None:
            return False
        self.uaclient.session.restore_authentication_token(self.ticket.token)
        self._server_nonce = self.ticket.nonce
        self._policy_ids = list(self.ticket.policies)
        return True

    @property
    def resumed(self) -> bool:
        """True when the server accepted the ticket."""
        return self.ticket is not None and self.uaclient.session.authentication_token == self.ticket.token

    def ticket_for_later(self) -> Ticket | None:
        """None while there is no session."""
        token = self.uaclient.session.authentication_token
        return None if token.is_null() else Ticket(token, self._server_nonce, tuple(self._policy_ids))

    def _add_user_auth(self, params: Any, username: str | None, password: str | None) -> None:
        policy = self.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri
        clear = not policy or policy == security_policies.SecurityPolicyNone.URI
        if password and clear and self.security_policy.Mode != ua.MessageSecurityMode.SignAndEncrypt:
            raise ua.UaError("the server would take the password in clear")
        super()._add_user_auth(params, username, password)


async def secure(client: Client, settings: OpcUaSettings) -> None:
    """Prepares `client` for `settings.security` before it connects.

    Raises SourceUnavailable when the server does not offer it or is not trusted, BadSetting when a secret is missing,
    BadFile when a certificate cannot be used.
    """
    security = settings.security
    store = CertificateStore(security.store or DEFAULT_STORE)
    if security.policy != "None":
        endpoint = await _endpoint(settings)
        store.check(settings.name, endpoint.ServerCertificate or b"", endpoint.Server.ApplicationUri or "")
        certificate, key = store.own()
        client.application_uri = store.application_uri()
        await client.set_security(
            _POLICIES[security.policy],
            str(certificate),
            str(key),
            server_certificate=endpoint.ServerCertificate,
            mode=_MODES[security.mode],
        )
    if security.user:
        if security.password_env not in os.environ:
            raise BadSetting(
                settings.name,
                f"environment variable {security.password_env} is not set",
                remedy="export it before the service starts",
            )
        client.set_user(security.user)
        client.set_password(os.environ[security.password_env])
    elif security.user_certificate and security.user_key:
        try:
            await client.load_client_certificate(str(security.user_certificate))
            await client.load_private_key(str(security.user_key))
        except (OSError, ValueError, TypeError) as error:
            raise BadFile(
                str(security.user_certificate),
                "is no certificate with a readable key beside it",
                remedy="name DER or PEM files",
            ) from error


async def _endpoint(settings: OpcUaSettings) -> ua.EndpointDescription:
    wanted = settings.security
    endpoints = await _get_endpoints(settings.endpoint, settings.timeout_s)
    for endpoint in endpoints:
        if endpoint.SecurityPolicyUri == _POLICIES[wanted.policy].URI and endpoint.SecurityMode == _MODES[wanted.mode]:
            return endpoint
    offered = sorted({f"{_policy_name(e.SecurityPolicyUri)}/{e.SecurityMode.name.rstrip('_')}" for e in endpoints})
    raise SourceUnavailable(
        f"OPC UA server {settings.name} does not offer {wanted.policy}/{wanted.mode}",
        remedy=f"it offers {', '.join(offered)}: change the server, or security: if that is acceptable",
    )


async def _get_endpoints(url: str, timeout_s: float) -> list[ua.EndpointDescription]:
    found: list[ua.EndpointDescription] = await Client(url, timeout=timeout_s).connect_and_get_server_endpoints()
    return found


def _policy_name(uri: str | None) -> str:
    return (uri or "").rpartition("#")[2] or "None"


async def discover_endpoints(url: str, *, timeout_s: float = 4.0) -> list[EndpointInfo]:
    """Every endpoint that the server at `url` offers, the safest first. Raises SourceUnavailable."""
    from cryptography import x509

    try:
        endpoints = await _get_endpoints(url, timeout_s)
    except (OSError, TimeoutError, ua.UaError) as error:
        raise SourceUnavailable(
            f"no OPC UA server answers at {url}", remedy="check the address, the port and the firewall"
        ) from error
    infos = []
    for endpoint in endpoints:
        encoded = endpoint.ServerCertificate
        infos.append(
            EndpointInfo(
                url=endpoint.EndpointUrl or url,
                policy=_policy_name(endpoint.SecurityPolicyUri),
                mode=endpoint.SecurityMode.name.rstrip("_"),
                tokens=tuple(dict.fromkeys(t.TokenType.name.lower() for t in endpoint.UserIdentityTokens or ())),
                level=int(endpoint.SecurityLevel),
                server=endpoint.Server.ApplicationUri or "",
                thumbprint=thumbprint(x509.load_der_x509_certificate(encoded)) if encoded else "",
            )
        )
    return sorted(infos, key=lambda info: -info.level)
