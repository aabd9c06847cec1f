"""The certificate folder of this application: its own certificate, and whom it trusts (OPC 10000-12, 7.8).

    own/certificate.der, own/key.pem    made on first use, the key readable by its owner only
    trusted/    servers and authorities that are trusted      issuers/   authorities that only complete chains
    rejected/   what was refused, to be looked at             crl/       revocation lists of the authorities

File names are the SHA-1 thumbprint that OPC UA tools show. A server's certificate passes when it is trusted itself, or
signed by a trusted authority, is valid now, not revoked and names the server's application URI.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from twinloom.twin.errors import BadFile, NotFound, SourceUnavailable

Place = Literal["own", "trusted", "issuers", "rejected"]
_PLACES: tuple[Place, ...] = ("own", "trusted", "issuers", "rejected")
_YEARS = 5
_LARGEST = 65_536
_MOST_REJECTED = 100


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """One certificate of the folder, as a list shows it."""

    place: Place
    thumbprint: str
    subject: str
    application_uri: str
    not_after: datetime
    file: Path


class CertificateStore:
    """The folder at `root`, made when something is first written to it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def application_uri(self) -> str:
        """What the own certificate names, and what a server checks."""
        return f"urn:{socket.gethostname()}:twinloom"

    def own(self) -> tuple[Path, Path]:
        """(certificate, key) files of this application, made on first use. Raises BadFile when only one is there."""
        certificate, key = self.root / "own" / "certificate.der", self.root / "own" / "key.pem"
        if certificate.exists() != key.exists():
            missing = key if certificate.exists() else certificate
            raise BadFile(str(missing), "is missing", remedy="restore it, or delete the folder to make a new pair")
        if not key.exists():
            _make_own(certificate, key, self.application_uri())
        return certificate, key

    def list(self) -> list[CertificateInfo]:
        """All certificates, own first."""
        return [_info(place, file, certificate) for place in _PLACES for file, certificate in self._certificates(place)]

    def trust(self, name: str) -> CertificateInfo:
        """Moves a rejected certificate to the trusted ones, or copies a file there.

        `name` is a thumbprint, the beginning of one, or a file. Raises NotFound, or BadFile when the file is none.
        """
        file = Path(name)
        if file.is_file():
            return self._keep("trusted", _read(file))
        found = [
            (path, certificate)
            for path, certificate in self._certificates("rejected")
            if len(name) >= 4 and thumbprint(certificate).startswith(name.lower())
        ]
        if len(found) != 1:
            what = "several rejected certificates begin" if found else "no rejected certificate begins"
            raise NotFound(f"{what} with {name!r}", remedy="see `twinloom opcua trust` for their thumbprints")
        path, certificate = found[0]
        kept = self._keep("trusted", certificate)
        path.unlink()
        return kept

    def distrust(self, name: str) -> None:
        """Moves trusted certificates whose thumbprint begins with `name` to the rejected ones. Raises NotFound."""
        found = [
            (path, certificate)
            for path, certificate in self._certificates("trusted")
            if len(name) >= 4 and thumbprint(certificate).startswith(name.lower())
        ]
        if not found:
            raise NotFound(f"no trusted certificate begins with {name!r}", remedy="see `twinloom opcua trust`")
        for path, certificate in found:
            self._keep("rejected", certificate)
            path.unlink()

    def check(self, server: str, encoded: bytes, application_uri: str) -> None:
        """Raises SourceUnavailable unless the server's certificate is to be trusted; an unknown one is kept in
        `rejected`, so that it can be looked at and trusted by one command."""
        try:
            certificate = x509.load_der_x509_certificate(encoded)
        except ValueError as error:
            raise _refused(server, "is not readable", "ask the server's administrator for a valid one") from error
        print_ = thumbprint(certificate)
        now = datetime.now(UTC)
        if certificate.not_valid_after_utc < now:
            raise _refused(server, f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}", "renew it at the server")
        if certificate.not_valid_before_utc > now:
            raise _refused(server, "is not valid yet", "compare the clocks of both computers")
        if application_uri and application_uri not in uris(certificate):
            raise _refused(server, f"does not name {application_uri}", "give the server a certificate of its own")
        if not self._trusted(certificate):
            self._keep("rejected", certificate)
            raise _refused(
                server, "is not trusted", f"compare its thumbprint, then run: twinloom opcua trust {print_[:16]}"
            )
        if self._revoked(certificate):
            raise _refused(server, "is revoked", "have a new one issued for the server")

    def _trusted(self, certificate: x509.Certificate) -> bool:
        trusted = [other for _, other in self._certificates("trusted")]
        if any(thumbprint(other) == thumbprint(certificate) for other in trusted):
            return True
        issuers = [other for _, other in self._certificates("issuers")]
        link = certificate
        for _ in range(5):
            if any(_issued(link, authority) for authority in trusted):
                return True
            above = next((authority for authority in issuers if _issued(link, authority)), None)
            if above is None or thumbprint(above) == thumbprint(link):
                return False
            link = above
        return False

    def _revoked(self, certificate: x509.Certificate) -> bool:
        authorities = [other for place in ("trusted", "issuers") for _, other in self._certificates(place)]
        for file in sorted((self.root / "crl").glob("*")):
            data = file.read_bytes()
            try:
                load = x509.load_pem_x509_crl if data.startswith(b"-----") else x509.load_der_x509_crl
                revocations = load(data)
            except ValueError as error:
                raise BadFile(str(file), "is no revocation list", remedy="put DER or PEM lists there only") from error
            if revocations.issuer != certificate.issuer:
                continue
            signed = any(
                authority.subject == revocations.issuer and revocations.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
                for authority in authorities
            )
            if signed and revocations.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                return True
        return False

    def _certificates(self, place: str) -> Iterator[tuple[Path, x509.Certificate]]:
        for file in sorted((self.root / place).glob("*")):
            if file.suffix in (".der", ".pem", ".crt", ".cer") and file.name != "key.pem":
                yield file, _read(file)

    def _keep(self, place: Place, certificate: x509.Certificate) -> CertificateInfo:
        folder = self.root / place
        folder.mkdir(parents=True, exist_ok=True)
        if place == "rejected":
            old = sorted(folder.glob("*.der"), key=lambda path: path.stat().st_mtime)
            for file in old[: max(0, len(old) - _MOST_REJECTED + 1)]:
                file.unlink()
        file = folder / f"{thumbprint(certificate)}.der"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
        return _info(place, file, certificate)


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-1 of the DER form in hex: a name that OPC UA tools show, not a proof."""
    return certificate.fingerprint(hashes.SHA1()).hex()


def uris(certificate: x509.Certificate) -> list[str]:
    """The URIs in the subject's alternative names."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.verify_directly_issued_by(authority)
    except (x509.ExtensionNotFound, InvalidSignature, ValueError, TypeError):
        return False
    return constraints.ca


def _read(file: Path) -> x509.Certificate:
    try:
        data = file.read_bytes()[:_LARGEST]
        pem = data.startswith(b"-----")
        return x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
    except (OSError, ValueError) as error:
        raise BadFile(str(file), "is no certificate", remedy="put DER or PEM certificates there only") from error


def _info(place: Place, file: Path, certificate: x509.Certificate) -> CertificateInfo:
    return CertificateInfo(
        place=place,
        thumbprint=thumbprint(certificate),
        subject=certificate.subject.rfc4514_string(),
        application_uri=next(iter(uris(certificate)), ""),
        not_after=certificate.not_valid_after_utc,
        file=file,
    )


def _refused(server: str, what: str, remedy: str) -> SourceUnavailable:
    return SourceUnavailable(f"the certificate of OPC UA server {server} {what}", remedy=remedy)


def _make_own(certificate_file: Path, key_file: Path, application_uri: str) -> None:
    host = socket.gethostname()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "twinloom"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, host)]
    )
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True,
        key_agreement=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(application_uri), x509.DNSName(host)]), False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(usage, True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    key_file.parent.mkdir(parents=True, exist_ok=True)
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(encoded)
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
