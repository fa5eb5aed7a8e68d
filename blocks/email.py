"""E-mail through any SMTP server, as a notification block: Prefect's own knows one provider only."""

from typing import Literal
from urllib.parse import quote, urlencode

from prefect.blocks.notifications import AbstractAppriseNotificationBlock
from pydantic import Field, SecretStr

MODES = {"starttls": "starttls", "tls": "ssl", "none": "insecure"}  # apprise's names


class Email(AbstractAppriseNotificationBlock):
    """Where mails go, and the server that takes them."""

    _block_type_name = "E-mail"
    _block_type_slug = "e-mail"

    host: str = Field(description="The SMTP server.")
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = Field("starttls", description="tls: port 465 as a rule.")
    username: str = Field("", description="Nobody logs in if empty.")
    password: SecretStr = SecretStr("")
    sender: str = Field(description="The address that mails come from.")
    to: list[str] = Field(min_length=1, description="The addresses that mails go to.")

    def block_initialization(self) -> None:
        """Prefect calls it when the block is there."""
        login = f"{quote(self.username, safe='')}:{quote(self.password.get_secret_value(), safe='')}@"
        how = {
            "smtp": self.host,
            "from": self.sender,
            "to": ",".join(self.to),
            "mode": MODES[self.security],
            "format": "text",
        }
        address = f"mailtos://{login if self.username else ''}{self.host}:{self.port}?{urlencode(how)}"
        self._start_apprise_client(SecretStr(address))
