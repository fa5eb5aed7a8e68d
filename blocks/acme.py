"""An ACME certificate authority (RFC 8555), asked through certbot's library. No key is logged or kept."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import requests
from acme import challenges, client, errors, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.b64 import b64encode
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from josepy.util import ComparableECKey

from blocks.acme_refusal import not_valid, refusal, silent
from blocks.certificate import new_key, request_for
from releases.acme import Issuer
from releases.problem import BadInput, Refused

ANSWER_SECONDS = 30
NONCES = 5
ORDER_SECONDS = 180.0  # to look at all names and to sign; Let's Encrypt takes a few


class Account:
    """An account's key; the authority knows the account by it."""

    def __init__(self, pem: str) -> None:
        """Raises BadInput for a secret that holds something else, which it does not show."""
        try:
            key = serialization.load_pem_private_key(pem.encode(), None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise BadInput("the ACME account's secret holds no key", expected="an EC private key as PEM")
        self.key = JWKEC(key=ComparableECKey(key))

    @property
    def thumbprint(self) -> str:
        """Of the public part (RFC 7638); what an edge needs to answer challenges."""
        return b64encode(self.key.thumbprint()).decode()


class Network(client.ClientNetwork):
    """A nonce that is refused is no failure (RFC 8555 section 6.5); the library asks only once more."""

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Asks with another nonce a few times."""
        for _ in range(NONCES - 1):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)


class Authority:
    """Whoever issues for an environment."""

    def __init__(self, issuer: Issuer, account: Account) -> None:
        self.issuer = issuer
        # `requests` reads REQUESTS_CA_BUNDLE only; everything else here trusts what SSL_CERT_FILE says
        trusted: Any = os.environ.get("SSL_CERT_FILE") or True
        self.net = Network(
            account.key,
            alg=ES256,
            verify_ssl=trusted,
            user_agent="model-deploy",
            timeout=ANSWER_SECONDS,
        )
        self.retry_after = ""
        self.net.session.hooks["response"].append(self._remember)

    def fetch(self, names: Sequence[str]) -> str:
        """A new certificate for the names: the chain and its new key, as PEM. Raises Refused, Unreachable."""
        key = new_key()
        deadline = datetime.now() + timedelta(seconds=ORDER_SECONDS)  # noqa: DTZ005 - the library's way
        with self._said_plainly(names):
            asked = self._registered()
            order = asked.new_order(request_for(names, key))
            for one in order.authorizations:
                self._answer(asked, one)
            done = asked.poll_and_finalize(order, deadline)
        return f"{str(done.fullchain_pem).strip()}\n{key}"

    def _registered(self) -> client.ClientV2:
        """As the account, which is made where this authority does not know it yet."""
        self.net.account = None  # a new account is asked for in the name of its key
        found = client.ClientV2(client.ClientV2.get_directory(self.issuer.directory, self.net), self.net)
        if found.external_account_required():
            raise Refused(
                "this certificate authority wants an account that was made elsewhere (EAB)",
                where=self.issuer.directory,
                expected="one that makes accounts by itself, as Let's Encrypt does",
            )
        contact = self.issuer.contact or None
        wanted = messages.NewRegistration.from_data(email=contact, terms_of_service_agreed=True)
        try:
            found.new_account(wanted)
        except errors.ConflictError as known:
            self.net.account = messages.RegistrationResource(uri=known.location, body=messages.Registration())
        return found

    def _answer(self, asked: client.ClientV2, authorization: messages.AuthorizationResource) -> None:
        """Say that the edges are ready for this name; they are for every one."""
        if authorization.body.status == messages.STATUS_VALID:
            return  # proven a short while ago
        for one in authorization.body.challenges:
            if isinstance(one.chall, challenges.HTTP01):
                asked.answer_challenge(one, one.chall.response(self.net.key))
                return
        raise Refused(
            f"this certificate authority does not ask {authorization.body.identifier.value} by HTTP",
            where=self.issuer.directory,
            expected="the challenge http-01",
        )

    def _remember(self, answer: requests.Response, *_: Any, **__: Any) -> None:
        self.retry_after = answer.headers.get("Retry-After", "")

    @contextmanager
    def _said_plainly(self, names: Sequence[str]) -> Iterator[None]:
        where = self.issuer.directory
        try:
            yield
        except errors.ValidationError as error:
            raise not_valid(error.failed_authzrs, where) from error
        except errors.IssuanceError as error:
            raise refusal(error.error, names, where, self.retry_after) from error
        except messages.Error as error:
            raise refusal(error, names, where, self.retry_after) from error
        except errors.TimeoutError as error:
            raise silent(where, f"no certificate after {ORDER_SECONDS:.0f} s") from error
        except (errors.Error, requests.RequestException, ValueError) as error:
            raise silent(where, f"{type(error).__name__}: {str(error)[:300]}") from error
