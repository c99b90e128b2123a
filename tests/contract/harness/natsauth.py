# SPDX-License-Identifier: Apache-2.0
"""What the nsc tool makes: NKeys, JWTs of operator, account and user, a credentials file; and TLS files."""

import base64
import hashlib
import json
import os
import subprocess

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

PREFIX = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
SEED = 18 << 3


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


def encode(raw):
    return base64.b32encode(raw + crc16(raw).to_bytes(2, "little")).decode().rstrip("=")


class NKey:
    """An Ed25519 pair and its two texts."""

    def __init__(self, role):
        self.key = ed25519.Ed25519PrivateKey.generate()
        raw, secret = serialization.Encoding.Raw, serialization.PrivateFormat.Raw
        private = self.key.private_bytes(raw, secret, serialization.NoEncryption())
        public = self.key.public_key().public_bytes(raw, serialization.PublicFormat.Raw)
        role = PREFIX[role]
        self.public = encode(bytes([role]) + public)
        self.seed = encode(bytes([SEED | role >> 5, (role & 31) << 3]) + private)


def url64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwt(kind, issuer, subject, nats):
    """A JWT of version 2, signed by issuer."""
    claims = {
        "iat": 1700000000,
        "iss": issuer.public,
        "name": kind,
        "sub": subject.public,
        "nats": {"type": kind, "version": 2, **nats},
    }
    claims["jti"] = base64.b32encode(hashlib.sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
    head = url64(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    signed = head + "." + url64(json.dumps(claims).encode())
    return signed + "." + url64(issuer.key.sign(signed.encode()))


def credentials(user_jwt, seed):
    return (
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )


def operator_setup():
    """(lines for the server, the account's signer): JetStream for one account, a memory resolver."""
    operator, account, system = NKey("operator"), NKey("account"), NKey("account")
    unlimited = {
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    }  # fmt: skip
    tokens = {
        account.public: jwt("account", operator, account, {"limits": unlimited}),
        system.public: jwt("account", operator, system, {"limits": {**unlimited, "mem_storage": 0, "disk_storage": 0}}),
    }
    preload = "\n".join(f"  {k}: {v}" for k, v in tokens.items())
    lines = (
        f"operator: {jwt('operator', operator, operator, {})}\n"
        f"system_account: {system.public}\nresolver: MEMORY\nresolver_preload: {{\n{preload}\n}}\n"
    )
    return lines, account


def user_credentials(account):
    user = NKey("user")
    return credentials(jwt("user", account, user, {"subs": -1, "data": -1, "payload": -1}), user.seed)


def certificates(folder, host):
    """ca.pem, server.pem and .key for host (DNS or IP), client.pem and .key; a second, foreign ca2.pem."""
    folder = str(folder)

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for ca in ("ca", "ca2"):
        openssl("req", "-x509", *new_key, "-days", "2", "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")
    for name, san in (("server", host), ("client", "DNS:client")):
        with open(os.path.join(folder, name + ".ext"), "w", encoding="ascii") as f:
            f.write(f"subjectAltName={san}\n")
        openssl("req", *new_key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
        )  # fmt: skip
    return {n: os.path.join(folder, n) for n in ("ca.pem", "ca2.pem", "server.pem", "server.key", "client.pem", "client.key")}
