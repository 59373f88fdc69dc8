"""What is to be had from elsewhere, and under which rules."""

from __future__ import annotations

from dataclasses import dataclass, field

from graftwork.addresses import parsed, shown
from graftwork.desk import Desk
from graftwork.digests import Checksums
from graftwork.secrets import url_with_secrets


@dataclass(frozen=True)
class Remote:
    """A file elsewhere, the checksums published for it, and its names in the mirror beside the URL's last part.

    Where `names_secrets`, `${NAME}` in the URL stands for that environment variable, which is put in when the file is
    asked for. No other URL is looked through for such: whoever wrote it could ask for any variable.
    """

    url: str
    sha256: str | None = None
    md5: str | None = None  # where nothing better was published: it tells damage, not malice
    names: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)  # a bearer token; the URL's own host gets it, no other
    names_secrets: bool = False

    @property
    def shown(self) -> str:
        """The URL as messages show it, without secrets."""
        return shown(self.url)

    @property
    def asked(self) -> str:
        """The URL as it is sent, not to be shown. Raises DataError for an environment variable that isn't set."""
        return url_with_secrets(self.url) if self.names_secrets else self.url

    @property
    def checksums(self) -> Checksums:
        """Return what its bytes are checked against."""
        return Checksums(self.sha256, self.md5)

    @property
    def asks_for_a_page(self) -> bool:
        """Whether the URL names an HTML page itself."""
        return parsed(self.url).path.lower().endswith((".html", ".htm", ".xhtml"))

    @property
    def mirror_names(self) -> tuple[str, ...]:
        """Return the names under which the mirror may hold it, the most telling first."""
        url = parsed(self.url)
        path = url.path.strip("/")
        return tuple(dict.fromkeys((*self.names, f"{url.host}/{path}", path.rpartition("/")[2] or url.host)))


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, and how often it is asked again."""

    tries: int = 4  # without a byte more than before
    wait_seconds: float = 1.0  # before the second try; doubled before each one after
    most_wait_seconds: float = 60.0  # however long the server would have us wait
    connect_seconds: float = 15.0
    read_seconds: float = 30.0  # without a byte
    stall_seconds: float = 60.0  # with hardly a byte


@dataclass(frozen=True)
class Errand:
    """A file to get, for whom, and the rules."""

    remote: Remote
    desk: Desk
    patience: Patience
    allow_private: bool
    most_bytes: int
