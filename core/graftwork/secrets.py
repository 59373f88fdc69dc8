"""Secrets in settings: named, as `${NAME}`, and taken from the environment at the last moment; never shown.

Settings go to git, dvc.lock, Prefect's database and reports, all of which keep what they are given.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote

from graftwork.errors import DataError

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
USERINFO = re.compile(r"(?<=://)[^/?#\s\"']+(?=@)")  # user and password: either may be a token


def url_with_secrets(url: str) -> str:
    """Return a URL with every `${NAME}` replaced by that environment variable, percent-encoded.

    Raises DataError for a variable that isn't set.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in os.environ:
            raise DataError(
                f"The environment variable {name} isn't set", expected="the secret that the settings name",
                fix=f"export {name}=…; a scheduled run needs it where its worker was started",
            )  # fmt: skip
        return quote(os.environ[name], safe=":")

    return REFERENCE.sub(value, url)


def veiled(text: str, url: str) -> str:
    """Return a text in which the values that a URL's `${NAME}`s stand for, as they are or encoded, are named again.

    A server may send them back, as where it redirects to.
    """
    for name in REFERENCE.findall(url):
        value = os.environ.get(name, "")
        for form in filter(None, (quote(value, safe=":"), quote(value), value)):
            text = re.sub(re.escape(form), f"${{{name}}}", text, flags=re.IGNORECASE)  # hosts are in small letters
    return text


def without_secrets(text: str) -> str:
    """Return a text fit for messages: who logs in to its URLs, and how, is taken out."""
    return USERINFO.sub("…", text)


def has_secret(url: str) -> bool:
    """Tell whether a URL holds a user or password in clear, rather than a name of one."""
    found = USERINFO.search(url)
    return bool(found and REFERENCE.sub("", found[0]).strip(":"))
