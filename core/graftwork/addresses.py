"""Which URLs may be fetched: http and https, from public addresses only; and how a URL is shown."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from graftwork.errors import DataError

GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that IANA has given out for the public network
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: a public IPv4 address, seen from a network without IPv4
MOST_SHOWN = 200


class UnresolvedError(Exception):
    """A host's name can't be resolved; that may pass."""


def parsed(url: str) -> httpx.URL:
    """Return the URL; raise DataError unless it is http or https, with a host."""
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        raise DataError("This isn't a URL", where=shown(url), expected="https://…", fix="correct it") from None
    if found.scheme not in ("http", "https"):
        raise DataError(
            f"URLs of the kind {found.scheme or 'without a scheme'!r} aren't fetched", where=shown(url),
            expected="https:// or http://",
            fix="a file of this machine belongs under data.<name>.path, or in the mirror",
        )  # fmt: skip
    if not found.host or (found.port or 0) > 65535:
        raise DataError(
            "The URL names no host, or no port that can be", where=shown(url), expected="https://host/file",
            fix="correct it",
        )  # fmt: skip
    return found


def shown(url: str | httpx.URL) -> str:
    """Return a URL fit for messages: without user, password, query and fragment, which may be secrets."""
    try:
        parts = urlsplit(str(url))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(a URL that can't be read)"
    host = f"[{host}]" if ":" in host else host
    text = f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}{'?…' if parts.query else ''}"
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


def proxy_of(url: httpx.URL) -> str | None:
    """Return the proxy that the environment names for this URL."""
    if proxy_bypass(url.host):
        return None
    proxies = getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    return f"http://{found}" if found and "://" not in found else found


def addresses_of(url: httpx.URL, allow_private: bool) -> list[str]:
    """Return the addresses to connect to, in the system's order, at most one of each family.

    Raises DataError when any of the host's addresses isn't public, unless `allow_private`, and UnresolvedError for a
    name without addresses. The caller must connect to what is returned and not to the name, which may resolve to
    something else a moment later.
    """
    addresses = resolved(url.host)
    for address in addresses:
        require_public(address, url, allow_private)
    one_a_family: dict[bool, str] = {}
    for address in addresses:
        one_a_family.setdefault(":" in address, address)
    return list(one_a_family.values())


def resolved(host: str) -> list[str]:
    """Return all of a host's addresses; raise UnresolvedError where it has none."""
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        raise UnresolvedError(f"the host {host} can't be resolved: {error}") from None


def require_public(address: str, url: httpx.URL, allow_private: bool) -> None:
    """Raise DataError for an address of a private network or of this machine, unless `allow_private`."""
    if not allow_private and not is_public(address):
        raise DataError(
            f"The host {url.host} has the address {address}, which isn't public", where=shown(url),
            expected="an address of the public network, at every redirect too",
            fix="allow_private: true, if you trust that host and whoever wrote the URL",
        )  # fmt: skip


def is_public(address: str) -> bool:
    """Return whether an address belongs to the public network, and so does an IPv4 address inside it."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv4Address):
        return found.is_global and not found.is_multicast
    inner = _inner(found)
    if inner is not None:
        return is_public(str(inner))
    return found in GLOBAL_UNICAST and found.is_global


def _inner(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that the network would take out of this one."""
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
