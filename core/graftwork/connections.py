"""Open a URL over HTTP, following redirects by hand: each hop's address is checked, and no secret goes along."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import httpx

from graftwork.addresses import UnresolvedError, addresses_of, parsed, proxy_of, require_public, shown
from graftwork.errors import DataError
from graftwork.remote import Errand, Patience, Remote
from graftwork.secrets import veiled

MOST_REDIRECTS = 5


@contextmanager
def opened(errand: Errand, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
    """Yield the answer to GET, its body unread. Raises DataError, UnresolvedError and httpx.TransportError.

    A bearer token goes to the URL's own host only, and only through TLS.
    """
    with _veiled(errand.remote):
        hops = [parsed(errand.remote.asked)]
        while True:
            sent = {**headers, **_credentials(hops, errand.remote.token)}
            with ExitStack() as stack:
                response = stack.enter_context(_answer(hops[-1], sent, errand.patience, errand.allow_private))
                if not response.has_redirect_location:
                    yield response
                    return
                hops.append(_next_hop(hops, response.headers["location"]))


@contextmanager
def _veiled(remote: Remote) -> Iterator[None]:
    """Let errors name the secrets of a URL and of those it leads to, in place of their values."""
    try:
        yield
    except UnresolvedError as error:
        raise UnresolvedError(veiled(str(error), remote.url)) from None
    except DataError as error:
        texts = {label: veiled(getattr(error, label), remote.url) for label in ("where", "expected", "fix")}
        raise DataError(veiled(error.what, remote.url), **texts) from None


def _credentials(hops: list[httpx.URL], token: str | None) -> dict[str, str]:
    here = hops[-1]
    if here.userinfo:
        pair = base64.b64encode(f"{here.username}:{here.password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    if token and here.scheme == "https" and (here.host, here.port) == (hops[0].host, hops[0].port):
        return {"Authorization": f"Bearer {token}"}
    return {}


def _next_hop(hops: list[httpx.URL], location: str) -> httpx.URL:
    """Return where a redirect leads; raise DataError for a circle, too many, and from https to http."""
    try:
        target = parsed(str(hops[-1].join(location)))
    except httpx.InvalidURL:
        raise DataError("A redirect leads to what isn't a URL", where=shown(hops[-1])) from None
    way = " → ".join(shown(hop) for hop in [*hops, target])
    if target in hops:
        raise DataError("The redirects go in a circle", where=way, expected="a file", fix="correct the URL")
    if len(hops) > MOST_REDIRECTS:
        raise DataError(
            f"There are more than {MOST_REDIRECTS} redirects", where=way, expected="a file",
            fix="give the URL of the file itself",
        )  # fmt: skip
    if hops[-1].scheme == "https" and target.scheme == "http":
        raise DataError(
            "A redirect leads from https to http", where=way, expected="https all the way",
            fix="give the URL of the file itself",
        )  # fmt: skip
    return target


@contextmanager
def _answer(
    url: httpx.URL, headers: Mapping[str, str], patience: Patience, allow_private: bool
) -> Iterator[httpx.Response]:
    """Send one request to a checked address.

    A bare transport and not httpx.Client: that would log whole URLs, secrets included.
    """
    proxy = proxy_of(url)
    addresses = _addresses_through_proxy(url, allow_private) if proxy else addresses_of(url, allow_private)
    encrypted = url.scheme == "https"  # else there is nothing to verify, and loading the certificates takes a while
    with httpx.HTTPTransport(verify=encrypted, proxy=proxy) as transport:
        response = _first_reached(transport, [_request(url, address, headers, patience) for address in addresses])
        try:
            yield response
        finally:
            response.close()


def _addresses_through_proxy(url: httpx.URL, allow_private: bool) -> list[str]:
    """Return the host as it is: the proxy resolves names, so that only a bare address can be checked here."""
    try:
        ip_address(url.host)
    except ValueError:
        return [url.host]
    require_public(url.host, url, allow_private)
    return [url.host]


def _request(url: httpx.URL, address: str, headers: Mapping[str, str], patience: Patience) -> httpx.Request:
    """Return a request to the address itself, with the host's name where the server and its certificate need it."""
    limits = httpx.Timeout(patience.read_seconds, connect=patience.connect_seconds)
    names = {"Host": url.netloc.decode("ascii"), "User-Agent": "graftwork", "Accept": "*/*"}
    # Bytes as they lie on the server: a file is resumed and verified as such.
    names["Accept-Encoding"] = "identity"
    extensions = {"timeout": limits.as_dict(), "sni_hostname": url.raw_host.decode("ascii")}
    bare = url.copy_with(userinfo=b"", host=address, fragment=None)
    return httpx.Request("GET", bare, headers={**names, **headers}, extensions=extensions)


def _first_reached(transport: httpx.HTTPTransport, requests: list[httpx.Request]) -> httpx.Response:
    """Return the first answer: where a network lacks IPv6 or IPv4, the other one is tried at once."""
    for request in requests[:-1]:
        try:
            return transport.handle_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
    return transport.handle_request(requests[-1])
